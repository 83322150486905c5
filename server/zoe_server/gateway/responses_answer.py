"""From engine events to OpenAI's form of a response: the events of a stream, the last of which holds the whole.

    created, in_progress, the events of every item (see `responses_output`), completed (or incomplete, or failed)

Pure: it knows no HTTP and no clock; ids and times are given.
Source: OpenAI's Python client, `types/responses/response.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from zoe_server import errors, protocol
from zoe_server.gateway.answer import timings
from zoe_server.gateway.responses_output import (
    CallOutput,
    MessageOutput,
    OutputItem,
    Prose,
    ReasoningOutput,
    StreamEvent,
)

Status = Literal["in_progress", "completed", "incomplete", "failed"]

_ALWAYS: Final[Mapping[str, Any]] = {
    "background": False,
    "previous_response_id": None,
    "reasoning": {"effort": None, "summary": None},
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

    def wire(self, status: Status, output: list[dict[str, Any]], **members: object) -> dict[str, Any]:
        """Return the response with what it has so far."""
        head = {"id": f"resp_{self.key}", "object": "response", "created_at": self.created, "model": self.model}
        empty = {"completed_at": None, "error": None, "incomplete_details": None, "usage": None}
        return {**head, "status": status, "output": output, **_ALWAYS, **self.echo, **empty, **members}


class ResponseWriter:
    """The events of one response, numbered; an item ends where the next one begins, as in the answers of engines."""

    def __init__(self, head: ResponseHead) -> None:
        self._head = head
        self._open: OutputItem | None = None
        self._output: list[dict[str, Any]] = []
        self._n_events = 0
        self._n_items = 0
        self.response: dict[str, Any] | None = None
        """The whole response, as soon as it has ended."""

    def events(self, event: protocol.ChatEvent, now: int) -> Iterator[StreamEvent]:
        """Return the stream's events for the engine's next event, which comes at `now`; a `Failure` is not for here."""
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
                yield from self._numbered(self._finish(event, now))

    def failure(self, error: errors.ZoeError) -> Iterator[StreamEvent]:
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
            response = self._head.wire("in_progress", [])
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
                self._output.append(item.wire("completed"))
        elif item is not None:
            self._output.append(item.wire("incomplete" if cut else "completed"))

    def _finish(self, finish: protocol.Finish, now: int) -> Iterator[StreamEvent]:
        cut = finish.reason == "length"
        yield from self._leave(cut=cut)
        counts = {"usage": usage(finish.usage), "timings": timings([finish])}
        if cut:
            yield self._end("incomplete", incomplete_details={"reason": "max_output_tokens"}, **counts)
        else:
            yield self._end("completed", completed_at=now, **counts)

    def _end(self, status: Status, **members: object) -> StreamEvent:
        self.response = self._head.wire(status, self._output, **members)
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
