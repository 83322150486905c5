"""What counts as a yes."""

import pytest
from homeassistant.core import HomeAssistant

from custom_components.zoe.consent import Consent, consent
from custom_components.zoe.sentences import Sentences


@pytest.mark.parametrize(
    ("language", "reply", "agreed"),
    [
        ("en", "Yes", True),
        ("en", "yes, go ahead!", True),
        ("en", "Please do.", True),
        ("en", "OK", True),
        ("en", "yes but not now", False),
        ("en", "OK turn on the kitchen light", None),
        ("en", "yes, unlock it", None),
        ("en", "no", False),
        ("en", "yesterday", False),
        ("en", "I said yes", False),
        ("en", "", False),
        ("de", "Ja, bitte", True),
        ("de", "Nein", False),
        ("de", "Bitte nicht", False),
        ("fr", "D’accord", True),  # noqa: RUF001
        ("fr", "Oui, vas-y", True),
        ("fr", "Vas-y", True),
        ("fr", "Non merci", False),
        ("es", "Sí, adelante", True),
        ("es", "No", False),
        ("nl", "Doe maar", True),
        ("nl", "Liever niet", False),
        ("it", "Va bene", True),
        ("it", "Sì", True),
        ("it", "Non farlo", False),
    ],
)
async def test_consents(hass: HomeAssistant, language: str, reply: str, agreed: bool | None) -> None:
    sentences = await Sentences.async_load(hass, language)
    expected = {True: Consent.GIVEN, None: Consent.LIKELY, False: Consent.NONE}[agreed]
    assert consent(reply, *(sentences.words(key) for key in ("yes", "yes_fillers", "no"))) is expected
