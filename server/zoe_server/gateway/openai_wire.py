"""The OpenAI form of a chat request: strict validation, and its translation to `protocol.ChatRequest`.

Whatever a client sends ends here as a valid request or as an `InvalidRequestError` that names the path of the value.
Unknown fields are ignored; a known field that is not served yet is refused, because ignoring it would be a lie.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from zoe_server import errors, protocol
from zoe_server.gateway.messages import Message, to_messages

MAX_CHOICES: Final = 8
MAX_TOKENS: Final = 2**31 - 1
MAX_STOPS: Final = 64
MAX_DEPTH: Final = 100  # what is passed on to an engine is copied by recursion
SEED_RANGE: Final = 2**32 - 1  # the largest 32-bit value means "random" to llama.cpp, so a seed never becomes it

Stop = Annotated[str, Field(min_length=1, max_length=1000)]
Stops = Annotated[list[Stop], Field(max_length=MAX_STOPS)]
_Form = TypeVar("_Form", bound=BaseModel)


class _Wire(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)


class FunctionSpec(_Wire):
    """`tools[i].function`."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.:/-]{1,128}$")
    description: str | None = None
    parameters: dict[str, Any] | None = None


class ToolSpec(_Wire):
    """`tools[i]`."""

    type: Literal["function"]
    function: FunctionSpec


class _NamedFunction(_Wire):
    name: str


class NamedChoice(_Wire):
    """`tool_choice` that names one function."""

    type: Literal["function"]
    function: _NamedFunction


class StreamOptions(_Wire):
    """`stream_options`."""

    include_usage: bool = False


class ResponseFormat(_Wire):
    """`response_format`; only plain text is served."""

    type: Literal["text", "json_object", "json_schema"]


class ZoeExtension(_Wire):
    """The member `zoe`, our own: values that exist for tool-call arguments, and how urgent the request is."""

    argument_values: dict[str, list[str] | None] = Field(default_factory=dict)
    priority: protocol.Priority = "interactive"


class AnswerBody(_Wire):
    """What the bodies of chats and of plain completions have in common."""

    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = Field(default=None, ge=1, le=MAX_CHOICES)
    max_tokens: int | None = Field(default=None, ge=0, le=MAX_TOKENS)
    stop: Stop | Stops | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_k: int | None = Field(default=None, ge=0, le=1_000_000)
    top_p: float | None = Field(default=None, ge=0, le=1)
    min_p: float | None = Field(default=None, ge=0, le=1)
    repeat_penalty: float | None = Field(default=None, gt=0, le=10)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    seed: int | None = Field(default=None, ge=-1, le=2**63 - 1)
    zoe: ZoeExtension = Field(default_factory=ZoeExtension)

    @property
    def include_usage(self) -> bool:
        """Whether the stream ends with a usage chunk."""
        return self.stream_options is not None and self.stream_options.include_usage

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop strings."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    def sampling(self, index: int) -> protocol.Sampling:
        """Return how tokens of choice `index` are drawn; where a seed is given, each choice has its own."""
        seed = None if self.seed is None or self.seed < 0 else (self.seed + index) % SEED_RANGE
        return protocol.Sampling(
            temperature=self.temperature,
            top_k=self.top_k,
            top_p=self.top_p,
            min_p=self.min_p,
            repeat_penalty=self.repeat_penalty,
            frequency_penalty=self.frequency_penalty or 0.0,
            presence_penalty=self.presence_penalty or 0.0,
            seed=seed,
        )


class ChatBody(AnswerBody):
    """The body of POST /v1/chat/completions."""

    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: int | None = Field(default=None, ge=0, le=MAX_TOKENS)
    tools: list[ToolSpec] | None = Field(default=None, max_length=1024)
    tool_choice: Literal["auto", "none", "required"] | NamedChoice | None = None
    parallel_tool_calls: bool | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    response_format: ResponseFormat | None = None


