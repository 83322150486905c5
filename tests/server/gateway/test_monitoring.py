"""GET /metrics, /stats and /admin/requests over HTTP: who gets which form, and that the values are true."""

from __future__ import annotations

import asyncio
import os
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import psutil  # type: ignore[import-untyped]  # it comes without type information
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from tests.server.fleet.recorded_nvml import GB10, RTX_3060, RecordedNvml
from tests.server.fleet.test_hardware import detect
from zoe_server.gateway import services
from zoe_server.gateway.app import ROUTES
from zoe_server.gateway.tracking import LOOKING_PATHS

if TYPE_CHECKING:
    from aiohttp import ClientResponse

    from tests.server.gateway.conftest import Gateway, Start
    from zoe_server.catalogue.spec import ModelSpec
    from zoe_server.fleet.hardware import Hardware

PATHS = ("/metrics", "/metrics/prometheus", "/metrics/json", "/stats", "/admin/requests")
PROMETHEUS = {"Accept": "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1"}


async def get(gateway: Gateway, path: str = "/metrics", **headers: str) -> ClientResponse:
    response = await gateway.client.get(path, headers=headers)
    assert response.status == 200, await response.text()
    return response


async def as_json(gateway: Gateway) -> dict[str, Any]:
    found: dict[str, Any] = await (await get(gateway)).json()
    return found


async def value(gateway: Gateway, name: str, /, **labels: str) -> float | None:
    """Return the sum of what the text says under `name`, None if that is nothing."""
    text = await (await get(gateway, "/metrics/prometheus")).text()
    samples = [sample for family in read_text(text) for sample in family.samples if sample.name == name]
    found = [sample.value for sample in samples if labels.items() <= sample.labels.items()]
    return sum(found) if found else None


@pytest.mark.parametrize(
    ("path", "accept", "content_type"),
    [
        ("/metrics", PROMETHEUS["Accept"], "application/openmetrics-text"),
        ("/metrics", "text/plain;version=0.0.4;q=0.5,*/*;q=0.1", "text/plain"),
        ("/metrics", "text/plain", "application/json"),
        ("/metrics", "*/*", "application/json"),
        ("/metrics?format=prometheus", "application/json", "text/plain"),
        ("/metrics?format=prometheus", PROMETHEUS["Accept"], "application/openmetrics-text"),
        ("/metrics?format=json", PROMETHEUS["Accept"], "application/json"),
        ("/metrics/prometheus", "*/*", "text/plain"),
        ("/metrics/prometheus", PROMETHEUS["Accept"], "application/openmetrics-text"),
        ("/metrics/json", PROMETHEUS["Accept"], "application/json"),
    ],
)
async def test_who_gets_which_form(gateway: Gateway, path: str, accept: str, content_type: str) -> None:
    response = await get(gateway, path, Accept=accept)
    text = await response.text()
    assert response.content_type == content_type
    if content_type == "application/json":
        assert (await response.json())["models"]["m"]["loaded"] is True
    else:
        read = read_text if content_type == "text/plain" else read_openmetrics
        assert "zoe_uptime_seconds" in {family.name for family in read(text)}


async def test_a_format_that_does_not_exist_is_refused(gateway: Gateway) -> None:
    response = await gateway.client.get("/metrics?format=xml")
    assert (response.status, (await response.json())["error"]["param"]) == (400, "format")


@pytest.mark.parametrize("path", PATHS)
async def test_they_need_the_key(start: Start, path: str) -> None:
    gateway = await start(api_key="k-1")
    assert (await gateway.client.get(path)).status == 401
    await get(gateway, path, Authorization="Bearer k-1")


@pytest.mark.parametrize("path", PATHS)
async def test_asking_loads_no_model(start: Start, path: str) -> None:
    gateway = await start(wait=False)
    await get(gateway, path)
    assert gateway.engines == []


def test_those_who_only_look_ask_for_paths_that_exist() -> None:
    assert {route.path for route in ROUTES if route.method == "GET"} >= LOOKING_PATHS
    assert set(PATHS) <= LOOKING_PATHS


async def test_requests_are_counted(gateway: Gateway) -> None:
    for _ in range(2):
        await gateway.chat()
    await gateway.chat("crash")
    labels = {"api": "/v1/chat/completions", "model": "m"}
    assert await value(gateway, "zoe_requests_total", **labels, result="ok") == 2
    assert await value(gateway, "zoe_request_failures_total", model="m", code="engine_crashed") == 1
    assert await value(gateway, "zoe_routes_total", rule="chat", model="m") == 3
    assert await value(gateway, "zoe_prompt_tokens_total", model="m", source="reused") == 16
    assert await value(gateway, "zoe_prompt_tokens_total", model="m", source="computed") == 2
    assert await value(gateway, "zoe_completion_tokens_total", model="m") == 4
    assert await value(gateway, "zoe_time_to_first_token_seconds_sum", model="m") == pytest.approx(0.004)
    assert await value(gateway, "zoe_time_per_output_token_seconds_sum", model="m") == pytest.approx(0.002)


async def test_looking_is_not_counted(gateway: Gateway) -> None:
    for path in (*PATHS, "/health", "/"):
        await get(gateway, path)
    assert await value(gateway, "zoe_requests_total") is None


async def test_paths_that_do_not_exist_are_one_for_all(gateway: Gateway) -> None:
    for path in ("/a", "/b", "/v1/chat/completions/x"):
        assert (await gateway.client.get(path)).status == 404
    assert await value(gateway, "zoe_requests_total", api="unknown", model="-", result="failed") == 3


