"""Who answers where the first candidate cannot, and what is said when nobody can."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from zoe_server import errors, protocol
from zoe_server.catalogue.engine_options import Adapter, LlamaOptions
from zoe_server.catalogue.model_info import Capabilities
from zoe_server.catalogue.spec import ModelSpec
from zoe_server.engines.base import Engine
from zoe_server.engines.scripted import ScriptedEngine
from zoe_server.fleet.fleet import Fleet
from zoe_server.fleet.restart import RestartPolicy
from zoe_server.routing import fallback
from zoe_server.routing.question import needs
from zoe_server.routing.router import RoutePlan

SPEC = ModelSpec("m", Path("unused"), engine="scripted", queue_limit=1, options=LlamaOptions(n_slots=1))
DOWN = errors.EngineUnavailableError("its file is missing", retry_after_s=2.0)
CRASHED = errors.EngineCrashedError("it crashed", retry_after_s=1.0)
FULL = errors.QueueFullError("too many", retry_after_s=5.0)
TOO_LONG = errors.ContextSizeError(5000, 4096)
WRONG = errors.InvalidRequestError("messages[0]: no picture, please", param="messages[0]")
PLAN = RoutePlan(("a", "b"), "test", rule="chat")

Make = Callable[..., Fleet]


@pytest.fixture
async def make() -> AsyncGenerator[Make, None]:
    made: list[Fleet] = []

    def fleet(*specs: ModelSpec, broken: Mapping[str, errors.ZoeError] | None = None) -> Fleet:
        class Engine(ScriptedEngine):
            def __init__(self, spec: ModelSpec) -> None:
                super().__init__(spec, [])
                self._name = spec.name

            async def start(self) -> None:
                if broken is not None and self._name in broken:
                    raise broken[self._name]
                await super().start()

        made.append(Fleet(specs, Engine, policy=RestartPolicy(first_s=60.0)))
        made[-1].start()
        return made[-1]

    yield fleet
    for one in made:
        await one.stop()


def named(name: str, **fields: object) -> ModelSpec:
    return replace(SPEC, name=name, **fields)  # type: ignore[arg-type]  # any of its fields


class Asked:
    """A question that fails with what is in `failing`, by model, and else is answered with the model's name."""

    def __init__(self, failing: Mapping[str, errors.ZoeError] | None = None) -> None:
        self._failing = failing or {}
        self.models: list[str] = []

    async def __call__(self, model: str, engine: Engine) -> str:
        assert engine.health.alive
        self.models.append(model)
        if model in self._failing:
            raise self._failing[model]
        return model


def test_each_candidate_is_followed_by_those_who_answer_in_its_place() -> None:
    chain = [named("a", fallback="c"), named("b", fallback="a"), named("c", fallback="d"), named("d")]
    fleet = Fleet(chain, ScriptedEngine)
    assert [spec.name for spec in fallback.candidates(fleet, PLAN)] == ["a", "c", "d", "b"]
    assert [spec.name for spec in fallback.candidates(fleet, RoutePlan(("b",), "test"))] == ["b", "a", "c", "d"]
    alone = RoutePlan(("a",), "test", stands_alone=True)
    assert [spec.name for spec in fallback.candidates(fleet, alone)] == ["a"]


def test_who_has_not_the_adapter_is_not_asked() -> None:
    jokes = LlamaOptions(adapters={"jokes": Adapter(path=Path("unused"))})
    fleet = Fleet([named("a", options=jokes, fallback="b"), named("b", fallback="c"), named("c", options=jokes)])
    plan = RoutePlan(("a",), "test", adapter="jokes")
    assert [spec.name for spec in fallback.candidates(fleet, plan)] == ["a", "c"]


SEEING = LlamaOptions(n_slots=1, projector_path=Path("unused"))
MUTE = LlamaOptions(n_slots=1, dialect="plain")
PICTURE = {"type": "picture", "data": "", "path": "messages[0].content[0]"}
ASKED = protocol.ChatRequest("r", "a", ({"role": "user", "content": "hi"},))


@pytest.mark.parametrize(
    ("changes", "cannot", "can"),
    [
        ({"messages": ({"role": "user", "content": [PICTURE]},)}, {}, {"options": SEEING}),
        ({"tools": (protocol.Tool("turn_on"),)}, {"options": MUTE}, {}),
        ({"answer_schema": protocol.AnswerSchema({}, "format")}, {}, {"engine": "llama"}),
        ({"logprobs": 0}, {}, {"engine": "llama"}),
        ({"prompt": "Once"}, {"roles": ("embeddings",)}, {}),
    ],
    ids=["pictures", "tools", "schema", "logprobs", "prompt"],
)
def test_who_cannot_do_what_a_request_needs_is_not_asked(
    changes: dict[str, Any], cannot: dict[str, Any], can: dict[str, Any]
) -> None:
    needed = needs(replace(ASKED, **changes))
    fleet = Fleet([named("a", fallback="b", **cannot), named("b", fallback="c", **cannot), named("c", **can)])
    plan = RoutePlan(("a",), "test")
    assert [spec.name for spec in fallback.candidates(fleet, plan, needed)] == ["a", "c"]
    assert [spec.name for spec in fallback.candidates(fleet, plan, needs(ASKED))] == ["a", "b", "c"]


