"""Server-sent events come out whole, wherever the network cuts them."""

import pytest

from custom_components.zoe.api.sse import EventDecoder

STREAM = (
    'data: {"a": "ä"}\r\n\r\n: keep-alive\n\nevent: x\nid: 7\ndata: one\ndata:two\n\ndata\n\n\n\ndata: [DONE]\n\n'
).encode()
EVENTS = ['{"a": "ä"}', "one\ntwo", "", "[DONE]"]


def test_whole() -> None:
    assert EventDecoder().feed(STREAM) == EVENTS


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_pieces_of_any_size(size: int) -> None:
    decoder = EventDecoder()
    pieces = [STREAM[start : start + size] for start in range(0, len(STREAM), size)]
    assert [event for piece in pieces for event in decoder.feed(piece)] == EVENTS


def test_cut_at_every_point() -> None:
    for cut in range(len(STREAM) + 1):
        decoder = EventDecoder()
        assert decoder.feed(STREAM[:cut]) + decoder.feed(STREAM[cut:]) == EVENTS


def test_an_event_without_its_end_is_not_one() -> None:
    assert EventDecoder().feed(b"data: half\n") == []
