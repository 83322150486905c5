"""Ollama's form of a request: strict validation, and its translation to `protocol.ChatRequest`.

Whatever a client sends ends here as a valid request or as an `InvalidRequestError` that names the path of the value.
What only tells a server how to run its models (`num_ctx`, `num_gpu`, ...) is ignored: this one is configured by its
owner.
In messages, arguments are objects, calls have no ids, and the results follow in the order of the calls:

    {"role": "assistant", "tool_calls": [{"function": {"name": "turn_on", "arguments": {"name": "Lamp"}}}]}
    {"role": "tool", "content": "done", "tool_name": "turn_on"}

Source: Ollama, `docs/api.md` and `api/types.go`.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field

from zoe_server import errors, protocol
from zoe_server.gateway import pictures
from zoe_server.gateway.body import Items, RequestModel, Tokens, refuse, thinking
from zoe_server.gateway.openai.body import ANY_OBJECT, MAX_TOKENS, SEED_RANGE, Stop, Stops, ToolSpec, to_tools
from zoe_server.gateway.openai.embeddings import MAX_DIMENSIONS

_RANDOM_SEED: Final = -1
_DURATION: Final = r"^[+-]?([0-9.]+(ns|us|\u00b5s|\u03bcs|ms|s|m|h)?)+$"


def _whole(value: object) -> object:
    """Return an integer for 1.0, which is how clients without integers write it."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


_Int = Annotated[int, BeforeValidator(_whole)]
_Duration = Annotated[str, Field(pattern=_DURATION, max_length=100)]


class CalledFunction(RequestModel):
    """`messages[i].tool_calls[j].function`; some clients send the arguments as JSON text."""

    name: str = Field(min_length=1, max_length=256)
    arguments: dict[str, Any] | str | None = None


class ToolCall(RequestModel):
    """`messages[i].tool_calls[j]`; newer clients send the id back that they got."""

    id: str | None = None
    function: CalledFunction


class Message(RequestModel):
    """`messages[i]`."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str | None = None
    thinking: str | None = None
    images: Items[str] | None = None
    tool_calls: Items[ToolCall] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None


def to_messages(messages: Sequence[Message]) -> tuple[Mapping[str, Any], ...]:
    """Return the messages as `protocol.ChatRequest` wants them, every result with the id of its call."""
    pairing = _Pairing()
    return tuple(_message(message, pairing, f"messages[{i}].images") for i, message in enumerate(messages))


def _message(message: Message, pairing: _Pairing, images_path: str) -> dict[str, Any]:
    plain: dict[str, Any] = {"role": message.role, "content": message.content or ""}
    if message.images:
        shown = [pictures.from_base64(data, f"{images_path}[{i}]") for i, data in enumerate(message.images)]
        plain["content"] = [*shown, {"type": "text", "text": message.content or ""}]
    if message.role == "assistant" and message.tool_calls:
        plain["content"] = message.content or None
        plain["tool_calls"] = pairing.called(message.tool_calls)
    if message.role == "assistant" and message.thinking:
        plain["reasoning_content"] = message.thinking
    if message.role == "tool":
        plain["tool_call_id"] = pairing.answered(message)
    return plain


class _Pairing:
    """Gives calls their ids, and results the ids of their calls."""

    def __init__(self) -> None:
        self._n_calls = 0
        self._open: dict[str, str] = {}
        """The names of the last calls that have no result yet, by their ids, in order."""

    def called(self, calls: Sequence[ToolCall]) -> list[dict[str, Any]]:
        self._open = {}
        return [self._call(call) for call in calls]

    def answered(self, message: Message) -> str:
        """Return the id of the call that `message` answers: by id, by name, else the next; empty if none is open."""
        wanted = message.tool_call_id or ""
        same_name = [call_id for call_id, name in self._open.items() if name == message.tool_name]
        found = wanted if wanted in self._open else next(iter([*same_name, *self._open]), wanted)
        self._open.pop(found, None)
        return found

    def _call(self, call: ToolCall) -> dict[str, Any]:
        call_id = call.id or f"call_{self._n_calls}"
        self._n_calls += 1
        self._open[call_id] = call.function.name
        given = call.function.arguments or {}
        arguments = given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)
        return {"id": call_id, "type": "function", "function": {"name": call.function.name, "arguments": arguments}}


class Options(RequestModel):
    """`options`: how tokens are drawn, and when the answer ends."""

    temperature: float | None = Field(default=None, ge=0, le=2)
    top_k: _Int | None = Field(default=None, ge=0, le=1_000_000)
    top_p: float | None = Field(default=None, ge=0, le=1)
    min_p: float | None = Field(default=None, ge=0, le=1)
    repeat_penalty: float | None = Field(default=None, gt=0, le=10)
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    seed: _Int | None = Field(default=None, ge=-(2**63), le=2**63 - 1)
    num_predict: _Int | None = Field(default=None, ge=-MAX_TOKENS, le=MAX_TOKENS)
    stop: Stop | Stops | None = None

    @property
    def max_tokens(self) -> int | None:
        """The bound of the answer; Ollama's 0 and negative numbers mean that there is none."""
        return self.num_predict if self.num_predict is not None and self.num_predict > 0 else None

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop strings."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def sampling(self) -> protocol.Sampling:
        """How tokens are drawn."""
        return protocol.Sampling(
            temperature=self.temperature,
            top_k=self.top_k,
            top_p=self.top_p,
            min_p=self.min_p,
            repeat_penalty=self.repeat_penalty,
            frequency_penalty=self.frequency_penalty or 0.0,
            presence_penalty=self.presence_penalty or 0.0,
            seed=None if self.seed is None or self.seed == _RANDOM_SEED else self.seed % SEED_RANGE,
        )


