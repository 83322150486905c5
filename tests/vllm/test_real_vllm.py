"""The engine `vllm` with the real vLLM on this machine's CPU and a model of real weights, where both are installed.

`./scripts/test-vllm` installs them; without them, `tests/server/engines/test_vllm_engine.py` plays vLLM.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import psutil
import pytest

from zoe_server import errors, protocol
from zoe_server.catalogue.engine_options import VllmOptions
from zoe_server.catalogue.spec import ModelSpec
from zoe_server.engines.vllm_command import PARSER_NAMES
from zoe_server.engines.vllm_engine import VllmEngine

CACHE = Path(os.environ.get("ZOE_CACHE") or Path.home() / ".cache" / "zoe")
PROGRAM = CACHE / "vllm" / "bin" / "vllm"
WEIGHTS = CACHE / "vllm-models" / "qwen2.5-coder-0.5b"
pytestmark = [
    pytest.mark.skipif(not (PROGRAM.exists() and WEIGHTS.exists()), reason="no vLLM: ./scripts/test-vllm installs it"),
    pytest.mark.timeout(900),
]
LAMP = protocol.Tool(
    "turn_on",
    "Turns on a device.",
    {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
)


def options(**more: object) -> VllmOptions:
    known = {"program": str(PROGRAM), "n_ctx_tokens": 2048, "n_slots": 4, "eager": True, "cache_bytes": 1 << 30}
    return VllmOptions.model_validate({**known, "pictures": False, "silence_s": 300.0, **more})


def spec(**more: object) -> ModelSpec:
    return ModelSpec("home", WEIGHTS, engine="vllm", roles=("tools",), options=options(**more))


@pytest.fixture(scope="module")
async def engine() -> AsyncGenerator[VllmEngine]:
    engine = VllmEngine(spec(), look_s=1.0)
    await engine.start()
    yield engine
    assert engine.pid is not None
    processes = [psutil.Process(engine.pid), *psutil.Process(engine.pid).children(recursive=True)]
    assert len(processes) >= 3  # the leash, its server and its engine
    await engine.stop()
    _, there = await asyncio.to_thread(psutil.wait_procs, processes, 20)
    assert not there, "something of vLLM is left"


def ask(text: str, **fields: object) -> protocol.ChatRequest:
    given = {"max_tokens": 24, "sampling": protocol.Sampling(temperature=0.0), **fields}
    return protocol.ChatRequest("q", "home", ({"role": "user", "content": text},), **given)  # type: ignore[arg-type]


async def events(engine: VllmEngine, request: protocol.ChatRequest) -> list[protocol.ChatEvent]:
    return [event async for event in engine.chat(request)]


def text(found: list[protocol.ChatEvent]) -> str:
    return "".join(event.text for event in found if isinstance(event, protocol.Text))


def usage(found: list[protocol.ChatEvent]) -> protocol.Usage:
    assert isinstance(found[-1], protocol.Finish), found[-1]
    return found[-1].usage


@pytest.mark.asyncio(loop_scope="module")
async def test_what_it_can_do(engine: VllmEngine) -> None:
    able = engine.info.capabilities
    assert (able.tools, able.schemas, able.logprobs, able.raw_prompts, able.priming) == (True, True, True, True, True)
    assert engine.info.n_ctx_tokens == 2048
    assert engine.health.alive


@pytest.mark.asyncio(loop_scope="module")
async def test_an_answer(engine: VllmEngine) -> None:
    found = await events(engine, ask("What is the capital of France? One word."))
    assert "Paris" in text(found)
    assert usage(found).completion_tokens > 0


@pytest.mark.asyncio(loop_scope="module")
async def test_a_call_that_is_required(engine: VllmEngine) -> None:
    request = ask(
        "turn on the kitchen lamp",
        tools=(LAMP,),
        tool_choice=protocol.ToolChoice("required", "turn_on"),
        argument_values={"name": ("Kitchen lamp", "Desk lamp")},
        max_tokens=60,
    )
    found = await events(engine, request)
    (start,) = [event for event in found if isinstance(event, protocol.ToolCallStart)]
    arguments = "".join(event.text for event in found if isinstance(event, protocol.ToolCallArguments))
    assert start.name == "turn_on"
    assert json.loads(arguments) == {"name": "Kitchen lamp"}


@pytest.mark.asyncio(loop_scope="module")
async def test_an_answer_of_a_schema(engine: VllmEngine) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    request = ask("Where is the Eiffel tower?", answer_schema=protocol.AnswerSchema(schema, "format"), max_tokens=60)
    assert json.loads(text(await events(engine, request))).keys() == {"city"}


@pytest.mark.asyncio(loop_scope="module")
async def test_a_prompt_is_computed_once(engine: VllmEngine) -> None:
    home = "The devices of this home are: " + ", ".join(f"lamp {number}" for number in range(150))
    primed = await events(engine, ask(home, max_tokens=0))
    assert [type(event) for event in primed] == [protocol.Started, protocol.Finish]
    assert usage(await events(engine, ask(home + " Hello"))).cached_tokens > 300


@pytest.mark.asyncio(loop_scope="module")
async def test_several_at_once_and_one_that_leaves(engine: VllmEngine) -> None:
    async with aclosing(engine.chat(ask("Tell me a long story.", max_tokens=500))) as left:
        async for event in left:
            if isinstance(event, protocol.Text):
                break
        answers = await asyncio.gather(*(events(engine, ask(f"What is {n} plus {n}?", max_tokens=8)) for n in range(4)))
    assert all(usage(found).completion_tokens for found in answers)
    async with asyncio.timeout(60):
        while engine.health.running:  # noqa: ASYNC110 -- it is the state of another process that counts
            await asyncio.sleep(0.2)


@pytest.mark.asyncio(loop_scope="module")
async def test_what_is_too_long_is_told_in_tokens(engine: VllmEngine) -> None:
    failure = (await events(engine, ask("word " * 5000)))[-1]
    assert isinstance(failure, protocol.Failure)
    assert isinstance(failure.error, errors.ContextSizeError)
    assert failure.error.details["n_ctx"] == 2048


@pytest.mark.asyncio(loop_scope="module")
async def test_a_folder_without_a_model_is_explained(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "no-such-type"}', encoding="utf-8")
    engine = VllmEngine(ModelSpec("bad", tmp_path, engine="vllm", options=options()))
    with pytest.raises(errors.EngineUnavailableError) as raised:
        await engine.start()
    assert "no-such-type" in raised.value.message
    assert engine.pid is not None
    assert not psutil.pid_exists(engine.pid)


def test_the_parsers_that_we_name_are_there() -> None:
    ask_vllm = (
        "from vllm.tool_parsers import ToolParserManager as T; from vllm.reasoning import ReasoningParserManager as R; "
        "import json; print(json.dumps([sorted(T.list_registered()), sorted(R.list_registered())]))"
    )
    python = PROGRAM.with_name("python")
    done = subprocess.run([str(python), "-c", ask_vllm], capture_output=True, text=True, check=True)
    tools, reasoning = json.loads(done.stdout.splitlines()[-1])
    assert PARSER_NAMES[0] <= set(tools)
    assert PARSER_NAMES[1] <= set(reasoning)
