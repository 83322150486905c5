"""The probabilities of drawn tokens, and the text that each of them wrote."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoe_server.llama.probabilities import Probabilities, TokenLedger
from zoe_server.protocol import DrawnToken, Reasoning, Text, TokenProbability, ToolCallStart

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.server.llama.conftest import Engine

PIECES = [b"a", b"b", b"c", b"d", b"e"]


def drawn(piece: bytes) -> DrawnToken:
    return DrawnToken(TokenProbability(tuple(piece), -1.0))


def written(events: list[object]) -> list[bytes]:
    return [bytes(one.token.data) for event in events if isinstance(event, Text) for one in event.tokens]


def test_a_token_s_probability_is_the_model_s_own() -> None:
    probabilities = Probabilities(3, PIECES.__getitem__)
    probabilities.note(1, np.log(np.array([0.1, 0.2, 0.4, 0.25, 0.05], dtype=np.float32)) + 7)
    (one,) = probabilities.take()
    assert one.token.data == tuple(b"b")
    assert one.token.logprob == pytest.approx(math.log(0.2), abs=1e-5)
    assert [bytes(other.data) for other in one.top] == [b"c", b"d", b"b"]
    assert [math.exp(other.logprob) for other in one.top] == pytest.approx([0.4, 0.25, 0.2], abs=1e-5)
    assert probabilities.take() == []


def test_none_besides_the_drawn_one_and_never_more_than_there_are() -> None:
    for n_top, expected in ((0, 0), (20, 5)):
        probabilities = Probabilities(n_top, PIECES.__getitem__)
        probabilities.note(0, np.zeros(5, dtype=np.float32))
        assert len(probabilities.take()[0].top) == expected


@given(st.lists(st.text(min_size=1, max_size=4), min_size=1, max_size=8), st.data())
def test_tokens_and_text_cut_anywhere_meet_again(pieces: list[str], data: st.DataObject) -> None:
    answer = "".join(pieces)
    raw = answer.encode(errors="surrogatepass") if answer.isascii() else answer.encode(errors="replace")
    answer = raw.decode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=6)))
    tokens = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True) if a < b]
    ends = sorted(data.draw(st.lists(st.integers(0, len(answer)), max_size=4)))
    texts = [answer[a:b] for a, b in zip([0, *ends], [*ends, len(answer)], strict=True) if a < b]
    ledger = TokenLedger()
    ledger.add(map(drawn, tokens))
    events = ledger.annotate(map(Text, texts))
    assert written(list(events)) == tokens


def test_what_is_dropped_between_texts_takes_its_tokens_along() -> None:
    ledger = TokenLedger()
    ledger.add(map(drawn, [b"<think>", b"h", b"m", b"</think>", b"\n", b" So", b" it", b" is", b"END"]))
    events = ledger.annotate([Reasoning("hm"), Text("So it"), Text(" is")])
    assert written(list(events)) == [b" So", b" it", b" is"]
    assert [event.tokens for event in events if isinstance(event, Text)][1] == (drawn(b" is"),)


def test_calls_between_texts_show_no_tokens() -> None:
    ledger = TokenLedger()
    ledger.add(map(drawn, [b"ok", b"<tool_call>", b"f", b"</tool_call>", b"yes"]))
    events = ledger.annotate([Text("ok"), ToolCallStart(0, "c", "f"), Text("yes")])
    assert written(list(events)) == [b"ok", b"yes"]


def test_bytes_that_are_no_character_still_belong_to_their_text() -> None:
    ledger = TokenLedger()
    ledger.add(map(drawn, [b"a", b"\xff", b"b"]))
    assert written(list(ledger.annotate([Text("a\ufffdb")]))) == [b"a", b"\xff", b"b"]


@pytest.mark.parametrize("speculation", [True, False])
def test_an_answer_s_tokens_are_told_with_their_probabilities(
    make_engine: Callable[..., Engine], speculation: bool
) -> None:
    engine = make_engine(speculation=speculation)
    plain = engine.answer("plain", "hello hello hello")
    engine.ask("asked", "hello hello hello", logprobs=3)
    engine.run()
    tokens = [one for event in engine.events["asked"] if isinstance(event, Text) for one in event.tokens]
    assert b"".join(bytes(one.token.data) for one in tokens).decode(errors="replace") == plain
    for one in tokens:
        assert len(one.top) == 3
        assert one.token == one.top[0]  # greedy
        assert 0 >= one.top[0].logprob >= one.top[1].logprob >= one.top[2].logprob
