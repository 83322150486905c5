"""/admin: look at the fleet, explain a route, and bring models into memory or out of it."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any, Final, Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from zoe_server import __version__
from zoe_server.catalogue.engine_options import PROVIDERS, provider_of
from zoe_server.fleet.model_state import ModelStatus
from zoe_server.gateway.body import parse_json, validated
from zoe_server.gateway.services import Services, services
from zoe_server.routing import rules
from zoe_server.routing.question import RouteQuestion
from zoe_server.routing.router import AUTOMATIC
from zoe_server.routing.said import bundled_said

_MAX_TEXT: Final = 100_000
_LONGEST_WAIT_S: Final = 600.0
_AUTOMATIC_PROVIDER: Final = "automatic"


class RouteBody(BaseModel):
    """The body of POST /admin/route: a sentence, and what of its request matters."""

    model_config = ConfigDict(strict=True, extra="forbid")

    text: str = Field(max_length=_MAX_TEXT)
    model: str = AUTOMATIC
    devices: list[str] = []
    areas: list[str] = []
    has_images: bool = False


class UnloadBody(BaseModel):
    """The body of POST /admin/models/{id}/unload, which may be empty."""

    model_config = ConfigDict(extra="forbid")

    wait_s: float = Field(default=0.0, ge=0, le=_LONGEST_WAIT_S)
    """How long the requests in work may take to end."""


class ProviderBody(BaseModel):
    """The body of POST /admin/provider."""

    model_config = ConfigDict(strict=True, extra="forbid")

    provider: Literal["automatic", "llamacpp", "vllm", "ollama", "openai"]


async def status(request: web.Request) -> web.Response:
    """Answer with the server and all its models."""
    state = services(request)
    return web.json_response(
        {
            "version": __version__,
            "uptime_s": round(state.uptime_s, 1),
            "draining": state.draining,
            "open_requests": state.open_requests,
            "memory_budget_bytes": state.fleet.budget_bytes,
            "models": [_model(state, one) for one in state.fleet.status()],
        }
    )


async def explain_route(request: web.Request) -> web.Response:
    """Answer with the models that would be asked, in their order, and why, and with what kind of sentence it is.

    Nothing is asked or loaded.
    """
    state = services(request)
    body = validated(RouteBody, parse_json(await request.read()))
    question = RouteQuestion(
        body.text, has_images=body.has_images, devices=tuple(body.devices), places=tuple(body.areas)
    )
    plan = state.router.route(body.model, question)
    return web.json_response(
        {
            "rule": plan.rule,
            "why": plan.why,
            "model": plan.model,
            "candidates": [plan.named(candidate) for candidate in plan.candidates],
            "said": rules.said(question, bundled_said()).to_json(),
            "handover": None if plan.handover is None else list(plan.handover.candidates),
        }
    )


async def load(request: web.Request) -> web.Response:
    """Bring a model into memory, and answer when it is there.

    Raises:
        errors.ModelNotFoundError: there is no such model.
        errors.EngineUnavailableError: it cannot be loaded, or not in time.
    """
    state, name = _named(request)
    await state.fleet.load(name)
    return _answer(state, name)


async def unload(request: web.Request) -> web.Response:
    """Take a model out of memory, and answer when it is gone.

    Raises:
        errors.ModelNotFoundError: there is no such model.
        errors.ModelBusyError: it still answers somebody.
    """
    state, name = _named(request)
    raw = await request.read()
    body = validated(UnloadBody, parse_json(raw) if raw else {})
    await state.fleet.unload(name, wait_s=body.wait_s)
    return _answer(state, name)


async def provider(request: web.Request) -> web.Response:
    """Answer with whose models answer first, and which models each provider has."""
    return _providers(services(request))


async def prefer(request: web.Request) -> web.Response:
    """Have another provider's models answer first, as soon as they are loaded.

    Raises:
        errors.InvalidRequestError: it has none here.
        errors.EngineUnavailableError: one of them cannot be loaded.
    """
    state = services(request)
    body = validated(ProviderBody, parse_json(await request.read()))
    await state.prefer(None if body.provider == _AUTOMATIC_PROVIDER else PROVIDERS[body.provider])
    return _providers(state)


def _providers(state: Services) -> web.Response:
    models: dict[str, list[str]] = {}
    for spec in state.fleet.specs:
        models.setdefault(provider_of(spec.engine), []).append(spec.name)
    preferred = state.router.preferred
    chosen = _AUTOMATIC_PROVIDER if preferred is None else provider_of(preferred)
    first = {role: spec.name for role, spec in state.router.first_choices.items()}
    return web.json_response({"provider": chosen, "providers": models, "first": first})


async def log(request: web.Request) -> web.Response:
    """Answer with the last lines that the engines of a model wrote, the oldest first.

    Raises:
        errors.ModelNotFoundError: there is no such model.
    """
    state, name = _named(request)
    lines = [
        {
            "at": datetime.fromtimestamp(line.at_s, UTC).isoformat(timespec="milliseconds"),
            "level": logging.getLevelName(line.level).lower(),
            "text": line.text,
        }
        for line in state.fleet.log(name)
    ]
    return web.json_response({"id": name, "lines": lines})


def _named(request: web.Request) -> tuple[Services, str]:
    state = services(request)
    return state, state.router.route(request.match_info["id"]).candidates[0]


def _answer(state: Services, name: str) -> web.Response:
    return web.json_response(next(_model(state, one) for one in state.fleet.status() if one.name == name))


def _model(state: Services, one: ModelStatus) -> dict[str, Any]:
    spec = next(spec for spec in state.fleet.specs if spec.name == one.name)
    return {
        "id": one.name,
        "provider": provider_of(spec.engine),
        "status": one.state.value,
        "reason": one.reason,
        "roles": list(spec.roles),
        "open_requests": one.open_requests,
        "running": one.health.running,
        "waiting": one.waiting_requests,
        "pinned": one.pinned,
        "size_bytes": one.size_bytes,
        "resident_bytes": one.resident_bytes,
        "load_s": round(one.load_s, 3),
        "loading": None if one.loading is None else {"phase": one.loading.phase, "progress": one.loading.progress},
        "crashes": one.crashes,
        "restarts": one.restarts,
        "checked_ago_s": None if one.checked_ago_s is None else round(one.checked_ago_s, 1),
        "quarantined_s": round(one.quarantined_s, 1),
        "fallback": spec.fallback,
    }
