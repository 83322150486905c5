"""POST /v1/responses: OpenAI's Responses API, without what a server would have to remember for it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from aiohttp import web

from zoe_server import errors, protocol
from zoe_server.gateway.body import parse_json
from zoe_server.gateway.chat import route_headers
from zoe_server.gateway.fanout import Fanout, fan_out
from zoe_server.gateway.responses_answer import ResponseHead, ResponseWriter
from zoe_server.gateway.responses_output import StreamEvent
from zoe_server.gateway.responses_wire import ResponseBody, parse_response, to_request
from zoe_server.gateway.services import Services, services
from zoe_server.gateway.sse import EventStream
from zoe_server.routing.question import RouteQuestion
from zoe_server.routing.router import AUTOMATIC, RoutePlan


@dataclass(frozen=True, slots=True)
class _Call:
    """One HTTP request on its way; `key` is what the ids of its response are made of."""

    state: Services
    key: str
    created: int
    body: ResponseBody
    plan: RoutePlan

    def writer(self, model: str) -> ResponseWriter:
        return ResponseWriter(ResponseHead(self.key, self.created, model, self.body.echo()))


async def responses(request: web.Request) -> web.StreamResponse:
    """Answer one request; a client that leaves cancels it, wherever it stands."""
    state = services(request)
    body = parse_response(parse_json(await request.read()))
    key = uuid.uuid4().hex
    engine_request = to_request(body, f"resp_{key}", AUTOMATIC)
    plan = state.router.route(body.model, RouteQuestion.of(engine_request))
    call = _Call(state, key, _now(), body, plan)
    async with fan_out(state.fleet, plan, [engine_request]) as fanout:
        if body.stream:
            return await _stream(call, fanout, EventStream(request, route_headers(plan)))
        return await _whole(call, fanout)


async def _whole(call: _Call, fanout: Fanout) -> web.Response:
    """Answer with the response that a stream would end with."""
    writer: ResponseWriter | None = None
    while writer is None or writer.response is None:
        _, event = await fanout.next()
        writer = writer or call.writer(fanout.model)
        for _ in writer.events(event, _now()):
            pass
    return web.json_response(writer.response, headers=route_headers(call.plan, fanout.model))


async def _stream(call: _Call, fanout: Fanout, stream: EventStream) -> web.StreamResponse:
    writer: ResponseWriter | None = None
    try:
        while writer is None or writer.response is None:
            event = await _next_event(call, fanout, stream)
            writer = writer or call.writer(fanout.model)
            await _send(stream, writer.events(event, _now()))
    except errors.ZoeError as error:
        if not stream.begun:
            raise
        await _send(stream, (writer or call.writer(fanout.model)).failure(error))
    return await stream.end()


async def _next_event(call: _Call, fanout: Fanout, stream: EventStream) -> protocol.ChatEvent:
    """Return the next event; write a comment whenever nothing happened for the keep-alive interval."""
    while True:
        try:
            _, event = await fanout.next(call.state.settings.keep_alive_interval_s)
        except TimeoutError:
            await stream.comment()
        else:
            return event


async def _send(stream: EventStream, events: Iterator[StreamEvent]) -> None:
    for event in events:
        await stream.send(event, name=event["type"])


def _now() -> int:
    return int(time.time())
