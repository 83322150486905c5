"""POST /tokenize and /detokenize, in llama-server's form: a model's tokens of a text, and back."""

from __future__ import annotations

from aiohttp import web

from zoe_server import errors
from zoe_server.engines.base import Engine
from zoe_server.gateway.body import RequestModel, Tokens, parse_json, refuse, validated
from zoe_server.gateway.services import services
from zoe_server.gateway.tracking import track
from zoe_server.routing import fallback


class TokenizeBody(RequestModel):
    """The body of POST /tokenize."""

    content: str
    model: str | None = None
    add_special: bool = False
    parse_special: bool = True
    with_pieces: bool = False


class DetokenizeBody(RequestModel):
    """The body of POST /detokenize."""

    tokens: Tokens
    model: str | None = None


async def tokenize(request: web.Request) -> web.Response:
    """Answer with the tokens of a text."""
    state = services(request)
    body = validated(TokenizeBody, parse_json(await request.read()))
    if body.with_pieces:
        refuse("with_pieces")
    track(request, body.model)
    async with fallback.lease(state.fleet, state.router.route(body.model), 0) as (_, engine):
        _check_tokenizer(engine)
        tokens = await engine.tokenize(body.content, add_special=body.add_special, parse_special=body.parse_special)
    return web.json_response({"tokens": tokens})


async def detokenize(request: web.Request) -> web.Response:
    """Answer with the text of tokens."""
    state = services(request)
    body = validated(DetokenizeBody, parse_json(await request.read()))
    track(request, body.model)
    async with fallback.lease(state.fleet, state.router.route(body.model), 0) as (_, engine):
        _check_tokenizer(engine)
        return web.json_response({"content": await engine.detokenize(body.tokens)})


def _check_tokenizer(engine: Engine) -> None:
    if not engine.info.capabilities.tokenizer:
        raise errors.ModelKindError.no_tokenizer()
