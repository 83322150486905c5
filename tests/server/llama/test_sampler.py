"""Settings of the samplers, and grammars held against tokens, on the real library."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from zoe_server.errors import InvalidRequestError
from zoe_server.llama.constraint.constraint import Compiler, GuidedConstraint, LazyTrigger, allowed_tokens, exact_tokens
from zoe_server.llama.constraint.grammar import Grammar
from zoe_server.llama.loop import Job
from zoe_server.llama.sampler import TokenSampler, settings_for
from zoe_server.protocol import AnswerGrammar, AnswerSchema, Failure, Sampling

if TYPE_CHECKING:
    from conftest import Engine
    from numpy.typing import NDArray

pytestmark = pytest.mark.timeout(60)
YES_OR_NO = Grammar('start: "yes" | "no"')
CALL = Grammar('start: "<tool_call>" "{}" "</tool_call>"', lazy=True, triggers=("<tool_call>",))
MARKERS = ("<tool_call>", "</tool_call>")


def test_gaps_are_filled_from_the_defaults_then_from_llama_cpp() -> None:
    settings = settings_for(Sampling(top_k=3), {"temperature": 0.2, "top_k": 7})
    assert (settings.temperature, settings.top_k, settings.top_p) == (0.2, 3, 0.95)
    assert settings.seed is None


@pytest.mark.parametrize(
    ("sampling", "param"),
    [
        (Sampling(temperature=math.nan), "temperature"),
        (Sampling(frequency_penalty=math.inf), "frequency_penalty"),
        (Sampling(repeat_penalty=0.0), "repeat_penalty"),
        (Sampling(repeat_penalty=-1.0), "repeat_penalty"),
    ],
)
def test_numbers_that_would_end_the_process_are_refused(sampling: Sampling, param: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        settings_for(sampling, {})
    assert caught.value.param == param


@pytest.mark.parametrize("seed", [-1, 2**32 - 1, 2**40])
def test_any_seed_is_a_seed_and_not_the_sign_for_random(seed: int) -> None:
    drawn = settings_for(Sampling(seed=seed), {}).seed
    assert drawn is not None
    assert 0 <= drawn < 2**32 - 1


def held_to(grammar: Grammar, engine: Engine) -> GuidedConstraint:
    return Compiler(engine.runner.vocab, MARKERS).constraint(grammar)


def allows(held: GuidedConstraint, token: int, engine: Engine) -> bool:
    mask = held.mask()
    return mask is None or token in allowed_tokens(mask, engine.runner.vocab.n_tokens)


def accept(held: GuidedConstraint, engine: Engine, text: str) -> bool:
    """Feed `text`; return whether every token of it was allowed."""
    for token in engine.runner.vocab.tokenize(text.encode()):
        if not allows(held, token, engine):
            return False
        held.accept(token)
    return True


def test_a_strict_grammar_applies_from_the_first_token(engine: Engine) -> None:
    vocab = engine.runner.vocab
    held = held_to(YES_OR_NO, engine)
    end = min(vocab.eog_tokens)
    assert not allows(held, vocab.tokenize(b"maybe")[0], engine)
    assert not allows(held, end, engine)
    assert accept(held, engine, "yes")
    assert allows(held, end, engine)


@pytest.mark.parametrize("before", ["", "I will do that. ", "x < y and <tool_ but no call, " * 5])
def test_a_lazy_grammar_sleeps_until_its_trigger(engine: Engine, before: str) -> None:
    held = held_to(CALL, engine)
    assert accept(held, engine, before)
    assert not held.is_active
    assert accept(held, engine, "<tool_call>")
    assert held.is_active
    assert not allows(held, engine.runner.vocab.tokenize(b"hello")[0], engine)
    assert accept(held, engine, "{}</tool_call>")
    assert allows(held, min(engine.runner.vocab.eog_tokens), engine)


def test_trigger_made_of_several_tokens_wakes_with_what_follows_in_its_last_one(engine: Engine) -> None:
    held = held_to(Grammar('start: "[call" "ing" "]"', lazy=True, triggers=("[call",)), engine)
    assert accept(held, engine, "hm [call")
    assert held.is_active
    assert accept(held, engine, "ing]")


def test_text_that_does_not_fit_the_grammar_it_starts_stays_free(engine: Engine) -> None:
    """The trigger ends inside a token, and the rest of that token is not in the grammar."""
    held = held_to(Grammar('start: "kit" "!"', lazy=True, triggers=("kit",)), engine)
    assert accept(held, engine, "the kitchen or anything, another kit")
    assert not held.is_active


OPENING = Grammar(
    'start: "{\\"n\\": 1}"',
    lazy=True,
    triggers=("[CALLS]",),
    openings=('{"n": ', '[{"n": '),
    thinking=(("<think>", "</think>"), ("[T]", "[/T]")),
)


@pytest.mark.parametrize(
    ("text", "woken"),
    [
        ('{"n": 1', '{"n": '),
        (' \n [{"n": 1', '[{"n": '),
        ('<think>\nHm\n{"n": 1}.\n</think>\n\n{"n": 1', '{"n": '),
        ('[T]{"n": 1}[/T]{"n": 1', '{"n": '),
        ('Hm\n{"n": 1', '{"n": '),
        ('{"m": 1}\n\n  {"n": 1', '{"n": '),
        ('<thin\n{"n": 1', '{"n": '),
        ("{[CALLS][", "[CALLS]"),
        ('So: {"n": 1}', None),
        ('Hm</think>{"n": 1', None),
        ('{"m": {"n": 1}}', None),
        ('<think>\n{"n": 1}\n', None),
        ('<think>\n{"m": 1}</think> So {"n": 1}', None),
        ('Hm <think>\n{"n": 1', '{"n": '),
        ('{"n', None),
        ("", None),
    ],
)
def test_an_opening_counts_only_where_a_line_begins_that_is_no_reasoning(text: str, woken: str | None) -> None:
    alarm = LazyTrigger(OPENING)
    found = (alarm.feed(char.encode()) for char in text)
    assert next((each for each in found if each is not None), None) == (woken.encode() if woken else None)
    whole = LazyTrigger(OPENING).feed(text.encode())
    assert (whole is None) == (woken is None)


def test_an_answer_that_begins_within_reasoning() -> None:
    alarm = LazyTrigger(replace(OPENING, reasoning_open=True))
    assert alarm.feed(b'Hm\n{"n": 1') is None
    assert alarm.feed(b"</think>") is None
    assert alarm.feed(b'\n{"n": 1') == b'{"n": 1'


@pytest.mark.parametrize("size", [1, 16, 10_000])
@pytest.mark.parametrize(
    ("before", "inside", "wakes"), [(0, 0, True), (0, 60, True), (5000, 60, True), (0, 100, False), (0, 5000, False)]
)
def test_white_space_in_an_opening_is_waited_for_only_so_long(
    size: int, before: int, inside: int, *, wakes: bool
) -> None:
    alarm = LazyTrigger(Grammar("start: /.*/", lazy=True, json_openings=('{"name": "on", ',)))
    text = b" " * before + b'{"name":' + b" " * inside + b'"on", '
    found = [alarm.feed(text[start : start + size]) for start in range(0, len(text), size)]
    assert any(found) == wakes
    assert len(alarm._line) <= max(size, 100)


def test_an_opening_wakes_the_grammar(engine: Engine) -> None:
    held = held_to(OPENING, engine)
    assert accept(held, engine, 'Sure.\n{"n": 1')
    assert held.is_active
    assert not allows(held, engine.runner.vocab.tokenize(b"2")[0], engine)
    assert accept(held, engine, "}")
    assert allows(held, min(engine.runner.vocab.eog_tokens), engine)


class SpacingVocab:
    """Puts a space before the first word, as SentencePiece vocabularies do; a token is a byte."""

    def tokenize(self, text: bytes) -> list[int]:
        return list(b" " + text)

    def detokenize(self, tokens: list[int]) -> bytes:
        return bytes(tokens)


def test_what_wakes_a_grammar_is_tokenized_without_a_space_of_its_own() -> None:
    assert exact_tokens(SpacingVocab(), b'{"n": ') == list(b'{"n": ')  # type: ignore[arg-type]  # all it needs


def test_an_unreadable_grammar_is_the_requests_fault(engine: Engine) -> None:
    with pytest.raises(InvalidRequestError, match="cannot be held to"):
        held_to(Grammar("start: missing"), engine)


def test_a_grammar_that_admits_nothing_is_the_requests_fault(engine: Engine) -> None:
    with pytest.raises(InvalidRequestError, match="no text satisfies"):
        held_to(Grammar('start: %json {"$ref": "#"}'), engine)


def test_control_tokens_are_no_text_but_for_the_markers(engine: Engine) -> None:
    vocab = engine.runner.vocab
    control = [
        token for token in range(vocab.n_tokens) if token in vocab.control_tokens and token not in vocab.eog_tokens
    ]
    mask = held_to(Grammar("start: /(.|\\n)+/"), engine).mask()
    assert mask is not None
    allowed = set(allowed_tokens(mask, vocab.n_tokens).tolist())
    assert control
    assert {vocab.piece(token) for token in control if token in allowed} <= {each.encode() for each in MARKERS}


def with_grammar(engine: Engine, name: str, grammar: Grammar, **sampling: float) -> Job:
    job = engine.prepare(name, "hello", max_tokens=40)
    settings = settings_for(Sampling(**({"temperature": 0.0} | sampling)), {})  # type: ignore[arg-type]  # any field
    job.sampler.close()
    n_vocab = engine.runner.vocab.n_tokens
    job.sampler = TokenSampler(settings, held_to(grammar, engine), n_vocab, engine.runner.n_ctx_tokens)
    return job


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_answer_within_a_grammar_ends_by_itself(engine: Engine, temperature: float) -> None:
    engine.loop.submit(with_grammar(engine, "a", YES_OR_NO, temperature=temperature))
    engine.run()
    assert engine.text("a") in {"yes", "no"}
    assert engine.finish("a").reason == "stop"


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_banned_tokens_are_never_drawn(engine: Engine, temperature: float) -> None:
    free = engine.prepare("free", "hello", max_tokens=40)
    engine.loop.submit(free)
    engine.run()
    drawn = set(free.sequence.tokens[free.sequence.n_prompt :])
    banned = tuple(drawn - engine.runner.vocab.eog_tokens)
    job = engine.prepare("without", "hello", max_tokens=40)
    settings = replace(settings_for(Sampling(temperature=temperature), {}), banned=banned)
    job.sampler.close()
    job.sampler = TokenSampler(settings, None, engine.runner.vocab.n_tokens, engine.runner.n_ctx_tokens)
    engine.loop.submit(job)
    engine.run()
    assert banned
    assert not set(job.sequence.tokens[job.sequence.n_prompt :]) & set(banned)


def test_penalties_hold_within_a_grammar(engine: Engine) -> None:
    grammar = Grammar('start: ("a" | "b" | "c" | "d")+')
    most = {}
    for penalty in (0.0, 2.0):
        name = f"penalty {penalty}"
        engine.loop.submit(with_grammar(engine, name, grammar, frequency_penalty=penalty))
        engine.run()
        most[penalty] = max(engine.text(name).count(letter) for letter in "abcd")
    assert most[2.0] < most[0.0]


class Exhausted:
    """Admits nothing, as llguidance does when a limit of its is reached; no grammar here reaches one."""

    problem = "lexer ran out of fuel"

    def __init__(self, engine: Engine) -> None:
        self._mask = np.zeros(-(-engine.runner.vocab.n_tokens // 32), dtype=np.uint32)

    def mask(self) -> NDArray[np.uint32]:
        return self._mask

    def forced(self) -> list[int]:
        return []

    def accept(self, token: int) -> None:
        pytest.fail(f"token {token} was drawn")


def test_a_constraint_that_admits_no_token_fails_that_request_only(engine: Engine) -> None:
    job = with_grammar(engine, "stuck", YES_OR_NO)
    job.sampler.close()
    vocab = engine.runner.vocab
    job.sampler = TokenSampler(settings_for(Sampling(), {}), Exhausted(engine), vocab.n_tokens, 64)
    engine.loop.submit(job)
    engine.ask("other", "hello")
    engine.run()
    failed = engine.events["stuck"][-1]
    assert isinstance(failed, Failure)
    assert "lexer ran out of fuel" in failed.error.message
    assert failed.error.status == 400
    assert sum(isinstance(event, Failure) for event in engine.events["stuck"]) == 1
    assert engine.finish("other").reason == "length"


@pytest.mark.parametrize(
    "form",
    [
        AnswerSchema({"type": "object", "properties": {"a": {"$ref": "#/properties/a"}}, "required": ["a"]}, "format"),
        AnswerGrammar("grammar", 'root ::= "x" root', "grammar"),
    ],
)
def test_a_text_that_never_ends_is_the_requests_fault(engine: Engine, form: AnswerSchema | AnswerGrammar) -> None:
    engine.ask("endless", "hello", max_tokens=3000, answer_schema=form)
    engine.ask("other", "hello")
    engine.run()
    last = engine.events["endless"][-1]
    assert isinstance(last, Failure)
    assert last.error.status == 400
    assert engine.finish("other").reason == "length"
