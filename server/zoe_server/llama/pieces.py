"""Puts the pieces together in which a text comes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from zoe_server.protocol import ChatEvent, Reasoning, Text, ToolCallArguments


def joined(events: Sequence[ChatEvent]) -> list[ChatEvent]:
    """Return the events with neighbouring pieces of the same text in one."""
    result: list[ChatEvent] = []
    for event in events:
        one = _one(result[-1], event) if result else None
        if one is None:
            result.append(event)
        else:
            result[-1] = one
    return result


def _one(first: ChatEvent, second: ChatEvent) -> ChatEvent | None:
    """Return both as one event, None if they are not pieces of the same text."""
    match first, second:
        case Text(), Text():
            return Text(first.text + second.text, first.tokens + second.tokens)
        case Reasoning(), Reasoning():
            return Reasoning(first.text + second.text)
        case ToolCallArguments(index), ToolCallArguments(other) if index == other:
            return replace(first, text=first.text + second.text)
    return None
