"""Which texts are computed together."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoe_server.errors import QueueFullError
from zoe_server.llama.embedding.queue import EmbeddingQueue, EmbedJob


def job(name: str, *lengths: int) -> EmbedJob:
    return EmbedJob(name, [[1] * length for length in lengths], 0.0)


def filled(*jobs: EmbedJob, n_tokens: int = 10, n_texts: int = 4) -> EmbeddingQueue:
    queue = EmbeddingQueue(n_tokens, n_texts, limit=len(jobs))
    for one in jobs:
        queue.submit(one)
    return queue


def taken(queue: EmbeddingQueue) -> list[str]:
    return [f"{part.job.request_id}{part.index}" for part in queue.next_batch()]


def test_requests_take_turns() -> None:
    queue = filled(job("a", 1, 1, 1, 1, 1), job("b", 1), job("c", 1, 1))
    assert taken(queue) == ["a0", "b0", "c0", "a1"]
    assert taken(queue) == ["c1", "a2", "a3", "a4"]
    assert taken(queue) == []


def test_a_batch_ends_where_the_next_text_does_not_fit() -> None:
    queue = filled(job("a", 6, 4, 1))
    assert [taken(queue), taken(queue)] == [["a0", "a1"], ["a2"]]


def test_a_text_longer_than_a_batch_is_computed_alone() -> None:
    queue = filled(job("a", 25, 1), job("b", 30))
    assert [taken(queue), taken(queue), taken(queue)] == [["a0"], ["b0"], ["a1"]]


def test_what_was_removed_is_not_computed() -> None:
    left, gone = job("a", 1), job("b", *[1] * 9)
    queue = filled(left, gone)
    queue.remove(gone)
    queue.remove(gone)
    assert taken(queue) == ["a0"]
    assert len(queue) == 0


def test_more_requests_than_may_wait_are_refused() -> None:
    queue = filled(job("a", 1, 1), job("b", 1))
    with pytest.raises(QueueFullError) as caught:
        queue.submit(job("c", 1))
    assert caught.value.retry_after_s is not None
    queue.next_batch()
    queue.submit(job("c", 1))
    assert taken(queue) == ["c0"]


@settings(deadline=None)  # the machine may be busy
@given(
    st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=20), max_size=8), st.integers(1, 20), st.integers(1, 5)
)
def test_every_text_is_computed_once_within_the_bounds(requests: list[list[int]], n_tokens: int, n_texts: int) -> None:
    queue = filled(*(job(f"r{n}.", *lengths) for n, lengths in enumerate(requests)), n_tokens=n_tokens, n_texts=n_texts)
    seen = []
    while batch := queue.next_batch():
        assert len(batch) <= n_texts
        assert len(batch) == 1 or sum(len(part.tokens) for part in batch) <= n_tokens
        seen += [(part.job.request_id, part.index) for part in batch]
    assert sorted(seen) == sorted(
        (f"r{n}.", index) for n, lengths in enumerate(requests) for index in range(len(lengths))
    )
