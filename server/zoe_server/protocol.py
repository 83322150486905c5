"""The words that the gateway, the fleet and the engines share: requests and a few events.

A request goes down as one `ChatRequest` or `EmbedRequest`; back come events that end in exactly one terminal event,
`Finish` or `Failure`. `codec` writes them on sockets.

This module knows no HTTP, no sockets and no model.
"""

from __future__ import annotations

from collections.abc import Mapping
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

    `messages` are OpenAI-shaped dicts with `role`, `content` (a string or None), where present `reasoning_content`,
    `tool_call_id`, `tool_calls` (`[{"id", "type": "function", "function": {"name", "arguments": <JSON string>}}]`).
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
