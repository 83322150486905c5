"""Which words are enough to mean a fact, and whether a fact is what somebody said."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custom_components.zoe.memory import has_all, said_by_user, shared_words, tells_apart, words

NUTS = "Anna is allergic to nuts"
BINS = "The bins go out on Tuesday evening."
FACTS = (
    NUTS,
    BINS,
    "The cat is called Momo.",
    "Kai is called Kai-Uwe",
    "猫の名前はモモです",
    "애완견 이름은 코코입니다",
)


@pytest.mark.parametrize(
    ("fact", "text", "enough"),
    [
        (NUTS, "is", False),
        (NUTS, "to", False),
        (NUTS, "is to", False),
        (NUTS, "nuts", True),
        (NUTS, "Anna", True),
        (NUTS, "is allergic", True),
        (BINS, "the", False),
        (BINS, "on the", False),
        (BINS, "out on the", False),
        (BINS, "go out on the", False),
        (BINS, "bins", True),
        (FACTS[2], "called", False),
        (FACTS[2], "the cat is called", True),
        (FACTS[2], "momo", True),
        ("Our son is Ole", "Ole", True),
        ("The code of the shed is 77", "77", True),
        (FACTS[4], "です", False),
        (FACTS[4], "は", False),
        (FACTS[4], "モモ", True),
        (FACTS[4], "猫の名前", True),
    ],
)
def test_words_that_mean_one_fact(fact: str, text: str, enough: bool) -> None:
    assert has_all(fact, text)
    assert tells_apart(fact, text, {*FACTS, fact}) is enough


@pytest.mark.parametrize("text", ["nut", "lerg", "ann", "s", "", "...", "Anna's nuts", "モモ"])
def test_parts_of_words_are_no_words(text: str) -> None:
    assert not has_all(NUTS, text)


def test_shared_words() -> None:
    assert shared_words(NUTS, "is Anna allergic, is she?") == 3
    assert shared_words(FACTS[4], "モモは猫") == 0
    assert shared_words(FACTS[4], "モモ 猫") == 2


@pytest.mark.parametrize(
    ("fact", "sentence", "said"),
    [
        (BINS, "remember that the bins go out on Tuesday evening", True),
        (BINS, "remember: bins, Tuesdays in the evening", True),
        ("The user is allergic to nuts.", "Please remember that I am allergic to nuts", True),
        ("Our daughter is called Mila", "remember that my daughter's name is Mila", True),
        ("Unsere Tochter heißt Mila.", "Merk dir, meine Tochter heißt Mila", True),
        ("猫の名前はモモです", "猫の名前はモモだと覚えて", True),
        ("It is so", "it is so", True),
        ("The code is 1234", "remember the code is 1234", True),
        ("The code is 1234", "remember the code", False),
        ("The code word is Swordfish", "remember the code word", False),
        ("Anna likes tea", "turn on the lamp", False),
        ("The front door is never locked", "what is playing?", False),
        ("Anna is allergic to nuts", "Merk dir, dass Anna keine Nüsse verträgt", False),
        ("猫の名前はモモです", "今日の天気は", False),
        ("...", "...", False),
    ],
)
def test_what_the_user_said(fact: str, sentence: str, said: bool) -> None:
    assert said_by_user(fact, ["hello", sentence]) is said


@given(st.text(min_size=1))
def test_what_was_said_word_for_word_was_said(text: str) -> None:
    assert said_by_user(text, [text]) is bool(words(text))
    assert not words(text) or (has_all(text, text) and tells_apart(text, text, [text]))
    assert not said_by_user(text, [])
