"""The JSON body of a request: read, bounded and validated.

Whatever a client sends ends here as a value of the form that was asked for, or as an `InvalidRequestError` that names
the path of what is wrong.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, FailFast, Field, ValidationError
from pydantic_core import ErrorDetails

from zoe_server import errors

MAX_DEPTH: Final = 100  # what is passed on to an engine is copied by recursion
MAX_ITEMS: Final = 16_384
_TYPE_NAMES: Final = frozenset({"str", "NamedChoice", "list", "dict", "int", "float", "bool"})
_Form = TypeVar("_Form", bound=BaseModel)
_Item = TypeVar("_Item")

Items = Annotated[list[_Item], FailFast(), Field(max_length=MAX_ITEMS)]
"""A list as long as a client likes: its first wrong item is an error, where one for each would take gigabytes."""

Tokens = Annotated[list[Annotated[int, Field(ge=0, lt=2**31)]], FailFast()]
_SomeTokens = Annotated[Tokens, Field(min_length=1)]
Texts = str | _SomeTokens | Items[str] | Items[_SomeTokens]
"""One text or several, each of them as tokens where the client has made them already."""


Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh"]
"""OpenAI's words for how much a model is to think."""
_LEVELS: Final = {"minimal": "low", "xhigh": "high"}  # templates know three


class RequestModel(BaseModel):
    """What a client sends: nothing is taken for what it is not, and what is not known is ignored."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)


def parse_json(raw: bytes) -> dict[str, Any]:
    """Return the JSON object in `raw`.

    Raises:
        errors.InvalidRequestError: it is no JSON, no object, nested too deep, or holds what is no number or no Unicode.
    """
    try:
        data = json.loads(raw.decode("utf-8-sig"), parse_constant=_refuse_constant, parse_float=_finite)
        if b"\\ud" in raw.lower():  # half a surrogate pair is legal JSON, and text that nobody can encode
            json.dumps(data, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise errors.InvalidRequestError(f"the body is not valid JSON: {error}") from error
    if not isinstance(data, dict):
        raise errors.InvalidRequestError("the body must be a JSON object")
    _check_depth(data)
    return data


def validated(form: type[_Form], data: Mapping[str, Any], at: str = "") -> _Form:
    """Return `data`, which lies at the path `at` of the body, as a `form`.

    Raises:
        errors.InvalidRequestError: with the path of the value that is wrong.
    """
    try:
        return form.model_validate(data)
    except ValidationError as error:
        raise _first_problem(error, at) from error


def each_text(texts: Texts) -> tuple[str | tuple[int, ...], ...]:
    """Return the texts, one or several."""
    if isinstance(texts, str):
        return (texts,)
    items: list[Any] = texts
    if items and isinstance(items[0], int):
        return (tuple(items),)
    return tuple(item if isinstance(item, str) else tuple(item) for item in items)


def thinking(effort: bool | str | None) -> dict[str, Any]:
    """Return what a chat template is told of how much the model is to think, by the names that templates have for it.

    `effort` is one of `Effort`, or whether it is to think at all; None leaves it to the template.
    """
    if effort is None:
        return {}
    thinks = effort not in (False, "none")
    level = {"reasoning_effort": _LEVELS.get(effort, effort)} if thinks and isinstance(effort, str) else {}
    return {"enable_thinking": thinks, "thinking": thinks, **level}


def object_in(text: str) -> dict[str, Any] | None:
    """Return the JSON object that `text`, which a model wrote, is; None while it is none."""
    try:
        value = json.loads(text) if text.rstrip().endswith("}") else None
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def refuse(param: str) -> NoReturn:
    """Raise the `InvalidRequestError` for a known field that is not served."""
    raise errors.InvalidRequestError(f"{param} is not supported", param=param, code="unsupported_parameter")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    """Return the number; one such as 1e999 would become Infinity, which no JSON that is made of it could hold."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is too large a number")
    return number


def _check_depth(data: dict[str, Any]) -> None:
    level: list[dict[str, Any] | list[Any]] = [data]
    for _ in range(MAX_DEPTH):
        inner = (value for each in level for value in (each.values() if isinstance(each, dict) else each))
        level = [value for value in inner if isinstance(value, dict | list)]
        if not level:
            return
    raise errors.InvalidRequestError(f"the body is nested deeper than {MAX_DEPTH} levels")


def _first_problem(error: ValidationError, at: str) -> errors.InvalidRequestError:
    """Return the problem of what the client most likely meant, where a value may be of several types.

    That is the one that lies deepest; of these, one with a value of the right type.
    """
    problem = max(error.errors(include_url=False, include_context=False), key=_likelihood)
    path = _path(at, problem["loc"])
    reason = "must be an object" if problem["type"] in ("model_type", "dict_type") else problem["msg"]
    return errors.InvalidRequestError(f"{path}: {reason}" if path else reason, param=path or None)


def _likelihood(problem: ErrorDetails) -> tuple[int, bool]:
    return _depth(problem["loc"]), not problem["type"].endswith("_type")


def _keys(location: Sequence[str | int]) -> list[str | int]:
    """Return the keys of a location without the names of types that pydantic puts in for the members of a union."""
    return [part for part in location if isinstance(part, int) or (part.isidentifier() and part not in _TYPE_NAMES)]


def _depth(location: Sequence[str | int]) -> int:
    return len(_keys(location))


def _path(path: str, location: Sequence[str | int]) -> str:
    """Return the location below `path` as a client writes it: `messages[0].role`."""
    for part in _keys(location):
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path
