"""POST /v1/chat/completions."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from zoe_server import errors, protocol
from zoe_server.gateway import openai_wire
from zoe_server.gateway.answer import AnswerHead, Choice, ChunkWriter, Judge, completion
from zoe_server.gateway.body import parse_json
from zoe_server.gateway.fanout import Fanout, fan_out
from zoe_server.gateway.middleware import error_body
from zoe_server.gateway.services import Services, services
from zoe_server.gateway.sse import EventStream
from zoe_server.gateway.tracking import track
from zoe_server.routing import rules
from zoe_server.routing.question import RouteQuestion
from zoe_server.routing.router import AUTOMATIC, RoutePlan
from zoe_server.routing.said import bundled_said

_ROUTE_HEADER: Final = "X-Zoe-Route"


@dataclass(frozen=True, slots=True)
class _Call:
    """One HTTP request on its way: what was asked, and what is planned to answer it."""

    state: Services
    id: str
    body: openai_wire.ChatBody
    plan: RoutePlan
    requests: Sequence[protocol.ChatRequest]
    judge: Judge | None = None

    def head(self, model: str) -> AnswerHead:
        return AnswerHead(self.id, int(time.time()), model)


def route_headers(plan: RoutePlan, model: str | None = None) -> dict[str, str]:
    """Return the header that says which rule chose, which model answers, and which were to be tried.

    Without a `model`, as in a stream that begins before one is known to answer, it is the first that is tried.
    """
    candidates = ",".join(plan.named(candidate) for candidate in plan.candidates)
    return {_ROUTE_HEADER: f"rule={plan.rule}; model={model or plan.model}; candidates={candidates}"}


async def chat_completions(request: web.Request) -> web.StreamResponse:
    """Answer one chat request; a client that leaves cancels it, wherever it stands."""
    state = services(request)
    body = openai_wire.parse_chat(parse_json(await request.read()))
    call_id = f"chatcmpl-{uuid.uuid4().hex}"
    requests = openai_wire.to_requests(body, call_id, AUTOMATIC)
    tracked = track(request, body.model)
    question = RouteQuestion.of(requests[0])
    plan = state.router.route(body.model, question)
    call = _Call(state, call_id, body, plan, requests, _judge(body, question))
    async with fan_out(state.fleet, plan, call.requests, tracked) as fanout:
        if body.stream:
            return await _stream(call, fanout, EventStream(request, route_headers(plan)))
        return await _whole(call, fanout)


def _judge(body: openai_wire.ChatBody, question: RouteQuestion) -> Judge | None:
    """Return who judges for clients that know our extension; the others get what they always got."""
    if not body.extended:
        return None
    return Judge(rules.said(question, bundled_said()) if question.text.strip() else None, bundled_said())


async def _whole(call: _Call, fanout: Fanout) -> web.Response:
    choices = [Choice(index) for index in range(len(call.requests))]
    while any(choice.finish is None for choice in choices):
        index, event = await fanout.next()
        choices[index].add(event)
    headers = route_headers(call.plan, fanout.model)
    return web.json_response(completion(call.head(fanout.model), choices, call.judge), headers=headers)


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
    writer: ChunkWriter | None = None
    n_open = len(call.requests)
    while n_open:
        try:
            index, event = await fanout.next(call.state.settings.keep_alive_interval_s)
        except TimeoutError:
            await stream.comment()
            continue
        if writer is None:
            head = call.head(fanout.model)
            writer = ChunkWriter(head, n_open, include_usage=call.body.include_usage, judge=call.judge)
        for chunk in writer.chunks(index, event):
            await stream.send(chunk)
        n_open -= isinstance(event, protocol.Finish)
