"""What a configured model takes, from its files; and what the machine has for all of them."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.fixtures import random_projector_gguf
from tests.fixtures.random_gguf import write_random_gguf
from tests.fixtures.random_projector_gguf import Kind, write_random_projector
from zoe_server.catalogue import gguf_file
from zoe_server.catalogue.engine_options import Adapter, LlamaOptions
from zoe_server.catalogue.spec import ModelSpec
from zoe_server.engines.library import LibraryError, LlamaLibrary
from zoe_server.fleet import sizing
from zoe_server.fleet.gpu import Gpu
from zoe_server.fleet.hardware import Hardware, Machine
from zoe_server.fleet.hardware_policy import recommend
from zoe_server.fleet.memory import ALL_LAYERS, ModelFacts, facts_of, model_bytes
from zoe_server.fleet.sizing import model_facts

if TYPE_CHECKING:
    from pathlib import Path

CARD = Gpu("RTX", total_bytes=8_000_000_000, free_bytes=7_500_000_000)
PC = Hardware(Machine.NVIDIA, "a PC", 8, 32_000_000_000, 30_000_000_000, gpus=(CARD,))


@pytest.mark.parametrize("on_gpu", [True, False])
def test_every_file_counts(tmp_path: Path, on_gpu: bool) -> None:
    path = write_random_gguf(tmp_path / "m-00001-of-00002.gguf", merges=20)
    spec = ModelSpec("m", path, options=LlamaOptions(n_ctx_tokens=2048))
    alone = facts_of(gguf_file.read(path), 2048, on_gpu=on_gpu)
    assert model_facts(spec, on_gpu=on_gpu) == alone
    (tmp_path / "m-00002-of-00002.gguf").write_bytes(bytes(1000))
    (tmp_path / "jokes.gguf").write_bytes(bytes(300))
    projector = write_random_projector(tmp_path / "mmproj.gguf")
    full = replace(
        spec,
        options=spec.options.model_copy(
            update={"projector_path": projector, "adapters": {"jokes": Adapter(path=tmp_path / "jokes.gguf")}}
        ),
    )
    without = model_facts(
        replace(full, options=full.options.model_copy(update={"projector_path": None})), on_gpu=on_gpu
    )
    assert without == replace(alone, weights_bytes=alone.weights_bytes + 1000 + 300)
    encoder_bytes = model_bytes(model_facts(full, on_gpu=on_gpu)) - model_bytes(without)
    assert encoder_bytes > projector.stat().st_size


@pytest.mark.parametrize(
    ("kind", "tokens", "measured_mib"), [("gemma3", 256, 103.53), ("qwen2vl_merger", 1024, 225.75)]
)
def test_a_picture_encoder_counts_with_the_buffer_that_it_computes_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Kind, tokens: int, measured_mib: float
) -> None:
    """Against what llama.cpp says of encoders of the sizes of Gemma 3's (SigLIP) and Qwen2-VL's."""
    width, ffn, pixels = {"gemma3": (1152, 4304, 896), "qwen2vl_merger": (1280, 3420, 112)}[kind]
    for name, number in (("_WIDTH", width), ("_HEADS", 16), ("_FFN", ffn)):
        monkeypatch.setattr(random_projector_gguf, name, number)
    projector = write_random_projector(tmp_path / "mmproj.gguf", kind=kind, picture_pixels=pixels)
    spec = ModelSpec(
        "m", write_random_gguf(tmp_path / "m.gguf", merges=20), options=LlamaOptions(max_picture_tokens=tokens)
    )
    seeing = replace(spec, options=spec.options.model_copy(update={"projector_path": projector}))
    before = model_bytes(model_facts(spec, on_gpu=True))
    compute_bytes = model_bytes(model_facts(seeing, on_gpu=True)) - before - projector.stat().st_size
    assert measured_mib <= compute_bytes / (1 << 20) < 1.3 * measured_mib
    if kind == "qwen2vl_merger":
        larger = model_bytes(
            model_facts(
                replace(seeing, options=seeing.options.model_copy(update={"max_picture_tokens": 4096})), on_gpu=True
            )
        )
        assert larger > model_bytes(model_facts(seeing, on_gpu=True))
    on_cpu = replace(seeing, options=seeing.options.model_copy(update={"projector_on_gpu": False}))
    assert model_bytes(model_facts(on_cpu, on_gpu=True)) == before
    assert model_facts(on_cpu, on_gpu=True, unified=True) == model_facts(seeing, on_gpu=True)
    assert model_facts(on_cpu, on_gpu=False) == model_facts(seeing, on_gpu=False)


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

    monkeypatch.setattr(sizing, "detect", lambda: PC)
    monkeypatch.setattr(sizing, "ask_library", ask)
    policy = await sizing.recommended_policy()
    assert policy == recommend(PC, can_offload=can_offload)
    assert (policy.gpu_layers == ALL_LAYERS) is can_offload


async def test_a_library_that_does_not_answer_uses_no_gpu(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def ask() -> LlamaLibrary:
        raise LibraryError("not installed; install it")

    monkeypatch.setattr(sizing, "detect", lambda: PC)
    monkeypatch.setattr(sizing, "ask_library", ask)
    with caplog.at_level(logging.WARNING):
        policy = await sizing.recommended_policy(held_bytes=5)
    assert policy == recommend(PC, held_bytes=5, can_offload=False)
    assert "not installed; install it" in caplog.text
