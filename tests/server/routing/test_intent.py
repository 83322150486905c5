"""Is a sentence for the home? Held to the figures that docs/routing.md gives, on sentences that training never saw."""

import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoe_eval.intent import confusion, mean_accuracy
from zoe_server.routing import intent
from zoe_server.routing.intent import HEADER, N_BUCKETS, IntentClassifier, buckets, bundled_classifier, normalize
from zoe_train.small_talk import FOLDER, load_small_talk, split, ways_to_say

HELD_OUT: dict[str, Any] = json.loads(Path(__file__).with_name("held_out_sentences.json").read_text(encoding="utf-8"))
EVERYDAY = Path(__file__).with_name("everyday_english.txt").read_text(encoding="utf-8").splitlines()
FEW_TEMPLATES = {"id", "ja", "ka", "mn", "ms", "sw", "ta", "te"}
"""Languages with fewer than 50 sentences in the package."""


def everyday(mark: str) -> list[str]:
    return [line[2:] for line in EVERYDAY if line.startswith(mark)]


def test_english_is_told_apart() -> None:
    english = confusion(bundled_classifier(), HELD_OUT["en"])
    assert english.n_sentences >= 300
    assert english.accuracy >= 0.97


def test_all_languages_are_told_apart() -> None:
    confusions = {language: confusion(bundled_classifier(), sentences) for language, sentences in HELD_OUT.items()}
    assert len(confusions) == 65
    assert mean_accuracy({key: one for key, one in confusions.items() if key not in FEW_TEMPLATES}) >= 0.9
    assert mean_accuracy(confusions) >= 0.9


def test_sentences_that_nobody_made_from_a_template_are_told_apart() -> None:
    sentences = {kind: everyday(mark) for kind, mark in (("automation", "+"), ("talk", "-"), ("reasoning", "!"))}
    found = confusion(bundled_classifier(), sentences)
    assert found.n_sentences == 66
    assert found.accuracy >= 0.9


def test_tasks_that_need_thought_are_found_and_talk_is_left_alone() -> None:
    assert sum(bundled_classifier().judge(text).reasoning > 0 for text in everyday("!")) >= 4
    assert sum(bundled_classifier().judge(text).reasoning > 0 for text in everyday("-")) <= 1


def test_what_is_held_out_is_not_trained_on() -> None:
    for path in FOLDER.glob("*.txt"):
        talk = load_small_talk(path.stem)
        for patterns, offset in ((talk.talk, 0), (talk.thought, 3)):
            parts = [split(patterns, held_out=held_out, offset=offset) for held_out in (True, False)]
            assert sorted(parts[0] + parts[1]) == sorted(patterns)
            assert not set(parts[0]) & set(parts[1])


def test_the_file_is_small_enough_to_be_part_of_the_package() -> None:
    assert Path(intent.__file__).with_name("intent.bin").stat().st_size <= 1_000_000


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("Turn ON the lamp!", "turn on the lamp"),
        ("  turn\ton\nthe   lamp.", "turn on the lamp"),
        ("set it to 25%", "set it to 17"),
        ("set it to \uff12\uff15", "set it to 25"),
        ("Straße", "STRASSE"),
    ],
)
def test_spelling_makes_no_difference(text: str, same: str) -> None:
    assert normalize(text) == normalize(same)


def test_marks_that_belong_to_letters_stay() -> None:
    assert normalize("बत्ती बंद करो।") == "बत्ती बंद करो"


def test_the_beginning_and_the_end_of_a_long_text_count() -> None:
    middle = "blah " * 10_000
    assert normalize(f"turn on {middle} lamp").startswith("turn on blah")
    assert normalize(f"turn on {middle} lamp").endswith("blah lamp")
    assert len(normalize(f"turn on {middle} lamp")) <= 257


@given(st.text(max_size=400))
def test_any_text_is_judged(text: str) -> None:
    assert all(0 <= bucket < N_BUCKETS for bucket in buckets(normalize(text)))
    judged = bundled_classifier().judge(text)
    assert math.isfinite(judged.automation)
    assert math.isfinite(judged.reasoning)


def test_an_own_file_is_read_as_it_is_written() -> None:
    found = buckets(normalize("lamp"))
    table = bytearray(2 * N_BUCKETS)
    table[found[0]], table[N_BUCKETS + found[0]] = 3, 256 - 2
    classifier = IntentClassifier(HEADER.pack(intent.MAGIC, N_BUCKETS, 0.5, 0.25, 2.0, 0.0) + bytes(table))
    share = found.count(found[0]) / math.sqrt(len(found))
    judged = classifier.judge("Lamp!")
    assert judged.automation == pytest.approx(0.25 + 0.5 * 3 * share)
    assert judged.reasoning == pytest.approx(-2 * 2.0 * share)
    assert classifier.judge("").automation == pytest.approx(0.25)


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: b"?" + data[1:], lambda _: b""])
def test_a_damaged_file_is_refused(damage: Callable[[bytes], bytes]) -> None:
    data = Path(intent.__file__).with_name("intent.bin").read_bytes()
    with pytest.raises(ValueError, match="damaged"):
        IntentClassifier(damage(data))


def test_ways_to_say_differ() -> None:
    ways = ways_to_say(random.Random(1), "(tell|give) me a joke [about (cats|dogs)]", 5)
    assert len(set(ways)) == len(ways) == 5
