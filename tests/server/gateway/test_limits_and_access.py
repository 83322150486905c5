"""Who may ask, how much, and what a request meets that no handler is made for."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.server.gateway.conftest import Gateway, Start
    from zoe_server.catalogue.spec import ModelSpec

KEY = "a-long-key-with-ü"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": KEY},
        {"Authorization": "Basic a-long-key"},
        {"Authorization": "Bearer "},
        {"X-Api-Key": ""},
        {"X-Api-Key": "wrong"},
    ],
)
@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/m", "/nowhere"])
async def test_without_the_key_nothing_is_told(start: Start, headers: dict[str, str], path: str) -> None:
    gateway = await start(api_key=KEY)
    response = await gateway.client.get(path, headers=headers)
    assert response.status == 401
    assert (await response.json())["error"]["type"] == "authentication_error"
    assert (await gateway.client.post("/v1/chat/completions", json={}, headers=headers)).status == 401


@pytest.mark.parametrize(
    "headers", [{"Authorization": "Bearer k-1"}, {"authorization": "bearer k-1"}, {"X-Api-Key": "k-1"}]
)
async def test_both_ways_to_send_the_key_work(start: Start, headers: dict[str, str]) -> None:
    gateway = await start(api_key="k-1")
    assert (await gateway.client.get("/v1/models", headers=headers)).status == 200


async def test_health_is_open_and_tells_nothing_private(start: Start) -> None:
    gateway = await start(api_key="k-1")
    response = await gateway.client.get("/health")
    assert response.status == 200
    assert set(await response.json()) == {"status", "server", "name", "version", "api_version", "id"}
    detailed = await gateway.client.get("/health", headers={"X-Api-Key": "k-1"})
    assert (await detailed.json())["models"]["m"]["status"] == "ready"


async def test_a_server_that_loads_says_so(start: Start) -> None:
    gateway = await start(wait=False, api_key="k-1", ready_wait_s=0.01)
    response = await gateway.client.get("/health")
    body = await response.json()
    assert response.status == 503
    assert (body["error"]["type"], body["error"]["code"], body["server"]) == ("unavailable_error", "loading", "zoe")
    assert (await gateway.client.get("/v1/models", headers={"X-Api-Key": "k-1"})).status == 200
    assert gateway.engines == []


async def test_a_request_to_a_model_that_is_not_ready_in_time_gets_503(start: Start) -> None:
    gateway = await start(wait=False, ready_wait_s=0.01)
    response = await gateway.chat()
    assert response.status == 503
    assert (await response.json())["error"]["type"] == "unavailable_error"


async def test_a_model_that_cannot_be_loaded_is_reported_by_health_and_requests(
    start: Start, spec: ModelSpec, tmp_path: Path
) -> None:
    gateway = await start(specs=[replace(spec, path=tmp_path / "missing.json")])
    health = await gateway.client.get("/health")
    body = await health.json()
    assert (health.status, body["error"]["code"]) == (503, "failed")
    assert "missing.json" not in body["error"]["message"]
    assert "missing.json" in body["models"]["m"]["reason"]
    response = await gateway.chat()
    assert response.status == 503
    assert "missing.json" in (await response.json())["error"]["message"]


async def test_models_are_listed_and_found(gateway: Gateway) -> None:
    listed = await (await gateway.client.get("/v1/models")).json()
    assert [model["id"] for model in listed["data"]] == ["zoe", "m"]
    assert {model["object"] for model in listed["data"]} == {"model"}
    for name, found in (("zoe", "zoe"), ("m", "m"), ("old-name", "m")):
        assert (await (await gateway.client.get(f"/v1/models/{name}")).json())["id"] == found
    missing = await gateway.client.get("/v1/models/other")
    assert (missing.status, (await missing.json())["error"]["code"]) == (404, "model_not_found")


async def test_more_answers_than_will_ever_be_open_at_once_are_no_matter_of_waiting(gateway: Gateway) -> None:
    response = await gateway.client.post(
        "/v1/chat/completions", json={"messages": [{"role": "user", "content": "hi"}], "n": 5}
    )
    assert response.status == 400
    assert "at most 4" in (await response.json())["error"]["message"]


async def test_more_requests_than_the_queue_holds_are_told_to_come_back(gateway: Gateway) -> None:
    held = [asyncio.create_task(gateway.chat("hold")) for _ in range(4)]
    await gateway.engine_until(lambda engine: (engine.health.running, engine.health.waiting) == (2, 2))
    response = await gateway.chat()
    assert response.status == 429
    assert int(response.headers["Retry-After"]) >= 1
    assert (await response.json())["error"]["type"] == "rate_limit_error"
    gateway.engines[0].release()
    assert [(await one).status for one in held] == [200] * 4


async def test_a_body_beyond_the_limit_is_refused(start: Start) -> None:
    gateway = await start(max_body_bytes=2000)
    response = await gateway.chat("x" * 3000)
    assert response.status == 413
    assert (await response.json())["error"]["code"] == "request_too_large"
    assert (await gateway.chat("x" * 1000)).status == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/", 405),
        ("GET", "/v1/nowhere", 404),
        ("GET", "/v1/chat/completions", 405),
        ("DELETE", "/v1/models", 405),
        ("POST", "/health", 405),
        ("GET", "/v1/models/%00%ff", 404),
    ],
)
async def test_what_is_not_there_is_an_error_object(gateway: Gateway, method: str, path: str, status: int) -> None:
    response = await gateway.client.request(method, path)
    error = (await response.json())["error"]
    assert response.status == status
    assert set(error) == {"message", "type", "param", "code"}
    assert status != 405 or response.headers["Allow"]


async def test_the_content_type_does_not_matter(gateway: Gateway) -> None:
    body = b'{"messages": [{"role": "user", "content": "hi"}]}'
    for content_type in ("text/plain", "application/octet-stream", "application/x-www-form-urlencoded"):
        response = await gateway.client.post("/v1/chat/completions", data=body, headers={"Content-Type": content_type})
        assert response.status == 200


async def test_no_new_requests_while_the_server_stops(gateway: Gateway) -> None:
    held = asyncio.create_task(gateway.chat("hold"))
    engine = await gateway.engine_until(lambda engine: engine.health.running == 1)
    gateway.state.draining = True
    refused = await gateway.chat()
    assert (refused.status, (await refused.json())["error"]["code"]) == (503, "stopping")
    assert (await gateway.client.get("/health")).status == 503
    assert (await (await gateway.client.get("/admin/status")).json())["draining"] is True
    engine.release()
    assert (await held).status == 200
    async with asyncio.timeout(10):
        await gateway.state.wait_idle()


@pytest.mark.parametrize(
    ("method", "path", "meant"),
    [
        ("POST", "/chat/completions", "/v1/chat/completions"),
        ("POST", "/v1/v1/chat/completions", "/v1/chat/completions"),
        ("POST", "/v1/chat/completions/", "/v1/chat/completions"),
        ("POST", "/embeddings", "/v1/embeddings"),
        ("POST", "/completions", "/v1/completions"),
        ("POST", "/responses", "/v1/responses"),
        ("GET", "/models", "/v1/models"),
        ("GET", "/v1/api/tags", "/api/tags"),
    ],
)
async def test_a_wrong_base_url_is_told_the_right_path(gateway: Gateway, method: str, path: str, meant: str) -> None:
    response = await gateway.client.request(method, path)
    assert response.status == 404
    assert f"it is {meant}" in (await response.json())["error"]["message"]


@pytest.mark.parametrize("path", ["/nowhere", "/v1", "/x/v1/y", "/v2/chat"])
async def test_any_other_wrong_path_gets_no_hint(gateway: Gateway, path: str) -> None:
    response = await gateway.client.get(path)
    assert response.status == 404
    assert "base URL" not in (await response.json())["error"]["message"]
