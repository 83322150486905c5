"""The scripted engine plays what is written, for the message it is written for."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.fixtures.scripted_engine import ScriptedEngine, parse_script
from zoe_server import errors, protocol
from zoe_server.catalogue.spec import ModelSpec
from zoe_server.engines.base import Engine

Ask = Callable[..., protocol.ChatRequest]
Collect = Callable[[Engine, protocol.ChatRequest], Awaitable[list[protocol.ChatEvent]]]
SCRIPT = """[
  {"when": "lamp", "events": [{"event": "tool_call_start", "index": 0, "call_id": "c", "name": "turn_on"},
                              {"event": "tool_call_arguments", "index": 0, "text": "{}"}]},
  {"when": "fail", "events": [{"event": "text", "text": "so"},
                              {"event": "failure", "error": {"class": "EngineError", "message": "broken"}}]},
  {"when": "crash", "events": [{"event": "crash"}]},
  {"when": "hold", "events": [{"event": "hold"}, {"event": "text", "text": "at last"}]},
  {"events": [{"event": "text", "text": "Hi"}, {"event": "text", "text": "!"}]}
]"""


@pytest.fixture
async def engine(tmp_path: Path) -> ScriptedEngine:
    path = tmp_path / "script.json"
    path.write_text(SCRIPT, encoding="utf-8")
    engine = ScriptedEngine(ModelSpec("s", path, engine="scripted"))
    await engine.start()
    return engine


async def test_answers_are_chosen_by_the_last_user_message(engine: ScriptedEngine, ask: Ask, collect: Collect) -> None:
    called = await collect(engine, ask("the lamp, please"))
    assert called[1] == protocol.ToolCallStart(0, "c", "turn_on")
    assert isinstance(called[-1], protocol.Finish)
    assert called[-1].reason == "tool_calls"
    said = await collect(engine, ask("two words"))
    assert said[1:-1] == [protocol.Text("Hi"), protocol.Text("!")]
    assert said[-1] == protocol.Finish("stop", protocol.Usage(2, 0, 2))


async def test_a_failure_in_the_script_is_the_end(engine: ScriptedEngine, ask: Ask, collect: Collect) -> None:
    events = await collect(engine, ask("fail"))
    assert isinstance(events[-1], protocol.Failure)
    assert events[-1].error.message == "broken"


async def test_a_schema_is_no_promise_of_a_script(engine: ScriptedEngine, ask: Ask, collect: Collect) -> None:
    (failure,) = await collect(engine, ask(answer_schema=protocol.AnswerSchema({"type": "object"}, "response_format")))
    assert isinstance(failure, protocol.Failure)
    assert (failure.error.status, failure.error.param) == (400, "response_format")


async def test_a_crash_fails_every_open_request(engine: ScriptedEngine, ask: Ask, collect: Collect) -> None:
    held = engine.chat(ask("hold"))
    assert isinstance(await anext(held), protocol.Started)
    crashed = await collect(engine, ask("crash"))
    for events in (crashed, [event async for event in held]):
        assert isinstance(events[-1], protocol.Failure)
        assert isinstance(events[-1].error, errors.EngineCrashedError)
    assert "crashed" in await engine.wait_closed()


async def test_a_held_answer_goes_on_when_released(engine: ScriptedEngine, ask: Ask, collect: Collect) -> None:
    held = engine.chat(ask("hold"))
    assert isinstance(await anext(held), protocol.Started)
    engine.release()
    assert await anext(held) == protocol.Text("at last")
    assert isinstance(await anext(held), protocol.Finish)


@pytest.mark.parametrize("text", ["", "{}x", "[1]", '[{"when": "a"}]', '[{"events": [{"event": "nonsense"}]}]'])
def test_what_is_no_script_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - json's own error is one, too
        parse_script(text)
