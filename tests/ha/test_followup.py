"""Which answers ask something, and what is the echo of one."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from custom_components.zoe.speech.followup import asks, is_echo

CASES: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("speech.yaml").read_text())
FILLERS = " ?.!:\n\"'«»()*_「」。？ab ok is"  # noqa: RUF001


@pytest.mark.parametrize("answer", CASES["asks"])
def test_a_question(answer: str) -> None:
    assert asks(answer)


@pytest.mark.parametrize("answer", CASES["tells"])
def test_no_question(answer: str) -> None:
    assert not asks(answer)


@pytest.mark.parametrize("answer", ["The lamp is on. " * 200, "3.5, z. B. " * 2000, "word " * 50_000])
def test_a_question_at_the_end_of_a_long_story(answer: str) -> None:
    assert not asks(answer)
    assert asks(f"{answer}. Shall I go on?")


@pytest.mark.parametrize("sign", ["?", '"', "(", "*a", "? a", '"A?', ". ", "「", "'a"])
def test_long_answers_are_read_at_once(sign: str) -> None:
    asks(sign * 50_000)
    is_echo(sign * 50_000, sign * 50_000)


@given(st.one_of(st.text(), st.lists(st.sampled_from(FILLERS)).map("".join)), st.text())
def test_any_text_can_be_judged(answer: str, heard: str) -> None:
    asks(answer)
    is_echo(heard, answer)


@pytest.mark.parametrize(("heard", "spoken"), CASES["echoes"])
def test_an_echo(heard: str, spoken: str) -> None:
    assert is_echo(heard, spoken)


@pytest.mark.parametrize(("heard", "spoken"), CASES["replies"])
def test_a_reply(heard: str, spoken: str) -> None:
    assert not is_echo(heard, spoken)


@given(st.lists(st.from_regex(r"[a-z]{1,9}", fullmatch=True), max_size=3), st.text())
def test_up_to_three_words_without_a_question_mark_are_a_reply(words: list[str], spoken: str) -> None:
    assert not is_echo(" ".join(words), spoken + " ".join(words))


@given(st.lists(st.from_regex(r"[a-z]{1,9}", fullmatch=True), min_size=4, max_size=59))
def test_a_whole_answer_is_an_echo(words: list[str]) -> None:
    assert is_echo(" ".join(words), f"It is on. {' '.join(words)}?")
