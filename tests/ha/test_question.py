"""Questions that change nothing; whatever may be an order is none of them."""

import time

import pytest

from custom_components.zoe.question import only_asks

QUESTIONS = {
    "en": [
        "Is the kitchen light on?",
        "are the windows closed",
        "What's the temperature outside?",
        "How many lights are on",
    ],
    "en-US": ["Which doors are open?", "did the alarm go off?", "Did you turn off the oven?"],
    "de": [
        "Ist das Licht in der Küche an?",
        "Wie warm ist es draußen",
        "Welche Fenster sind offen?",
        "Hast du das Licht ausgeschaltet?",
    ],
    "fr": ["Est-ce que la lampe est allumée ?", "Quelle est la température ?"],
    "es": ["¿Está encendida la luz?", "¿Cuántas luces hay?"],
    "nl": ["Is het licht aan?", "Hoeveel lampen branden er?"],
    "it": ["È accesa la luce?", "Quante luci sono accese?"],
}
ORDERS = {
    "en": [
        "Turn on the light",
        "Can you turn on the light?",
        "Is it possible to turn off the light?",
        "Is it dark? Turn on the light",
        "are the lights on, if not switch them on",
        "Would you close the door?",
        "How about some light?",
        "is it dark turn on the light",
        "is the garage open close it",
        "is the music too loud set the volume to 10",
        "did you turn it off, if not please do",
        "when I leave turn off everything",
        "",
        "?",
    ],
    "de": [
        "Kannst du das Licht einschalten?",
        "Schalte das Licht an",
        "Ist das Licht an, dann mach es aus",
        "ist das Tor auf schließe es",
    ],
    "fr": ["Peux-tu allumer la lampe ?", "Est-ce que tu peux éteindre ?"],
    "es": ["¿Puedes encender la luz?", "¿Está la luz apagada? Enciende la luz"],
    "nl": ["Kun je het licht aandoen?", "Is het licht uit, doe het dan aan", "is het raam open sluit het"],
    "it": ["Puoi accendere la luce?", "Accendi la luce"],
    "pt": ["A luz está acesa?"],
    "ja": ["電気はついていますか？"],  # noqa: RUF001
}


@pytest.mark.parametrize(
    ("language", "sentence"), [(tag, said) for tag, all_of in QUESTIONS.items() for said in all_of]
)
def test_questions(language: str, sentence: str) -> None:
    assert only_asks(sentence, language)


@pytest.mark.parametrize(("language", "sentence"), [(tag, said) for tag, all_of in ORDERS.items() for said in all_of])
def test_orders_and_what_nobody_knows(language: str, sentence: str) -> None:
    assert not only_asks(sentence, language)


def test_many_question_marks_take_no_time() -> None:
    """The event loop waits for this: two seconds for 20,000 of them was too much."""
    began_s = time.process_time()
    assert only_asks("Is it on" + "?" * 40_000, "en")
    assert time.process_time() - began_s < 1
