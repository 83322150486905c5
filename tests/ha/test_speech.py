"""What is spoken of an answer, wherever the stream was cut."""

import itertools
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from custom_components.zoe.speech.filter import SpeechFilter

CASES: dict[str, list[tuple[str, str]]] = yaml.safe_load(Path(__file__).with_name("speech.yaml").read_text())["spoken"]
LANGUAGES = frozenset({"de", "fr", "es", "nl", "it", "ja"})
WRITINGS = [
    (kind if kind in LANGUAGES else "en", written, expected)
    for kind, cases in CASES.items()
    for written, expected in cases
]
ANSWERS = [
    ("It is on.", "It is on."),
    ("", ""),
    ("  \n ", ""),
    ("**Kitchen** and *hall*, __both__ `on`.", "Kitchen and hall, both on."),
    ("***Wow***! ~~no~~", "Wow! no"),
    ("_very_ good, sensor.kitchen_light", "very good, sensor.kitchen_light"),
    ("2 * 3 = 6, and 2*3 too", "2 times 3 equals 6, and 2 times 3 too"),
    ("# Lights\nTwo are on", "Lights. Two are on"),
    ("Two\n\nThree", "Two. Three"),
    ("one line\nand more of it", "one line and more of it"),
    ("Your lights\n- the lamp\n- the ceiling\n\nAnything else?", "Your lights: the lamp, the ceiling. Anything else?"),
    ("You have:\n* a lamp.\n* a fan.", "You have: a lamp. a fan."),
    ("1. Open it\n2. Look inside", "1. Open it, 2. Look inside"),
    ("1. Mai", "1. Mai"),
    ("- [ ] milk\n- [x] eggs", "milk, eggs"),
    ("- 5 °C", "- 5 degrees Celsius"),
    ("> quoted\n---\nend", "quoted. end"),
    ("```yaml\nlight: on\n```", "light: on"),
    ("| Room | State |\n|---|:--|\n| Kitchen | on |\n|Hall|off|", "Room, State. Kitchen, on. Hall, off"),
    ("See [the manual](https://example.com/x).", "See the manual."),
    ("More at https://www.example.com/a?b=c.", "More at example.com."),
    ("(http://example.com)", "(example.com)"),
    ("**https://example.com**", "example.com"),
    ("Done ✅.", "Done."),
    ("Hello 👋🏽 there 👨‍👩‍👧‍👦!", "Hello there!"),
    ("✅ Kitchen\n❌ Hall", "Kitchen, Hall"),
    ("1️⃣ first 🇩🇪", "1 first"),
    ("Bonjour ! Ça va ?", "Bonjour ! Ça va ?"),
    (
        "It is 21.5°C (70.7 °F), 1 kWh, 50%.",
        "It is 21.5 degrees Celsius (70.7 degrees Fahrenheit), 1 kilowatt-hour, 50 percent.",
    ),
    ("20–22°C, -1 °C", "20 to 22 degrees Celsius, minus 1 degree Celsius"),  # noqa: RUF001
    ("5 W", "5 watts"),
    ("Plan W, 5 apples and %", "Plan W, 5 apples and %"),
    ("厨房の電気を消しました。次は？", "厨房の電気を消しました。次は？"),  # noqa: RUF001
    ("**重要**。です", "重要。です"),
    ("क्‍ष", "क्‍ष"),
    ('"Which one?"\n\nTell me', '"Which one?" Tell me'),
]


def spoken(pieces: list[str], language: str = "en") -> list[str]:
    speech = SpeechFilter(language)
    return [*(speech.feed(piece) for piece in pieces), speech.close()]


@pytest.mark.parametrize(("written", "expected"), ANSWERS)
def test_answers(written: str, expected: str) -> None:
    assert "".join(spoken([written])) == expected


@pytest.mark.parametrize(("language", "written", "expected"), WRITINGS)
def test_writings(language: str, written: str, expected: str) -> None:
    assert "".join(spoken([written], language)) == expected
    assert "".join(spoken(list(written), language)) == expected


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("de-CH", "21,5 Grad Celsius und 50 Prozent"),
        ("fr", "21,5 degrés Celsius und 50 pour cent"),
        ("es", "21,5 grados Celsius und 50 por ciento"),
        ("nl", "21,5 graden Celsius und 50 procent"),
        ("it", "21,5 gradi Celsius und 50 per cento"),
        ("ja", "21,5 °C und 50 %"),
    ],
)
def test_units_in_the_language(language: str, expected: str) -> None:
    assert "".join(spoken(["21,5 °C und 50 %"], language)) == expected


def test_words_go_out_while_the_answer_is_written() -> None:
    assert spoken(["The kit", "chen ", "light", " is"]) == ["The", " kitchen", "", " light", " is"]


@pytest.mark.parametrize(
    "text",
    [
        "The lamp is on and the fan is off",
        "It is {warm} or [cold] or <mild> or (wet) today",
        'He said "I am {here" and left [the room < door > then',
        "It costs $5 or 3 % at 20 °C = 68 °F in 4 m² on 2-3 days",
        '{"state": "on"} is what it said and {then} some',
        "Anna (name=me) calls HassTurnOn sometimes and & so; on",
        "The cat sat – on the - mat and € too",  # noqa: RUF001
    ],
)
def test_ordinary_text_waits_for_one_word_at_most(text: str) -> None:
    speech = SpeechFilter("en")
    said = ""
    words = text.split(" ")
    for count, word in enumerate(words):
        said += speech.feed(word + " ")
        assert len(said.split()) >= len("".join(spoken([" ".join(words[: count or 1])])).split()) - 1
    assert said + speech.close() == "".join(spoken([text]))


SIGNS = st.sampled_from(
    [
        *"*_`~[]()|#->+.:!? \n\n\t125,%°CW",
        "**",
        "```",
        "https://a.b/c",
        "](http://x)",
        "|--|",
        "👋",
        "\u200d",
        "\ufe0f",
        "。",
        "é",
        "→",
        "->",
        "\u2013",
        "€",
        "$",
        "CHF",
        "kWh",
        "5",
        "²",
        "=",
        "\\frac{1}{2}",
        "{",
        '{"name": "',
        'HassTurnOn"',
        ', "arguments": ',
        "HassTurnOn(",
        'a="b"',
        "}",
        "<think>",
        "</think>",
        "<br>",
        "<tool_call>",
        "</tool_call>",
        "[TOOL_CALLS]",
        "<|channel|>",
        "<|message|>",
        "<",
        "&amp;",
        "[value ",
        "【4",
        "】",
    ]
)
WRITTEN = st.one_of(
    st.text(),
    st.lists(SIGNS).map("".join),
    st.sampled_from([written for written, _ in ANSWERS] + [w for _, w, _ in WRITINGS]),
)


@given(WRITTEN, st.data())
def test_cuts_do_not_matter(written: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(written)), max_size=8)))
    bounds = [0, *cuts, len(written)]
    pieces = [written[start:end] for start, end in itertools.pairwise(bounds)]
    assert "".join(spoken(pieces)) == "".join(spoken([written])) == "".join(spoken(list(written)))


@given(st.lists(st.from_regex(r"[a-zA-Zäßéçñ]{1,9}[.,!?]?", fullmatch=True), min_size=1))
def test_plain_speech_stays_as_it_is(words: list[str]) -> None:
    assert "".join(spoken([" ".join(words)])) == " ".join(words)


@given(WRITTEN)
def test_nothing_is_left_that_cannot_be_spoken(written: str) -> None:
    speech = "".join(spoken([written]))
    assert "**" not in speech
    assert "`" not in speech
    assert "\n" not in speech
    assert "👋" not in speech
