"""Chunks of a chat completion as deltas of Home Assistant's chat log.

    {"choices": [{"delta": {"role": "assistant"}}]}                                -> {"role": "assistant"}
    {"choices": [{"delta": {"content": "One moment."}}]}                           -> {"content": "One moment."}
    {"choices": [{"delta": {"tool_calls": [{"index": 0, "id": "c1",
        "function": {"name": "intent__HassTurnOn", "arguments": "{\\"na"}}]}}]}    -> (kept)
    {"choices": [{"delta": {"tool_calls": [{"index": 0,
        "function": {"arguments": "me\\": \\"Lamp\\"}"}}]}}]}                      -> (kept)
    {"choices": [{"delta": {}, "finish_reason": "tool_calls"}]}                    -> {"tool_calls": [ToolInput(...)]}
    {"choices": [], "usage": {...}, "timings": {...}}                              -> (to the figures of the turn)

Home Assistant runs a tool the moment its delta arrives. So the calls of an answer are handed over together when it is
complete: a broken stream or a broken call never leaves half of a command done.
"""

import json
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import Any

from homeassistant.components.conversation import AssistantContentDeltaDict
from homeassistant.helpers import llm
from homeassistant.util.ulid import ulid_now

from .errors import ZoeStreamBrokenError, ZoeToolArgumentsError
from .turn import TurnStats


@dataclass(slots=True)
class _PartialCall:
    """A tool call whose arguments are still being written."""

    id: str = ""
    name: str = ""
    arguments: str = ""

    def add(self, delta: dict[str, Any]) -> None:
        function = delta.get("function") or {}
        self.id = delta.get("id") or self.id
        self.name += function.get("name") or ""
        self.arguments += function.get("arguments") or ""

    def complete(self) -> llm.ToolInput:
        return llm.ToolInput(id=self.id or ulid_now(), tool_name=self.name, tool_args=self._parsed_arguments())

    def _parsed_arguments(self) -> dict[str, Any]:
        try:
            arguments = json.loads(self.arguments or "{}")
        except ValueError as err:
            raise ZoeToolArgumentsError(f"{self.name}: {err}") from err
        if not isinstance(arguments, dict):
            raise ZoeToolArgumentsError(f"{self.name}: the arguments are not a JSON object")
        return arguments


async def chat_log_deltas(
    chunks: AsyncIterator[dict[str, Any]], turn: TurnStats, *, tools_allowed: bool
) -> AsyncGenerator[AssistantContentDeltaDict]:
    """Yield the deltas of one answer and add its figures to `turn`.

    Raises:
        ZoeToolArgumentsError: the arguments of a tool call are not a JSON object.
        ZoeStreamBrokenError: a tool call although none was allowed; nothing could run it.
        ZoeError: whatever reading the chunks raises.
    """
    stats = turn.new_request()
    calls: dict[int, _PartialCall] = {}
    yield {"role": "assistant"}
    async for chunk in chunks:
        stats.read_chunk(chunk)
        for choice in chunk["choices"]:
            delta = choice.get("delta") or {}
            for call in delta.get("tool_calls") or ():
                turn.mark_delta()
                calls.setdefault(call.get("index", 0), _PartialCall()).add(call)
            if pieces := _pieces(delta):
                turn.mark_delta()
                yield pieces
    if calls and not tools_allowed:
        raise ZoeStreamBrokenError("the model called a tool although it was given none")
    if calls:
        completed = [call.complete() for _, call in sorted(calls.items())]
        turn.tool_calls += completed
        yield {"tool_calls": completed}


def _pieces(delta: dict[str, Any]) -> AssistantContentDeltaDict:
    """Return the text, and the reasoning, in a delta."""
    pieces: AssistantContentDeltaDict = {}
    if content := delta.get("content"):
        pieces["content"] = content
    if reasoning := delta.get("reasoning_content"):
        pieces["thinking_content"] = reasoning
    return pieces