def parse_json(raw: bytes) -> dict[str, Any]:
    """Return the JSON object in `raw`.

    Raises:
        errors.InvalidRequestError: it is no JSON, no object, nested too deep, or holds what is no number or no Unicode.
    """
    try:
        data = json.loads(raw, parse_constant=_refuse_constant, parse_float=_finite)
        if b"\\ud" in raw.lower():  # half a surrogate pair is legal JSON, and text that nobody can encode
            json.dumps(data, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise errors.InvalidRequestError(f"the body is not valid JSON: {error}") from error
    if not isinstance(data, dict):
        raise errors.InvalidRequestError("the body must be a JSON object")
    _check_depth(data)
    return data


def validated(form: type[_Form], data: Mapping[str, Any]) -> _Form:
    """Return `data` as a `form`.

    Raises:
        errors.InvalidRequestError: with the path of the value that is wrong.
    """
    try:
        return form.model_validate(data)
    except ValidationError as error:
        raise _first_problem(error) from error


def parse_chat(data: Mapping[str, Any]) -> ChatBody:
    """Return the validated body.

    Raises:
        errors.InvalidRequestError: with the path of the first value that is wrong.
    """
    body = validated(ChatBody, data)
    _check_served(body)
    _check_tools(body)
    return body


def to_requests(body: ChatBody, request_id: str, model: str) -> tuple[protocol.ChatRequest, ...]:
    """Return one engine request per choice; they differ in their ids and, where a seed is given, in their seeds."""
    max_tokens = body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens
    values = {key: None if names is None else tuple(names) for key, names in body.zoe.argument_values.items()}
    return tuple(
        protocol.ChatRequest(
            id=f"{request_id}-{index}",
            model=model,
            messages=to_messages(body.messages),
            tools=to_tools(body.tools),
            tool_choice=_tool_choice(body),
            parallel_tool_calls=body.parallel_tool_calls is not False,
            max_tokens=max_tokens,
            stop=body.stops,
            sampling=body.sampling(index),
            priority=body.zoe.priority,
            argument_values=values,
        )
        for index in range(body.n or 1)
    )


def to_tools(specs: Sequence[ToolSpec] | None) -> tuple[protocol.Tool, ...]:
    """Return the tools as engines get them.

    Raises:
        errors.InvalidRequestError: two of them have the same name.
    """
    functions = [spec.function for spec in specs or ()]
    names = [function.name for function in functions]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise errors.InvalidRequestError(f"two tools are named {name!r}", param=f"tools[{index}].function.name")
    return tuple(protocol.Tool(f.name, f.description or "", f.parameters or {}) for f in functions)


def _tool_choice(body: ChatBody) -> protocol.ToolChoice:
    if isinstance(body.tool_choice, NamedChoice):
        return protocol.ToolChoice("required", body.tool_choice.function.name)
    return protocol.ToolChoice(body.tool_choice or "auto")


def check_stream_options(body: AnswerBody) -> None:
    """Raise an `InvalidRequestError` for options of a stream that was not asked for."""
    if body.stream_options is not None and not body.stream:
        raise errors.InvalidRequestError("stream_options needs stream: true", param="stream_options")


def _check_served(body: ChatBody) -> None:
    check_stream_options(body)
    if body.logprobs or body.top_logprobs:
        refuse("logprobs")
    if body.response_format is not None and body.response_format.type != "text":
        refuse("response_format")


def _check_tools(body: ChatBody) -> None:
    names = [tool.function.name for tool in body.tools or ()]
    if isinstance(body.tool_choice, NamedChoice) and body.tool_choice.function.name not in names:
        raise errors.InvalidRequestError(
            f"tool_choice names {body.tool_choice.function.name!r}, which is not among the tools",
            param="tool_choice.function.name",
        )
    if body.tool_choice == "required" and not names:
        raise errors.InvalidRequestError("tool_choice 'required' needs tools", param="tool_choice")


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


def _first_problem(error: ValidationError) -> errors.InvalidRequestError:
    """Return the problem of what the client most likely meant, where a value may be of several types.

    That is the one that lies deepest; of these, one with a value of the right type.
    """
    problem = max(error.errors(include_url=False, include_context=False), key=_likelihood)
    path = _path(problem["loc"])
    reason = "must be an object" if problem["type"] in ("model_type", "dict_type") else problem["msg"]
    return errors.InvalidRequestError(f"{path}: {reason}" if path else reason, param=path or None)


def _likelihood(problem: ErrorDetails) -> tuple[int, bool]:
    return _depth(problem["loc"]), not problem["type"].endswith("_type")


def _keys(location: Sequence[str | int]) -> list[str | int]:
    """Return the keys of a location without the names of types that pydantic puts in for the members of a union."""
    return [part for part in location if isinstance(part, int) or (part.isidentifier() and part not in _TYPE_NAMES)]


def _depth(location: Sequence[str | int]) -> int:
    return len(_keys(location))


def _path(location: Sequence[str | int]) -> str:
    """Return the location as a client writes it: `messages[0].role`."""
    path = ""
    for part in _keys(location):
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path


_TYPE_NAMES: Final = frozenset({"str", "NamedChoice", "list", "dict", "int", "float", "bool"})
