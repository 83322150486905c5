"""GET /admin/catalogue: the models that could be served beyond those that are, and which of them suit this machine."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aiohttp import web

from zoe_server.catalogue.offer import Room, fits, memory_bytes, recommended
from zoe_server.catalogue.store import FileState, Store
from zoe_server.gateway.services import Services, services

if TYPE_CHECKING:
    from zoe_server.catalogue.entry import Entry, Role
    from zoe_server.gateway.pull import Pulls, Step


async def catalogue(request: web.Request) -> web.Response:
    """Answer with the models that POST /api/pull could bring here, none where it brings none; nothing is loaded."""
    state = services(request)
    pulls = state.pulls
    if pulls is None:
        return web.json_response({"memory_budget_bytes": state.fleet.budget_bytes, "recommended": {}, "models": []})
    room, offers = pulls.room, pulls.offers()
    steps = {entry.name: pulls.step(entry) for entry in offers}
    models = await asyncio.to_thread(_models, offers, pulls.store, room, steps)
    best = _recommended(state, pulls, offers, room)
    return web.json_response({"memory_budget_bytes": state.fleet.budget_bytes, "recommended": best, "models": models})


def _recommended(state: Services, pulls: Pulls, offers: list[Entry], room: Room) -> dict[Role, str | None]:
    roles = {role for spec in state.fleet.specs for role in spec.roles}
    names, served = {entry.name for entry in offers}, pulls.served
    entries = [entry for entry in pulls.catalogue if entry.bundled or entry.name in names | served]
    best = recommended(entries, served, roles, room)
    return {role: name if name in names else None for role, name in best.items()}


def _models(offers: list[Entry], store: Store, room: Room, steps: Mapping[str, Step | None]) -> list[dict[str, Any]]:
    return [_model(entry, store, room, steps[entry.name]) for entry in offers]


def _model(entry: Entry, store: Store, room: Room, step: Step | None) -> dict[str, Any]:
    return {
        "id": entry.name,
        "description": entry.description,
        "licence": entry.licence,
        "roles": list(entry.roles),
        "size_bytes": entry.size_bytes,
        "download_bytes": store.bytes_to_come(entry),
        "memory_bytes": memory_bytes(entry, room),
        "context_tokens": entry.context_tokens,
        "fits": fits(entry, room),
        "is_here": store.state(entry) in (FileState.BUNDLED, FileState.PULLED),
        "pulling": None if step is None else step.to_json(),
    }
