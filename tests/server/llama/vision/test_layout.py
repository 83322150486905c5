"""Where tokens stand in prompts with pictures, against a count of every position."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from zoe_server.llama.vision.layout import TEXT_ONLY, Layout, PictureSpan, is_text, picture_tokens


@st.composite
def prompts(draw: st.DrawFn) -> tuple[Layout, list[list[int]]]:
    """A layout, and the positions of its tokens in groups that are not cut: a token of text, or a whole picture."""
    spans: list[PictureSpan] = []
    groups: list[list[int]] = []
    index = position = 0
    for is_picture in draw(st.lists(st.booleans(), max_size=12)):
        if is_picture:
            n_tokens = draw(st.integers(1, 30))
            n_positions = draw(st.integers(1, n_tokens))
            flat = n_positions == n_tokens
            spans.append(PictureSpan(index, n_tokens, n_positions, n_tokens if flat else 1))
            groups.append([position + (i if flat else 0) for i in range(n_tokens)])
            index, position = index + n_tokens, position + n_positions
        else:
            groups.append([position])
            index, position = index + 1, position + 1
    return Layout(spans), groups


@given(prompts())
def test_positions_and_tops(prompt: tuple[Layout, list[list[int]]]) -> None:
    layout, groups = prompt
    length = 0
    for number, group in enumerate(groups):
        assert layout.position(length) == group[0]
        length += len(group)
        assert layout.top(length) == max(position for done in groups[: number + 1] for position in done) + 1
    assert layout.top(0) == 0


@given(prompts(), st.integers(0, 40))
def test_a_run_of_text_ends_at_a_picture(prompt: tuple[Layout, list[list[int]]], limit: int) -> None:
    layout, groups = prompt
    starts = {span.start for span in layout.spans}
    index = 0
    for group in groups:
        ahead = min((start - index for start in starts if start >= index), default=limit)
        assert layout.n_text(index, limit) == min(limit, ahead)
        index += len(group)


def test_text_alone_stands_where_it_is() -> None:
    assert [TEXT_ONLY.position(5), TEXT_ONLY.top(5), TEXT_ONLY.n_text(5, 7)] == [5, 5, 7]


@given(st.binary(min_size=16, max_size=32), st.binary(min_size=16, max_size=32), st.integers(1, 5000))
def test_tokens_of_pictures(one: bytes, other: bytes, count: int) -> None:
    tokens = picture_tokens(one, count)
    assert len(set(tokens)) == count
    assert not any(map(is_text, tokens))
    assert tokens == picture_tokens(one, count + 1)[:count]
    assert bool(set(tokens) & set(picture_tokens(other, count))) == (one[:16] == other[:16])
