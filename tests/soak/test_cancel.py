"""A request may be given up after any step of its life: it ends at once and once, and nothing of it is left.

Beside it somebody speaks whose words are known, so that the slightest disturbance shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.random_gguf import whole_words
from tests.server.llama.conftest import Engine
from tests.soak.conversations import N_PROMPT_TOKENS, copied
from zoe_server.protocol import Finish, Tool, ToolChoice

N_MOMENTS = 200
LEAST_MOMENTS = 8
LONG = " ".join(whole_words()[:100])
LIGHTS = ("Kitchen Light", "Kitchen Lamp", "Bed Lamp")
TURN_ON = Tool(
    "TurnOn",
    "Turns it on.",
    {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
)
CALL: dict[str, Any] = {
    "tools": (TURN_ON,),
    "tool_choice": ToolChoice("required"),
    "parallel_tool_calls": False,
    "argument_values": {"name": LIGHTS},
    "max_tokens": 60,
}


class Scene:
    """One engine in which the same thing happens again and again, and somebody leaves at another moment each time."""

    def __init__(self, engine: Engine, before: tuple[str, ...], fields: dict[str, Any]) -> None:
        self._engine = engine
        self._before = before
        self._fields = fields
        words = [engine.runner.vocab.tokenize(f" {word}".encode())[0] for word in whole_words()]
        self._said = tuple(words[:N_PROMPT_TOKENS])

    def play(self, n_steps: int | None) -> int:
        """Let the victim leave after `n_steps`, None for never, and return how many steps there are until its end."""
        engine = self._engine
        engine.events.clear()
        engine.scheduler.memory.clear_cached()
        engine.ask("other", "", prompt=self._said, max_tokens=40)
        for number, text in enumerate(self._before):
            engine.ask(f"before{number}", text, **self._fields)
        engine.ask("victim", LONG, **self._fields)
        n_lived = 0
        while n_lived != n_steps and not self._has_ended():
            engine.step()
            n_lived += 1
        engine.loop.cancel("victim")
        engine.step()
        assert self._has_ended()
        engine.run()
        self._nothing_is_left()
        return n_lived

    def ending(self) -> Finish:
        """Return the victim's end, which is its only one."""
        return self._engine.finish("victim")

    def _has_ended(self) -> bool:
        return any(isinstance(event, Finish) for event in self._engine.events.get("victim", ()))

    def _nothing_is_left(self) -> None:
        engine, memory = self._engine, self._engine.scheduler.memory
        for name in engine.events:
            engine.finish(name)
        assert engine.text("other") == engine.runner.vocab.detokenize(copied(self._said, 40)).decode()
        assert (engine.loop._jobs, engine.sampler._samplers, engine.sampler._stuck) == ({}, {}, {})
        assert (engine.scheduler.n_running, engine.scheduler.n_waiting, engine.scheduler._reserved) == (0, 0, {})
        assert memory.n_cached + len(memory._free) == memory.n_slots
        assert engine.audit() == []


@pytest.fixture
def make(copying_model: Path) -> Iterator[Callable[..., Engine]]:
    engines: list[Engine] = []

    def engine(**config: object) -> Engine:
        engines.append(Engine(copying_model, n_batch_tokens=32, **config))
        return engines[-1]

    yield engine
    for one in engines:
        one.runner.close()


@pytest.mark.parametrize(
    ("before", "fields", "config"),
    [
        ((), {"max_tokens": 20}, {"n_slots": 4}),
        ((), CALL, {"n_slots": 4}),
        ((), CALL, {"n_slots": 4, "jump_forward": False, "speculation": False}),
        (("hello",) * 2, {"max_tokens": 20}, {"n_slots": 1}),
        ((LONG,), {"max_tokens": 20}, {"n_slots": 4}),
        ((), {"max_tokens": 20, "priority": "background"}, {"n_slots": 4}),
        (("hello",), {"max_tokens": 400}, {"n_slots": 4, "n_ctx_tokens": 768, "speculation": False}),
    ],
    ids=["text", "call", "call, token by token", "queue", "waiting for a flight", "background", "preempted"],
)
def test_a_request_may_be_given_up_after_any_step(
    make: Callable[..., Engine],
    sized: Callable[..., int],
    before: tuple[str, ...],
    fields: dict[str, Any],
    config: dict[str, Any],
) -> None:
    engine = make(**config)
    scene = Scene(engine, before, fields)
    n_steps = scene.play(None)
    assert (engine.scheduler.preemptions > 0) == ("n_ctx_tokens" in config)
    assert scene.ending().reason != "cancelled"
    n_moments = min(n_steps, sized(N_MOMENTS, least=LEAST_MOMENTS))
    for moment in range(n_moments):
        assert scene.play(moment * n_steps // n_moments) < n_steps
        assert scene.ending().reason == "cancelled"
    print(f"{n_moments} of {n_steps} moments")  # noqa: T201
