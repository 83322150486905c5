"""One answer of any API: the events of engines go to the `Writer` of the API, whole or piece by piece.

    request --its handler--> engine requests, a plan, a writer --`answer`--> response

Here are waiting, failing, leaving and counting; a writer only says how its API puts things. The status line of a stream
waits for the first thing that the client can see, so that an early failure is an ordinary error answer; if that takes
longer than the keep-alive interval, the stream begins with what keeps it alive.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol

from aiohttp import web

from zoe_server import errors, protocol
from zoe_server.gateway import pictures
from zoe_server.gateway.middleware import reading
from zoe_server.gateway.request_record import RequestRecord
from zoe_server.gateway.services import services
from zoe_server.gateway.tracking import record_of
from zoe_server.routing import handover
from zoe_server.routing.router import RoutePlan

EVENTS: Final = "text/event-stream"
RECORDS: Final = "application/x-ndjson"
KEEP_ALIVE: Final = ": keep-alive\n\n"
"""A line of server-sent events that clients ignore."""

IndexedEvent = tuple[int, protocol.ChatEvent]

_LOGGER: Final = logging.getLogger(__name__)
_ROUTE_HEADER: Final = "X-Zoe-Route"
_STREAM_HEADERS: Final = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
_UNASKED_CANCEL: Final = "the engine gave the request up without being asked to; please try again"


class Writer(Protocol):
    """Puts one answer, of one choice or several, into the form of an API. Pure: it does not wait and sends nothing."""

    media_type: str
    """That of its streams."""

    def begin(self, model: str) -> None:
        """Learn the name of the model that answers, before anything else."""

    def chunk(self, index: int, event: protocol.ChatEvent) -> str:
        """Return what a stream says for the next event of choice `index`; the last `Finish` completes it."""

    def idle(self) -> str:
        """Return what keeps a stream alive; also before it has begun."""

    def failure(self, error: errors.ZoeError) -> str:
        """Return what ends a stream that failed, so that nobody takes it for complete."""

    def whole(self, events: Sequence[IndexedEvent]) -> Mapping[str, Any]:
        """Return the answer that is not streamed; each choice has its `Finish`."""


def sse(data: Mapping[str, Any], name: str | None = None) -> str:
    """Return one server-sent event; its `name` stands in a line of its own."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n"


