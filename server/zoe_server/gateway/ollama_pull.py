"""POST /api/pull: bring a model of the catalogue here and serve it, as Ollama's clients ask for it.

    {"model": "llama-3.2-3b"}
    {"status": "pulling manifest"}
    {"status": "pulling 6a0746a1ec1a", "digest": "sha256:6a07...", "total": 2019377696, "completed": 734003200} ...
    {"status": "verifying sha256 digest", "total": 2019377696, "completed": 2019377696} ...
    {"status": "writing manifest"}
    {"status": "loading model"}
    {"status": "success"}

An error after the first record comes as `{"error": "..."}` and ends the answer.
Source: Ollama, `docs/api.md`, and `server/images.go` for the order.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from zoe_server import errors
from zoe_server.gateway.body import parse_json, validated
from zoe_server.gateway.middleware import ollama_error_body
from zoe_server.gateway.ndjson import RecordStream
from zoe_server.gateway.ollama_wire import PullBody
from zoe_server.gateway.services import services
from zoe_server.gateway.tracking import account, track

if TYPE_CHECKING:
    from zoe_server.gateway.pulls import Pull, Step

_SUCCESS: Final = {"status": "success"}


async def pull(request: web.Request) -> web.StreamResponse:
    """Answer when the model is served; a client that leaves before ends nothing.

    Raises:
        errors.ModelNotFoundError: the catalogue has none of that name.
        errors.InvalidRequestError: it could not be served here.
        errors.DownloadFailedError: it cannot be had.
    """
    state = services(request)
    body = validated(PullBody, parse_json(await request.read()))
    track(request, body.wanted)
    if state.supply is None:
        raise errors.InvalidRequestError(
            "this server was started for one model file only; start it without --model to pull others"
        )
    under_way = state.supply.pull(state.supply.find(body.wanted))
    interval_s = state.settings.keep_alive_interval_s
    if body.streamed:
        return await _stream(request, under_way, interval_s)
    async with aclosing(under_way.follow(interval_s)) as steps:
        async for _ in steps:
            pass
    return web.json_response(_SUCCESS)


def record(step: Step) -> dict[str, Any]:
    """Return a step as Ollama writes it."""
    told = {"digest": step.digest, "total": step.total_bytes, "completed": step.completed_bytes}
    return {"status": step.status, **{key: value for key, value in told.items() if value is not None}}


async def _stream(request: web.Request, under_way: Pull, interval_s: float) -> web.StreamResponse:
    stream = RecordStream(request, {})
    try:
        async with aclosing(under_way.follow(interval_s)) as steps:
            async for step in steps:
                await stream.send(record(step))
        return await stream.end(_SUCCESS)
    except errors.ZoeError as error:
        if not stream.begun:
            raise
        account(request).failed(error)
        return await stream.end(ollama_error_body(error))
