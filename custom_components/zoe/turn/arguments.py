"""The arguments of a tool call as models write them, made what the tool's schema wants.

    {"name": "Lamp", "area": ""}            -> {"name": "Lamp"}                   blank
    {"domain": "[\\"light\\"]"}               -> {"domain": ["light"]}              nested JSON
    {"arguments": {"name": "Lamp"}}         -> {"name": "Lamp"}                   wrapped
    {"brightness": "50 percent"}            -> {"brightness": 50}                 a number as text
    {"temperature": "21,5"}                 -> {"temperature": 21.5}
    {"color": "2700K"}                      -> {"temperature": 2700}              a colour in kelvin
    {"name": "Lamp", "area": "none"}        -> {"name": "Lamp"}                   a word for nothing
    {'name': 'Lamp',} in a code fence       -> {"name": "Lamp"}                   almost JSON

Pure. Nothing is guessed: what has no such reading is left as it is, and the tool says what it wants. What it cannot
know: whether a blank was meant; tools of Home Assistant have no use for one.
"""

import ast
import json
import re
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import Any, Final

from homeassistant.helpers.json import json_dumps

from ..home import GROUNDED_ARGUMENTS

type Arguments = dict[str, Any]

_WRAPPERS: Final = ("arguments", "parameters", "args", "tool_args")
_MAX_LENGTH: Final = 100_000
_FENCE: Final = re.compile(r"\s*```\w*\s*(.*?)\s*```\s*", re.DOTALL)
_STRING_OR_SPARE_COMMA: Final = re.compile(r'"(?:\\.|[^"\\])*"|,(?=\s*[}\]])', re.DOTALL)
_NUMBER: Final = re.compile(r"\s*([+-]?[0-9]+(?:[.,][0-9]+)?)\s*([^0-9]{0,20})")
_KELVIN: Final = re.compile(r"\s*([0-9]{4,5})\s*k(?:elvin)?\s*", re.IGNORECASE)
_NOTHING: Final = frozenset({"none", "null", "nil", "undefined", "n/a", "nan"})
"""What programs write for nothing, where a thing or a place is named.
"""
_NAMING: Final = GROUNDED_ARGUMENTS.keys() | {"device_class"}
_DURATIONS: Final = ("hour", "minute", "second", "duration")
"""Arguments in whose text a unit may be another one than theirs.
"""


class Repair(StrEnum):
    """What was wrong with arguments."""

    TEXT = "argument_text"
    WRAPPED = "wrapped_arguments"
    BLANK = "blank_argument"
    NESTED = "nested_json"
    NUMBER = "number_text"
    COLOR = "color_word"


class ArgumentsError(ValueError):
    """The text has no reading as a JSON object."""


def parsed_arguments(text: str) -> tuple[Arguments, list[Repair]]:
    """Return the arguments that a model wrote as `text`; none at all are no arguments.

    Raises:
        ArgumentsError: the text is not a JSON object, and not nearly one.
    """
    if not text.strip():
        return {}, []
    if len(text) > _MAX_LENGTH:
        raise ArgumentsError(f"{len(text)} characters are too many")
    reasons: list[str] = []
    for number, read in enumerate(_READINGS):
        try:
            value = _object(read(text))
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as err:
            reasons.append(str(err) or type(err).__name__)
        else:
            return value, [Repair.TEXT] if number else []
    raise ArgumentsError(reasons[0])


def _object(value: object) -> Arguments:
    if not isinstance(value, dict):
        raise TypeError("the arguments are not a JSON object")
    json_dumps(value)  # what cannot be sent back to the model, such as half a character, must not get into the chat log
    return {str(key): item for key, item in value.items()}


def _unfenced(text: str) -> str:
    fenced = _FENCE.fullmatch(text)
    return fenced[1] if fenced else text


def _without_spare_commas(text: str) -> object:
    tidy = _STRING_OR_SPARE_COMMA.sub(lambda part: "" if part[0] == "," else part[0], _unfenced(text))
    return json.loads(tidy)


def _json_in_a_string(text: str) -> object:
    inner = json.loads(text)
    return json.loads(inner) if isinstance(inner, str) else inner


