"""The words that the gateway, the fleet and the engines share: requests, a few events, and their NDJSON form.

A request goes down as one `ChatRequest` or `EmbedRequest`; back come events that end in exactly one terminal event,
`Finish` or `Failure`.
The transcript of one request on the socket between gateway and engine process, one JSON object per line:

    -> {"op": "chat", "id": "r1", "request": {...}}
    <- {"id": "r1", "event": "started", "prompt_tokens": 812, "cached_tokens": 790}
    <- {"id": "r1", "event": "text", "text": "One moment."}
    <- {"id": "r1", "event": "tool_call_start", "index": 0, "call_id": "call_x", "name": "intent__HassTurnOn"}
    <- {"id": "r1", "event": "tool_call_arguments", "index": 0, "text": "{\\"name\\": \\"Lamp\\"}"}
    <- {"id": "r1", "event": "finish", "reason": "tool_calls", "usage": {...}, "timings": {...}}

    -> {"op": "cancel", "id": "r1"}
        the request ends with `Finish(reason="cancelled")` within one step
    -> {"op": "embed", "id": "r2", "request": {"inputs": ["Lamp on", [43, 389]], ...}}
    <- {"id": "r2", "event": "embedding", "index": 0, "vector": "<base64 of its numbers, 32-bit, little-endian>"}
    <- {"id": "r2", "event": "embedding", "index": 1, "vector": ...}
    <- {"id": "r2", "event": "finish", "reason": "stop", "usage": {...}, "timings": {...}}
        a model makes embeddings or chats; what it does not do ends with a failure
    -> {"op": "tokenize", "id": "q1", "text": "Lamp on", "add_special": false, "parse_special": true}
    <- {"id": "q1", "event": "tokens", "tokens": [43, 1093, 389]}
    -> {"op": "detokenize", "id": "q2", "tokens": [43, 1093, 389]}
    <- {"id": "q2", "event": "detokenized", "text": "Lamp on"}
        or, for either, {"id": "q2", "event": "failure", "error": {...}}
    <- {"event": "ready", "info": {...}}
        once, after the model is loaded and warmed up; before it: "loading", or "fatal"
    <- {"event": "progress", "step": 1234, "running": 1, "waiting": 0, ...}
        at least every second, from the engine loop itself

This module knows no HTTP, no sockets and no model.
"""

from __future__ import annotations

import base64
import dataclasses
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from zoe_server import errors

