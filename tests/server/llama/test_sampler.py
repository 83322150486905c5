"""Settings of the samplers, and grammars held against tokens, on the real library."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from zoe_server.errors import InvalidRequestError
from zoe_server.llama.alarm import Alarm
from zoe_server.llama.grammar import Grammar
from zoe_server.llama.grammar_gate import GrammarGate, exact_tokens
from zoe_server.llama.loop import Job
from zoe_server.llama.sampler import TokenSampler, settings_for
from zoe_server.protocol import Failure, Sampling

if TYPE_CHECKING:
    from conftest import Engine

pytestmark = pytest.mark.timeout(60)
YES_OR_NO = Grammar('root ::= "yes" | "no"')
CALL = Grammar('root ::= "<tool_call>" "{}" "</tool_call>"', lazy=True, triggers=("<tool_call>",))


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


def accept(gate: GrammarGate, engine: Engine, text: str) -> bool:
    """Feed `text`; return whether every token of it was allowed."""
    for token in engine.runner.vocab.tokenize(text.encode()):
        if gate.awake and not gate.allows(token):
            return False
        gate.accept(token)
    return True


def test_strict_grammar_applies_from_the_first_token(engine: Engine) -> None:
    vocab = engine.runner.vocab
    gate = GrammarGate(YES_OR_NO, vocab)
    end = min(vocab.eog_tokens)
    assert not gate.allows(vocab.tokenize(b"maybe")[0])
    assert not gate.allows(end)
    assert accept(gate, engine, "yes")
    assert gate.allows(end)
    gate.close()


@pytest.mark.parametrize("before", ["", "I will do that. ", "x < y and <tool_ but no call, " * 5])
def test_lazy_grammar_sleeps_until_its_trigger(engine: Engine, before: str) -> None:
    gate = GrammarGate(CALL, engine.runner.vocab)
    assert accept(gate, engine, before)
    assert not gate.awake
    assert accept(gate, engine, "<tool_call>")
    assert gate.awake
    assert not gate.allows(engine.runner.vocab.tokenize(b"hello")[0])
    assert accept(gate, engine, "{}</tool_call>")
    assert gate.allows(min(engine.runner.vocab.eog_tokens))
    gate.close()


def test_trigger_made_of_several_tokens_wakes_with_what_follows_in_its_last_one(engine: Engine) -> None:
    gate = GrammarGate(Grammar('root ::= "[call" "ing" "]"', lazy=True, triggers=("[call",)), engine.runner.vocab)
    assert accept(gate, engine, "hm [call")
    assert gate.awake
    assert accept(gate, engine, "ing]")
    gate.close()


def test_text_that_does_not_fit_the_grammar_it_starts_stays_free(engine: Engine) -> None:
    """The trigger ends inside a token, and the rest of that token is not in the grammar."""
    gate = GrammarGate(Grammar('root ::= "kit" "!"', lazy=True, triggers=("kit",)), engine.runner.vocab)
    assert accept(gate, engine, "the kitchen or anything, another kit")
    assert not gate.awake
    gate.close()


OPENING = Grammar(
    'root ::= "{\\"n\\": 1}"',
    lazy=True,
    triggers=("[CALLS]",),
    openings=('{"n": ', '[{"n": '),
    reasoning_ends=("</think>",),
)


@pytest.mark.parametrize(
    ("text", "woken"),
    [
        ('{"n": 1', '{"n": '),
        (' \n [{"n": 1', '[{"n": '),
        ('<think>\nHm {"n": 1}.\n</think>\n\n{"n": 1', '{"n": '),
        ('Hm</think>{"n": 1', '{"n": '),
        ("{[CALLS][", "[CALLS]"),
        ('So: {"n": 1}', None),
        ('{"m": {"n": 1}}', None),
        ('<think>\n{"m": 1}</think> So {"n": 1}', None),
        ('{"n', None),
        ("", None),
    ],
)
def test_an_opening_counts_only_where_the_answer_begins(text: str, woken: str | None) -> None:
    alarm = Alarm(OPENING)
    found = (alarm.feed(char.encode()) for char in text)
    assert next((each for each in found if each is not None), None) == (woken.encode() if woken else None)
    whole = Alarm(OPENING).feed(text.encode())
    assert (whole is None) == (woken is None)


def test_an_opening_wakes_the_grammar(engine: Engine) -> None:
    gate = GrammarGate(OPENING, engine.runner.vocab)
    assert accept(gate, engine, '\n{"n": 1')
    assert gate.awake
    assert not gate.allows(engine.runner.vocab.tokenize(b"2")[0])
    assert accept(gate, engine, "}")
    assert gate.allows(min(engine.runner.vocab.eog_tokens))
    gate.close()


class SpacingVocab:
    """Puts a space before the first word, as SentencePiece vocabularies do; a token is a byte."""

    def tokenize(self, text: bytes) -> list[int]:
        return list(b" " + text)

    def detokenize(self, tokens: list[int]) -> bytes:
        return bytes(tokens)


def test_what_wakes_a_grammar_is_tokenized_without_a_space_of_its_own() -> None:
    assert exact_tokens(SpacingVocab(), b'{"n": ') == list(b'{"n": ')  # type: ignore[arg-type]  # all it needs


def test_unreadable_grammar_is_the_requests_fault(engine: Engine) -> None:
    with pytest.raises(InvalidRequestError, match="grammar"):
        GrammarGate(Grammar("root ::= missing"), engine.runner.vocab)


def with_grammar(engine: Engine, name: str, grammar: Grammar, **sampling: float) -> Job:
    job = engine.prepare(name, "hello", max_tokens=40)
    settings = settings_for(Sampling(**({"temperature": 0.0} | sampling)), {})  # type: ignore[arg-type]  # any field
    job.sampler.close()
    job.sampler = TokenSampler(settings, grammar, engine.runner.vocab, engine.runner.n_ctx_tokens)
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
    job.sampler = TokenSampler(settings, None, engine.runner.vocab, engine.runner.n_ctx_tokens)
    engine.loop.submit(job)
    engine.run()
    assert banned
    assert not set(job.sequence.tokens[job.sequence.n_prompt :]) & set(banned)


def test_penalties_hold_within_a_grammar(engine: Engine) -> None:
    grammar = Grammar('root ::= ("a" | "b" | "c" | "d")*')
    most = {}
    for penalty in (0.0, 2.0):
        name = f"penalty {penalty}"
        engine.loop.submit(with_grammar(engine, name, grammar, frequency_penalty=penalty))
        engine.run()
        most[penalty] = max(engine.text(name).count(letter) for letter in "abcd")
    assert most[2.0] < most[0.0]


def test_grammar_that_admits_no_token_fails_that_request_only(engine: Engine) -> None:
    engine.loop.submit(with_grammar(engine, "stuck", Grammar("root ::= [\\x00]")))
    engine.ask("other", "hello")
    engine.run()
    assert isinstance(engine.events["stuck"][-1], Failure)
    assert sum(isinstance(event, Failure) for event in engine.events["stuck"]) == 1
    assert engine.finish("other").reason == "length"
