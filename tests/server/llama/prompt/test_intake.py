"""From requests to jobs: what cannot fit is refused before it costs anybody time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.fixtures.random_gguf import whole_words
from zoe_server.errors import ContextSizeError, from_wire, to_wire
from zoe_server.llama.prompt.tokenizer import Vocab
from zoe_server.protocol import ChatRequest

if TYPE_CHECKING:
    from conftest import Engine

WORDS = " ".join(whole_words()[:50]) + " "


@pytest.fixture
def read_bytes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the texts that are tokenized."""
    sizes: list[int] = []
    tokenize = Vocab.tokenize

    def counting(self: Vocab, text: bytes, **options: bool) -> list[int]:
        sizes.append(len(text))
        return tokenize(self, text, **options)

    monkeypatch.setattr(Vocab, "tokenize", counting)
    return sizes


@pytest.mark.parametrize("kind", ["chat", "raw"])
def test_megabytes_are_refused_after_some_kilobytes(engine: Engine, read_bytes: list[int], kind: str) -> None:
    text = WORDS * (2_000_000 // len(WORDS))
    request = (
        ChatRequest("r", "m", ({"role": "user", "content": text},))
        if kind == "chat"
        else ChatRequest("r", "m", (), prompt=text)
    )
    with pytest.raises(ContextSizeError, match="about ") as caught:
        engine.intake.prepare(request, 0.0)
    assert sum(read_bytes) < 100_000
    n_tokens = len(engine.runner.vocab.tokenize(text.encode()))
    assert caught.value.details["n_prompt_tokens"] == pytest.approx(n_tokens, rel=0.02)
    assert to_wire(from_wire(to_wire(caught.value))) == to_wire(caught.value)


def test_a_long_text_of_few_tokens_fits(make_engine: Callable[..., Engine]) -> None:
    engine = make_engine(n_ctx_tokens=256)
    text = "<|im_end|>" * 240  # a token each, in a raw prompt
    job = engine.intake.prepare(ChatRequest("r", "m", (), prompt=text), 0.0)
    assert len(text) > 8 * 256
    assert job.sequence.n_prompt == 240


def test_more_tokens_than_the_context_are_not_looked_at(engine: Engine) -> None:
    with pytest.raises(ContextSizeError):
        engine.intake.prepare(ChatRequest("r", "m", (), prompt=(10**9,) * 100_000), 0.0)


def test_more_messages_than_tokens_are_not_rendered(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Templates look at all messages for each of them, some at least."""
    monkeypatch.delattr(type(engine.intake._template), "render")
    with pytest.raises(ContextSizeError):
        engine.intake.prepare(ChatRequest("r", "m", ({"role": "user", "content": "x"},) * 100_000), 0.0)
