"""The engine loop on the real library: what a request gets, alone and among others."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import gguf
import pytest

from tests.fixtures import random_gguf
from tests.fixtures.random_gguf import whole_words
from zoe_server.errors import ContextSizeError, EngineCrashedError, EngineError, QueueFullError
from zoe_server.llama.cache.kv_cache import MemoryOperation
from zoe_server.llama.runner import FatalDecodeError
from zoe_server.llama.scheduling.batch import Batch
from zoe_server.protocol import Failure, Sampling, Started, Text, Tool, ToolCallArguments, ToolCallStart, ToolChoice

pytestmark = pytest.mark.timeout(60)
if TYPE_CHECKING:
    from conftest import Engine

SHARED = " ".join(whole_words()[:120]) + " "
TURN_ON = Tool(
    "HassTurnOn",
    "Turns a device on.",
    {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
)


def test_greedy_twice_is_the_same_and_all_but_one_token_is_cached(engine: Engine) -> None:
    first = engine.answer("a", "turn on the kitchen light")
    second = engine.answer("b", "turn on the kitchen light")
    assert first == second != ""
    usage = engine.finish("b").usage
    assert usage.cached_tokens == usage.prompt_tokens - 1
    assert usage.completion_tokens == 16
    assert engine.finish("b").reason == "length"


def test_started_comes_first_and_tells_the_token_counts(engine: Engine) -> None:
    engine.answer("a", "hello")
    usage = engine.finish("a").usage
    assert engine.events["a"][0] == Started(usage.prompt_tokens, usage.cached_tokens)


def test_eight_cold_requests_share_one_prefill_and_answer_as_fresh_ones(make_engine: Callable[..., Engine]) -> None:
    shared, fresh = make_engine(n_batch_tokens=64), make_engine(prefix_cache=False, n_slots=1)
    questions = {f"q{i}": SHARED + f"{word} please" for i, word in enumerate(whole_words()[120:128])}
    for name, text in questions.items():
        shared.ask(name, text, max_tokens=24)
    shared.run()
    for name, text in questions.items():
        assert shared.text(name) == fresh.answer(name, text, max_tokens=24)
    usages = [shared.finish(name).usage for name in questions]
    n_prompt = usages[0].prompt_tokens
    rest = n_prompt - max(usage.cached_tokens for usage in usages)
    assert 0 < rest < 15
    assert sum(usage.prompt_tokens - usage.cached_tokens for usage in usages) == n_prompt + 7 * rest
    assert all(fresh.finish(name).usage.cached_tokens == 0 for name in questions)


def test_priming_generates_nothing(engine: Engine) -> None:
    engine.ask("prime", SHARED, max_tokens=0, priority="background")
    engine.run()
    finish = engine.finish("prime")
    assert (finish.reason, finish.usage.completion_tokens, engine.text("prime")) == ("length", 0, "")
    engine.answer("again", SHARED)
    assert engine.finish("again").usage.cached_tokens == finish.usage.prompt_tokens - 1


def test_context_fills_while_generating(make_engine: Callable[..., Engine]) -> None:
    engine = make_engine(n_ctx_tokens=256)
    engine.answer("a", "hello", max_tokens=None)
    finish = engine.finish("a")
    assert finish.reason == "length"
    assert finish.usage.prompt_tokens + finish.usage.completion_tokens == 256


def test_prompt_longer_than_the_context(make_engine: Callable[..., Engine]) -> None:
    engine = make_engine(n_ctx_tokens=256)
    with pytest.raises(ContextSizeError, match="exceeds the available context size") as caught:
        engine.prepare("long", "x " * 300)
    assert caught.value.details["n_ctx"] == 256


def test_queue_bound(make_engine: Callable[..., Engine]) -> None:
    engine = make_engine(n_slots=1, queue_limit=1)
    for i in range(3):
        engine.ask(f"r{i}", f"hello {i}")
    engine.run()
    assert [type(engine.events[f"r{i}"][-1]).__name__ for i in range(3)] == ["Finish", "Finish", "Failure"]
    failure = engine.events["r2"][-1]
    assert isinstance(failure.error, QueueFullError)


def test_preempted_answer_goes_on_as_if_nothing_had_happened(make_engine: Callable[..., Engine]) -> None:
    small, fresh = make_engine(n_ctx_tokens=768), make_engine(prefix_cache=False)
    texts = {"a": "lights in the kitchen", "b": "what is the temperature"}
    for name, text in texts.items():
        small.ask(name, text, max_tokens=400)
    small.run()
    assert small.scheduler.preemptions >= 1
    for name, text in texts.items():
        assert small.text(name) == fresh.answer(name, text, max_tokens=400)
        assert small.finish(name).usage.completion_tokens == 400


@pytest.mark.parametrize(
    "n_steps", [0, 1, 3, 12], ids=["before its first step", "prefilling", "still prefilling", "decoding"]
)
def test_cancel_ends_within_one_step_and_disturbs_nobody(make_engine: Callable[..., Engine], n_steps: int) -> None:
    engine, fresh = make_engine(n_batch_tokens=32), make_engine(prefix_cache=False)
    engine.ask("victim", SHARED + "one", max_tokens=100)
    engine.ask("other", "what is the temperature in the bedroom")
    for _ in range(n_steps):
        engine.step()
    engine.loop.cancel("victim")
    engine.step()
    assert engine.finish("victim").reason == "cancelled"
    n_events = len(engine.events["victim"])
    engine.run()
    assert len(engine.events["victim"]) == n_events
    assert engine.text("other") == fresh.answer("x", "what is the temperature in the bedroom")


def _broken(batch: Batch) -> None:
    raise FatalDecodeError("broken")


@pytest.mark.parametrize("end", ["cancelled", "failed"])
def test_all_that_was_drawn_is_said_before_the_end(
    make_engine: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    engine, fresh = make_engine(), make_engine(prefix_cache=False)
    job = engine.prepare("a", "tell me about the garden", max_tokens=100)
    engine.loop.submit(job)
    while job.sequence.n_generated < 20:
        engine.step()
    if end == "cancelled":
        engine.loop.cancel("a")
        engine.loop.take_inbox()
    else:
        monkeypatch.setattr(engine.runner, "decode", _broken)
        with pytest.raises(FatalDecodeError):
            engine.loop.run()
    n_drawn = job.sequence.n_generated
    assert engine.text("a") == fresh.answer("b", "tell me about the garden", max_tokens=n_drawn)


def test_nothing_is_held_through_the_step_of_a_prompt(make_engine: Callable[..., Engine]) -> None:
    engine, fresh = make_engine(n_batch_tokens=32), make_engine(prefix_cache=False)
    job = engine.prepare("talks", "tell me about the garden", max_tokens=100)
    engine.loop.submit(job)
    while job.sequence.n_generated < 20:
        engine.step()
    n_drawn = job.sequence.n_generated
    engine.ask("comes", SHARED)
    engine.step()
    said = fresh.answer("b", "tell me about the garden", max_tokens=n_drawn)
    assert engine.text("talks").startswith(said)
    engine.run()


def test_cancel_in_the_queue_and_after_the_end(make_engine: Callable[..., Engine]) -> None:
    engine = make_engine(n_slots=1)
    engine.ask("first", "hello")
    engine.ask("queued", "good morning")
    engine.step()
    engine.loop.cancel("queued")
    engine.loop.cancel("unknown")
    engine.run()
    engine.loop.cancel("first")
    engine.run()
    assert engine.finish("queued").reason == "cancelled"
    assert engine.finish("queued").usage.completion_tokens == 0
    assert engine.finish("first").reason == "length"


def test_cancel_of_the_flight_others_wait_for(make_engine: Callable[..., Engine]) -> None:
    engine, fresh = make_engine(n_batch_tokens=32), make_engine(prefix_cache=False)
    for name in ("one", "two"):
        engine.ask(name, SHARED + name)
    engine.step()
    engine.loop.cancel("one")
    engine.run()
    assert engine.text("two") == fresh.answer("two", SHARED + "two")
    assert engine.finish("two").usage.cached_tokens > 0


def test_stop_string_ends_the_generation(engine: Engine) -> None:
    whole = engine.answer("whole", "tell me about the garden", max_tokens=30)
    stop = whole[12:16]
    text = engine.answer("cut", "tell me about the garden", max_tokens=30, stop=(stop,))
    assert text == whole[: whole.index(stop)]
    assert engine.finish("cut").reason == "stop"
    assert engine.finish("cut").usage.completion_tokens < 30
    assert engine.scheduler.n_running == 0


def test_seed_repeats_and_other_seeds_differ(engine: Engine) -> None:
    texts = [
        engine.answer(f"s{i}", "hello", sampling=Sampling(temperature=1.5, top_k=0, top_p=1.0, min_p=0.0, seed=seed))
        for i, seed in enumerate((7, 7, 8))
    ]
    assert texts[0] == texts[1] != texts[2]


def test_frequency_penalty_spreads_the_tokens(engine: Engine) -> None:
    plain = engine.prepare("plain", "hello", max_tokens=120)
    punished = engine.prepare(
        "punished", "hello", max_tokens=120, sampling=Sampling(temperature=0, frequency_penalty=2)
    )
    engine.loop.submit(plain)
    engine.loop.submit(punished)
    engine.run()
    counts = [len(set(job.sequence.tokens[job.sequence.n_prompt :])) for job in (plain, punished)]
    assert counts[1] > counts[0]


def test_required_tool_call_follows_the_schema_and_the_values_that_exist(engine: Engine) -> None:
    for i in range(4):
        engine.ask(
            f"call{i}",
            "turn on a light",
            tools=(TURN_ON,),
            tool_choice=ToolChoice("required"),
            parallel_tool_calls=False,
            max_tokens=200,
            argument_values={"name": ("Kitchen Light", "Bed Lamp")},
            sampling=Sampling(temperature=1.0, seed=i),
        )
    engine.run()
    for i in range(4):
        events = engine.events[f"call{i}"]
        assert [event.name for event in events if isinstance(event, ToolCallStart)] == ["HassTurnOn"]
        arguments = "".join(event.text for event in events if isinstance(event, ToolCallArguments))
        assert json.loads(arguments)["name"] in {"Kitchen Light", "Bed Lamp"}
        assert engine.finish(f"call{i}").reason == "tool_calls"


def test_audit_notices_what_the_books_do_not_know_and_starts_afresh(engine: Engine) -> None:
    text = engine.answer("a", SHARED)
    engine.runner.apply([MemoryOperation("keep", 0, 5)])
    engine.loop._rest()
    assert engine.loop.stats()["audit_mismatches"] == 1
    assert engine.loop.stats()["free_cells"] == engine.runner.n_cells
    assert engine.answer("b", SHARED) == text
    assert engine.finish("b").usage.cached_tokens == 0


def test_fatal_failure_reaches_every_open_request_once(engine: Engine) -> None:
    engine.ask("a", SHARED)
    engine.step()
    engine.ask("b", "still in the inbox")
    engine.runner.apply([MemoryOperation("keep", 0, 5)])  # behind the back of the books: the next chunk leaves a hole
    with pytest.raises(FatalDecodeError):
        engine.loop.run()
    for name in ("a", "b"):
        assert isinstance(engine.events[name][-1], Failure)
        assert isinstance(engine.events[name][-1].error, EngineCrashedError)
        assert sum(isinstance(event, Failure) for event in engine.events[name]) == 1
    engine.scheduler.memory.ledger.keep(0, 5)  # so that the books agree with the library again


@pytest.mark.parametrize("end", ["in the middle", "at the end", "with the engine"])
@pytest.mark.parametrize("logprobs", [None, 0])
def test_an_answer_that_cannot_be_read_fails_alone(
    make_engine: Callable[..., Engine],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    end: str,
    logprobs: int | None,
) -> None:
    """Its tokens are read one by one if their probabilities are asked for, else in batches."""

    def unreadable(*_: object) -> None:
        raise ValueError("unreadable")

    engine, fresh = make_engine(), make_engine(prefix_cache=False)
    job = engine.prepare("bad", "hello", max_tokens=30, logprobs=logprobs)
    monkeypatch.setattr(job.output, "close" if end == "at the end" else "feed", unreadable)
    engine.ask("good", "good morning", max_tokens=30)
    engine.loop.submit(job)
    if end == "with the engine":
        monkeypatch.setattr(engine.loop, "emit", lambda *_: job.unread.append(5) or _broken(Batch((), (), (), 0.0)))
        with pytest.raises(FatalDecodeError):
            engine.loop.run()
        assert isinstance(engine.events["good"][-1].error, EngineCrashedError)
    else:
        engine.run()
        assert engine.text("good") == fresh.answer("good", "good morning", max_tokens=30)
    failures = [event.error for event in engine.events["bad"] if isinstance(event, Failure)]
    assert [type(error) for error in failures] == [EngineError]
    assert isinstance(engine.events["bad"][-1], Failure)
    assert "ValueError: unreadable" in caplog.text
    assert engine.scheduler.n_running == (1 if end == "with the engine" else 0)


def test_empty_batch_is_false() -> None:
    assert not Batch((), (), (), 0.0)


@pytest.mark.parametrize("sampling", [Sampling(temperature=0.0), Sampling(temperature=0.7, top_k=3, seed=4)])
def test_guessing_saves_steps_and_changes_no_token(make_engine: Callable[..., Engine], sampling: Sampling) -> None:
    """The second of several calls says again what the first one said; jump-forward decoding would hide the guesses."""
    calls, steps = [], []
    for speculation in (True, False):
        engine = make_engine(speculation=speculation, jump_forward=False)
        engine.ask("calls", "lamps on", max_tokens=250, sampling=sampling, tools=(TURN_ON,),
                   tool_choice=ToolChoice("required"), argument_values={"name": ("Kitchen light", "Lamp")})  # fmt: skip
        engine.run()
        calls.append([event.text for event in engine.events["calls"] if isinstance(event, ToolCallArguments)])
        steps.append(engine.loop.stats()["step"])
        assert (engine.scheduler.drafts.accepted_from_lookup > 0) == speculation
    assert "".join(calls[0]) == "".join(calls[1]) != ""
    assert steps[0] < steps[1]


@pytest.mark.parametrize("logprobs", [None, 1])
def test_control_tokens_are_not_said(
    make_engine: Callable[..., Engine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logprobs: int | None
) -> None:
    """In the second model, which draws the same tokens, words behind a space are control tokens."""
    texts, types, merges = random_gguf.vocabulary(600, 0)
    kinds = [int(gguf.TokenType.CONTROL) if text[0] == "Ġ" else kind for text, kind in zip(texts, types, strict=True)]
    monkeypatch.setattr(random_gguf, "vocabulary", lambda *_: (texts, kinds, merges))
    model, controlled = make_engine(), make_engine(random_gguf.write_random_gguf(tmp_path / "control.gguf"))
    model.ask("a", "hello hello hello", logprobs=1, max_tokens=40)
    controlled.ask("a", "hello hello hello", logprobs=logprobs, max_tokens=40)
    model.run()
    controlled.run()
    drawn = [bytes(one.token.data) for event in model.events["a"] if isinstance(event, Text) for one in event.tokens]
    kept = [piece for piece in drawn if not piece.startswith(b" ")]
    assert 0 < len(kept) < len(drawn)
    assert controlled.text("a") == b"".join(kept).decode()
    if logprobs:
        shown = [one for event in controlled.events["a"] if isinstance(event, Text) for one in event.tokens]
        assert [bytes(one.token.data) for one in shown] == kept
