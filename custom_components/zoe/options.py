"""What a user chose for one agent, and the parts of the form that ask for it.

Stored flat in a subentry; the form shows it in sections. What is not stored has its default, so agents that were made
before an option existed keep working.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import probatio
from homeassistant.data_entry_flow import section
from homeassistant.helpers.selector import (
    BooleanSelector,
    NumberSelector,
    NumberSelectorConfig,
    NumberSelectorMode,
    TextSelector,
    TextSelectorConfig,
)

from .const import CONF_MODEL, MAX_ANSWER_TOKENS, MODEL_AUTOMATIC

CONF_TEMPERATURE: Final = "temperature"
CONF_MAX_TOKENS: Final = "max_tokens"
CONF_HISTORY_ROUNDS: Final = "history_rounds"
CONF_FOLLOW_UP: Final = "follow_up"
CONF_PLAIN_SPEECH: Final = "plain_speech"
CONF_CONFIRM_DESTRUCTIVE: Final = "confirm_destructive"
CONF_FACTS: Final = "facts"
"""Shown in the form of an agent, but the household's: `memory.Memory` keeps them."""

SECTION_ANSWER: Final = "answer"
SECTION_VOICE: Final = "voice"
SECTION_SAFETY: Final = "safety"
SECTION_MEMORY: Final = "memory"

DEFAULT_HISTORY_ROUNDS: Final = 12

# No slider: an empty one looks like 0.
_TEMPERATURE: Final = NumberSelector(NumberSelectorConfig(min=0, max=2, step=0.05, mode=NumberSelectorMode.BOX))
_TOKENS: Final = NumberSelector(NumberSelectorConfig(min=16, max=32768, step=1, mode=NumberSelectorMode.BOX))
_ROUNDS: Final = NumberSelector(NumberSelectorConfig(min=1, max=100, step=1, mode=NumberSelectorMode.BOX))

# No default for the temperature: without one, the server takes what suits the model.
_GENERATION_FIELDS: Final[Mapping[probatio.Marker, Any]] = {
    probatio.Optional(CONF_TEMPERATURE): _TEMPERATURE,
    probatio.Required(CONF_MAX_TOKENS, default=MAX_ANSWER_TOKENS): _TOKENS,
}
_SECTIONS: Final[Mapping[str, Mapping[probatio.Marker, Any]]] = {
    SECTION_ANSWER: {
        **_GENERATION_FIELDS,
        probatio.Required(CONF_HISTORY_ROUNDS, default=DEFAULT_HISTORY_ROUNDS): _ROUNDS,
    },
    SECTION_VOICE: {
        probatio.Required(CONF_FOLLOW_UP, default=True): BooleanSelector(),
        probatio.Required(CONF_PLAIN_SPEECH, default=True): BooleanSelector(),
    },
    SECTION_SAFETY: {probatio.Required(CONF_CONFIRM_DESTRUCTIVE, default=False): BooleanSelector()},
    SECTION_MEMORY: {probatio.Optional(CONF_FACTS): TextSelector(TextSelectorConfig(multiple=True))},
}


@dataclass(frozen=True, slots=True)
class AgentOptions:
    """The choices of one agent, with their defaults; a `temperature` of None leaves it to the server."""

    model: str = MODEL_AUTOMATIC
    temperature: float | None = None
    max_tokens: int = MAX_ANSWER_TOKENS
    history_rounds: int = DEFAULT_HISTORY_ROUNDS
    follow_up: bool = True
    plain_speech: bool = True
    confirm_destructive: bool = False

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Self:
        """Read the data of a subentry; the form's number fields store whole numbers as floats."""
        temperature = data.get(CONF_TEMPERATURE)
        return cls(
            model=data.get(CONF_MODEL, MODEL_AUTOMATIC),
            temperature=None if temperature is None else float(temperature),
            max_tokens=int(data.get(CONF_MAX_TOKENS, MAX_ANSWER_TOKENS)),
            history_rounds=int(data.get(CONF_HISTORY_ROUNDS, DEFAULT_HISTORY_ROUNDS)),
            follow_up=data.get(CONF_FOLLOW_UP, True),
            plain_speech=data.get(CONF_PLAIN_SPEECH, True),
            confirm_destructive=data.get(CONF_CONFIRM_DESTRUCTIVE, False),
        )


def generation_fields() -> dict[probatio.Marker, Any]:
    """Return the fields about how an answer is made, for a form without sections."""
    return dict(_GENERATION_FIELDS)


def section_fields() -> dict[probatio.Marker, Any]:
    """Return the sections of the form of a conversation agent, folded up."""
    return {
        probatio.Required(name): section(probatio.Schema(dict(fields)), {"collapsed": True})
        for name, fields in _SECTIONS.items()
    }


def flattened(user_input: Mapping[str, Any]) -> dict[str, Any]:
    """Return the answer to the form as it is stored: without sections."""
    flat = {key: value for key, value in user_input.items() if key not in _SECTIONS}
    for name in _SECTIONS:
        flat.update(user_input.get(name, {}))
    return flat


def sectioned(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return stored data as the form suggests it: in sections."""
    inside = {str(field): name for name, fields in _SECTIONS.items() for field in fields}
    nested: dict[str, Any] = {name: {} for name in _SECTIONS}
    for key, value in data.items():
        if key in inside:
            nested[inside[key]][key] = value
        else:
            nested[key] = value
    return nested
