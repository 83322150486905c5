"""Line 32 of the behaviours: what one conversation says never appears in another, under all the pressure there is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fixtures.random_gguf import whole_words
from tests.server.llama.conftest import Engine
from tests.soak.conversations import Conversation, Turn, copied
from zoe_server.protocol import TERMINAL_EVENTS, Finish, Text

N_CONVERSATIONS = 1000
N_OPEN = 24
N_STEPS_BETWEEN_AUDITS = 100
CERTAIN = -1e-3
"""Log-probability: a single cell that is not the right one takes at least half of it, which is -0.69."""


@pytest.fixture
def engine(copying_model: Path) -> Iterator[Engine]:
    """Six slots that share cells for less than four long conversations."""
    engine = Engine(copying_model, n_ctx_tokens=768, n_slots=6, n_batch_tokens=128)
    yield engine
    engine.runner.close()


@dataclass
class Asked:
    """One request under way, and the turns after it."""

    name: str
    turn: Turn
    rest: list[Turn]
    begun_at_step: int


class Canaries:
    """Leads many conversations at once, step by step, and judges every answer as soon as it ends."""

    def __init__(self, engine: Engine, n_conversations: int) -> None:
        self._engine = engine
        vocab = engine.runner.vocab
        words = [vocab.tokenize(f" {word}".encode())[0] for word in whole_words()]
        self._waiting = iter([(f"c{n}", Conversation(n, words).turns()) for n in range(n_conversations)])
        self._asked: dict[str, Asked] = {}
        self.endings: dict[str, int] = {}
        self.steps = 0

    def run(self) -> None:
        """Lead all conversations to their end."""
        while self._begin_more() or self._asked:
            self._leave()
            self._engine.step()
            self.steps += 1
            for name in [name for name in self._asked if self._has_ended(name)]:
                self._take(self._asked.pop(name))
            if self.steps % N_STEPS_BETWEEN_AUDITS == 0:
                assert self._engine.audit() == []

    def _begin_more(self) -> bool:
        begun = False
        while len(self._asked) < N_OPEN and (following := next(self._waiting, None)):
            self._ask(*following)
            begun = True
        return begun

    def _ask(self, conversation: str, turns: list[Turn]) -> None:
        turn, *rest = turns
        name = f"{conversation}.{len(rest)}"
        priority = "background" if turn.background else "interactive"
        self._engine.ask(
            name, "", prompt=turn.prompt, max_tokens=turn.n_answer_tokens, priority=priority, logprobs=0
        )  # fmt: skip
        self._asked[name] = Asked(name, turn, rest, self.steps)

    def _leave(self) -> None:
        for asked in self._asked.values():
            if asked.turn.leaves == self.steps - asked.begun_at_step:
                self._engine.loop.cancel(asked.name)

    def _has_ended(self, name: str) -> bool:
        return any(isinstance(event, TERMINAL_EVENTS) for event in self._engine.events.get(name, ())[-1:])

    def _take(self, asked: Asked) -> None:
        self._judge(asked)
        del self._engine.events[asked.name]
        if asked.rest:
            self._ask(asked.name.split(".")[0], asked.rest)

    def _judge(self, asked: Asked) -> None:
        """Every word must be the right one, and beyond doubt."""
        finish: Finish = self._engine.finish(asked.name)
        self.endings[finish.reason] = self.endings.get(finish.reason, 0) + 1
        n_said = finish.usage.completion_tokens
        if finish.reason == "length":
            n_fits = self._engine.runner.n_cells - len(asked.turn.prompt)
            assert n_said == min(asked.turn.n_answer_tokens or n_fits, n_fits)
        expected = self._engine.runner.vocab.detokenize(copied(asked.turn.prompt, n_said)).decode()
        assert self._engine.text(asked.name) == expected, f"{asked.name} says what it cannot know"
        drawn = [one for event in self._engine.events[asked.name] if isinstance(event, Text) for one in event.tokens]
        assert len(drawn) == n_said
        assert all(one.token.logprob > CERTAIN for one in drawn), f"{asked.name} has read something else besides"


def test_32_no_conversation_reads_what_another_one_wrote(engine: Engine, sized: Callable[..., int]) -> None:
    n_conversations = sized(N_CONVERSATIONS)
    canaries = Canaries(engine, n_conversations)
    canaries.run()
    stats = engine.loop.stats()
    print(f"{n_conversations} conversations, {canaries.steps} steps, {canaries.endings}, {stats}")  # noqa: T201
    assert stats["evictions"] > n_conversations / 4
    assert stats["preemptions"] >= n_conversations / 50
    assert stats["reused_tokens"] > stats["computed_tokens"] / 4
    assert canaries.endings.keys() == {"length", "cancelled"}
    assert (stats["running"], stats["waiting"], stats["audit_mismatches"], engine.audit()) == (0, 0, 0, [])
