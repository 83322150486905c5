"""Machines written down as trees of files: what is told of each, and that no file has to be there."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.server.fleet.recorded_nvml import DRIVER_MISMATCH, GB10, LOST, RTX_3060, RTX_A400, RecordedNvml
from zoe_server.fleet import hardware
from zoe_server.fleet.gpu import Gpu, load_nvml
from zoe_server.fleet.hardware import Hardware, Machine
from zoe_server.fleet.jetson import JETPACK_OF_L4T, ask_jetson_stats
from zoe_server.system.file_tree import FileTree

TREES = Path(__file__).parent / "hardware_trees"
JETSON_RELEASE = (Path(__file__).parent / "jetson_release.txt").read_text(encoding="utf-8")
KB = 1024


def detect(tree: str | Path, nvml: RecordedNvml | None = None, jetson_release: str = "") -> Hardware:
    return hardware.detect(TREES / tree, lambda: nvml, lambda: jetson_release)


def changed(tmp_path: Path, tree: str, **files: str) -> Path:
    """Return a copy of a recorded machine; in the names of files, `__` stands for a slash."""
    root = tmp_path / tree
    shutil.copytree(TREES / tree, root)
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def test_a_jetson_with_its_jetpack_and_the_memory_that_its_gpu_shares() -> None:
    found = detect("jetson-orin-nx")
    assert (found.machine, found.cores, found.unified) == (Machine.JETSON, 8, True)
    assert found.board == "NVIDIA Jetson Orin NX Engineering Reference Developer Kit"
    assert (found.l4t, found.jetpack) == ("36.4.3", "6.2")
    assert (found.memory_total_bytes, found.memory_available_bytes) == (16_030_720 * KB, 14_242_816 * KB)
    assert found.gpus == (Gpu("integrated GPU of tegra234", load=0.274, shares_memory=True),)
    assert found.temperatures_c == {
        "cpu-thermal": 49.343,
        "gpu-thermal": 47.812,
        "soc0-thermal": 48.031,
        "tj-thermal": 49.343,
    }
    assert (found.is_limited, found.notes) == (False, ())


def test_jetson_stats_knows_the_module() -> None:
    found = detect("jetson-orin-nx", jetson_release=JETSON_RELEASE)
    assert found.board.endswith("Developer Kit with NVIDIA Jetson Orin NX (16GB ram)")
    assert found.jetpack == "6.2"


def test_jetson_stats_knows_a_jetpack_that_is_newer_than_the_table(tmp_path: Path) -> None:
    release = "# R99 (release), REVISION: 1.2, GCID: 1"
    root = changed(tmp_path, "jetson-orin-nx", etc__nv_tegra_release=release, var__lib__dpkg__status="")
    assert (detect(root).l4t, detect(root).jetpack) == ("99.1.2", None)
    assert detect(root, jetson_release=JETSON_RELEASE.replace("6.2", "9.9")).jetpack == "9.9"


def test_jetson_stats_is_asked_on_a_jetson_only() -> None:
    def refuse() -> str:
        raise AssertionError("this is no Jetson")

    assert hardware.detect(TREES / "pc", lambda: None, refuse).machine is Machine.CPU


def test_the_command_of_jetson_stats_is_run_if_there_is_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ask_jetson_stats() == ""
    command = tmp_path / "jetson_release"
    command.write_text("#!/bin/sh\necho 'Model: a board'", encoding="utf-8")
    command.chmod(0o755)
    assert ask_jetson_stats() == "Model: a board\n"


def test_a_broken_command_of_jetson_stats_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    command = tmp_path / "jetson_release"
    command.write_text("#!/bin/sh\necho 'Model: a board'; exit 3", encoding="utf-8")
    command.chmod(0o755)
    assert ask_jetson_stats() == ""
    assert "jetson-stats is installed but does not answer" in caplog.text


def test_a_command_of_jetson_stats_that_hangs_is_left(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    os.mkfifo(tmp_path / "nobody-writes-here")
    command = tmp_path / "jetson_release"
    command.write_text(f"#!/bin/sh\necho 'Model: a board'; read line < {tmp_path}/nobody-writes-here", encoding="utf-8")
    command.chmod(0o755)
    assert ask_jetson_stats(wait_s=0.05) == ""
    assert "timed out" in caplog.text


def test_the_driver_s_library_is_not_asked_on_a_jetson() -> None:
    assert detect("jetson-orin-nx", RecordedNvml(RTX_3060)).gpus[0].shares_memory


def test_a_jetson_is_known_where_a_container_hides_the_device_tree() -> None:
    found = detect("jetson-container")
    assert (found.machine, found.cores, found.unified) == (Machine.JETSON, 6, True)
    assert (found.board, found.l4t) == ("NVIDIA Jetson Orin Nano Developer Kit", "36.4.7")
    assert found.jetpack == JETPACK_OF_L4T["36.4.7"] == "6.2.1"
    assert found.gpus[0].load == 0.0


def test_a_raspberry_pi() -> None:
    found = detect("raspberry-pi-5")
    assert (found.machine, found.board, found.cores) == (Machine.RASPBERRY_PI, "Raspberry Pi 5 Model B Rev 1.0", 4)
    assert (found.memory_total_bytes, found.memory_available_bytes) == (8_245_808 * KB, 6_911_872 * KB)
    assert (found.unified, found.gpus, found.temperatures_c) == (False, (), {"cpu-thermal": 52.35})
    assert not found.is_limited


def test_a_raspberry_pi_is_known_where_a_container_hides_the_device_tree(tmp_path: Path) -> None:
    root = changed(tmp_path, "raspberry-pi-5")
    shutil.rmtree(root / "proc/device-tree")
    assert (detect(root).machine, detect(root).board) == (Machine.RASPBERRY_PI, "Raspberry Pi 5 Model B Rev 1.0")


def test_a_pc_has_as_many_cores_as_it_has_and_not_as_threads() -> None:
    found = detect("pc")
    assert (found.machine, found.cores, found.gpus) == (Machine.CPU, 8, ())
    assert found.board == "LENOVO ThinkCentre M75q Gen 2, AMD Ryzen 7 PRO 5750GE with Radeon Graphics"
    assert found.temperatures_c == {"acpitz": 27.8}


def test_a_pc_with_gpus() -> None:
    nvml = RecordedNvml(RTX_3060, RTX_A400)
    found = detect("pc-rtx", nvml)
    assert (found.machine, found.cores, found.unified, found.notes) == (Machine.NVIDIA, 6, False, ())
    assert found.board == "B650M Pro RS, AMD Ryzen 5 7600 6-Core Processor"
    assert found.gpus == (
        Gpu("NVIDIA GeForce RTX 3060", 12_884_901_888, 12_201_951_232, load=0.03, temperature_c=36.0),
        Gpu("NVIDIA RTX A400", 4_294_967_296, 4_009_754_624),
    )
    assert nvml.n_open == 0


def test_a_gpu_without_its_library_is_seen_and_one_is_told_what_to_install(tmp_path: Path) -> None:
    information = "Model: \t\t NVIDIA GeForce RTX 3060\nIRQ:   \t\t 101\nGPU UUID: \t GPU-0\n"
    root = changed(tmp_path, "pc-rtx", proc__driver__nvidia__gpus__0000_01_00_0__information=information)
    found = detect(root)
    assert (found.machine, found.gpus) == (Machine.CPU, (Gpu("NVIDIA GeForce RTX 3060"),))
    assert found.notes == (
        "there is NVIDIA GeForce RTX 3060; to use it, install nvidia-ml-py: `uv pip install 'zoe-server[gpu]'`",
    )
    assert [gpu.name for gpu in detect("pc-rtx").gpus] == ["an NVIDIA GPU"]


def test_the_module_of_the_driver_s_library_may_be_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert load_nvml() is None
    monkeypatch.delitem(sys.modules, "pynvml")
    (tmp_path / "pynvml.py").write_text("class NVMLError(Exception): ...", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    found = load_nvml()
    assert found is not None
    assert issubclass(found.NVMLError, Exception)


def test_a_driver_that_does_not_answer_is_said() -> None:
    nvml = RecordedNvml(RTX_3060, refusal=DRIVER_MISMATCH)
    found = detect("pc-rtx", nvml)
    assert found.machine is Machine.CPU
    assert "version mismatch" in found.notes[0]
    assert "reboot" in found.notes[0]


def test_without_a_card_the_library_s_complaint_is_nobody_s_business() -> None:
    found = detect("pc", RecordedNvml(refusal=DRIVER_MISMATCH))
    assert (found.machine, found.gpus, found.notes) == (Machine.CPU, (), ())
    assert detect("pc", RecordedNvml()).machine is Machine.CPU


def test_a_gpu_that_shares_the_memory_of_a_machine_that_is_no_jetson() -> None:
    found = detect("pc-rtx", RecordedNvml(GB10))
    assert (found.machine, found.unified) == (Machine.NVIDIA, True)


def test_a_gpu_that_is_lost_shares_no_memory_and_is_of_no_use() -> None:
    found = detect("pc-rtx", RecordedNvml(LOST))
    assert (found.machine, found.unified) == (Machine.CPU, False)
    found = detect("pc-rtx", RecordedNvml(LOST, RTX_3060))
    assert (found.machine, found.unified) == (Machine.NVIDIA, False)


def test_wsl_says_little_and_has_the_driver_of_windows() -> None:
    found = detect("wsl")
    assert found.board == "Windows Subsystem for Linux, Intel(R) Core(TM) i7-10750H CPU @ 2.60GHz"
    assert (found.machine, found.cores, found.is_limited, found.temperatures_c) == (Machine.CPU, 6, False, {})
    assert "zoe-server[gpu]" in found.notes[0]
    assert detect("wsl", RecordedNvml(RTX_3060)).machine is Machine.NVIDIA


def test_a_container_has_what_it_may_take_and_not_what_the_machine_has() -> None:
    found = detect("container-v2")
    assert (found.cores, found.memory_total_bytes, found.is_limited) == (2, 4 << 30, True)
    assert found.memory_available_bytes == (4 << 30) - (1_610_612_736 - 1_073_741_824)


def test_a_container_of_the_first_version_has_the_files_of_its_own_group_at_the_root() -> None:
    found = detect("container-v1")
    assert (found.cores, found.memory_total_bytes, found.is_limited) == (2, 2 << 30, True)
    assert found.memory_available_bytes == (2 << 30) - (805_306_368 - 268_435_456)


def test_without_a_quota_the_cores_that_the_process_is_bound_to_count(tmp_path: Path) -> None:
    root = changed(tmp_path, "container-v1")
    (root / "sys/fs/cgroup/cpu/cpu.cfs_quota_us").write_text("-1", encoding="utf-8")
    assert detect(root).cores == 4


def test_of_groups_within_groups_the_smallest_limit_and_the_least_room_count() -> None:
    found = detect("slice")
    assert (found.cores, found.memory_total_bytes, found.memory_available_bytes) == (3, 3 << 30, 1 << 30)


def test_what_is_garbled_is_not_known_and_nothing_is_raised() -> None:
    found = detect("garbled")
    assert (found.machine, found.board, found.cores) == (Machine.CPU, "a machine without a name", 1)
    assert (found.memory_total_bytes, found.memory_available_bytes, found.temperatures_c) == (0, 0, {})
    assert "does not say how much memory" in found.notes[0]


def test_where_there_are_no_files_at_all_nothing_is_known(tmp_path: Path) -> None:
    found = detect(tmp_path)
    assert (found.machine, found.cores, found.memory_total_bytes, found.gpus) == (Machine.CPU, 1, 0, ())
    assert len(found.notes) == 1


def test_old_kernels_do_not_say_what_is_available(tmp_path: Path) -> None:
    meminfo = "MemTotal: 4000 kB\nMemFree: 1000 kB\nBuffers: 100 kB\nCached: 500 kB\nSwapFree: 9999 kB\n"
    assert detect(changed(tmp_path, "pc", proc__meminfo=meminfo)).memory_available_bytes == 1600 * KB


def test_this_very_machine_is_something() -> None:
    found = hardware.detect()
    assert found.cores >= 1
    assert 0 < found.memory_available_bytes <= found.memory_total_bytes


@pytest.mark.parametrize("tree", ["jetson-orin-nx", "container-v1", "container-v2"])
@settings(deadline=None, max_examples=60)  # the machine may be busy
@given(data=st.data())
def test_whatever_a_file_holds_the_numbers_make_sense(
    tree: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    files = sorted(path for path in (TREES / tree).rglob("*") if path.is_file() and "topology" not in path.parts)
    broken = data.draw(st.sampled_from(files))
    content = broken.read_bytes()
    cut = data.draw(st.integers(0, len(content)))
    junk = data.draw(st.binary(max_size=8) | st.sampled_from([b"-", b"9" * 30, b"\0", b"\n\n", b": "]))
    root = tmp_path_factory.getbasetemp() / f"broken-{tree}"
    if not root.exists():
        shutil.copytree(TREES / tree, root)
    copy = root / broken.relative_to(TREES / tree)
    copy.write_bytes(content[:cut] + junk + content[cut + len(junk) :])
    found = detect(root)
    copy.write_bytes(content)
    assert found.cores >= 1
    assert 0 <= found.memory_available_bytes <= found.memory_total_bytes


def test_a_number_is_all_of_a_file(tmp_path: Path) -> None:
    for text, number in (("12\n", 12), ("-3", -3), ("9" * 40, None), ("1 2", None), ("٣", None), ("--1", None)):
        (tmp_path / "file").write_text(text, encoding="utf-8")
        assert FileTree(tmp_path).number("file") == number
