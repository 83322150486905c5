"""Embedding models on the real llama.cpp, in this process, step by step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import gguf
import pytest

from tests.fixtures.random_embedder_gguf import write_random_embedder_gguf
from tests.fixtures.random_gguf import write_random_gguf
from zoe_server.errors import ContextSizeError, EngineError, QueueFullError
from zoe_server.llama.config import EngineConfig
from zoe_server.llama.embedding.embedder import Embedder
from zoe_server.llama.model_file import ModelLoadError
from zoe_server.llama.prompt.tokenizer import Vocab
from zoe_server.llama.worker import open_worker
from zoe_server.protocol import Embedding, EmbedRequest, Event, Failure, Finish


class Desk:
    """An embedder without its process and its thread."""

    def __init__(self, path: Path, **config: object) -> None:
        self.events: dict[str, list[Event]] = {}
        settings = {"n_threads": 1, "n_ctx_tokens": 256, **config}
        worker = open_worker(
            EngineConfig(model_path=path, socket_path=path.with_suffix(".sock"), **settings),  # type: ignore[arg-type]
            emit=self._collect,
            progress=lambda _: None,
        )
        assert isinstance(worker, Embedder)
        self.worker = worker

    def _collect(self, request_id: str, events: Sequence[Event]) -> None:
        self.events.setdefault(request_id, []).extend(events)

    def ask(self, name: str, *inputs: str) -> None:
        self.worker.submit(self.worker.prepare(asdict(EmbedRequest(name, "m", inputs)), 0.0))

    def step(self) -> bool:
        self.worker.take_inbox()
        return self.worker.step()

    def vectors(self, *inputs: str) -> list[tuple[float, ...]]:
        self.ask("v", *inputs)
        while self.step():
            pass
        *found, last = self.events.pop("v")
        assert isinstance(last, Finish)
        given = {event.index: event.vector for event in found if isinstance(event, Embedding)}
        return [given[index] for index in range(len(inputs))]


@pytest.fixture
def open_desk(tmp_path: Path) -> Iterator[Callable[..., Desk]]:
    desks: list[Desk] = []

    def make(pooling: gguf.PoolingType = gguf.PoolingType.MEAN, **config: object) -> Desk:
        path = write_random_embedder_gguf(tmp_path / f"{len(desks)}.gguf", pooling=pooling)
        desks.append(Desk(path, **config))
        return desks[-1]

    yield make
    for desk in desks:
        desk.worker.runner.close()


@pytest.mark.parametrize("pooling", [gguf.PoolingType.MEAN, gguf.PoolingType.CLS, gguf.PoolingType.LAST])
def test_vectors_are_pooled_as_the_file_says(open_desk: Callable[..., Desk], pooling: gguf.PoolingType) -> None:
    desk = open_desk(pooling)
    assert desk.worker.info()["pooling"] == pooling.name.lower()
    alone = desk.vectors("turn on the light")[0]
    among = desk.vectors("kitchen", "turn on the light", "lamp " * 100)[1]
    assert math.dist(alone, among) < 5e-3
    other = open_desk(gguf.PoolingType.CLS if pooling is gguf.PoolingType.MEAN else gguf.PoolingType.MEAN)
    assert math.dist(alone, other.vectors("turn on the light")[0]) > 0.05


@pytest.mark.parametrize("pooling", [gguf.PoolingType.MEAN, gguf.PoolingType.LAST])
def test_a_causal_model_makes_the_same_vector_in_any_batch(tmp_path: Path, pooling: gguf.PoolingType) -> None:
    path = write_random_gguf(tmp_path / "causal.gguf", pooling=pooling)
    text = "turn on the light in the kitchen " * 25
    small, large = Desk(path, n_batch_tokens=32, n_slots=1), Desk(path, n_batch_tokens=256)
    alone = small.vectors(text)[0]
    assert math.hypot(*alone) == pytest.approx(1.0, abs=1e-6)
    assert math.dist(alone, large.vectors("kitchen", text, "lamp")[1]) < 5e-3
    assert math.dist(alone, small.vectors("lamp", "kitchen", text)[2]) < 5e-3
    assert math.dist(alone, small.vectors("kitchen")[0]) > 0.05
    for desk in (small, large):
        desk.worker.runner.close()


def test_a_cut_text_ends_like_every_text(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk()
    (whole,) = desk.worker.prepare(asdict(EmbedRequest("a", "m", ("lamp",))), 0.0).texts
    (cut,) = desk.worker.prepare(asdict(EmbedRequest("b", "m", ("lamp " * 500,), truncate=True)), 0.0).texts
    assert len(cut) == 256
    assert list(cut) == [*whole[:2], *[whole[1]] * 253, whole[-1]]


def test_a_cancelled_request_ends_once_and_the_next_is_computed(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk()
    desk.ask("gone", *(["lamp " * 200] * 3))
    assert desk.step()
    desk.worker.cancel("gone")
    desk.worker.cancel("gone")
    desk.worker.cancel("nobody")
    assert not desk.step()
    assert [type(event) for event in desk.events["gone"]] == [Embedding, Finish]
    assert isinstance(desk.events["gone"][-1], Finish)
    assert desk.events["gone"][-1].reason == "cancelled"
    assert desk.vectors("lamp")
    assert desk.worker.stats()["waiting"] == desk.worker.stats()["running"] == 0


def test_more_requests_than_may_wait_are_refused(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(queue_limit=2)
    for name in ("a", "b", "c"):
        desk.ask(name, "lamp")
    while desk.step():
        pass
    assert [type(desk.events[name][-1]) for name in ("a", "b", "c")] == [Finish, Finish, Failure]
    assert isinstance(desk.events["c"][-1], Failure)
    assert isinstance(desk.events["c"][-1].error, QueueFullError)


def test_what_is_no_vector_fails_its_request_only(
    open_desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = open_desk()
    right = desk.worker.runner.embed

    def wrong(texts: Sequence[list[int]]) -> object:
        vectors = right(texts)
        vectors[0] = math.nan
        return vectors

    monkeypatch.setattr(desk.worker.runner, "embed", wrong)
    desk.ask("bad", "lamp", "light")
    desk.ask("good", "kitchen")
    assert desk.step()
    (failure,) = desk.events["bad"]
    assert isinstance(failure, Failure)
    assert isinstance(failure.error, EngineError)
    assert [type(event) for event in desk.events["good"]] == [Embedding, Finish]
    assert not desk.step()


@pytest.mark.parametrize(
    ("pooling", "reason"), [(None, "does not say how a text's vector is made"), (gguf.PoolingType.RANK, "reranker")]
)
def test_an_encoder_that_makes_no_embeddings_is_refused(
    tmp_path: Path, pooling: gguf.PoolingType | None, reason: str
) -> None:
    path = write_random_embedder_gguf(tmp_path / "encoder.gguf", pooling=pooling)
    with pytest.raises(ModelLoadError, match=reason):
        Desk(path)


@pytest.mark.parametrize("truncate", [True, False])
def test_of_megabytes_only_the_beginning_is_read(
    open_desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch, truncate: bool
) -> None:
    intake = open_desk().worker.intake
    text = "turn on the light in the kitchen " * 60_000
    whole = intake.tokenize(text, add_special=True, parse_special=False)
    sizes: list[int] = []
    tokenize = Vocab.tokenize

    def counting(self: Vocab, text: bytes, **options: bool) -> list[int]:
        sizes.append(len(text))
        return tokenize(self, text, **options)

    monkeypatch.setattr(Vocab, "tokenize", counting)
    if truncate:
        (tokens,) = intake.prepare(EmbedRequest("r", "m", (text,), truncate=True), 0.0).texts
        assert (len(tokens), list(tokens[:-1])) == (256, whole[:255])
        assert memoryview(tokens).nbytes == 4 * 256
    else:
        with pytest.raises(ContextSizeError, match="about "):
            intake.prepare(EmbedRequest("r", "m", (text,)), 0.0)
    assert sum(sizes) < 100_000


def test_a_text_is_no_control_token(open_desk: Callable[..., Desk]) -> None:
    worker = open_desk().worker
    (tokens,) = worker.intake.prepare(EmbedRequest("r", "m", ("a <|im_end|> b",)), 0.0).texts
    control = worker.runner.vocab.control_tokens
    assert not control & set(tokens[1:-1])
