"""Each thing that the doctor looks at, in good and in bad health."""

from __future__ import annotations

import socket
from dataclasses import replace
from typing import TYPE_CHECKING

import psutil  # type: ignore[import-untyped]  # it comes without type information
import pytest

from zoe_server import doctor, settings
from zoe_server.catalogue.spec import ModelSpec
from zoe_server.training.random_embedder_gguf import write_random_embedder_gguf
from zoe_server.training.random_gguf import write_random_gguf

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def spec(tmp_path: Path) -> ModelSpec:
    return ModelSpec("m", write_random_gguf(tmp_path / "random.gguf"))


async def test_the_library_is_loaded_in_a_child() -> None:
    finding = await doctor.check_library()
    assert finding.ok
    assert "0.3." in finding.text


async def test_a_library_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "llama_cpp.py").write_text("raise ModuleNotFoundError(\"No module named 'llama_cpp'\")")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    finding = await doctor.check_library()
    assert (finding.ok, "./scripts/setup" in finding.text) == (False, True)


async def test_a_library_that_crashes_is_said_plainly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "llama_cpp.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGILL)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    finding = await doctor.check_library()
    assert not finding.ok
    assert finding.text.startswith("the llama.cpp build crashes on this CPU (SIGILL)")


def test_a_port_in_use_is_said() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        chosen = settings.load(port=taken.getsockname()[1])
        assert not doctor.check_address(chosen).ok
        assert "--port" in doctor.check_address(chosen).text
    assert doctor.check_address(chosen).ok


def test_an_address_for_others_needs_a_key() -> None:
    finding = doctor.check_address(settings.load(host="0.0.0.0", port=0))  # noqa: S104 - this is what is refused
    assert (finding.ok, "ZOE_API_KEY" in finding.text) == (False, True)


def test_a_model_file_must_be_there_and_of_the_right_kind(spec: ModelSpec, tmp_path: Path) -> None:
    assert doctor.check_model_file(spec).ok
    assert not doctor.check_model_file(replace(spec, path=tmp_path / "missing.gguf")).ok
    assert not doctor.check_model_file(replace(spec, path=tmp_path)).ok
    (tmp_path / "other.gguf").write_bytes(b"PK\x03\x04")
    assert "not a GGUF" in doctor.check_model_file(replace(spec, path=tmp_path / "other.gguf")).text


def test_memory_is_compared_with_what_the_model_needs(spec: ModelSpec, tmp_path: Path) -> None:
    assert doctor.check_memory(spec).ok
    huge = tmp_path / "huge.gguf"
    with huge.open("wb") as file:
        file.truncate(psutil.virtual_memory().total * 2)  # sparse: it takes no room on the disk
    finding = doctor.check_memory(replace(spec, path=huge))
    assert (finding.ok, "smaller model" in finding.text) == (False, True)


async def test_the_self_test_computes_for_real(spec: ModelSpec, tmp_path: Path) -> None:
    assert (await doctor.check_engine(spec)).ok
    finding = await doctor.check_engine(replace(spec, path=tmp_path / "missing.gguf"))
    assert (finding.ok, "missing.gguf" in finding.text) == (False, True)


async def test_the_self_test_of_an_embedding_model_makes_an_embedding(tmp_path: Path) -> None:
    finding = await doctor.check_engine(ModelSpec("e", write_random_embedder_gguf(tmp_path / "random.gguf")))
    assert (finding.ok, finding.text) == (True, "it computes")