class _ModelBody(RequestModel):
    """What names a model, and may say how long it is to stay in memory; how long at most is its owner's to say."""

    model: str = Field(min_length=1)
    keep_alive: float | _Duration | None = None

    @property
    def unloads(self) -> bool:
        """Whether the model need not stay: `keep_alive` is 0, as a number or as a duration."""
        kept = self.keep_alive
        return kept is not None and not (any(c in "123456789" for c in kept) if isinstance(kept, str) else kept)


class AnswerBody(_ModelBody):
    """What the bodies of /api/chat and /api/generate have in common."""

    stream: bool | None = None
    format: Literal["", "json"] | dict[str, Any] | None = None
    options: Options | None = None
    think: bool | Literal["low", "medium", "high"] | None = None
    logprobs: bool | None = None
    top_logprobs: _Int | None = Field(default=None, ge=0, le=20)

    @property
    def streamed(self) -> bool:
        """Whether the answer comes in records; that is what clients get that do not say."""
        return self.stream is not False

    @property
    def answer_schema(self) -> protocol.AnswerSchema | None:
        """The schema that the answer has to satisfy."""
        if not self.format:
            return None
        return protocol.AnswerSchema(ANY_OBJECT if self.format == "json" else self.format, "format")

    @property
    def shows_thinking(self) -> bool:
        """Whether reasoning is part of the answer; a client that does not say gets it, beside the text."""
        return self.think is not False

    @property
    def chat_template_kwargs(self) -> dict[str, Any]:
        """What the model's chat template is told of `think`, by the names that templates have for it."""
        return thinking(self.think)


class ChatBody(AnswerBody):
    """The body of POST /api/chat; without messages it only asks for the model to be loaded."""

    messages: Items[Message] | None = None
    tools: list[ToolSpec] | None = Field(default=None, max_length=1024)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to answer."""
        return not self.messages

    def to_request(self, request_id: str, model: str) -> protocol.ChatRequest:
        """Return the engine's request.

        Raises:
            errors.InvalidRequestError: it asks for what is not served, with the path of the value.
        """
        return _request(self, request_id, model, self.messages or [], self.tools)


class GenerateBody(AnswerBody):
    """The body of POST /api/generate; without a prompt it only asks for the model to be loaded."""

    prompt: str | None = None
    system: str | None = None
    images: Items[str] | None = None
    suffix: str | None = None
    template: str | None = None
    context: Tokens | None = None
    raw: bool | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to answer."""
        return not self.prompt

    def to_request(self, request_id: str, model: str) -> protocol.ChatRequest:
        """Return the engine's request: a chat of one user message, behind the system message where there is one.

        Raises:
            errors.InvalidRequestError: it asks for what is not served, with the path of the value.
        """
        for field in ("suffix", "template", "context"):
            if getattr(self, field):
                refuse(field)
        if self.raw:
            return self._raw_request(request_id, model)
        messages = [Message(role="system", content=self.system)] if self.system else []
        return _request(
            self, request_id, model, [*messages, Message(role="user", content=self.prompt, images=self.images)]
        )

    def _raw_request(self, request_id: str, model: str) -> protocol.ChatRequest:
        """Return the engine's request: the prompt goes to the model as it is."""
        for field in ("system", "images", "format"):
            if getattr(self, field):
                raise errors.InvalidRequestError(f"{field}: not supported with a raw prompt", param=field)
        return dataclasses.replace(_request(self, request_id, model, []), prompt=self.prompt)


class EmbedBody(_ModelBody):
    """The body of POST /api/embed; without a text it only asks for the model to be loaded."""

    input: str | Items[str] | None = None
    truncate: bool | None = None
    dimensions: _Int | None = Field(default=None, ge=0, le=MAX_DIMENSIONS)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The texts."""
        if isinstance(self.input, str):
            return (self.input,) if self.input else ()
        return tuple(self.input or ())

    @property
    def wanted_dimensions(self) -> int | None:
        """How many numbers a vector is to have; None and Ollama's 0 mean all of them."""
        return self.dimensions or None


class EmbedPromptBody(_ModelBody):
    """The body of POST /api/embeddings; without a prompt it only asks for the model to be loaded."""

    prompt: str | None = None


class ShowBody(RequestModel):
    """The body of POST /api/show; `name` is what older clients call the model."""

    model: str | None = None
    name: str | None = None

    @property
    def wanted(self) -> str:
        """The model that is meant.

        Raises:
            errors.InvalidRequestError: none is named.
        """
        wanted = self.model or self.name
        if not wanted:
            raise errors.InvalidRequestError("model is required", param="model")
        return wanted


class PullBody(ShowBody):
    """The body of POST /api/pull; `insecure` and credentials for a registry mean nothing here."""

    stream: bool | None = None

    @property
    def streamed(self) -> bool:
        """Whether the progress comes in records; that is what clients get that do not say."""
        return self.stream is not False


def _request(
    body: AnswerBody, request_id: str, model: str, messages: list[Message], tools: list[ToolSpec] | None = None
) -> protocol.ChatRequest:
    options = body.options or Options()
    return protocol.ChatRequest(
        id=request_id,
        model=model,
        messages=to_messages(messages),
        tools=to_tools(tools),
        max_tokens=options.max_tokens,
        stop=options.stops,
        sampling=options.sampling,
        logprobs=(body.top_logprobs or 0) if body.logprobs else None,
        answer_schema=body.answer_schema,
        chat_template_kwargs=body.chat_template_kwargs,
    )
