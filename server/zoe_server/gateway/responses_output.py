"""The items of a response's output, and the events of their lives in a stream.

    output_item.added, content_part.added, output_text.delta ..., output_text.done, content_part.done, output_item.done
    output_item.added, function_call_arguments.delta ..., function_call_arguments.done, output_item.done

Pure: an event has no sequence number yet.
Source: OpenAI's Python client, `types/responses/response_stream_event.py`.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar, Literal

StreamEvent = dict[str, Any]
ItemStatus = Literal["in_progress", "completed", "incomplete"]


class OutputItem(ABC):
    """One item, while it is being written; `text` is what it says so far, or the arguments of its call."""

    prefix: ClassVar[str]
    """What its id begins with."""

    def __init__(self, item_id: str, index: int) -> None:
        self.id = item_id
        self.text = ""
        self._index = index

    @abstractmethod
    def wire(self, status: ItemStatus) -> dict[str, Any]:
        """Return the item as a member of `output`."""

    @abstractmethod
    def added(self) -> Iterator[StreamEvent]:
        """Return the events that begin it."""

    @abstractmethod
    def delta(self, text: str) -> StreamEvent:
        """Add `text` and return its event."""

    @abstractmethod
    def done(self, *, cut: bool) -> Iterator[StreamEvent]:
        """Return the events that end it; `cut` says that the answer was ended by a limit."""

    def _event(self, kind: str, **members: object) -> StreamEvent:
        return {"type": f"response.{kind}", "item_id": self.id, "output_index": self._index, **members}

    def _whole(self, kind: str, status: ItemStatus) -> StreamEvent:
        return {"type": f"response.output_item.{kind}", "output_index": self._index, "item": self.wire(status)}


class Prose(OutputItem):
    """An item whose content is one part of text."""

    stream: ClassVar[str]
    """What its events are called."""
    extras: ClassVar[dict[str, Any]] = {}
    """Further members of the events that bring its text."""

    @abstractmethod
    def part(self, text: str) -> dict[str, Any]:
        """Return `text` as the member of `content`."""

    def added(self) -> Iterator[StreamEvent]:
        """Return the events that begin it and its part."""
        yield self._whole("added", "in_progress")
        yield self._event("content_part.added", content_index=0, part=self.part(""))

    def delta(self, text: str) -> StreamEvent:
        """Add `text` and return its event."""
        self.text += text
        return self._event(f"{self.stream}.delta", content_index=0, delta=text, **self.extras)

    def done(self, *, cut: bool) -> Iterator[StreamEvent]:
        """Return the events that end its text, its part and itself."""
        yield self._event(f"{self.stream}.done", content_index=0, text=self.text, **self.extras)
        yield self._event("content_part.done", content_index=0, part=self.part(self.text))
        yield self._whole("done", "incomplete" if cut else "completed")

    def _content(self, status: ItemStatus) -> list[dict[str, Any]]:
        return [] if status == "in_progress" else [self.part(self.text)]


class MessageOutput(Prose):
    """Text of the answer."""

    prefix = "msg"
    stream = "output_text"
    extras: ClassVar[dict[str, Any]] = {"logprobs": []}

    def part(self, text: str) -> dict[str, Any]:
        """Return `text` as the member of `content`."""
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}

    def wire(self, status: ItemStatus) -> dict[str, Any]:
        """Return the item as a member of `output`."""
        head = {"id": self.id, "type": "message", "status": status}
        return {**head, "role": "assistant", "content": self._content(status)}


class ReasoningOutput(Prose):
    """Reasoning of the model; there are no summaries of it."""

    prefix = "rs"
    stream = "reasoning_text"

    def part(self, text: str) -> dict[str, Any]:
        """Return `text` as the member of `content`."""
        return {"type": "reasoning_text", "text": text}

    def wire(self, status: ItemStatus) -> dict[str, Any]:
        """Return the item as a member of `output`."""
        head = {"id": self.id, "type": "reasoning", "status": status}
        return {**head, "summary": [], "content": self._content(status)}


class CallOutput(OutputItem):
    """A tool call."""

    prefix = "fc"

    def __init__(self, item_id: str, index: int, call_id: str, name: str) -> None:
        super().__init__(item_id, index)
        self._call_id = call_id
        self._name = name

    @property
    def complete(self) -> bool:
        """Whether the arguments are an object; else the call was cut off, and is none."""
        try:
            return isinstance(json.loads(self.text), dict)
        except (ValueError, RecursionError):
            return False

    def wire(self, status: ItemStatus) -> dict[str, Any]:
        """Return the item as a member of `output`."""
        call = {"call_id": self._call_id, "name": self._name, "arguments": self.text}
        return {"id": self.id, "type": "function_call", "status": status, **call}

    def added(self) -> Iterator[StreamEvent]:
        """Return the event that begins it."""
        yield self._whole("added", "in_progress")

    def delta(self, text: str) -> StreamEvent:
        """Add `text` to the arguments and return its event."""
        self.text += text
        return self._event("function_call_arguments.delta", delta=text)

    def done(self, *, cut: bool) -> Iterator[StreamEvent]:
        """Return the events that end it; whether it is complete shows in its arguments."""
        del cut
        if self.complete:
            yield self._event("function_call_arguments.done", arguments=self.text)
        yield self._whole("done", "completed" if self.complete else "incomplete")