_READINGS: Final[tuple[Callable[[str], object], ...]] = (
    json.loads,
    _json_in_a_string,
    _without_spare_commas,
    lambda text: ast.literal_eval(_unfenced(text).strip()),
)


def repaired(
    arguments: Arguments, schema: Mapping[str, Any], colors: Mapping[str, str] | None = None
) -> tuple[Arguments, list[Repair]]:
    """Return `arguments` as a tool with this JSON schema wants them, and what was wrong.

    `colors` are the names of colours that tools know, by words of another language.
    """
    properties = schema.get("properties", {})
    repairs: list[Repair] = []
    arguments = _unwrapped(arguments, properties, repairs)
    result: Arguments = {}
    for name, value in _in_kelvin(arguments, properties, repairs).items():
        if name == "color" and isinstance(value, str) and (known := (colors or {}).get(value.strip().casefold())):
            repairs += [Repair.COLOR] * (known != value)
            value = known  # noqa: PLW2901 (what is meant by it)
        better = _better_value(name, value, set(_types(properties.get(name, {}))), repairs)
        if _is_blank(better) or (name in _NAMING and _says_nothing(better)):
            repairs.append(Repair.BLANK)
        else:
            result[name] = better
    return result, repairs


def _unwrapped(arguments: Arguments, properties: Mapping[str, Any], repairs: list[Repair]) -> Arguments:
    if len(arguments) != 1:
        return arguments
    ((name, value),) = arguments.items()
    if name not in _WRAPPERS or name in properties:
        return arguments
    inner = _parsed_container(value) if isinstance(value, str) else value
    if not isinstance(inner, dict):
        return arguments
    repairs.append(Repair.WRAPPED)
    return inner


def _in_kelvin(arguments: Arguments, properties: Mapping[str, Any], repairs: list[Repair]) -> Arguments:
    """Return arguments with a colour that is a temperature in the place that there is for it."""
    color = arguments.get("color")
    if not isinstance(color, str) or not {"color", "temperature"} <= properties.keys() or "temperature" in arguments:
        return arguments
    kelvin = _KELVIN.fullmatch(color)
    if kelvin is None:
        return arguments
    repairs.append(Repair.NUMBER)
    return {**{key: value for key, value in arguments.items() if key != "color"}, "temperature": int(kelvin[1])}


def _better_value(name: str, value: object, types: set[str], repairs: list[Repair]) -> object:
    if not isinstance(value, str):
        return value
    container = _parsed_container(value)
    if (isinstance(container, list) and "array" in types) or (isinstance(container, dict) and "object" in types):
        repairs.append(Repair.NESTED)
        return container
    if types & {"integer", "number"} and "string" not in types and (number := _NUMBER.fullmatch(value)):
        digits, unit = number[1].replace(",", "."), number[2].strip()
        if not unit or not any(word in name for word in _DURATIONS):
            repairs.append(Repair.NUMBER)
            return float(digits) if "." in digits else int(digits)
    return value


def _parsed_container(text: str) -> object:
    """Return the list or object that `text` is in JSON, or None."""
    if not text.lstrip().startswith(("{", "[")) or len(text) > _MAX_LENGTH:
        return None
    try:
        value = json.loads(text)
        json_dumps(value)
    except ValueError, TypeError, RecursionError:
        return None
    return value


def _is_blank(value: object) -> bool:
    if isinstance(value, str):
        return not value.strip()
    if isinstance(value, list):
        return all(_is_blank(item) for item in value)
    return value is None or value == {}


def _says_nothing(value: object) -> bool:
    values = value if isinstance(value, list) else [value]
    return all(isinstance(one, str) and one.strip().casefold() in _NOTHING for one in values)


def _types(schema: object) -> Iterator[str]:
    """Yield the JSON types that a schema allows, as far as it names them."""
    if not isinstance(schema, Mapping):
        return
    kind = schema.get("type")
    yield from [kind] if isinstance(kind, str) else kind or ()
    for combination in ("anyOf", "oneOf", "allOf"):
        for choice in schema.get(combination, ()):
            yield from _types(choice)
