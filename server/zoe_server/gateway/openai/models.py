"""GET /v1/models and /v1/models/{id}: what exists here. Asking never loads a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aiohttp import web

from zoe_server.catalogue.spec import ModelSpec
from zoe_server.fleet.model_state import ModelStatus
from zoe_server.gateway.services import Services, services
from zoe_server.routing.router import AUTOMATIC, adapter_model


async def list_models(request: web.Request) -> web.Response:
    """Answer with the automatic choice, every configured model and every adapter."""
    return web.json_response({"object": "list", "data": _all(services(request))})


async def one_model(request: web.Request) -> web.Response:
    """Answer with the model or the adapter of that name or alias.

    Raises:
        errors.ModelNotFoundError: there is none.
    """
    state = services(request)
    wanted = request.match_info["id"]
    name = AUTOMATIC if wanted == AUTOMATIC else state.router.route(wanted).model
    return web.json_response(next(model for model in _all(state) if model["id"] == name))


def _all(state: Services) -> list[dict[str, Any]]:
    status = {model.name: model for model in state.fleet.status()}
    default = next(spec for spec in state.fleet.specs if spec.name == state.router.default)
    automatic = {**_model(default, status[default.name], state.started_at), "id": AUTOMATIC, "aliases": []}
    return [automatic, *(one for spec in state.fleet.specs for one in _with_adapters(spec, status, state.started_at))]


def _with_adapters(spec: ModelSpec, status: Mapping[str, ModelStatus], created: int) -> Iterator[dict[str, Any]]:
    model = _model(spec, status[spec.name], created)
    yield model
    for adapter in spec.adapters:
        aliases = [adapter_model(alias, adapter) for alias in spec.aliases]
        yield {**model, "id": adapter_model(spec.name, adapter), "parent": spec.name, "aliases": aliases}


def _model(spec: ModelSpec, status: ModelStatus, created: int) -> dict[str, Any]:
    return {
        "id": spec.name,
        "object": "model",
        "created": created,
        "owned_by": "zoe",
        "parent": None,
        "aliases": list(spec.aliases),
        "roles": list(spec.roles),
        "abilities": [] if status.info is None else status.info.abilities,
        "context_tokens": spec.n_ctx_tokens,
        "status": status.state.value,
    }
