"""GET /health: may requests come? Open to everybody, so it tells nothing private; asking never loads a model."""

from __future__ import annotations

from typing import Any, Final

from aiohttp import web

from zoe_server import __version__, errors
from zoe_server.fleet.model_state import ModelState, ModelStatus
from zoe_server.gateway.middleware import error_body, is_authorized
from zoe_server.gateway.services import Services, services

API_VERSION: Final = 1
"""Counts the changes that clients of `/health`, `/metrics/json` and `/admin` have to know of."""

_SIGN: Final = {"server": "zoe", "name": "zoe", "version": __version__, "api_version": API_VERSION}


async def health(request: web.Request) -> web.Response:
    """Answer 200 when the model behind the name `zoe` is ready and no other is in its first start, else 503.

    A model that is not in memory because another needed its room is as good as ready: a request brings it back.

    Those who hold the key (everybody, when none is set) are also told why a model is not ready.
    """
    state = services(request)
    problem = _problem(state)
    body: dict[str, Any] = {"status": "ok"} if problem is None else {**error_body(problem), "status": problem.code}
    body |= {**_SIGN, "id": state.server_id}
    if is_authorized(request):
        body["models"] = {status.name: _describe(status) for status in state.fleet.status()}
    return web.json_response(body, status=200 if problem is None else problem.status)


def _problem(state: Services) -> errors.EngineUnavailableError | None:
    if state.draining:
        return errors.EngineUnavailableError("the server is stopping", code="stopping")
    models = {status.name: status for status in state.fleet.status()}
    default = models[state.router.default].state
    if default in (ModelState.FAILED, ModelState.QUARANTINED, ModelState.LOST):
        return errors.EngineUnavailableError("a model cannot be loaded; the server's log says why", code="failed")
    if default in (ModelState.RESTARTING, ModelState.STOPPED) or any(status.is_starting for status in models.values()):
        return errors.EngineUnavailableError("a model is being loaded", code="loading")
    return None


def _describe(status: ModelStatus) -> dict[str, Any]:
    described = {
        "status": status.state.value,
        "crashes": status.crashes,
        "open_requests": status.open_requests,
        "running": status.health.running,
        "waiting": status.health.waiting,
    }
    return {**described, "reason": status.reason} if status.reason else described
