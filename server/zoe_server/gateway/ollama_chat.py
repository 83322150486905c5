"""POST /api/chat and /api/generate: Ollama's two ways to ask a model."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime

from aiohttp import web

from zoe_server import errors, protocol
from zoe_server.gateway import ollama_wire
from zoe_server.gateway.body import parse_json, validated
from zoe_server.gateway.chat import route_headers
from zoe_server.gateway.fanout import Fanout, fan_out
from zoe_server.gateway.middleware import ollama_error_body
from zoe_server.gateway.ndjson import RecordStream
from zoe_server.gateway.ollama_answer import Form, Part, PartReader, RecordWriter, chat_form, generate_form
from zoe_server.gateway.services import Services, services
from zoe_server.gateway.tracking import track
from zoe_server.routing import fallback
from zoe_server.routing.question import RouteQuestion
from zoe_server.routing.router import AUTOMATIC, RoutePlan


@dataclass(frozen=True, slots=True)
class _Call:
    """One HTTP request on its way: what was asked, what is planned to answer it, and how the answer is written."""

    state: Services
    body: ollama_wire.ChatBody | ollama_wire.GenerateBody
    plan: RoutePlan
    writer: RecordWriter
    reader: PartReader


async def chat(request: web.Request) -> web.StreamResponse:
    """Answer one chat request."""
    return await _answer(request, validated(ollama_wire.ChatBody, parse_json(await request.read())), chat_form)


async def generate(request: web.Request) -> web.StreamResponse:
    """Answer one prompt."""
    return await _answer(request, validated(ollama_wire.GenerateBody, parse_json(await request.read())), generate_form)


async def _answer(
    request: web.Request, body: ollama_wire.ChatBody | ollama_wire.GenerateBody, form: Form
) -> web.StreamResponse:
    """Answer `body`; a client that leaves cancels its request, wherever it stands."""
    state = services(request)
    engine_request = None if body.is_empty else body.to_request(f"ollama-{uuid.uuid4().hex}", AUTOMATIC)
    tracked = track(request, body.model)
    plan = state.router.route(body.model, RouteQuestion.of(engine_request) if engine_request else None)
    call = _Call(state, body, plan, RecordWriter(body.model, form), PartReader(shows_thinking=body.shows_thinking))
    if engine_request is None:
        return await _load(call)
    try:
        async with fan_out(state.fleet, plan, [engine_request], tracked) as fanout:
            if body.streamed:
                return await _stream(call, fanout, RecordStream(request, route_headers(plan)))
            return await _whole(call, fanout)
    finally:
        if body.unloads and tracked.model is not None:
            state.unload_later(tracked.model)


async def _load(call: _Call) -> web.Response:
    """Answer when the model is loaded, or is not any more.

    Raises:
        errors.ModelBusyError: it is to be unloaded, and answers somebody.
    """
    if call.body.unloads:
        await call.state.unload(call.plan.candidates[0])
        return web.json_response(call.writer.empty("unload", _now()))
    async with fallback.lease(call.state.fleet, call.plan, 0):
        return web.json_response(call.writer.empty("load", _now()), headers=route_headers(call.plan))


async def _whole(call: _Call, fanout: Fanout) -> web.Response:
    answer = Part()
    while True:
        _, event = await fanout.next()
        answer += call.reader.read(event) or Part()
        if isinstance(event, protocol.Finish):
            headers = route_headers(call.plan, fanout.model)
            return web.json_response(call.writer.last(answer, event, _now()), headers=headers)


async def _stream(call: _Call, fanout: Fanout, stream: RecordStream) -> web.StreamResponse:
    try:
        finish = await _write_parts(call, fanout, stream)
        return await stream.end(call.writer.last(Part(), finish, _now()))
    except errors.ZoeError as error:
        if not stream.begun:
            raise
        return await stream.end(ollama_error_body(error))


async def _write_parts(call: _Call, fanout: Fanout, stream: RecordStream) -> protocol.Finish:
    """Write every part, and an empty one whenever nothing happened for the keep-alive interval; return the end."""
    while True:
        try:
            _, event = await fanout.next(call.state.settings.keep_alive_interval_s)
        except TimeoutError:
            await stream.send(call.writer.record(Part(), _now()))
            continue
        if isinstance(event, protocol.Finish):
            return event
        if (part := call.reader.read(event)) is not None:
            await stream.send(call.writer.record(part, _now()))


def _now() -> datetime:
    return datetime.now(UTC)
