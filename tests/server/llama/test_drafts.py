"""Drafts: what a grammar leaves no choice about saves steps, and never changes an answer. On the real library."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from zoe_server.catalogue.engine_options import DIALECTS
from zoe_server.errors import InvalidRequestError
from zoe_server.llama import dialects
from zoe_server.llama.constraint.constraint import Compiler, GuidedConstraint, allowed_tokens
from zoe_server.llama.constraint.grammar import Grammar, literal
from zoe_server.protocol import ChatRequest, Sampling, Tool, ToolCallArguments, ToolChoice

if TYPE_CHECKING:
    from conftest import Engine

SET_LIGHT = Tool(
    "light__HassLightSet",
    "Sets the brightness of a light.",
    {
        "type": "object",
        "properties": {"name": {"type": "string"}, "brightness": {"type": "integer", "minimum": 0, "maximum": 100}},
        "required": ["name", "brightness"],
    },
)


class CountingMatcher:
    """Counts how often a constraint asks llguidance what must come."""

    def __init__(self, held: GuidedConstraint) -> None:
        self._matcher = held._matcher
        self.n_computed = 0
        held._matcher = self

    def __getattr__(self, name: str) -> object:
        self.n_computed += name.startswith(("compute", "unsafe_compute"))
        return getattr(self._matcher, name)


NAMES = ("Kitchen light", "Kitchen lamp", "Bedside lamp")


def test_a_draft_is_what_the_grammar_has(engine: Engine) -> None:
    vocab = engine.runner.vocab
    held = Compiler(vocab).constraint(Grammar(f'start: {literal("turn ")} ("on" | "off") {literal(" the lamp")}'))
    assert vocab.detokenize(held.forced()) in (b"turn", b"turn ")
    for token in vocab.tokenize(b"turn on"):
        held.accept(token)
    rest = held.forced()
    assert vocab.detokenize(rest) == b" the lamp"
    for token in rest:
        held.accept(token)
    assert held.forced() == []


def test_what_must_come_is_computed_once(engine: Engine) -> None:
    vocab = engine.runner.vocab
    text = " ".join(f"number {number}" for number in range(500))
    held = Compiler(vocab).constraint(Grammar(f'start: ("a" | "b") {literal(text)} ("a" | "b")'))
    matcher = CountingMatcher(held)
    for token in vocab.tokenize(b"a"):
        held.accept(token)
    said = b""
    while len(said) < len(text):
        assert held.forced()
        (token,) = allowed_tokens(held.mask(), vocab.n_tokens)
        assert token == held.forced()[0]
        held.accept(int(token))
        said += vocab.piece(int(token))
    assert said.decode() == text
    assert matcher.n_computed < 10
    assert {vocab.piece(int(token)) for token in allowed_tokens(held.mask(), vocab.n_tokens)} == {b"a", b"b"}


@pytest.mark.parametrize("regex", ["(a{1000}){1000}", "a{100000}"])
def test_an_answer_that_is_given_already_is_refused(engine: Engine, regex: str) -> None:
    with pytest.raises(InvalidRequestError, match="given already"):
        Compiler(engine.runner.vocab).constraint(Grammar(f"start: /{regex}/"))


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
        assert (engine.scheduler.drafts.accepted_from_grammar > 0) == jump_forward
    assert steps[True] <= 0.6 * steps[False]


WITH_CALLS = [name for name in DIALECTS if name != "plain"]


@pytest.mark.parametrize("dialect", WITH_CALLS)
def test_drafts_make_valid_calls_in_every_dialect(make_engine: Callable[..., Engine], dialect: str) -> None:
    engine = make_engine(dialect=dialect)
    engine.ask("call", "dim the light", max_tokens=400, tools=(SET_LIGHT,), tool_choice=ToolChoice("required"),
               parallel_tool_calls=False, argument_values={"name": NAMES})  # fmt: skip
    engine.run()
    pieces = [event.text for event in engine.events["call"] if isinstance(event, ToolCallArguments)]
    arguments = json.loads("".join(pieces))
    assert arguments["name"] in NAMES
    assert 0 <= arguments["brightness"] <= 100
    assert engine.finish("call").reason == "tool_calls"
    assert engine.scheduler.drafts.accepted_from_grammar > 0


@pytest.mark.parametrize("dialect", WITH_CALLS)
def test_whatever_wakes_a_dialects_grammar_fits_it(engine: Engine, dialect: str) -> None:
    vocab = engine.runner.vocab
    spoken = dialects.by_name(dialect)
    grammar = spoken.grammar(ChatRequest("r", "m", (), tools=(SET_LIGHT,)))
    assert grammar is not None
    for text in grammar.triggers + grammar.openings:
        held = Compiler(vocab, spoken.markers).constraint(grammar)
        for token in vocab.tokenize(text.encode()):
            held.accept(token)
        assert held.is_active, text
        assert all(token not in vocab.eog_tokens for token in held.forced())


def test_the_only_tools_name_follows_harmonys_recipient(engine: Engine) -> None:
    vocab = engine.runner.vocab
    spoken = dialects.by_name("harmony")
    grammar = spoken.grammar(ChatRequest("r", "m", (), tools=(SET_LIGHT,)))
    assert grammar is not None
    held = Compiler(vocab, spoken.markers).constraint(grammar)
    for token in vocab.tokenize(b"to=functions."):
        held.accept(token)
    draft = vocab.detokenize(held.forced())
    assert f"{SET_LIGHT.name}<|channel|>".encode().startswith(draft)
    assert draft.startswith(b"light__HassLight")


def test_the_limit_of_tokens_holds_within_a_draft(make_engine: Callable[..., Engine]) -> None:
    engine = make_engine()
    for limit in (1, 2, 5, 9):
        engine.ask(f"call {limit}", "dim the light", max_tokens=limit, tools=(SET_LIGHT,),
                   tool_choice=ToolChoice("required"))  # fmt: skip
        engine.run()
        finish = engine.finish(f"call {limit}")
        assert (finish.reason, finish.usage.completion_tokens) == ("length", limit)


def test_drafts_change_no_other_answer(make_engine: Callable[..., Engine]) -> None:
    engine, alone = make_engine(n_batch_tokens=64), make_engine(prefix_cache=False)
    engine.ask("call", "dim the light", max_tokens=200, tools=(SET_LIGHT,), tool_choice=ToolChoice("required"))
    engine.ask("talk", "what is the temperature", max_tokens=40)
    engine.run()
    assert engine.text("talk") == alone.answer("talk", "what is the temperature", max_tokens=40)
    assert engine.finish("call").reason in ("tool_calls", "length")


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_drafts_change_no_answer(make_engine: Callable[..., Engine], temperature: float) -> None:
    said = {}
    for jump_forward in (True, False):
        engine = make_engine(jump_forward=jump_forward, speculation=False)
        for seed in range(6):
            engine.ask(f"call {seed}", f"dim light {seed}", max_tokens=120, tools=(SET_LIGHT,),
                       tool_choice=ToolChoice("required"), argument_values={"name": NAMES},
                       sampling=Sampling(temperature=temperature, seed=seed))  # fmt: skip
            engine.run()
        said[jump_forward] = [
            [event.text for event in engine.events[f"call {seed}"] if isinstance(event, ToolCallArguments)]
            for seed in range(6)
        ]
    texts = {jump: ["".join(pieces) for pieces in answers] for jump, answers in said.items()}
    assert texts[True] == texts[False]
