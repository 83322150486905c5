"""POST /v1/completions: a prompt that goes to the model as it is, and its continuation."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass

from aiohttp import web

from zoe_server import errors, protocol
from zoe_server.gateway.answer import AnswerHead
from zoe_server.gateway.body import parse_json
from zoe_server.gateway.chat import route_headers
from zoe_server.gateway.completions_wire import CompletionBody, parse_completion, to_requests
from zoe_server.gateway.fanout import Fanout, fan_out
from zoe_server.gateway.middleware import error_body
from zoe_server.gateway.services import Services, services
from zoe_server.gateway.sse import EventStream
from zoe_server.gateway.text_answer import TextChoice, TextChunkWriter, text_completion
from zoe_server.routing.question import RouteQuestion
from zoe_server.routing.router import AUTOMATIC, RoutePlan


@dataclass(frozen=True, slots=True)
class _Call:
    """One HTTP request on its way."""

    state: Services
    id: str
    body: CompletionBody
    plan: RoutePlan

    def head(self, model: str) -> AnswerHead:
        return AnswerHead(self.id, int(time.time()), model)

    @property
    def n_per_prompt(self) -> int:
        return self.body.n or 1


async def completions(request: web.Request) -> web.StreamResponse:
    """Answer one request; a client that leaves cancels it, wherever it stands."""
    state = services(request)
    body = parse_completion(parse_json(await request.read()))
    call_id = f"cmpl-{uuid.uuid4().hex}"
    requests = to_requests(body, call_id, AUTOMATIC)
    tokens = isinstance(requests[0].prompt, tuple)  # they are those of the model that /tokenize takes for `zoe`
    plan = state.router.route(body.model, None if tokens else RouteQuestion.of(requests[0]))
    call = _Call(state, call_id, body, plan)
    async with fan_out(state.fleet, plan, requests) as fanout:
        if body.stream:
            return await _stream(call, fanout, EventStream(request, route_headers(plan)))
        return await _whole(call, fanout)


async def _whole(call: _Call, fanout: Fanout) -> web.Response:
    choices = [TextChoice(index, echo) for index, echo in enumerate(call.body.echoes)]
    while any(choice.finish is None for choice in choices):
        index, event = await fanout.next()
        choices[index].add(event)
    answer = text_completion(call.head(fanout.model), choices, call.n_per_prompt)
    return web.json_response(answer, headers=route_headers(call.plan, fanout.model))


async def _stream(call: _Call, fanout: Fanout, stream: EventStream) -> web.StreamResponse:
    try:
        await _write_chunks(call, fanout, stream)
        return await stream.done()
    except errors.ZoeError as error:
        if not stream.begun:
            raise
        return await stream.fail(error_body(error))


async def _write_chunks(call: _Call, fanout: Fanout, stream: EventStream) -> None:
    """Write every chunk, and a comment whenever nothing happened for the keep-alive interval."""
    writer: TextChunkWriter | None = None
    n_open = len(call.body.echoes)
    while n_open:
        try:
            index, event = await fanout.next(call.state.settings.keep_alive_interval_s)
        except TimeoutError:
            await stream.comment()
            continue
        if writer is None:
            head = call.head(fanout.model)
            writer = TextChunkWriter(head, call.body.echoes, call.n_per_prompt, include_usage=call.body.include_usage)
        for chunk in writer.chunks(index, event):
            await stream.send(chunk)
        n_open -= isinstance(event, protocol.Finish)
