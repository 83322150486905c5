"""POST /api/embed, and /api/embeddings as it was before: Ollama's ways to ask for embeddings.

Source: Ollama, `docs/api.md` and `server/routes.go`.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from zoe_server import protocol
from zoe_server.gateway.body import parse_json, validated
from zoe_server.gateway.driver import route_headers
from zoe_server.gateway.ollama.body import EmbedBody, EmbedPromptBody
from zoe_server.gateway.ollama.chat import nanoseconds
from zoe_server.gateway.openai.embeddings import check_inputs, embed_on, json_list, json_response, shortened
from zoe_server.gateway.request_record import RequestRecord
from zoe_server.gateway.services import Services, services
from zoe_server.gateway.tracking import track
from zoe_server.routing import fallback
from zoe_server.routing.router import RoutePlan

_NOTHING: Final = protocol.Embeddings((), protocol.Usage())


async def embed(request: web.Request) -> web.Response:
    """Answer with a vector of every text; a text that is too long is cut, unless the request says no to that."""
    state = services(request)
    body = validated(EmbedBody, parse_json(await request.read()))
    tracked = track(request, body.model)
    plan = state.router.route_embeddings(body.model)
    answer = await _embeddings(state, plan, tracked, body, body.inputs, truncate=body.truncate is not False)
    embeddings = await json_list(answer.vectors, lambda _, vector: shortened(vector, body.wanted_dimensions))
    head = {
        "model": body.model,
        "total_duration": nanoseconds(answer.timings.total_s),
        "load_duration": nanoseconds(answer.timings.queue_s),
        "prompt_eval_count": answer.usage.prompt_tokens,
    }
    return json_response(head, "embeddings", embeddings, plan)


async def embed_prompt(request: web.Request) -> web.Response:
    """Answer with the vector of one text, cut if it is too long."""
    state = services(request)
    body = validated(EmbedPromptBody, parse_json(await request.read()))
    tracked = track(request, body.model)
    plan = state.router.route_embeddings(body.model)
    inputs = (body.prompt,) if body.prompt else ()
    answer = await _embeddings(state, plan, tracked, body, inputs, truncate=True)
    vector = answer.vectors[0] if answer.vectors else ()
    return web.json_response({"embedding": vector}, headers=route_headers(plan))


async def _embeddings(
    state: Services,
    plan: RoutePlan,
    tracked: RequestRecord,
    body: EmbedBody | EmbedPromptBody,
    inputs: tuple[str, ...],
    *,
    truncate: bool,
) -> protocol.Embeddings:
    """Return the embeddings; without inputs, which only asks for the model to be loaded or unloaded, none, then."""
    if not inputs and body.unloads:
        await state.unload(plan.candidates[0])
        return _NOTHING
    if not inputs:
        async with fallback.lease(state.fleet, plan, 0):
            return _NOTHING
    check_inputs(inputs)
    try:
        return (await embed_on(state, plan, inputs, tracked, truncate=truncate))[1]
    finally:
        if body.unloads and tracked.model is not None:
            state.unload_later(tracked.model)
