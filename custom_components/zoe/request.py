"""The chat completion request that continues a chat log.

The one place that makes a request: whatever computes a prompt ahead of time must send the very same bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from homeassistant.components import conversation
from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers.json import json_dumps

from .answer_language import language_line
from .attachment import Pictures
from .convert import content_to_message, tools_to_openai
from .grounding import argument_values
from .history import ContextBudget, start_after, start_within
from .options import AgentOptions
from .speaker_lines import without_speaker_lines
from .time_line import with_time, without_time

type Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RequestKind:
    """What tells one kind of request from another, besides the chat log and the options of the agent.

    `language` is the tag of the language that the answer is to be in. An answer to an `answer_schema` is JSON. With
    `words_only`, no tool may be called, though all stay in the prompt.
    """

    language: str | None = None
    priority: Literal["interactive", "background"] = "interactive"
    answer_schema: Mapping[str, Any] | None = None
    words_only: bool = False


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A request, how long it is in characters, and where in the chat log its history begins."""

    body: dict[str, Any]
    chars: int
    start: int
    tools_allowed: bool


@callback
def chat_request(
    hass: HomeAssistant,
    chat_log: conversation.ChatLog,
    options: AgentOptions,
    budget: ContextBudget,
    kind: RequestKind,
    pictures: Pictures,
) -> ChatRequest:
    """Return the request that continues `chat_log`, with as much of its history as fits."""
    head, timed = _head(chat_log.content[0], kind.language)
    messages = [head[0], *_said(chat_log.content[1:], timed, pictures)]
    body = _body(options, kind)
    if (api := chat_log.llm_api) and api.tools:
        body["tools"] = tools_to_openai(api.tools, api.custom_serializer)
        body["zoe"]["argument_values"] = argument_values(hass, api.llm_context.assistant, api.tools)
        if kind.words_only:
            body["tool_choice"] = "none"
    lengths = [_length(message) for message in messages]
    fixed = sum(map(_length, head)) + (len(json_dumps(body["tools"])) if "tools" in body else 0)
    start = start_within(chat_log.content, options.history_rounds)
    excess = budget.excess_chars(fixed + sum(lengths[start:]), options.max_tokens)
    start = start_after(chat_log.content, start, excess, lengths) if excess else start
    body["messages"] = [*head, *messages[start:]]
    return ChatRequest(body, fixed + sum(lengths[start:]), start, "tools" in body and not kind.words_only)


def _body(options: AgentOptions, kind: RequestKind) -> dict[str, Any]:
    """Return a request that says nothing yet."""
    body: dict[str, Any] = {
        "model": options.model,
        "messages": [],
        "max_tokens": options.max_tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
        "zoe": {"priority": kind.priority},
    }
    if options.temperature is not None:
        body["temperature"] = options.temperature
    if kind.answer_schema is not None:
        schema = {"name": "data", "schema": dict(kind.answer_schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


def _head(first: conversation.Content, language: str | None) -> tuple[list[Message], bool]:
    """Return the system messages, what differs by speaker behind what all share, and whether they told the time."""
    prompt, timed = without_time(first.content or "") if first.role == "system" else ("", False)
    shared, own = without_speaker_lines(prompt)
    own = "\n".join(part for part in (own, language_line(language)) if part)
    texts = [shared, own] if own else [shared]
    return [{"role": "system", "content": text} for text in texts], timed


def _said(content: Sequence[conversation.Content], timed: bool, pictures: Pictures) -> list[Message]:
    """Return the messages of all that was said, `timed` if each sentence is to tell its time."""
    messages: list[Message] = []
    for item in content:
        message = content_to_message(item, pictures)
        if timed and isinstance(item, conversation.UserContent):
            _stamp(message, item)
        messages.append(message)
    return messages


def _stamp(message: Message, item: conversation.UserContent) -> None:
    """Put the time at which something was said behind it."""
    text = with_time(item.content, item.created)
    if isinstance(message["content"], str):
        message["content"] = text
    else:
        message["content"][0]["text"] = text


def _length(message: Message) -> int:
    """Return the characters of a message; pictures have none that a tokenizer reads."""
    content = message["content"]
    text = content if isinstance(content, str) else "".join(part.get("text", "") for part in content or ())
    return len(text) + sum(len(call["function"]["arguments"]) for call in message.get("tool_calls", ()))
