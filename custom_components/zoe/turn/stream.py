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
complete: a broken stream never leaves half of a command done. A call whose arguments are no JSON object is handed
over as well; the executor tells the model. Text is made speakable on its way, if that is wanted, and an answer that
has to be judged as a whole is held until it has ended (`Listener`).
"""

from collections.abc import AsyncGenerator, AsyncIterator, Collection
from dataclasses import dataclass
from typing import Any, Protocol

from homeassistant.components.conversation import AssistantContentDeltaDict
from homeassistant.helpers import llm
from homeassistant.util.ulid import ulid_now

from ..api.errors import ZoeStreamBrokenError
from ..speech.filter import SpeechFilter
from ..speech.hidden import printed_calls
from .arguments import ArgumentsError, parsed_arguments
from .said import Said, denial_in
from .stats import TurnStats


@dataclass(slots=True)
class WrittenCall(llm.ToolInput):
    """A call whose arguments were not JSON: `problem` says why they have no reading, "" if they have one after all."""

    problem: str = ""


class Listener(Protocol):
    """Judges the answer on its way: `heard` what the server says of the sentence, it `holds` the answer or does not."""

    def heard(self, said: Said | None) -> None:
        """Take the server's judgement of the sentence, or its silence."""

    async def async_holds(self) -> bool:
        """Return whether an answer is to be held until it has ended; asked once, when its first text is there."""

    async def async_judged(self, answer: str, denies: float | None) -> str:
        """Return what is to be said in place of an answer that was held.

        `denies` is how likely it says that something was not done, 0 to 1; None if the server does not judge.
        """

    def addition(self, answer: str, denies: float | None) -> str:
        """Return what is to be said behind an answer that was not held."""


@dataclass(frozen=True, slots=True)
class StreamRules:
    """What is done to an answer on its way; with a `speech_language` its text is made speakable in that language.

    A call of one of the `tools` that a model prints as text is a call.
    """

    tools: Collection[str] = ()
    speech_language: str | None = None
    listener: Listener | None = None


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
    """The text of one answer: what was said of it, and what is held back."""

    def __init__(self, rules: StreamRules) -> None:
        self._speech = SpeechFilter(rules.speech_language) if rules.speech_language else None
        self._listener = rules.listener
        self._holds: bool | None = None
        self._held = ""
        self.said = ""
        self.denies: float | None = None

    async def async_feed(self, text: str) -> str:
        """Return what can be spoken now."""
        return await self._async_said(self._speech.feed(text) if self._speech else text)

    async def async_close(self, *, calls: bool) -> str:
        """Return the rest: all that was held, if `calls` follow it, else what stands of it, and what is added."""
        rest = await self._async_said(self._speech.close() if self._speech else "")
        if calls or self._listener is None:
            return self._held + rest
        if self._holds or not (self.said or self._holds):
            return await self._listener.async_judged(self._held + rest, self.denies)
        return rest + self._listener.addition(self.said, self.denies)

    async def _async_said(self, text: str) -> str:
        if not text:
            return ""
        if self._holds is None:
            self._holds = self._listener is not None and await self._listener.async_holds()
        self.said += text
        if not self._holds:
            return text
        self._held += text
        return ""


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
    text = _Text(rules)
    heard, written = False, ""
    yield {"role": "assistant"}
    async for chunk in chunks:
        stats.read_chunk(chunk)
        if rules.listener is not None and not heard:
            rules.listener.heard(Said.from_chunk(chunk))
            heard = True
        denies = denial_in(chunk)
        text.denies = text.denies if denies is None else denies
        for choice in chunk["choices"]:
            delta = choice.get("delta") or {}
            for call in delta.get("tool_calls") or ():
                turn.mark_delta()
                calls.setdefault(call.get("index", 0), _PartialCall()).add(call)
            if delta.get("content") or delta.get("reasoning_content"):
                turn.mark_delta()
            written += delta.get("content") or ""
            if pieces := await _async_pieces(delta, text):
                yield pieces
    if calls and not rules.tools:
        raise ZoeStreamBrokenError("the model called a tool although it was given none")
    completed = [call.complete() for _, call in sorted(calls.items())] or _printed(written, rules.tools)
    if end := await text.async_close(calls=bool(completed)):
        yield {"content": end}
    if completed:
        turn.tool_calls += completed
        yield {"tool_calls": completed}


def _printed(written: str, tools: Collection[str]) -> list[llm.ToolInput]:
    """Return the calls that a model has printed as text; the executor judges them like all others."""
    printed = printed_calls(written, tools) if tools else []
    return [WrittenCall(name, arguments, ulid_now()) for name, arguments in printed]


async def _async_pieces(delta: dict[str, Any], text: _Text) -> AssistantContentDeltaDict:
    """Return the text, and the reasoning, in a delta."""
    pieces: AssistantContentDeltaDict = {}
    if (content := delta.get("content")) and (said := await text.async_feed(content)):
        pieces["content"] = said
    if reasoning := delta.get("reasoning_content"):
        pieces["thinking_content"] = reasoning
    return pieces
