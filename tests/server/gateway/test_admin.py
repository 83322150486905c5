"""/admin over HTTP: the fleet as it is, routes explained, models brought in and taken out."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from zoe_server.engines.engine_log import LogLine

if TYPE_CHECKING:
    from tests.server.gateway.conftest import Gateway, Start
    from zoe_server.catalogue.spec import ModelSpec


async def post(gateway: Gateway, path: str, body: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
    response = await gateway.client.post(path, json=body) if body is not None else await gateway.client.post(path)
    return response.status, await response.json()


async def statuses(gateway: Gateway) -> dict[str, str]:
    response = await gateway.client.get("/admin/status")
    assert response.status == 200
    return {model["id"]: model["status"] for model in (await response.json())["models"]}


async def test_the_status_tells_every_model(start: Start, spec: ModelSpec) -> None:
    gateway = await start(specs=(spec, replace(spec, name="guest", aliases=(), load="demand", roles=("vision",))))
    found = await (await gateway.client.get("/admin/status")).json()
    assert found["memory_budget_bytes"] is None  # these engines take none
    assert found["draining"] is False
    m, guest = found["models"]
    assert (m["id"], m["status"], m["running"], m["fallback"]) == ("m", "ready", 0, None)
    assert m["loading"] is None
    assert (guest["id"], guest["status"], guest["roles"]) == ("guest", "unloaded", ["vision"])


async def test_a_model_goes_and_comes_by_any_of_its_names(gateway: Gateway) -> None:
    assert (await post(gateway, "/admin/models/old-name/unload"))[0] == 200
    assert await statuses(gateway) == {"m": "unloaded"}
    code, model = await post(gateway, "/admin/models/m/load")
    assert (code, model["id"], model["status"]) == (200, "m", "ready")
    assert (await gateway.chat()).status == 200


async def test_what_is_asked_for_comes_back_by_itself(gateway: Gateway) -> None:
    await post(gateway, "/admin/models/m/unload")
    assert (await gateway.chat()).status == 200
    assert await statuses(gateway) == {"m": "ready"}


async def test_a_busy_model_stays_unless_somebody_waits(gateway: Gateway) -> None:
    asked = asyncio.create_task(gateway.chat("hold"))
    engine = await gateway.engine_until(lambda engine: engine.health.running == 1)
    code, body = await post(gateway, "/admin/models/m/unload")
    assert (code, body["error"]["code"]) == (409, "model_busy")
    assert await statuses(gateway) == {"m": "ready"}
    leaving = asyncio.create_task(post(gateway, "/admin/models/m/unload", {"wait_s": 30}))
    await asyncio.wait({leaving}, timeout=0.05)
    assert not leaving.done()
    engine.release()
    assert (await leaving)[0] == 200
    assert (await asked).status == 200


@pytest.mark.parametrize(
    ("path", "body", "status", "param"),
    [
        ("/admin/models/nobody/load", None, 404, "model"),
        ("/admin/models/nobody/unload", None, 404, "model"),
        ("/admin/models/m/unload", {"wait_s": -1}, 400, "wait_s"),
        ("/admin/models/m/unload", {"soon": True}, 400, "soon"),
        ("/admin/route", {"text": 5}, 400, "text"),
        ("/admin/route", {}, 400, "text"),
        ("/admin/route", {"text": "hi", "model": "nobody"}, 404, "model"),
    ],
)
async def test_what_is_wrong_is_named(
    gateway: Gateway, path: str, body: dict[str, Any] | None, status: int, param: str
) -> None:
    code, answer = await post(gateway, path, body)
    assert (code, answer["error"]["param"]) == (status, param)


async def test_routes_are_explained_and_nothing_is_asked(start: Start, spec: ModelSpec) -> None:
    act = replace(spec, name="act", aliases=(), roles=("tools",))
    talk = replace(spec, name="talk", aliases=(), roles=("chat",))
    gateway = await start(specs=(act, talk))
    code, route = await post(gateway, "/admin/route", {"text": "turn on the kitchen light"})
    assert (code, route["rule"], route["model"], route["handover"]) == (200, "automation", "act", None)
    _, route = await post(gateway, "/admin/route", {"text": "tell me a joke about pirates"})
    assert (route["rule"], route["candidates"], route["handover"]) == ("chat", ["talk", "act"], ["act"])
    _, route = await post(gateway, "/admin/route", {"text": "is bobo still running?", "devices": ["Bobo"]})
    assert route["rule"] == "automation"
    assert "names of this home" in route["why"]
    assert all(not engine.requests for engine in gateway.engines)


async def test_what_an_engine_wrote_is_told_with_time_and_level(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = (LogLine(0.5, logging.INFO, "loaded"), LogLine(1.0, logging.ERROR, "<b>broke</b>"))
    monkeypatch.setattr(type(gateway.engines[0]), "log", written)
    answer = await (await gateway.client.get("/admin/models/m/log")).json()
    assert answer == {
        "id": "m",
        "lines": [
            {"at": "1970-01-01T00:00:00.500+00:00", "level": "info", "text": "loaded"},
            {"at": "1970-01-01T00:00:01.000+00:00", "level": "error", "text": "<b>broke</b>"},
        ],
    }
    page = await (await gateway.client.get("/", headers={"Accept": "text/html"})).text()
    assert '<span class="bad">&lt;b&gt;broke&lt;/b&gt;</span>' in page
    assert (await gateway.client.get("/admin/models/nobody/log")).status == 404


async def test_nothing_of_it_without_the_key(start: Start) -> None:
    gateway = await start(api_key="k")
    assert (await gateway.client.get("/admin/status")).status == 401
    assert (await gateway.client.get("/admin/models/m/log")).status == 401
    assert (await gateway.client.post("/admin/models/m/unload")).status == 401


async def test_whose_models_answer_first_can_be_changed(start: Start, spec: ModelSpec) -> None:
    near = replace(spec, name="near", aliases=(), roles=("tools",), engine="llama")
    far = replace(spec, name="far", aliases=(), roles=("tools",), engine="ollama")
    gateway = await start(specs=(near, far))
    found = await (await gateway.client.get("/admin/provider")).json()
    assert found == {
        "provider": "automatic",
        "providers": {"llamacpp": ["near"], "ollama": ["far"]},
        "first": {"tools": "near"},
    }
    await post(gateway, "/admin/models/far/unload")
    working = await gateway.chat("hold after text", stream=True)
    answered = await gateway.client.post("/admin/provider", json={"provider": "ollama"})
    assert (await answered.json())["first"] == {"tools": "far"}
    assert await statuses(gateway) == {"near": "ready", "far": "ready"}
    assert "model=far" in (await gateway.chat()).headers["X-Zoe-Route"]
    for engine in gateway.engines:
        engine.release()
    assert "data: [DONE]" in await working.text()  # what was in work stays where it was
    back = await gateway.client.post("/admin/provider", json={"provider": "automatic"})
    assert (await back.json())["provider"] == "automatic"
    assert "model=near" in (await gateway.chat()).headers["X-Zoe-Route"]


async def test_a_provider_without_models_is_refused(gateway: Gateway) -> None:
    for provider, code in (("vllm", 400), ("clippy", 400)):
        answer = await gateway.client.post("/admin/provider", json={"provider": provider})
        assert answer.status == code
    assert (await gateway.chat()).status == 200


async def test_a_provider_that_cannot_load_changes_nothing(start: Start, spec: ModelSpec) -> None:
    broken = replace(spec, name="far", aliases=(), roles=("tools",), engine="ollama", path=Path("missing.gguf"))
    gateway = await start(specs=(replace(spec, roles=("tools",)), broken), ready_wait_s=0.5)
    answer = await gateway.client.post("/admin/provider", json={"provider": "ollama"})
    assert answer.status == 503
    assert (await (await gateway.client.get("/admin/provider")).json())["provider"] == "automatic"
    assert "model=m" in (await gateway.chat()).headers["X-Zoe-Route"]
