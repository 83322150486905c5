"""Claims that no result supports are found; correct sentences are left alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custom_components.zoe.claims import claims_in
from custom_components.zoe.honesty import Correction, Verdict, correction
from custom_components.zoe.outcome import Outcome

HOME = ["Kitchen light", "Desk lamp", "Küche", "Lumière du salon", "Luz de la cocina", "Keukenlamp", "Luce cucina"]
NOTHING = Correction(Verdict.NOTHING_DONE)
DONE = Outcome("t", changes=True, ok=True, done=("Kitchen light",))
READ = Outcome("t", changes=False, ok=True)
FAILED = Outcome("t", changes=True, ok=False, failed=("Desk lamp",))

CLAIMS = {
    "en": [
        ("turn on the kitchen light", "I've turned on the kitchen light."),
        ("turn on the kitchen light", "I have turned the kitchen light on for you."),
        ("turn on the kitchen light", "OK, turned on the kitchen light."),
        ("turn on the kitchen light", "The kitchen light has been switched on."),
        ("turn on the lights", "Done."),
        ("close it", "Okay, I’ve closed the desk lamp"),  # noqa: RUF001
    ],
    "de": [
        ("Mach das Licht in der Küche an", "Ich habe das Licht eingeschaltet."),
        ("Mach das Licht in der Küche an", "Das Licht in der Küche wurde eingeschaltet."),
        ("Küche an", "Erledigt!"),
    ],
    "fr": [
        ("Allume la lumière du salon", "J'ai allumé la lumière."),
        ("Allume le salon", "La lampe du salon a été allumée."),
    ],
    "es": [("Enciende la luz", "He encendido la luz de la cocina."), ("Enciende la cocina", "Hecho.")],
    "nl": [("Doe de keukenlamp aan", "Ik heb de keukenlamp aangezet.")],
    "it": [("Accendi la luce", "Ho acceso la luce in cucina."), ("Spegni la luce", "La luce è stata spenta.")],
}
CORRECT = {
    "en": [
        ("turn on the kitchen light", "I could not turn on the kitchen light."),
        ("turn on the kitchen light", "I have not turned on the kitchen light."),
        ("turn on the kitchen light", "I haven't turned it on."),
        ("turn on the kitchen light", "The kitchen light is already on."),
        ("turn on the kitchen light", "Shall I say that I have turned on the kitchen light?"),
        ("turn on the chandelier", "There is no chandelier."),
        ("did you turn on the kitchen light?", "Yes, I have turned on the kitchen light."),
        ("tell me a joke", "I opened a book and it was full of lamps."),
        ("tell me a story of a lamp", "Once I switched on a desk lamp. " * 10),
        ("turn on the kitchen light", "Which light?"),
    ],
    "de": [
        ("Mach das Licht an", "Ich konnte das Licht nicht einschalten."),
        ("Ist das Licht an?", "Es wurde eingeschaltet."),
    ],
    "fr": [("Allume la lumière", "Je n'ai pas allumé la lumière.")],
    "pt": [("Acende a luz", "Acendi a luz.")],
}


@pytest.mark.parametrize(
    ("language", "sentence", "answer"), [(tag, *pair) for tag, pairs in CLAIMS.items() for pair in pairs]
)
def test_claims_need_a_result(language: str, sentence: str, answer: str) -> None:
    assert correction(answer, sentence, f"{language}-XX", [], HOME) == NOTHING
    assert correction(answer, sentence, language, [READ], HOME) == NOTHING
    assert correction(answer, sentence, language, [FAILED], HOME) == Correction(Verdict.FAILED, ("Desk lamp",))
    assert correction(answer, sentence, language, [READ, DONE], HOME) is None


@pytest.mark.parametrize(
    ("language", "sentence", "answer"), [(tag, *pair) for tag, pairs in CORRECT.items() for pair in pairs]
)
def test_correct_sentences_stand(language: str, sentence: str, answer: str) -> None:
    assert correction(answer, sentence, language, [], HOME) is None


def test_what_has_nothing_to_do_with_the_home_stands() -> None:
    assert claims_in("Done.", "en")
    assert correction("Done.", "remember my birthday", "en", [], HOME) is None


def test_a_thing_that_failed_is_told_beside_one_that_worked() -> None:
    answer = "I have turned on the kitchen light and the desk lamp."
    assert correction(answer, "turn on both", "en", [DONE, FAILED], HOME) == Correction(Verdict.FAILED, ("Desk lamp",))
    honest = "I have turned on the kitchen light, but the desk lamp did not react."
    assert correction(honest, "turn on both", "en", [DONE, FAILED], HOME) is None


def test_a_name_within_a_name_is_not_meant() -> None:
    failed = Outcome("t", changes=True, ok=False, failed=("Light", "Lamp 1"))
    answer = "I have turned on the kitchen light and lamp 10."
    assert correction(answer, "kitchen light on", "en", [DONE, failed], HOME) is None


def test_what_worked_in_the_end_has_not_failed() -> None:
    again = Outcome("t", changes=True, ok=True, done=("Desk lamp",))
    assert correction("I've turned on the desk lamp.", "desk lamp on", "en", [FAILED, again], HOME) is None


@given(st.text(), st.sampled_from(["en", "de", "fr", "es", "nl", "it", "pt", ""]))
def test_after_a_change_nothing_is_corrected(answer: str, language: str) -> None:
    assert correction(answer, answer, language, [DONE], [answer]) is None
    assert all(claim in answer.casefold().replace("’", "'") for claim in claims_in(answer, language))  # noqa: RUF001
