"""The chat completion request that continues a chat log: Home Assistant's content and tools as OpenAI's.

The one place that makes a request: whatever computes a prompt ahead of time must send the very same bytes. Equal input
gives equal bytes across turns, satellites and restarts of Home Assistant (whose sets of choices change their order with
`PYTHONHASHSEED`). What differs by speaker or moment goes to the end.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from homeassistant.components import conversation
from homeassistant.core import HomeAssistant, callback

from ..home import argument_values
from ..options import AgentOptions
from ..pictures import Pictures
from .history import ContextBudget, shortened, start_after, start_within
from .messages import (
    Message,
    content_to_message,
    language_line,
    length_of,
    messages_of,
    offered_tools,
    without_speaker_lines,
    without_time,
)

__all__ = ["ChatRequest", "RequestKind", "chat_request", "content_to_message"]


@dataclass(frozen=True, slots=True)
class RequestKind:
    """What tells one kind of request from another, besides the chat log and the options of the agent.

    `language` is the tag of the language that the answer is to be in. An answer to an `answer_schema` is JSON.
    `tool_choice` is "auto", "none" (no tool may be called, though all stay in the prompt), "required", or the name of
    the tool that has to be called.
    """

    language: str | None = None
    priority: Literal["interactive", "background"] = "interactive"
    answer_schema: Mapping[str, Any] | None = None
    tool_choice: str = "auto"


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A request, how long it is in characters, where in the chat log its history begins, and the tools it may call."""

    body: dict[str, Any]
    chars: int
    start: int
    tools: tuple[str, ...]


@callback
def chat_request(
    hass: HomeAssistant,
    chat_log: conversation.ChatLog,
    options: AgentOptions,
    budget: ContextBudget,
    kind: RequestKind,
    pictures: Pictures,
) -> ChatRequest:
    """Return the request that continues `chat_log`, with as much of its history as fits.

    Where the running round alone does not fit, the results of its tools are shortened; what the chat log holds stays.
    """
    head, timed = _head(chat_log.content[0], kind.language)
    messages = [head[0], *messages_of(chat_log.content[1:], timed, pictures)]
    body = _body(options, kind)
    fixed = sum(map(length_of, head))
    if (api := chat_log.llm_api) and api.tools:
        body["tools"], chars = offered_tools(hass, api)
        fixed += chars
        body["zoe"]["argument_values"] = argument_values(hass, api.llm_context.assistant, api.tools)
        if kind.tool_choice != "auto":
            body["tool_choice"] = _tool_choice(kind.tool_choice)
    lengths = [length_of(message) for message in messages]
    start = start_within(chat_log.content, options.history_rounds)
    if excess := budget.excess_chars(fixed + sum(lengths[start:]), options.max_tokens):
        start = start_after(chat_log.content, start, excess, lengths)
    said = messages[start:]
    if excess := budget.excess_chars(fixed + sum(lengths[start:]), options.max_tokens):
        said = shortened(said, excess)
    body["messages"] = [*head, *said]
    chars = fixed + sum(map(length_of, said))
    callable_tools = () if api is None or kind.tool_choice == "none" else tuple(tool.name for tool in api.tools)
    return ChatRequest(body, chars, start, callable_tools)


def _body(options: AgentOptions, kind: RequestKind) -> dict[str, Any]:
    """Return a request that says nothing yet."""
    body: dict[str, Any] = {
        **options.as_request(),
        "messages": [],
        "stream": True,
        "stream_options": {"include_usage": True},
        "zoe": {"priority": kind.priority},
    }
    if kind.answer_schema is not None:
        schema = {"name": "data", "schema": dict(kind.answer_schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


def _tool_choice(choice: str) -> str | Message:
    named = choice not in ("none", "required")
    return {"type": "function", "function": {"name": choice}} if named else choice


def _head(first: conversation.Content, language: str | None) -> tuple[list[Message], bool]:
    """Return the system messages, what differs by speaker behind what all share, and whether they told the time."""
    prompt, timed = without_time(first.content or "") if first.role == "system" else ("", False)
    shared, own = without_speaker_lines(prompt)
    own = "\n".join(part for part in (own, language_line(language)) if part)
    texts = [shared, own] if own else [shared]
    return [{"role": "system", "content": text} for text in texts], timed
