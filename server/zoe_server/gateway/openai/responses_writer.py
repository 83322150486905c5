"""From engine events to OpenAI's form of a response: the events of a stream, the last of which holds the whole.

    created, in_progress, the events of every item, completed (or incomplete, or failed)

and of an item

    output_item.added, content_part.added, output_text.delta ..., output_text.done, content_part.done, output_item.done
    output_item.added, function_call_arguments.delta ..., function_call_arguments.done, output_item.done

Pure: it knows no HTTP and no clock; ids and times are given.
Source: OpenAI's Python client, `types/responses/response.py` and `response_stream_event.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final, Literal

from zoe_server import errors, protocol
from zoe_server.gateway import driver
from zoe_server.gateway.body import object_in
from zoe_server.gateway.openai.answer import timings

StreamEvent = dict[str, Any]
ItemStatus = Literal["in_progress", "completed", "incomplete"]
Status = Literal["in_progress", "completed", "incomplete", "failed"]

_ALWAYS: Final[Mapping[str, Any]] = {
    "background": False,
    "previous_response_id": None,
    "service_tier": "default",
    "store": False,
    "top_logprobs": 0,
    "truncation": "disabled",
}


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """What is the same in every form of one response; `key` is the part that its id shares with those of its items.

    `created` is in seconds since 1970, `echo` what the response repeats of its request.
    """

    key: str
    created: int
    model: str
    echo: Mapping[str, Any]

    def to_json(self, status: Status, output: list[dict[str, Any]], **members: object) -> dict[str, Any]:
        """Return the response with what it has so far."""
        head = {"id": f"resp_{self.key}", "object": "response", "created_at": self.created, "model": self.model}
        empty = {"completed_at": None, "error": None, "incomplete_details": None, "usage": None}
        return {**head, "status": status, "output": output, **_ALWAYS, **self.echo, **empty, **members}


class ResponseWriter:
    """The events of one response, numbered; an item ends where the next one begins, as in the answers of engines.

    `now` tells the seconds since 1970.
    """

    media_type = driver.EVENTS

    def __init__(self, head: ResponseHead, now: Callable[[], int]) -> None:
        self._head = head
        self._now = now
        self._open: OutputItem | None = None
        self._output: list[dict[str, Any]] = []
        self._n_events = 0
        self._n_items = 0
        self.response: dict[str, Any] | None = None
        """The whole response, as soon as it has ended."""

    def begin(self, model: str) -> None:
        """See `driver.Writer`."""
        self._head = replace(self._head, model=model)

    def chunk(self, index: int, event: protocol.ChatEvent) -> str:
        """See `driver.Writer`."""
        del index
        return _written(self.events(event))

    def idle(self) -> str:
        """See `driver.Writer`."""
        return driver.KEEP_ALIVE

    def failure(self, error: errors.ZoeError) -> str:
        """See `driver.Writer`."""
        return _written(self.failed(error))

    def whole(self, events: Sequence[driver.IndexedEvent]) -> dict[str, Any]:
        """Return the response that a stream would end with."""
        for index, event in events:
            self.chunk(index, event)
        return self.response or {}

    def events(self, event: protocol.ChatEvent) -> Iterator[StreamEvent]:
        """Return the stream's events for the engine's next event; a `Failure` is not for here."""
        if isinstance(event, protocol.Started | protocol.Failure):
            return
        yield from self._numbered(self._begin())
        match event:
            case protocol.Text(text):
                yield from self._numbered(self._say(MessageOutput, text))
            case protocol.Reasoning(text):
                yield from self._numbered(self._say(ReasoningOutput, text))
            case protocol.ToolCallStart(_, call_id, name):
                call = CallOutput(*self._next_place(CallOutput), call_id, name)
                yield from self._numbered(self._enter(call))
            case protocol.ToolCallArguments(_, text) if isinstance(self._open, CallOutput):
                yield from self._numbered(iter([self._open.delta(text)]))
            case protocol.Finish():
                yield from self._numbered(self._finish(event))

    def failed(self, error: errors.ZoeError) -> Iterator[StreamEvent]:
        """Return the events that end the response with `error`; items that were not complete are cut."""
        yield from self._numbered(self._begin())
        self._collect(cut=True)
        yield from self._numbered(iter([self._end("failed", error=_error(error))]))

    def _numbered(self, events: Iterator[StreamEvent]) -> Iterator[StreamEvent]:
        for event in events:
            yield {**event, "sequence_number": self._n_events}
            self._n_events += 1

    def _begin(self) -> Iterator[StreamEvent]:
        if self._n_events == 0:
            response = self._head.to_json("in_progress", [])
            yield {"type": "response.created", "response": response}
            yield {"type": "response.in_progress", "response": response}

    def _say(self, kind: type[Prose], text: str) -> Iterator[StreamEvent]:
        item = self._open
        if not isinstance(item, kind):
            item = kind(*self._next_place(kind))
            yield from self._enter(item)
        yield item.delta(text)

    def _next_place(self, kind: type[OutputItem]) -> tuple[str, int]:
        """Return the id and the index of the next item."""
        return f"{kind.prefix}_{self._head.key}_{self._n_items}", self._n_items

    def _enter(self, item: OutputItem) -> Iterator[StreamEvent]:
        """End the open item, if there is one, and begin `item`."""
        yield from self._leave(cut=False)
        self._open = item
        self._n_items += 1
        yield from item.added()

    def _leave(self, *, cut: bool) -> Iterator[StreamEvent]:
        if self._open is not None:
            yield from self._open.done(cut=cut)
        self._collect(cut=cut)

    def _collect(self, *, cut: bool) -> None:
        """Take the open item into the output, unless it is a call that never became one: nobody must run it."""
        item, self._open = self._open, None
        if isinstance(item, CallOutput):
            if item.complete:
                self._output.append(item.to_json("completed"))
        elif item is not None:
            self._output.append(item.to_json("incomplete" if cut else "completed"))

    def _finish(self, finish: protocol.Finish) -> Iterator[StreamEvent]:
        cut = finish.reason == "length"
        yield from self._leave(cut=cut)
        counts = {"usage": usage(finish.usage), "timings": timings([finish])}
        if cut:
            yield self._end("incomplete", incomplete_details={"reason": "max_output_tokens"}, **counts)
        else:
            yield self._end("completed", completed_at=self._now(), **counts)

    def _end(self, status: Status, **members: object) -> StreamEvent:
        self.response = self._head.to_json(status, self._output, **members)
        return {"type": f"response.{status}", "response": self.response}


def usage(counts: protocol.Usage) -> dict[str, Any]:
    """Return the token counts; engines do not tell what they keep, nor which tokens were reasoning."""
    return {
        "input_tokens": counts.prompt_tokens,
        "input_tokens_details": {"cached_tokens": counts.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": counts.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": counts.prompt_tokens + counts.completion_tokens,
    }


def _error(error: errors.ZoeError) -> dict[str, Any]:
    """Return `error` with one of the codes that a response may have."""
    code = "server_error"
    if isinstance(error, errors.QueueFullError):
        code = "rate_limit_exceeded"
    elif isinstance(error, errors.InvalidRequestError):
        code = "invalid_prompt"
    return {"code": code, "message": error.message, "param": error.param, "type": error.type}


def _written(events: Iterator[StreamEvent]) -> str:
    return "".join(driver.sse(event, event["type"]) for event in events)


class OutputItem(ABC):
    """One item, while it is being written; `text` is what it says so far, or the arguments of its call."""

    prefix: ClassVar[str]
    """What its id begins with."""

    def __init__(self, item_id: str, index: int) -> None:
        self.id = item_id
        self.text = ""
        self._index = index

    @abstractmethod
    def to_json(self, status: ItemStatus) -> dict[str, Any]:
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
        return {"type": f"response.output_item.{kind}", "output_index": self._index, "item": self.to_json(status)}


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

    def to_json(self, status: ItemStatus) -> dict[str, Any]:
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

    def to_json(self, status: ItemStatus) -> dict[str, Any]:
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
        return object_in(self.text) is not None

    def to_json(self, status: ItemStatus) -> dict[str, Any]:
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
