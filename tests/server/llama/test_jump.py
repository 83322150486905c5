"""Forced tokens, held against all sentences of a small language, and on the real library."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoe_server.catalogue.spec import DIALECTS
from zoe_server.llama import dialects
from zoe_server.llama.grammar import Grammar
from zoe_server.llama.grammar_gate import GrammarGate
from zoe_server.llama.jump import MAX_FORCED_BYTES, JumpForward
from zoe_server.protocol import ChatRequest, Tool, ToolCallArguments, ToolChoice

if TYPE_CHECKING:
    from conftest import Engine

END = 0


class Letters:
    """A vocabulary of single letters and some words, which cuts a text at its longest tokens."""

    def __init__(self, words: Sequence[str]) -> None:
        self._texts = [b"", *(bytes([byte]) for byte in range(256)), *sorted({word.encode() for word in words})]
        self.n_tokens = len(self._texts)
        self.eog_tokens = frozenset({END})

    def piece(self, token: int) -> bytes:
        return self._texts[token]

    def tokenize(self, text: bytes) -> list[int]:
        tokens = []
        while text:
            token = max(range(1, self.n_tokens), key=lambda t: len(self._texts[t]) * text.startswith(self._texts[t]))
            tokens.append(token)
            text = text[len(self._texts[token]) :]
        return tokens


@dataclass
class Language:
    """A grammar that is a list of its sentences; `written` is what an answer has of one."""

    sentences: frozenset[bytes]
    vocab: Letters
    written: bytes = b""
    end: int = END
    open_clones: list[Language] = field(default_factory=list)

    def clone(self) -> Language:
        copy = Language(self.sentences, self.vocab, self.written, self.end, self.open_clones)
        self.open_clones.append(copy)
        return copy

    def allowed(self, tokens: Sequence[int]) -> list[int]:
        return [token for token in tokens if self._allows(token)]

    def _allows(self, token: int) -> bool:
        if token in self.vocab.eog_tokens:
            return token == self.end and self.written in self.sentences
        text = self.written + self.vocab.piece(token)
        return any(sentence.startswith(text) for sentence in self.sentences)

    def accept(self, token: int) -> None:
        assert self._allows(token)
        self.written += self.vocab.piece(token)

    def close(self) -> None:
        self.open_clones[:] = [clone for clone in self.open_clones if clone is not self]


TEXTS = st.text("abü", max_size=6)


@given(sentences=st.sets(TEXTS, min_size=1, max_size=5), words=st.lists(st.text("abü", min_size=2, max_size=4)))
def test_every_sentence_begins_with_the_forced_tokens(sentences: set[str], words: list[str]) -> None:
    vocab = Letters(words)
    language = Language(frozenset(map(str.encode, sentences)), vocab)
    tokens = JumpForward(vocab).tokens(language, "language", b"")
    for sentence in language.sentences:
        assert tuple(vocab.tokenize(sentence)[: len(tokens)]) == tokens
    assert language.written == b""
    assert not language.open_clones


def test_forced_are_the_rest_of_a_name_and_what_all_names_go_on_with() -> None:
    vocab = Letters(["Kitchen", " light", '"}'])
    language = Language(frozenset({b'Kitchen light"}', b'Kettle"}'}), vocab)
    jump = JumpForward(vocab)
    language.accept(vocab.tokenize(b"K")[0])
    assert jump.tokens(language, "names", b"K") == ()
    language.accept(vocab.tokenize(b"i")[0])
    forced = jump.tokens(language, "names", b"Ki")
    assert b"".join(map(vocab.piece, forced)) == b'tchen light"}'


def test_a_token_that_could_go_on_is_left_to_the_model() -> None:
    language = Language(frozenset({b"light", b"lights"}), Letters(["light", "lights"]))
    assert JumpForward(language.vocab).tokens(language, "kinds", b"") == ()


def test_an_answer_that_may_end_with_any_of_the_end_tokens_is_not_forced_on() -> None:
    vocab = Letters(["<end>"])
    vocab.eog_tokens |= {vocab.n_tokens - 1}
    language = Language(frozenset({b"on", b"only"}), vocab, b"on", end=vocab.n_tokens - 1)
    assert JumpForward(vocab).tokens(language, "ends", b"on") == ()


def test_what_was_found_is_remembered_by_grammar_and_text() -> None:
    vocab = Letters([])
    jump = JumpForward(vocab)
    assert jump.tokens(Language(frozenset({b"ab"}), vocab), "one", b"") == tuple(vocab.tokenize(b"ab"))
    assert jump.tokens(Language(frozenset({b"b"}), vocab), "one", b"") == tuple(vocab.tokenize(b"ab"))
    assert jump.tokens(Language(frozenset({b"b"}), vocab), "other", b"") == tuple(vocab.tokenize(b"b"))


def test_a_grammar_without_end_is_followed_for_a_while_only() -> None:
    vocab = Letters([])
    endless = Language(frozenset({b"a" * 10 * MAX_FORCED_BYTES}), vocab)
    assert len(JumpForward(vocab).tokens(endless, "endless", b"")) == MAX_FORCED_BYTES


SET_LIGHT = Tool(
    "light__HassLightSet",
    "Sets the brightness of a light.",
    {
        "type": "object",
        "properties": {"name": {"type": "string"}, "brightness": {"type": "integer", "minimum": 0, "maximum": 100}},
        "required": ["name", "brightness"],
    },
)
NAMES = ("Kitchen light", "Kitchen lamp", "Bedside lamp")


def test_the_librarys_grammar_forces_what_is_written_in_it(engine: Engine) -> None:
    vocab = engine.runner.vocab
    gate = GrammarGate(Grammar('root ::= "turn " ("on" | "off") " the lamp"'), vocab)
    jump = JumpForward(vocab)
    forced = gate.forced(jump)
    assert vocab.detokenize(forced) in (b"turn", b"turn ")
    for token in (*forced, *vocab.tokenize(b"turn on"[len(vocab.detokenize(forced)) :])):
        gate.accept(token)
    rest = gate.forced(jump)
    assert vocab.detokenize(rest) == b" the lamp"
    for token in rest:
        gate.accept(token)
    assert gate.forced(jump) == ()
    gate.close()


def test_a_call_is_valid_and_takes_fewer_steps(make_engine: Callable[..., Engine]) -> None:
    steps = {}
    for jump_forward in (True, False):
        engine = make_engine(jump_forward=jump_forward)
        engine.ask("call", "dim the light", max_tokens=200, tools=(SET_LIGHT,), tool_choice=ToolChoice("required"),
                   parallel_tool_calls=False, argument_values={"name": NAMES})  # fmt: skip
        engine.run()
        finish = engine.finish("call")
        pieces = [event.text for event in engine.events["call"] if isinstance(event, ToolCallArguments)]
        arguments = json.loads("".join(pieces))
        assert arguments["name"] in NAMES
        assert 0 <= arguments["brightness"] <= 100
        assert finish.reason == "tool_calls"
        steps[jump_forward] = engine.loop.stats()["step"]
        assert (engine.sampler.forced_tokens > 0) == jump_forward
    assert steps[True] <= 0.6 * steps[False]


WITH_CALLS = [name for name in DIALECTS if name != "plain"]


@pytest.mark.parametrize("dialect", WITH_CALLS)
def test_forced_tokens_make_valid_calls_in_every_dialect(make_engine: Callable[..., Engine], dialect: str) -> None:
    engine = make_engine(dialect=dialect)
    engine.ask("call", "dim the light", max_tokens=400, tools=(SET_LIGHT,), tool_choice=ToolChoice("required"),
               parallel_tool_calls=False, argument_values={"name": NAMES})  # fmt: skip
    engine.run()
    pieces = [event.text for event in engine.events["call"] if isinstance(event, ToolCallArguments)]
    arguments = json.loads("".join(pieces))
    assert arguments["name"] in NAMES
    assert 0 <= arguments["brightness"] <= 100
    assert engine.finish("call").reason == "tool_calls"
    assert engine.sampler.forced_tokens > 0


@pytest.mark.parametrize("dialect", WITH_CALLS)
def test_whatever_wakes_a_dialects_grammar_fits_it(engine: Engine, dialect: str) -> None:
    vocab = engine.runner.vocab
    request = ChatRequest("r", "m", (), tools=(SET_LIGHT,))
    grammar = dialects.by_name(dialect).grammar(request)
    assert grammar is not None
    for text in grammar.triggers + grammar.openings:
        gate = GrammarGate(grammar, vocab)
        for token in vocab.tokenize(text.encode()):
            gate.accept(token)
        assert gate.awake, text
        forced = gate.forced(JumpForward(vocab))
        assert all(token not in vocab.eog_tokens for token in forced)
        gate.close()


def test_the_only_tools_name_is_forced_behind_harmonys_recipient(engine: Engine) -> None:
    vocab = engine.runner.vocab
    grammar = dialects.by_name("harmony").grammar(ChatRequest("r", "m", (), tools=(SET_LIGHT,)))
    assert grammar is not None
    gate = GrammarGate(grammar, vocab)
    for token in vocab.tokenize(b"to=functions."):
        gate.accept(token)
    forced = vocab.detokenize(gate.forced(JumpForward(vocab)))
    assert f"{SET_LIGHT.name}<|channel|>".encode().startswith(forced)
    assert forced.startswith(b"light__HassLight")
    gate.close()


def test_the_limit_of_tokens_holds_within_forced_text(make_engine: Callable[..., Engine]) -> None:
    engine = make_engine()
    for limit in (1, 2, 5, 9):
        engine.ask(f"call {limit}", "dim the light", max_tokens=limit, tools=(SET_LIGHT,),
                   tool_choice=ToolChoice("required"))  # fmt: skip
        engine.run()
        finish = engine.finish(f"call {limit}")
        assert (finish.reason, finish.usage.completion_tokens) == ("length", limit)


def test_forced_tokens_change_no_other_answer(make_engine: Callable[..., Engine]) -> None:
    engine, alone = make_engine(n_batch_tokens=64), make_engine(prefix_cache=False)
    engine.ask("call", "dim the light", max_tokens=200, tools=(SET_LIGHT,), tool_choice=ToolChoice("required"))
    engine.ask("talk", "what is the temperature", max_tokens=40)
    engine.run()
    assert engine.text("talk") == alone.answer("talk", "what is the temperature", max_tokens=40)
    assert engine.finish("call").reason in ("tool_calls", "length")
