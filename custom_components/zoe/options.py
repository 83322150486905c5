"""What a user chose for one agent or AI task, and the parts of the forms that ask for it.

Stored flat in a subentry; the forms show it in sections. What is not stored has its default, so agents that were made
before an option existed keep working.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Self

import probatio
from homeassistant.config_entries import ConfigEntry
from homeassistant.const import CONF_TIMEOUT, UnitOfTime
from homeassistant.data_entry_flow import section
from homeassistant.helpers.selector import (
    BooleanSelector,
    EntitySelector,
    EntitySelectorConfig,
    NumberSelector,
    NumberSelectorConfig,
    NumberSelectorMode,
    ObjectSelector,
    SelectSelector,
    SelectSelectorConfig,
    TextSelector,
    TextSelectorConfig,
)

from .const import CONF_MODEL, MAX_ANSWER_TOKENS, MODEL_AUTOMATIC

CONF_TEMPERATURE: Final = "temperature"
CONF_MAX_TOKENS: Final = "max_tokens"
CONF_THINKING: Final = "thinking"
CONF_HISTORY_ROUNDS: Final = "history_rounds"
CONF_TOP_P: Final = "top_p"
CONF_TOP_K: Final = "top_k"
CONF_MIN_P: Final = "min_p"
CONF_REPETITION_PENALTY: Final = "repetition_penalty"
CONF_REQUEST_FIELDS: Final = "request_fields"
CONF_FOLLOW_UP: Final = "follow_up"
CONF_PLAIN_SPEECH: Final = "plain_speech"
CONF_CONFIRM: Final = "confirm"
CONF_GUARDED: Final = "guarded"
"""Entities that are only opened or switched after a yes, whatever they are; what one agent's form says, all keep to."""
CONF_CONFIRM_DESTRUCTIVE: Final = "confirm_destructive"
"""What stands in agents that were stored before there were three answers to `CONF_CONFIRM`."""
CONF_FACTS: Final = "facts"
"""Shown in the form of an agent, but the household's: `memory.Memory` keeps them."""

SECTION_ANSWER: Final = "answer"
SECTION_VOICE: Final = "voice"
SECTION_SAFETY: Final = "safety"
SECTION_MEMORY: Final = "memory"
SECTION_EXPERT: Final = "expert"

DEFAULT_HISTORY_ROUNDS: Final = 12
DEFAULT_TIMEOUT_S: Final = 300.0
"""A small machine takes minutes for the first prompt of a large home."""

type Confirm = Literal["never", "opening", "everything"]
"""What is done only after a yes: nothing, what opens or guards the home, all that is not harmless."""
type Thinking = Literal["default", "off", "low", "high"]

_CONFIRM: Final[tuple[Confirm, ...]] = ("never", "opening", "everything")
_THINKING: Final[Mapping[Thinking, str | None]] = {"default": None, "off": "none", "low": "low", "high": "high"}
"""The choices, and their words in OpenAI's `reasoning_effort`."""

RESERVED_FIELDS: Final = frozenset(
    {"functions", "max_completion_tokens", "max_tokens", "messages", "model", "n", "response_format", "stream"}
    | {"stream_options", "tool_choice", "tools", "zoe"}
)
"""Fields of a request that are not an expert's to set: a turn would not work, or a prompt computed ahead would talk."""


def _number(low: float, high: float, step: float, unit: str | None = None) -> NumberSelector:
    config = NumberSelectorConfig(min=low, max=high, step=step, mode=NumberSelectorMode.BOX)  # an empty slider shows 0
    if unit:
        config["unit_of_measurement"] = unit
    return NumberSelector(config)


def _choice(options: Mapping[str, object] | tuple[str, ...], translation_key: str) -> SelectSelector:
    return SelectSelector(SelectSelectorConfig(options=list(options), translation_key=translation_key))


# No default for how tokens are drawn: without one, the server takes what suits the model.
_GENERATION_FIELDS: Final[Mapping[probatio.Marker, Any]] = {
    probatio.Required(CONF_THINKING, default="default"): _choice(tuple(_THINKING), CONF_THINKING),
    probatio.Optional(CONF_TEMPERATURE): _number(0, 2, 0.05),
    probatio.Required(CONF_MAX_TOKENS, default=MAX_ANSWER_TOKENS): _number(16, 32768, 1),
    probatio.Required(CONF_TIMEOUT, default=DEFAULT_TIMEOUT_S): _number(5, 3600, 1, UnitOfTime.SECONDS),
}
_EXPERT_FIELDS: Final[Mapping[probatio.Marker, Any]] = {
    probatio.Optional(CONF_TOP_P): _number(0, 1, 0.01),
    probatio.Optional(CONF_TOP_K): _number(0, 1000, 1),
    probatio.Optional(CONF_MIN_P): _number(0, 1, 0.01),
    probatio.Optional(CONF_REPETITION_PENALTY): _number(0.5, 2, 0.01),
    probatio.Optional(CONF_REQUEST_FIELDS): ObjectSelector(),
}
_SECTIONS: Final[Mapping[str, Mapping[probatio.Marker, Any]]] = {
    SECTION_ANSWER: {
        **_GENERATION_FIELDS,
        probatio.Required(CONF_HISTORY_ROUNDS, default=DEFAULT_HISTORY_ROUNDS): _number(1, 100, 1),
    },
    SECTION_VOICE: {
        probatio.Required(CONF_FOLLOW_UP, default=True): BooleanSelector(),
        probatio.Required(CONF_PLAIN_SPEECH, default=True): BooleanSelector(),
    },
    SECTION_SAFETY: {
        probatio.Required(CONF_CONFIRM, default="opening"): _choice(_CONFIRM, CONF_CONFIRM),
        probatio.Optional(CONF_GUARDED): EntitySelector(EntitySelectorConfig(multiple=True)),
    },
    SECTION_MEMORY: {probatio.Optional(CONF_FACTS): TextSelector(TextSelectorConfig(multiple=True))},
    SECTION_EXPERT: _EXPERT_FIELDS,
}


