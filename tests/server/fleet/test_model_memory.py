"""What a configured model takes, from its files; and what the machine has for all of them."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.fixtures.random_gguf import write_random_gguf
from tests.fixtures.random_projector_gguf import write_random_projector
from zoe_server.catalogue import gguf_file
from zoe_server.catalogue.spec import AdapterSpec, ModelSpec
from zoe_server.engines.library import LibraryError, LlamaLibrary
from zoe_server.fleet import recommendation
from zoe_server.fleet.gpu import Gpu
from zoe_server.fleet.hardware import Hardware, Machine
from zoe_server.fleet.hardware_policy import recommend
from zoe_server.fleet.memory import ALL_LAYERS, ModelFacts, facts_of
from zoe_server.fleet.model_memory import model_facts

if TYPE_CHECKING:
    from pathlib import Path

CARD = Gpu("RTX", total_bytes=8_000_000_000, free_bytes=7_500_000_000)
PC = Hardware(Machine.NVIDIA, "a PC", 8, 32_000_000_000, 30_000_000_000, gpus=(CARD,))


@pytest.mark.parametrize("on_gpu", [True, False])
def test_every_file_counts(tmp_path: Path, on_gpu: bool) -> None:
    path = write_random_gguf(tmp_path / "m-00001-of-00002.gguf", merges=20)
    spec = ModelSpec("m", path, n_ctx_tokens=2048)
    alone = facts_of(gguf_file.read(path), 2048, on_gpu=on_gpu)
    assert model_facts(spec, on_gpu=on_gpu) == alone
    (tmp_path / "m-00002-of-00002.gguf").write_bytes(bytes(1000))
    (tmp_path / "jokes.gguf").write_bytes(bytes(300))
    projector = write_random_projector(tmp_path / "mmproj.gguf")
    full = replace(spec, projector_path=projector, adapters={"jokes": AdapterSpec(tmp_path / "jokes.gguf")})
    more_bytes = 1000 + 300 + projector.stat().st_size
    assert model_facts(full, on_gpu=on_gpu) == replace(alone, weights_bytes=alone.weights_bytes + more_bytes)


def test_of_other_files_the_size_is_known(tmp_path: Path) -> None:
    (tmp_path / "script.json").write_bytes(bytes(42))
    assert model_facts(ModelSpec("m", tmp_path / "script.json"), on_gpu=False) == ModelFacts(42, 0, 4096)
    with pytest.raises(FileNotFoundError):
        model_facts(ModelSpec("m", tmp_path / "missing.gguf"), on_gpu=False)


@pytest.mark.parametrize("can_offload", [True, False])
async def test_a_gpu_is_planned_with_if_the_library_can_use_it(
    monkeypatch: pytest.MonkeyPatch, can_offload: bool
) -> None:
    async def ask() -> LlamaLibrary:
        return LlamaLibrary("1", can_offload)

    monkeypatch.setattr(recommendation, "detect", lambda: PC)
    monkeypatch.setattr(recommendation, "ask_library", ask)
    policy = await recommendation.recommended_policy()
    assert policy == recommend(PC, can_offload=can_offload)
    assert (policy.gpu_layers == ALL_LAYERS) is can_offload


async def test_a_library_that_does_not_answer_uses_no_gpu(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def ask() -> LlamaLibrary:
        raise LibraryError("not installed; install it")

    monkeypatch.setattr(recommendation, "detect", lambda: PC)
    monkeypatch.setattr(recommendation, "ask_library", ask)
    with caplog.at_level(logging.WARNING):
        policy = await recommendation.recommended_policy(held_bytes=5)
    assert policy == recommend(PC, held_bytes=5, can_offload=False)
    assert "not installed; install it" in caplog.text
