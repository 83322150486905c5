"""POST /v1/embeddings: a vector of every text. An input is text, or tokens that go to the model as they are."""

from __future__ import annotations

import asyncio
import json
import math
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

from aiohttp import web
from pydantic import Field

from zoe_server import codec, errors, protocol
from zoe_server.catalogue.model_info import Capabilities
from zoe_server.engines.base import Engine
from zoe_server.gateway.body import RequestModel, Texts, each_text, parse_json, validated
from zoe_server.gateway.driver import route_headers
from zoe_server.gateway.request_record import RequestRecord
from zoe_server.gateway.services import Services, services
from zoe_server.gateway.tracking import track
from zoe_server.routing import fallback
from zoe_server.routing.router import RoutePlan

MAX_INPUTS: Final = 2048
MAX_DIMENSIONS: Final = 2**20

Vector = Sequence[float]


async def embeddings(request: web.Request) -> web.Response:
    """Answer one request; a client that leaves cancels it, wherever it stands."""
    state = services(request)
    body = parse_embeddings(parse_json(await request.read()))
    request_record = track(request, body.model)
    plan = state.router.route_embeddings(body.model)
    model, answer = await embed_on(state, plan, body.inputs, request_record)
    data = await json_list(answer.vectors, lambda index, vector: _item(body, index, vector))
    n_tokens = answer.usage.prompt_tokens
    head = {"object": "list", "model": model, "usage": {"prompt_tokens": n_tokens, "total_tokens": n_tokens}}
    return json_response(head, "data", data, plan)


async def embed_on(
    state: Services,
    plan: RoutePlan,
    inputs: Sequence[str | tuple[int, ...]],
    request_record: RequestRecord,
    *,
    truncate: bool = False,
) -> tuple[str, protocol.Embeddings]:
    """Return the model that answered, and its embeddings of `inputs`.

    Raises:
        errors.ZoeError: no engine is available, or it refuses.
    """
    request_record.planned(plan)
    request_record.wants_vectors(inputs)

    async def embed(model: str, engine: Engine) -> tuple[str, protocol.Embeddings]:
        request_record.model = model
        call = protocol.EmbedRequest(f"embd-{uuid.uuid4().hex}", model, tuple(inputs), truncate)
        answer = await engine.embed(call)
        request_record.embedded(answer)
        return model, answer

    return await fallback.ask(state.fleet, plan, embed, needed=Capabilities(embeddings=True))


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
    written = codec.encode_vector(numbers) if body.encoding_format == "base64" else numbers
    return {"object": "embedding", "index": index, "embedding": written}


class EmbeddingsBody(RequestModel):
    """The body of POST /v1/embeddings."""

    input: Texts
    model: str | None = None
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = Field(default=None, ge=1, le=MAX_DIMENSIONS)

    @property
    def inputs(self) -> tuple[str | tuple[int, ...], ...]:
        """The inputs, one or several."""
        return each_text(self.input)


def parse_embeddings(data: Mapping[str, Any]) -> EmbeddingsBody:
    """Return the validated body.

    Raises:
        errors.InvalidRequestError: with the path of the first value that is wrong.
    """
    body = validated(EmbeddingsBody, data)
    check_inputs(body.inputs)
    return body


def check_inputs(inputs: Sequence[str | Sequence[int]]) -> None:
    """Raise an `InvalidRequestError` unless there are inputs, not too many, and none of them empty."""
    if not 1 <= len(inputs) <= MAX_INPUTS:
        raise errors.InvalidRequestError(f"input: there must be 1 to {MAX_INPUTS} inputs", param="input")
    for index, item in enumerate(inputs):
        if not item:
            path = f"input[{index}]" if len(inputs) > 1 else "input"
            raise errors.InvalidRequestError(f"{path}: an empty text has no embedding", param=path)


def shortened(vector: Vector, dimensions: int | None) -> Vector:
    """Return the first `dimensions` numbers, of length 1 again and exact in 32 bits; all of them where it is None.

    Raises:
        errors.InvalidRequestError: the vector has fewer, or nothing but zeros is left of it.
    """
    if dimensions is None or dimensions == len(vector):
        return vector
    if dimensions > len(vector):
        raise errors.InvalidRequestError(
            f"dimensions: the embeddings of this model have {len(vector)} dimensions, not {dimensions}",
            param="dimensions",
        )
    length = math.hypot(*vector[:dimensions])
    if not length:
        raise errors.InvalidRequestError("dimensions: so few leave nothing of a text", param="dimensions")
    return codec.decode_vector(codec.encode_vector([number / length for number in vector[:dimensions]]))
