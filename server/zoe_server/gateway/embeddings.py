"""POST /v1/embeddings: a vector of every text."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from aiohttp import web

from zoe_server import protocol
from zoe_server.engines.base import Engine
from zoe_server.gateway.body import parse_json
from zoe_server.gateway.chat import route_headers
from zoe_server.gateway.embeddings_wire import EmbeddingsBody, Vector, parse_embeddings, shortened
from zoe_server.gateway.request_record import RequestRecord
from zoe_server.gateway.services import Services, services
from zoe_server.gateway.tracking import track
from zoe_server.routing import fallback
from zoe_server.routing.router import RoutePlan


async def embeddings(request: web.Request) -> web.Response:
    """Answer one request; a client that leaves cancels it, wherever it stands."""
    state = services(request)
    body = parse_embeddings(parse_json(await request.read()))
    tracked = track(request, body.model)
    plan = state.router.route_embeddings(body.model)
    model, answer = await embed_on(state, plan, body.inputs, tracked)
    data = await json_list(answer.vectors, lambda index, vector: _item(body, index, vector))
    n_tokens = answer.usage.prompt_tokens
    head = {"object": "list", "model": model, "usage": {"prompt_tokens": n_tokens, "total_tokens": n_tokens}}
    return json_response(head, "data", data, plan)


async def embed_on(
    state: Services,
    plan: RoutePlan,
    inputs: Sequence[str | tuple[int, ...]],
    tracked: RequestRecord,
    *,
    truncate: bool = False,
) -> tuple[str, protocol.Embeddings]:
    """Return the model that answered, and its embeddings of `inputs`.

    Raises:
        errors.ZoeError: no engine is available, or it refuses.
    """
    tracked.planned(plan)
    tracked.wants_vectors(inputs)

    async def embed(model: str, engine: Engine) -> tuple[str, protocol.Embeddings]:
        tracked.model = model
        call = protocol.EmbedRequest(f"embd-{uuid.uuid4().hex}", model, tuple(inputs), truncate)
        answer = await engine.embed(call)
        tracked.embedded(answer)
        return model, answer

    return await fallback.ask(state.fleet, plan, embed)


async def json_list(vectors: Sequence[Vector], form: Callable[[int, Vector], Any]) -> str:
    """Return the JSON list of `form(index, vector)`; others get their turn after each, as there may be many."""
    pieces = []
    for index, vector in enumerate(vectors):
        pieces.append(json.dumps(form(index, vector)))
        await asyncio.sleep(0)
    return f"[{', '.join(pieces)}]"


def json_response(head: dict[str, Any], name: str, member: str, plan: RoutePlan) -> web.Response:
    """Answer with the members of `head`, at least one, and under `name` one that is JSON already."""
    return web.json_response(text=f'{json.dumps(head)[:-1]}, "{name}": {member}}}', headers=route_headers(plan))


def _item(body: EmbeddingsBody, index: int, vector: Vector) -> dict[str, Any]:
    numbers = shortened(vector, body.dimensions)
    written = protocol.encode_vector(numbers) if body.encoding_format == "base64" else numbers
    return {"object": "embedding", "index": index, "embedding": written}
