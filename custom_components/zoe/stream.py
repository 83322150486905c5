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
complete: a broken stream never leaves half of a command done. A call whose arguments are no JSON object is handed over
as well; the executor tells the model. Text is made speakable on its way, if that is wanted, and an answer gets what
has to be added to it (`StreamRules`).
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from homeassistant.components.conversation import AssistantContentDeltaDict
from homeassistant.helpers import llm
from homeassistant.util.ulid import ulid_now

from .errors import ZoeStreamBrokenError
from .repair import ArgumentsError, parsed_arguments
from .speech import SpeechFilter
from .turn import TurnStats


@dataclass(slots=True)
class WrittenCall(llm.ToolInput):
    """A call whose arguments were not JSON: `problem` says why they have no reading, "" if they have one after all."""

    problem: str = ""


type Addition = Callable[[str], str]
"""Returns what is to be said behind a whole answer, "" for nothing."""


def no_addition(answer: str) -> str:
    """Let every answer stand as it is."""
    del answer
    return ""


@dataclass(frozen=True, slots=True)
class StreamRules:
    """What is done to an answer on its way.

    With a `speech_language` its text is made speakable in that language. `addition` is asked about an answer that calls
    no tool.
    """

    tools_allowed: bool
    speech_language: str | None = None
    addition: Addition = no_addition


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
        call_id = self.id or ulid_now()
        try:
            arguments, repairs = parsed_arguments(self.arguments)
        except ArgumentsError as err:
            return WrittenCall(self.name, {}, call_id, problem=str(err))
        return (WrittenCall if repairs else llm.ToolInput)(self.name, arguments, call_id)


class _Text:
    """The text of one answer, as it is handed over."""

    def __init__(self, speech_language: str | None) -> None:
        self._speech = SpeechFilter(speech_language) if speech_language else None
        self.said = ""

    def feed(self, text: str) -> str:
        return self._said(self._speech.feed(text) if self._speech else text)

    def close(self) -> str:
        return self._said(self._speech.close() if self._speech else "")

    def _said(self, text: str) -> str:
        self.said += text
        return text


async def chat_log_deltas(
    chunks: AsyncIterator[dict[str, Any]], turn: TurnStats, rules: StreamRules
) -> AsyncGenerator[AssistantContentDeltaDict]:
    """Yield the deltas of one answer and add its figures to `turn`.

    Raises:
        ZoeStreamBrokenError: a tool call although none was allowed; nothing could run it.
        ZoeError: whatever reading the chunks raises.
    """
    stats = turn.new_request()
    calls: dict[int, _PartialCall] = {}
    text = _Text(rules.speech_language)
    yield {"role": "assistant"}
    async for chunk in chunks:
        stats.read_chunk(chunk)
        for choice in chunk["choices"]:
            delta = choice.get("delta") or {}
            for call in delta.get("tool_calls") or ():
                turn.mark_delta()
                calls.setdefault(call.get("index", 0), _PartialCall()).add(call)
            if delta.get("content") or delta.get("reasoning_content"):
                turn.mark_delta()
            if pieces := _pieces(delta, text):
                yield pieces
    if calls and not rules.tools_allowed:
        raise ZoeStreamBrokenError("the model called a tool although it was given none")
    if end := text.close() + ("" if calls else rules.addition(text.said)):
        yield {"content": end}
    if calls:
        completed = [call.complete() for _, call in sorted(calls.items())]
        turn.tool_calls += completed
        yield {"tool_calls": completed}


def _pieces(delta: dict[str, Any], text: _Text) -> AssistantContentDeltaDict:
    """Return the text, and the reasoning, in a delta."""
    pieces: AssistantContentDeltaDict = {}
    if (content := delta.get("content")) and (said := text.feed(content)):
        pieces["content"] = said
    if reasoning := delta.get("reasoning_content"):
        pieces["thinking_content"] = reasoning
    return pieces