async def test_what_is_in_work_and_what_waits(gateway: Gateway) -> None:
    held = [asyncio.create_task(gateway.chat("hold")) for _ in range(3)]
    engine = await gateway.engine_until(lambda engine: engine.health.waiting == 1)
    model = (await as_json(gateway))["models"]["m"]
    assert (model["active"], model["queued"], model["requests"]) == (2, 1, 0)
    assert model["last_health_check"] > 1_700_000_000
    engine.release()
    await asyncio.gather(*held)
    model = (await as_json(gateway))["models"]["m"]
    assert (model["active"], model["queued"], model["requests"]) == (0, 0, 3)


async def test_what_waits_for_a_model_that_is_loading(start: Start) -> None:
    gateway = await start(wait=False)
    asking = asyncio.create_task(gateway.chat())
    async with asyncio.timeout(10):
        while not gateway.state.tracker.running:  # noqa: ASYNC110 - it is the state behind the HTTP border that counts
            await asyncio.sleep(0.005)
    model = (await as_json(gateway))["models"]["m"]
    assert (model["loaded"], model["active"], model["queued"], model["last_health_check"]) == (False, 0, 1, None)
    gateway.state.fleet.start()
    assert (await asking).status == 200


async def test_a_crash_is_a_restart(gateway: Gateway) -> None:
    await gateway.chat("crash")
    await gateway.engine_until(lambda _: gateway.state.fleet.status()[0].crashes == 1)
    assert (await as_json(gateway))["models"]["m"]["restarts"] == 1


async def test_another_model_that_answers_is_a_fallback(start: Start, spec: ModelSpec) -> None:
    broken = replace(spec, name="broken", path=spec.path / "missing.json", aliases=(), roles=("tools", "chat"))
    gateway = await start(specs=[broken, spec])
    response = await gateway.chat()
    assert (response.status, (await response.json())["model"]) == (200, "m")
    assert await value(gateway, "zoe_fallbacks_total", model="broken", to="m") == 1
    assert await value(gateway, "zoe_requests_total", model="m", result="ok") == 1
    record = (await (await get(gateway, "/admin/requests")).json())["requests"][0]
    assert (record["fallback"], record["model"]) == (True, "m")


async def test_a_card_with_memory_of_its_own(gateway: Gateway) -> None:
    gateway.state.look = lambda: detect("pc-rtx", RecordedNvml(RTX_3060))
    (gpu,) = (await as_json(gateway))["gpus"]
    assert (gpu["memory_total_bytes"], gpu["memory_free_bytes"]) == (12_884_901_888, 12_201_951_232)
    assert gpu["memory_used_bytes"] == 12_884_901_888 - 12_201_951_232
    assert (gpu["utilization"], gpu["temperature_c"]) == (0.03, 36)
    assert await value(gateway, "zoe_gpu_memory_used_bytes", gpu="0", name="NVIDIA GeForce RTX 3060") == 682_950_656
    assert await value(gateway, "zoe_memory_unified") == 0


async def test_a_jetson_whose_gpu_has_its_temperature_among_the_sensors(gateway: Gateway) -> None:
    gateway.state.look = lambda: detect("jetson-orin-nx")
    found = await as_json(gateway)
    assert found["memory"]["unified"] is True
    assert found["memory"]["total_bytes"] == 16_030_720 * 1024
    (gpu,) = found["gpus"]
    assert (gpu["utilization"], gpu["temperature_c"], gpu["memory_total_bytes"]) == (0.274, 47.812, None)
    assert found["temperatures_c"]["tj-thermal"] == 49.343
    assert await value(gateway, "zoe_gpu_memory_used_bytes") is None


async def test_a_card_tells_its_own_temperature_although_it_shares_memory(gateway: Gateway) -> None:
    gateway.state.look = lambda: detect("pc-rtx", RecordedNvml(GB10))
    assert await value(gateway, "zoe_gpu_temperature_celsius", gpu="0") == 41


async def test_a_driver_that_hangs_leaves_the_last_reading(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gateway.state.look = lambda: detect("pc-rtx", RecordedNvml(RTX_3060))
    before = await as_json(gateway)
    released, asked = threading.Event(), []

    def hang() -> Hardware:
        asked.append(threading.current_thread())
        released.wait()
        return detect("jetson-orin-nx")

    gateway.state.look = hang
    monkeypatch.setattr(services, "_LOOK_S", 0.05)
    for _ in range(2):
        found = await as_json(gateway)
        assert (found["gpus"], found["memory"]["total_bytes"]) == (before["gpus"], before["memory"]["total_bytes"])
    assert [thread.daemon for thread in asked] == [True]  # one is enough, and it keeps no process from ending
    assert caplog.text.count("a driver may hang") == 1
    released.set()
    async with gateway.state._looks._turn:  # it has answered
        pass
    monkeypatch.undo()
    assert (await as_json(gateway))["memory"]["unified"] is True


async def test_this_machine_and_its_processes(gateway: Gateway) -> None:
    found = await as_json(gateway)
    own = psutil.Process(os.getpid()).memory_info().rss
    assert found["memory"]["process_bytes"]["server"] == pytest.approx(own, rel=0.2)
    assert found["memory"]["total_bytes"] > found["memory"]["available_bytes"] > 0
    assert 0 < found["uptime_s"] < 600
    assert (await as_json(gateway))["uptime_s"] > found["uptime_s"]
