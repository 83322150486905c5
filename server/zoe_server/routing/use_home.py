"""A chat without the burden of a home: a short prompt and one tool, `use_home`, in place of all of them.

Home Assistant sends some 3,000 tokens of devices and tools with every sentence. A joke needs none of them, and the
chat model none of the time and memory that they cost. If it finds that the sentence is about the home after all, it
calls `use_home`, and the request, as it came, goes to the model for tools; the client sees nothing of that.

Pure: it makes requests of requests. What it cannot know: which part of a system prompt somebody wrote for this
household; it takes the beginning for that, up to what Home Assistant is known to add. What the integration remembers
for a household stands between two lines of its own, and is kept wherever it is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from zoe_server import protocol

USE_HOME: Final = protocol.Tool(
    "use_home",
    "Hand the request over to the assistant that knows this home and can act in it. Call it, and say nothing else, for "
    "everything about devices, rooms, sensors, lights, heating, locks, media, timers, lists, the calendar, the weather "
    "outside, or the time.",
    {"type": "object", "properties": {}, "additionalProperties": False},
)
_MEMORY: Final = (
    "zoe__remember",
    " Call it, too, when the user wants something remembered for later conversations, or a remembered fact forgotten.",
)
"""The tool that a request has where the household has a memory, and what is said then of the one in its place."""
MAX_INSTRUCTIONS: Final = 1000
"""Of a system prompt, at most so many characters are kept."""
MAX_FACTS: Final = 6000
"""Of what the household wants remembered: the integration gives 2,000 characters, quoted, with a heading."""

_FACTS: Final = ("<household_facts>", "</household_facts>")
"""The lines around them (`custom_components/zoe/memory.py`); a fact is quoted, so that it cannot be such a line."""

_ADDED: Final = (
    *("You ARE equipped to answer", "Static Context", "An overview of the areas", "When controlling Home Assistant"),
    *("Only if the user wants to control", "Call the `homeassistant__", "You are in area ", "Current time is "),
)
"""How lines begin that Home Assistant 2026 puts behind the instructions of a household."""
_LANGUAGE: Final = "Answer in "
"""How the line begins that says in which language, at the end of all."""
_SYSTEM: Final = frozenset({"system", "developer"})
_HINT: Final = (
    "You cannot see or control the home yourself. If the user wants anything done in the home, or known about it, call "
    f"`{USE_HOME.name}` and write nothing else; otherwise answer."
)


def suits(request: protocol.ChatRequest) -> bool:
    """Return whether `request` can do without its tools until the model asks for them."""
    return (
        bool(request.tools)
        and request.tool_choice.mode == "auto"
        and request.answer_schema is None
        and request.prompt is None
        and request.max_tokens != 0
        and request.messages[-1]["role"] == "user"
    )


def lightened(request: protocol.ChatRequest) -> protocol.ChatRequest:
    """Return the request with the short prompt and the one tool; of the conversation, what was said is left."""
    return dataclasses.replace(
        request, messages=tuple(_messages(request.messages)), tools=(_tool(request.tools),), argument_values={}
    )


def _tool(tools: Sequence[protocol.Tool]) -> protocol.Tool:
    """Return `use_home`, told to be the way to the household's memory if `tools` are."""
    memory, told = _MEMORY
    if not any(tool.name.endswith(memory) for tool in tools):
        return USE_HOME
    return dataclasses.replace(USE_HOME, description=USE_HOME.description + told)


def without_calls(request: protocol.ChatRequest) -> protocol.ChatRequest:
    """Return the request with words as the only answer; the prompt, and so what is known of it, stays the same."""
    if request.tool_choice.mode != "auto":
        return request
    return dataclasses.replace(request, tool_choice=protocol.ToolChoice("none"))


def asks_for_home(event: protocol.ChatEvent) -> bool:
    """Return whether the chat model hands over: any call is one, for there is only one tool."""
    return isinstance(event, protocol.ToolCallStart)


def instructions(system: str) -> str:
    """Return what somebody wrote for this household of a system prompt: whole lines, up to what is known to follow.

    The language of the answer is kept wherever it is named.
    """
    kept: list[str] = []
    room = MAX_INSTRUCTIONS
    lines = system.splitlines()
    for line in lines:
        room -= len(line) + 1
        if line.startswith(_ADDED) or room < 0:
            break
        kept.append(line)
    kept += [line for line in lines[len(kept) :] if line.startswith(_LANGUAGE)]
    return "\n".join(kept).strip()


def facts(system: str) -> str:
    """Return what the household wants remembered, with the lines around it; "" if there is nothing.

    Somebody may write such lines in his own instructions; the last ones are those of the integration.
    """
    lines = system.splitlines()
    first, last = _FACTS
    if first not in lines or last not in lines:
        return ""
    end = len(lines) - 1 - lines[::-1].index(last)
    begin = next((at for at in range(end, -1, -1) if lines[at] == first), None)
    found = "" if begin is None else "\n".join(lines[begin : end + 1])
    return found if len(found) <= MAX_FACTS else ""


def _messages(messages: tuple[Mapping[str, Any], ...]) -> Iterator[Mapping[str, Any]]:
    system = "\n".join(_text(message) for message in messages if message["role"] in _SYSTEM)
    remembered = facts(system)
    parts = (instructions(system.replace(remembered, "") if remembered else system), remembered, _HINT)
    yield {"role": "system", "content": "\n".join(part for part in parts if part)}
    for message in messages:
        if message["role"] == "user":
            yield message
        elif message["role"] == "assistant" and message.get("content"):
            yield {"role": "assistant", "content": message["content"]}


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, list | tuple):
        return "\n".join(str(part.get("text", "")) for part in content)
    return str(content or "")
