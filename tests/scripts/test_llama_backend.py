"""What `./scripts/setup` finds out about a machine before it builds llama.cpp, on folders that look like machines."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = "source scripts/setup.d/progress.sh; source scripts/setup.d/llama.sh; "
TEGRA, GPU, NVCC = "etc/nv_tegra_release", "dev/nvidia0", "usr/local/cuda/bin/nvcc"


def run(machine: Path, command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "ZOE_CACHE": str(machine), "ZOE_MACHINE_ROOT": str(machine), **variables}
    return subprocess.run(
        ["/bin/bash", "-c", SOURCE + command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def make(machine: Path, *files: str) -> None:
    for file in files:
        path = machine / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o755)


@pytest.mark.parametrize(
    ("files", "variables", "reason", "option"),
    [
        ((), {}, "for the CPU", ""),
        ((NVCC,), {}, "for the CPU", ""),
        ((GPU,), {}, "there is a GPU of NVIDIA, but no nvcc; install the CUDA toolkit", ""),
        ((GPU, NVCC), {}, "for CUDA", "-DGGML_CUDA=ON"),
        ((TEGRA, NVCC), {}, "for CUDA", "-DGGML_CUDA=ON"),
        ((GPU, NVCC), {"ZOE_LLAMA_BACKEND": "cpu"}, "for the CPU", ""),
        ((), {"ZOE_LLAMA_BACKEND": "vulkan"}, "for Vulkan", "-DGGML_VULKAN=ON"),
    ],
)
def test_what_it_builds_for(
    tmp_path: Path, files: tuple[str, ...], variables: dict[str, str], reason: str, option: str
) -> None:
    make(tmp_path, *files)
    assert reason in run(tmp_path, "llama_backend_reason", **variables).stdout
    options = run(tmp_path, "_llama_cmake_args", **variables).stdout
    assert option in options
    assert ("GGML_CUDA" in options) == (option == "-DGGML_CUDA=ON")


def test_each_build_has_a_place_of_its_own(tmp_path: Path) -> None:
    make(tmp_path, GPU, NVCC)
    folders = {run(tmp_path, "llama_wheel_folder", ZOE_LLAMA_BACKEND=name).stdout for name in ("cpu", "cuda", "vulkan")}
    assert len(folders) == 3


def test_what_there_is_not_is_refused_at_once(tmp_path: Path) -> None:
    done = run(tmp_path, "check_compiler; echo went on", ZOE_LLAMA_BACKEND="abacus")
    assert done.returncode == 1
    assert "It may be cpu, cuda or vulkan" in done.stderr
    assert "went on" not in done.stdout
