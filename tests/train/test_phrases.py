import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoe_train.numbers import degrees, number_words, percentage
from zoe_train.phrases import _phrases, phrase, say

FIELDS = dict.fromkeys("txvcailsnow", "Q")


def said(pattern: str, **fields: object) -> set[str]:
    return {say(random.Random(seed), pattern, **fields) for seed in range(200)}


def test_a_choice_an_option_and_a_field() -> None:
    assert said("(turn|switch) on [the] {x}", x="lamp") == {
        "turn on lamp",
        "turn on the lamp",
        "switch on lamp",
        "switch on the lamp",
    }


def test_brackets_nest_and_blanks_close_up() -> None:
    assert said("a [b (c|d)][, e]") == {"a", "a b c", "a b d", "a, e", "a b c, e", "a b d, e"}


@pytest.mark.parametrize("pattern", ["(a|b", "a)", "[a", "a]"])
def test_unbalanced_brackets_are_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="unbalanced"):
        say(random.Random(1), pattern)


@pytest.mark.parametrize("key", sorted(_phrases()))
def test_every_phrase_can_be_said(key: str) -> None:
    for seed in range(60):
        text = phrase(random.Random(seed), key, **FIELDS)
        assert text
        assert not set(text) & set("()[]{}|")


PARTS = {
    10: ["a tenth"],
    25: ["a quarter", "one quarter"],
    33: ["a third"],
    50: ["half"],
    66: ["two thirds"],
    75: ["three quarters"],
    100: ["full", "maximum", "max"],
}


@given(st.integers(0, 100))
def test_number_words_name_each_number_once(number: int) -> None:
    assert [n for n in range(101) if number_words(n) == number_words(number)] == [number]


@given(st.randoms(use_true_random=False))
def test_percentages_say_what_they_mean(rng: random.Random) -> None:
    number, words = percentage(rng)
    assert 0 <= number <= 100
    spoken = {str(number), number_words(number), *PARTS.get(number, [])}
    assert any(words.startswith(word) for word in spoken)


@given(st.randoms(use_true_random=False))
def test_degrees_are_whole_or_half(rng: random.Random) -> None:
    number, words = degrees(rng)
    assert number * 2 == int(number * 2)
    assert str(number) in words or words.startswith(number_words(int(number)))