Priority = Literal["interactive", "background"]
FinishReason = Literal["stop", "length", "tool_calls", "cancelled"]
ToolChoiceMode = Literal["auto", "none", "required"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is drawn. `None` means: the model's own default."""

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repeat_penalty: float | None = None
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Tool:
    """A function the model may call; `parameters` is a JSON schema of type object."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """Which tool calls are allowed; `name` is set only with mode `required` and names the one tool to call."""

    mode: ToolChoiceMode = "auto"
    name: str | None = None


@dataclass(frozen=True, slots=True)
class AnswerSchema:
    """A JSON schema that the text of the answer has to satisfy; `path` is what the client calls it, for messages."""

    schema: Mapping[str, Any]
    path: str


GrammarKind = Literal["grammar", "regex", "choice"]
"""GBNF or Lark, a regular expression, or a JSON list of texts."""


@dataclass(frozen=True, slots=True)
class AnswerGrammar:
    """A grammar that the whole text of the answer has to follow; `path` is what the client calls it, for messages."""

    kind: GrammarKind
    text: str
    path: str


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One chat completion, already validated.

    `messages` are OpenAI-shaped dicts with `role`, `content` (a string or None), and where present `tool_calls`
    (`[{"id", "type": "function", "function": {"name", "arguments": <JSON string>}}]`) and `tool_call_id`.
    `max_tokens` None means "until the model stops or the context is full"; 0 means "compute the prompt, generate
    nothing".
    `adapter` is the one of the model's adapters to answer with; None is the model without one.
    `prompt`, text or tokens, is given to the model as it is, in the place of messages and tools.
    `logprobs` asks for the probability of every token of the text and of so many others that could have stood there.
    `argument_values` restricts tool-call arguments to values that exist. A key is an argument's name (`"area"`) or
    `"tool_name.argument"`, which wins over the former; a None or empty value leaves that argument free.
    `chat_template_kwargs` are further names for the model's chat template, such as `enable_thinking`.
    With an `answer_schema`, the answer is JSON, or tool calls where they are allowed, or it follows a grammar; an
    engine that cannot promise that refuses.
    """

    id: str
    model: str
    messages: tuple[Mapping[str, Any], ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice = ToolChoice()
    parallel_tool_calls: bool | None = None
    """None: what is usual, which is several calls unless one tool is named."""
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    sampling: Sampling = Sampling()
    priority: Priority = "interactive"
    argument_values: Mapping[str, tuple[str, ...] | None] = field(default_factory=dict)
    prompt: str | tuple[int, ...] | None = None
    logprobs: int | None = None
    answer_schema: AnswerSchema | AnswerGrammar | None = None
    adapter: str | None = None
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EmbedRequest:
    """Texts to make a vector of each, already validated: each is text, or tokens that go to the model as they are.

    With `truncate`, the end of a text that is longer than the context is left out; else such a text is refused.
    """

    id: str
    model: str
    inputs: tuple[str | tuple[int, ...], ...]
    truncate: bool = False


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of one request; `cached_tokens` of the prompt were not computed again."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Timings:
    """Durations in seconds, measured by the engine: waiting in its queue, until the first token, and in all."""

    queue_s: float = 0.0
    first_token_s: float = 0.0
    total_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Started:
    """The request left the queue and its prompt is being computed."""

    prompt_tokens: int
    cached_tokens: int


@dataclass(frozen=True, slots=True)
class TokenProbability:
    """A token as its bytes, with the natural logarithm of its probability."""

    data: tuple[int, ...]
    logprob: float


@dataclass(frozen=True, slots=True)
class DrawnToken:
    """A token of an answer, and those that were the most probable in its place, the most probable first."""

    token: TokenProbability
    top: tuple[TokenProbability, ...] = ()


@dataclass(frozen=True, slots=True)
class Text:
    """Some of the answer, whole characters only; with the `tokens` that wrote it, if the request asked for
    them; a token that wrote two pieces is told with the first."""

    text: str
    tokens: tuple[DrawnToken, ...] = ()


@dataclass(frozen=True, slots=True)
class Reasoning:
    """Some of the model's reasoning, never part of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCallStart:
    """A tool call begins; indexes count from 0, `call_id` is unique within the answer."""

    index: int
    call_id: str
    name: str


@dataclass(frozen=True, slots=True)
class ToolCallArguments:
    """A piece of the arguments of call `index`; the pieces concatenate to a JSON object."""

    index: int
    text: str


@dataclass(frozen=True, slots=True)
class Finish:
    """The request ended as it should (terminal).

    `repaired_calls` are the indexes of calls that were read although the model did not write them as it should.
    """

    reason: FinishReason
    usage: Usage = Usage()
    timings: Timings = Timings()
    repaired_calls: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """The request failed (terminal)."""

    error: errors.ZoeError


@dataclass(frozen=True, slots=True)
class Embedding:
    """The vector of input `index`, of length 1; its numbers are exact in 32 bits."""

    index: int
    vector: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Embeddings:
    """A whole answer to an `EmbedRequest`: the vectors in the order of its inputs."""

    vectors: tuple[tuple[float, ...], ...]
    usage: Usage
    timings: Timings = Timings()


ChatEvent = Started | Text | Reasoning | ToolCallStart | ToolCallArguments | Finish | Failure
Event = ChatEvent | Embedding
TERMINAL_EVENTS: Final = (Finish, Failure)

_EVENT_NAMES: Final[dict[type, str]] = {
    Started: "started",
    Text: "text",
    Reasoning: "reasoning",
    ToolCallStart: "tool_call_start",
    ToolCallArguments: "tool_call_arguments",
    Embedding: "embedding",
    Finish: "finish",
    Failure: "failure",
}
_EVENT_TYPES: Final[dict[str, Any]] = {name: cls for cls, name in _EVENT_NAMES.items()}


def encode_vector(vector: Sequence[float]) -> str:
    """Return the base64 form of the numbers as 32-bit floats, little-endian."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def decode_vector(text: str) -> tuple[float, ...]:
    """Return the numbers that `encode_vector` wrote."""
    data = base64.b64decode(text)
    return struct.unpack(f"<{len(data) // 4}f", data)


def encode_event(event: Event) -> dict[str, Any]:
    """Return `event` as JSON data with its name under `event`."""
    if isinstance(event, Embedding):
        return {"event": "embedding", "index": event.index, "vector": encode_vector(event.vector)}
    if isinstance(event, Failure):
        return {"event": "failure", "error": errors.to_wire(event.error)}
    if isinstance(event, Text) and not event.tokens:
        return {"event": "text", "text": event.text}
    return {"event": _EVENT_NAMES[type(event)], **dataclasses.asdict(event)}


def decode_event(data: Mapping[str, Any]) -> Event:
    """Return the event that `encode_event` wrote.

    Raises:
        KeyError, TypeError: `data` is not such an object (the two sides are of different versions).
    """
    fields = {key: value for key, value in data.items() if key not in ("event", "id")}
    cls = _EVENT_TYPES[data["event"]]
    if cls is Failure:
        return Failure(errors.from_wire(fields["error"]))
    if cls is Finish:
        repaired = tuple(fields.get("repaired_calls", ()))
        return Finish(fields["reason"], Usage(**fields["usage"]), Timings(**fields["timings"]), repaired)
    if cls is Text:
        return Text(fields["text"], tuple(_drawn_token(token) for token in fields.get("tokens", ())))
    if cls is Embedding:
        return Embedding(fields["index"], decode_vector(fields["vector"]))
    event: ChatEvent = cls(**fields)
    return event


def _drawn_token(data: Mapping[str, Any]) -> DrawnToken:
    token, *top = (TokenProbability(tuple(one["data"]), one["logprob"]) for one in (data["token"], *data["top"]))
    return DrawnToken(token, tuple(top))


def encode_request(request: ChatRequest | EmbedRequest) -> dict[str, Any]:
    """Return `request` as JSON data."""
    return dataclasses.asdict(request)


def decode_request(data: Mapping[str, Any]) -> ChatRequest:
    """Return the chat that `encode_request` wrote.

    Raises:
        KeyError, TypeError: `data` is not such an object (the two sides are of different versions).
    """
    fields = dict(data)
    fields["messages"] = tuple(fields["messages"])
    fields["tools"] = tuple(Tool(**tool) for tool in fields["tools"])
    fields["tool_choice"] = ToolChoice(**fields["tool_choice"])
    fields["stop"] = tuple(fields["stop"])
    fields["sampling"] = Sampling(**fields["sampling"])
    fields["argument_values"] = {
        key: None if values is None else tuple(values) for key, values in fields["argument_values"].items()
    }
    if isinstance(fields["prompt"], list):
        fields["prompt"] = tuple(fields["prompt"])
    if fields["answer_schema"] is not None:
        wanted = AnswerGrammar if "kind" in fields["answer_schema"] else AnswerSchema
        fields["answer_schema"] = wanted(**fields["answer_schema"])
    return ChatRequest(**fields)


def decode_embed_request(data: Mapping[str, Any]) -> EmbedRequest:
    """Return the request for embeddings that `encode_request` wrote.

    Raises:
        KeyError, TypeError: `data` is not such an object (the two sides are of different versions).
    """
    inputs = tuple(tuple(item) if isinstance(item, list) else item for item in data["inputs"])
    return EmbedRequest(**{**data, "inputs": inputs})