def record(data: Mapping[str, Any]) -> str:
    """Return one line of newline-delimited JSON."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")) + "\n"


def route_headers(plan: RoutePlan, model: str | None = None) -> dict[str, str]:
    """Return the header that says which rule chose, which model answers, and which were to be tried.

    Without a `model`, as in a stream that begins before one is known to answer, it is the first that is tried.
    """
    candidates = ",".join(plan.named(candidate) for candidate in plan.candidates)
    return {_ROUTE_HEADER: f"rule={plan.rule}; model={model or plan.model}; candidates={candidates}"}


async def answer(
    request: web.Request,
    plan: RoutePlan,
    requests: Sequence[protocol.ChatRequest],
    writer: Writer,
    *,
    stream: bool,
) -> web.StreamResponse:
    """Answer `request` with what engines say to `requests`, one for each choice.

    A client that leaves cancels all of them, wherever they stand.

    Raises:
        errors.ZoeError: nobody can answer, and nothing was said yet.
        ConnectionError: the client is gone.
    """
    async with _asked(request, plan, requests) as answers:
        if stream:
            return await _stream(request, plan, answers, writer)
        events = [event async for event in answers.events()]
        writer.begin(answers.model)
        return web.json_response(writer.whole(events), headers=route_headers(plan, answers.model))


async def _stream(request: web.Request, plan: RoutePlan, answers: _Answers, writer: Writer) -> web.StreamResponse:
    stream = Stream(request, writer.media_type, route_headers(plan))
    interval_s = services(request).settings.keep_alive_interval_s
    has_begun = False
    try:
        while answers.n_open:
            try:
                index, event = await answers.next(interval_s)
            except TimeoutError:
                await stream.write(writer.idle())
                continue
            if not has_begun:
                writer.begin(answers.model)
                has_begun = True
            text = writer.chunk(index, event)
            if answers.n_open and text:
                await stream.write(text)
        return await stream.end(text)
    except ConnectionError:
        raise
    except Exception as error:
        if not stream.begun:
            raise
        if not has_begun:
            writer.begin(answers.model)
        return await stream.end(writer.failure(_told(error, answers.model)))


def _told(error: Exception, model: str) -> errors.ZoeError:
    """Return what the client of a stream that has begun is told: it has a status already, and may not get another."""
    if isinstance(error, errors.ZoeError):
        return error
    _LOGGER.error("the stream of an answer of %s broke off", model, exc_info=error)
    return errors.ZoeError(errors.INTERNAL)


class _Answers:
    """The events of all choices, side by side on one engine; `n_open` choices have not ended.

    `request_record` hears of each event. Waiting for the engine is part of it, so that a client can be kept company
    meanwhile.
    """

    def __init__(self, model: str, n_choices: int, request_record: RequestRecord) -> None:
        self.model = model
        self.n_open = n_choices
        self._request_record = request_record
        self._events: asyncio.Queue[IndexedEvent] = asyncio.Queue()

    async def next(self, timeout_s: float | None = None) -> IndexedEvent:
        """Return the next event of any choice; from the first one on, `model` is the one that answers.

        Raises:
            TimeoutError: there was none for `timeout_s`.
            errors.ZoeError: a choice failed, or no engine is available.
        """
        async with asyncio.timeout(timeout_s):
            index, event = await self._events.get()
        if isinstance(event, protocol.Finish) and event.reason == "cancelled":
            event = protocol.Failure(errors.EngineUnavailableError(_UNASKED_CANCEL, retry_after_s=1.0))
        self._request_record.saw(index, event)
        if isinstance(event, protocol.Failure):
            raise event.error
        self.n_open -= isinstance(event, protocol.Finish)
        return index, event

    async def events(self) -> AsyncGenerator[IndexedEvent, None]:
        """Yield all events; raises what `next` does."""
        while self.n_open:
            yield await self.next()

    def planned(self, plan: RoutePlan) -> None:
        """See `handover.Listener`."""
        self._request_record.planned(plan)

    def asked(self, model: str, name: str) -> None:
        """See `handover.Listener`."""
        self.model, self._request_record.model = name, model

    def take(self, index: int, event: protocol.ChatEvent) -> None:
        """See `handover.Listener`."""
        if isinstance(event, protocol.Started):
            self._request_record.saw(index, event)
        else:
            self._events.put_nowait((index, event))


@asynccontextmanager
async def _asked(
    request: web.Request, plan: RoutePlan, requests: Sequence[protocol.ChatRequest]
) -> AsyncGenerator[_Answers, None]:
    """Begin all `requests` and lend their events; leaving the context cancels what is still open."""
    request_record = record_of(request)
    request_record.planned(plan)
    request_record.wants(requests)
    answers = _Answers(plan.model, len(requests), request_record)

    async def produce() -> None:
        """Bring all events; whatever goes wrong is an event as well: nobody waits forever."""
        try:
            await handover.answer(services(request).fleet, plan, await pictures.load(requests), answers)
        except errors.ZoeError as error:
            answers.take(0, protocol.Failure(error))
        except Exception:
            _LOGGER.exception("request %s failed outside of its engine", requests[0].id)
            text = "the connection to the engine failed; the server's log has the details"
            answers.take(0, protocol.Failure(errors.EngineError(text)))

    task = asyncio.create_task(produce())
    try:
        yield answers
    finally:
        task.cancel()
        await asyncio.wait({task})


class Stream:
    """A response in pieces, with status 200; it is begun when its first piece is written."""

    def __init__(self, request: web.Request, media_type: str, headers: Mapping[str, str]) -> None:
        self._request = request
        charset = "; charset=utf-8" if media_type == EVENTS else ""
        self._headers = {"Content-Type": media_type + charset, **_STREAM_HEADERS, **headers}
        self._response: web.StreamResponse | None = None

    @property
    def begun(self) -> bool:
        """Whether the client has got a status already."""
        return self._response is not None

    async def write(self, text: str) -> None:
        """Write the next piece.

        Raises:
            ConnectionError: the client is gone, or reads nothing.
        """
        async with reading(self._request):
            response = await self._begin()
            await response.write(text.encode())

    async def end(self, text: str) -> web.StreamResponse:
        """Write the last piece and end the body, in one go; from then on a client that leaves has got all of it.

        Raises:
            ConnectionError: the client is gone, or reads nothing.
        """
        async with reading(self._request, all_of_it=True):
            response = await self._begin()
            await response.write_eof(text.encode())
        record_of(self._request).delivered(response.status)
        return response

    async def _begin(self) -> web.StreamResponse:
        if self._response is None:
            self._response = web.StreamResponse(headers=self._headers)
            # The connection closes with the stream, announced from the start, so that no client sends its next request
            # into a closing one; and the body ends as it should, so that no client drops the error with the connection.
            self._response.force_close()
            await self._response.prepare(self._request)
        return self._response
