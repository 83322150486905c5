"""vLLM in a process of its own: its command line, its load, its end. `tests/vllm` does it with the real one."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import psutil
import pytest

from tests.server.engines.conftest import Ask, Collect
from zoe_server import errors, protocol
from zoe_server.catalogue.engine_options import VllmOptions
from zoe_server.catalogue.spec import ModelSpec
from zoe_server.engines import vllm_command
from zoe_server.engines.vllm_engine import VllmEngine

Make = Callable[..., VllmEngine]


@pytest.fixture
def program(tmp_path: Path) -> str:
    """The played vLLM, as a program that starts with this Python."""
    path = tmp_path / "vllm"
    played = Path(__file__).with_name("played_vllm.py")
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{played}" "$@"\n', encoding="utf-8")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
async def make(program: str, tmp_path: Path) -> AsyncGenerator[Make]:
    made: list[VllmEngine] = []

    def engine(folder: str = "qwen2.5-0.5b", **options: object) -> VllmEngine:
        known = VllmOptions.model_validate({"program": program, "silence_s": 5.0, "pictures": False, **options})
        made.append(VllmEngine(ModelSpec("m", tmp_path / folder, engine="vllm", options=known), look_s=0.05))
        return made[-1]

    yield engine
    for one in made:
        await one.stop()


async def test_a_model_is_ready_when_it_has_written_a_token(make: Make, ask: Ask, collect: Collect) -> None:
    engine = make()
    await engine.start()
    info = engine.info
    assert (info.name, info.n_ctx_tokens, info.capabilities.tools, info.capabilities.priming) == ("m", 2048, True, True)
    started, text, finish = await collect(engine, ask())
    assert isinstance(started, protocol.Started)
    assert text == protocol.Text("Hi")
    assert isinstance(finish, protocol.Finish)
    async with asyncio.timeout(10):
        while (engine.health.running, engine.health.waiting) != (2, 3):  # noqa: ASYNC110 -- it is the state of another process that counts
            await asyncio.sleep(0.01)
    assert engine.pid is not None
    assert any("checkpoint shards" in line.text for line in engine.log)


async def test_nothing_of_it_is_left(make: Make) -> None:
    engine = make()
    await engine.start()
    assert engine.pid is not None
    processes = [psutil.Process(engine.pid), *psutil.Process(engine.pid).children(recursive=True)]
    assert len(processes) >= 2
    await engine.stop()
    _, there = await asyncio.to_thread(psutil.wait_procs, processes, 10)
    assert not there
    assert not engine.health.alive
    assert not engine.lingers


async def test_a_vllm_that_dies_is_noticed(make: Make, ask: Ask, collect: Collect) -> None:
    engine = make()
    await engine.start()
    assert engine.pid is not None
    os.killpg(engine.pid, signal.SIGKILL)
    async with asyncio.timeout(10):
        assert "killed" in await engine.wait_closed()
    failure = (await collect(engine, ask()))[-1]
    assert isinstance(failure, protocol.Failure)
    assert isinstance(failure.error, errors.EngineUnavailableError)


async def test_too_little_memory_is_told_as_that(make: Make) -> None:
    with pytest.raises(errors.OutOfMemoryError, match="No available memory for the cache blocks"):
        await make("too-large").start()


async def test_what_was_wrong_is_told(make: Make) -> None:
    with pytest.raises(errors.EngineUnavailableError, match="There is no module or parameter named 'x'") as raised:
        await make("unknown").start()
    assert not isinstance(raised.value, errors.OutOfMemoryError)


async def test_a_load_can_be_given_up(make: Make) -> None:
    engine = make("endless")
    starting = asyncio.create_task(engine.start())
    async with asyncio.timeout(10):
        while engine.loading is None or engine.loading.progress is None:  # noqa: ASYNC110 -- it is the state of another process that counts
            await asyncio.sleep(0.01)
    assert (engine.loading.phase, engine.loading.progress) == ("model", 0.5)
    starting.cancel()
    await asyncio.wait({starting})
    assert engine.pid is not None
    assert not psutil.pid_exists(engine.pid)


async def test_without_vllm_it_says_what_to_do(make: Make) -> None:
    with pytest.raises(errors.EngineUnavailableError, match=r"no program 'no-vllm'.*`program` in the model's table"):
        await make(program="no-vllm").start()


def arguments(
    name: str = "m", roles: tuple[str, ...] = (), config: dict[str, object] | None = None, **options: object
) -> list[str]:
    known = VllmOptions.model_validate({"model": "Qwen/Qwen2.5-3B-Instruct-AWQ", **options})
    spec = ModelSpec(name, Path("unused"), engine="vllm", roles=roles, options=known)
    return vllm_command.command(spec, known, 8000, config or {})


def test_the_command_of_a_16_gb_household() -> None:
    assert arguments("tools", n_ctx_tokens=4096, memory_share=0.35, quantization="awq") == [
        *("vllm", "serve", "Qwen/Qwen2.5-3B-Instruct-AWQ", "--host", "127.0.0.1", "--port", "8000"),
        *("--served-model-name", "tools", "--max-model-len", "4096", "--max-num-seqs", "8"),
        *("--max-num-batched-tokens", "4096", "--gpu-memory-utilization", "0.35", "--quantization", "awq"),
        *("--tool-call-parser", "hermes"),
        *("--enable-prefix-caching", "--enable-chunked-prefill"),
        *("--enable-prompt-tokens-details", "--enable-auto-tool-choice"),
    ]


def test_several_machines_and_anything_else() -> None:
    said = arguments(tensor_parallel=2, pipeline_parallel=2, distributed_executor="ray", arguments=["--seed", "1"])
    assert said[-2:] == ["--seed", "1"]
    for name, value in (
        ("--tensor-parallel-size", "2"),
        ("--pipeline-parallel-size", "2"),
        ("--distributed-executor-backend", "ray"),
    ):
        assert said[said.index(name) + 1] == value


def test_what_is_off_is_said() -> None:
    said = arguments(prefix_cache=False, chunked_prefill=False, eager=True)
    assert {"--no-enable-prefix-caching", "--no-enable-chunked-prefill", "--enforce-eager"} <= set(said)


def test_a_model_for_vectors() -> None:
    said = arguments(roles=("embeddings",))
    assert said[said.index("--runner") + 1] == "pooling"
    assert "--enable-auto-tool-choice" not in said


@pytest.mark.parametrize(
    ("model", "tools", "reasoning"),
    [
        ("Qwen/Qwen2.5-3B-Instruct-AWQ", "hermes", None),
        ("Qwen/Qwen3-4B", "hermes", "qwen3"),
        ("Qwen/Qwen3.5-9B", "qwen3_coder", "qwen3"),
        ("meta-llama/Llama-3.2-3B-Instruct", "llama3_json", None),
        ("mistralai/Ministral-8B", "mistral", None),
        ("openai/gpt-oss-20b", "openai", "openai_gptoss"),
        ("HuggingFaceTB/SmolLM2-135M", None, None),
    ],
)
def test_parsers_by_family(model: str, tools: str | None, reasoning: str | None) -> None:
    said = arguments(model=model)
    found = {name: said[said.index(name) + 1] for name in ("--tool-call-parser", "--reasoning-parser") if name in said}
    expected = {"--tool-call-parser": tools, "--reasoning-parser": reasoning}
    assert found == {name: parser for name, parser in expected.items() if parser}
    assert ("--enable-auto-tool-choice" in said) == (tools is not None)


def test_a_folder_tells_its_family(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen2"}), encoding="utf-8")
    config = vllm_command.read_config(tmp_path)
    said = arguments(model="household/tuned", config=config)
    assert said[said.index("--tool-call-parser") + 1] == "hermes"
    (tmp_path / "config.json").write_text("[", encoding="utf-8")
    assert vllm_command.read_config(tmp_path) == {}


def test_the_key_is_in_no_command_line() -> None:
    assert "secret" not in " ".join(arguments())
    environment = vllm_command.environment(VllmOptions(model="m", cache_bytes=3 << 30), "secret")
    assert (environment["VLLM_API_KEY"], environment["VLLM_CPU_KVCACHE_SPACE"]) == ("secret", "3")


@pytest.mark.parametrize(
    ("line", "progress"),
    [
        ("INFO Loading safetensors checkpoint shards:  50% Completed | 1/2 [00:01<00:01]", 0.5),
        ("Capturing CUDA graphs (mixed prefill-decode, PIECEWISE): 100%|####| 3/3", 1.0),
        ("INFO Starting to load model", None),
    ],
)
def test_how_far_a_load_is(line: str, progress: float | None) -> None:
    assert vllm_command.progress(line) == progress


def test_what_was_wrong_is_found_among_all_that_is_written() -> None:
    lines = [
        "(APIServer pid=1) ERROR 12-01 11:05:12 Error parsing config for /m: unknown type",
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig",
        "  Value error, The checkpoint has model type `x` but Transformers does not know it",
        "    For further information visit https://errors.pydantic.dev/2.14/v/value_error",
    ]
    assert vllm_command.cause(lines) == "The checkpoint has model type `x` but Transformers does not know it"
    assert vllm_command.cause(["INFO all is well"]) is None