async def test_where_no_stand_in_can_do_it_the_error_is_that_of_the_first(make: Make) -> None:
    fleet = make(named("a", options=SEEING, fallback="b"), named("b"), broken={"a": DOWN})
    asked = Asked()
    with pytest.raises(errors.EngineUnavailableError, match="its file is missing") as caught:
        await fallback.ask(fleet, RoutePlan(("a",), "test"), asked, needed=Capabilities(pictures=True))
    assert "Tried" not in caught.value.message
    assert asked.models == []


@pytest.mark.parametrize("error", [CRASHED, DOWN, FULL, errors.OutOfMemoryError("killed")])
async def test_the_next_one_answers_and_it_is_told(
    make: Make, error: errors.ZoeError, caplog: pytest.LogCaptureFixture
) -> None:
    fleet = make(named("a"), named("b"))
    asked = Asked({"a": error})
    assert await fallback.ask(fleet, PLAN, asked) == "b"
    assert asked.models == ["a", "b"]
    assert "model b answers instead of a" in caplog.text
    assert [status.open_requests for status in fleet.status()] == [0, 0]


async def test_a_model_that_cannot_be_loaded_is_passed_over(make: Make) -> None:
    fleet = make(named("a"), named("b"), broken={"a": errors.OutOfMemoryError("unable to allocate CPU buffer")})
    assert await fallback.ask(fleet, PLAN, Asked()) == "b"


@pytest.mark.parametrize("error", [WRONG, errors.EngineError("a bug"), errors.ModelKindError.no_embeddings()])
async def test_what_is_wrong_with_the_request_is_said_at_once(make: Make, error: errors.ZoeError) -> None:
    asked = Asked({"a": error})
    with pytest.raises(type(error)) as caught:
        await fallback.ask(make(named("a"), named("b")), PLAN, asked)
    assert caught.value is error
    assert asked.models == ["a"]


async def test_the_error_of_a_single_candidate_is_its_own(make: Make) -> None:
    with pytest.raises(errors.EngineCrashedError) as caught:
        await fallback.ask(make(named("a")), RoutePlan(("a",), "test"), Asked({"a": CRASHED}))
    assert caught.value is CRASHED


async def test_when_nobody_can_answer_everybody_is_named(make: Make) -> None:
    with pytest.raises(errors.QueueFullError) as caught:
        await fallback.ask(make(named("a"), named("b")), PLAN, Asked({"a": CRASHED, "b": FULL}))
    error = caught.value
    assert (error.status, error.code, error.retry_after_s) == (429, "queue_full", 5.0)
    assert error.message == "no model could answer. Tried a: it crashed; b: too many"


async def test_what_a_stand_in_does_not_like_is_not_the_request_s_fault(make: Make) -> None:
    with pytest.raises(errors.EngineUnavailableError, match=r"a: its file .* b: messages\[0\]: no picture") as caught:
        await fallback.ask(make(named("a"), named("b")), PLAN, Asked({"a": DOWN, "b": WRONG}))
    assert caught.value.status == 503


async def test_a_prompt_that_is_too_long_goes_to_a_larger_context(make: Make) -> None:
    fleet = make(named("a"), named("b"), named("c", options=LlamaOptions(n_ctx_tokens=8192)))
    plan = RoutePlan(("a", "b", "c"), "test", rule="reasoning")
    asked = Asked({"a": TOO_LONG})
    assert await fallback.ask(fleet, plan, asked) == "c"
    assert asked.models == ["a", "c"]
    larger = errors.ContextSizeError(9000, 8192)
    with pytest.raises(errors.ContextSizeError) as caught:
        await fallback.ask(fleet, plan, Asked({"a": TOO_LONG, "c": larger}))
    assert caught.value is larger
    with pytest.raises(errors.ContextSizeError) as caught:
        await fallback.ask(fleet, RoutePlan(("a", "c"), "test", rule="named"), Asked({"a": TOO_LONG}))
    assert caught.value is TOO_LONG


async def test_what_only_one_model_can_answer_is_asked_of_nobody_else(make: Make) -> None:
    fleet = make(named("a", fallback="b"), named("b"), broken={"a": DOWN})
    with pytest.raises(errors.EngineUnavailableError, match="its file is missing"):
        async with fallback.lease(fleet, PLAN):
            pytest.fail("it cannot be there")