@dataclass(frozen=True, slots=True)
class AgentOptions:
    """The choices of one agent, with their defaults; what is None is left to the server."""

    model: str = MODEL_AUTOMATIC
    temperature: float | None = None
    max_tokens: int = MAX_ANSWER_TOKENS
    thinking: Thinking = "default"
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    timeout_s: float = DEFAULT_TIMEOUT_S
    request_fields: Mapping[str, Any] = field(default_factory=dict)
    history_rounds: int = DEFAULT_HISTORY_ROUNDS
    follow_up: bool = True
    plain_speech: bool = True
    confirm: Confirm = "opening"

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Self:
        """Read the data of a subentry; the form's number fields store whole numbers as floats."""
        top_k = data.get(CONF_TOP_K)
        return cls(
            model=data.get(CONF_MODEL, MODEL_AUTOMATIC),
            temperature=data.get(CONF_TEMPERATURE),
            max_tokens=int(data.get(CONF_MAX_TOKENS, MAX_ANSWER_TOKENS)),
            thinking=data.get(CONF_THINKING, "default"),
            top_p=data.get(CONF_TOP_P),
            top_k=None if top_k is None else int(top_k),
            min_p=data.get(CONF_MIN_P),
            repetition_penalty=data.get(CONF_REPETITION_PENALTY),
            timeout_s=data.get(CONF_TIMEOUT, DEFAULT_TIMEOUT_S),
            request_fields=data.get(CONF_REQUEST_FIELDS, {}),
            history_rounds=int(data.get(CONF_HISTORY_ROUNDS, DEFAULT_HISTORY_ROUNDS)),
            follow_up=data.get(CONF_FOLLOW_UP, True),
            plain_speech=data.get(CONF_PLAIN_SPEECH, True),
            confirm=_confirm(data),
        )

    def as_request(self) -> dict[str, Any]:
        """Return the fields of a request that say how an answer is made."""
        chosen = {
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": self.top_k,
            "min_p": self.min_p,
            "repeat_penalty": self.repetition_penalty,
            "reasoning_effort": _THINKING[self.thinking],
        }
        own = {key: value for key, value in chosen.items() if value is not None}
        return {**self.request_fields, "model": self.model, "max_tokens": self.max_tokens, **own}


def guarded_entities(entry: ConfigEntry) -> frozenset[str]:
    """Return the entities that the household wants to be asked about."""
    return frozenset(one for agent in entry.subentries.values() for one in agent.data.get(CONF_GUARDED, ()))


def _confirm(data: Mapping[str, Any]) -> Confirm:
    old: Confirm = "everything" if data.get(CONF_CONFIRM_DESTRUCTIVE) else "opening"
    chosen: Confirm = data.get(CONF_CONFIRM, old)
    return chosen


def usable_request_fields(value: object) -> bool:
    """Return whether what an expert wrote can be put into a request: a mapping that leaves alone what is not his."""
    return isinstance(value, Mapping) and not RESERVED_FIELDS & value.keys()


def generation_fields() -> dict[probatio.Marker, Any]:
    """Return the fields about how an answer is made, for a form that has no section for them."""
    return dict(_GENERATION_FIELDS)


def section_fields(*names: str) -> dict[probatio.Marker, Any]:
    """Return sections of a form, by default all that there are, folded up."""
    return {
        probatio.Required(name): section(probatio.Schema(dict(_SECTIONS[name])), {"collapsed": True})
        for name in names or _SECTIONS
    }


def flattened(user_input: Mapping[str, Any]) -> dict[str, Any]:
    """Return the answer to a form as it is stored: without sections, and without additional fields if there are none.

    An answer without a member for a section is one whose form does not have it.
    """
    flat = {key: value for key, value in user_input.items() if key not in _SECTIONS}
    for name in _SECTIONS:
        flat.update(user_input.get(name, {}))
    if not flat.get(CONF_REQUEST_FIELDS):
        flat.pop(CONF_REQUEST_FIELDS, None)
    return flat


def sectioned(data: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Return stored data as a form with the sections `names` suggests it, by default with all of them."""
    inside = {str(key): name for name in names or _SECTIONS for key in _SECTIONS[name]}
    nested: dict[str, Any] = {name: {} for name in names or _SECTIONS}
    for key, value in data.items():
        if key in inside:
            nested[inside[key]][key] = value
        elif key != CONF_CONFIRM_DESTRUCTIVE:
            nested[key] = value
    if SECTION_SAFETY in nested:
        nested[SECTION_SAFETY][CONF_CONFIRM] = _confirm(data)
    return nested
