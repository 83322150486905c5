"""What Ollama's clients ask before they chat."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.fixtures.scripted_engine import ScriptedEngine
from zoe_server.catalogue.model_info import ModelInfo
from zoe_server.catalogue.spec import bundled_model_path
from zoe_server.gateway.ollama.models import _human

if TYPE_CHECKING:
    from tests.server.gateway.conftest import Gateway, Start
    from zoe_server.catalogue.spec import ModelSpec

INFO = {
    "name": "Qwen2.5 7B",
    "architecture": "qwen2",
    "n_ctx_tokens": 4096,
    "n_parameters": 7_615_616_512,
    "weights_bytes": 4_683_071_488,
    "file_bytes": 4_683_074_240,
    "file_modified_s": 1_760_000_000,
    "quantization": "Q4_K_M",
    "gpu_share": 0.5,
    "sampling": {"temperature": 0.7},
    "chat_template": "{{ messages }}",
    "capabilities": {"tools": True},
    "header": {"general.architecture": "qwen2", "qwen2.context_length": 32768},
}
DETAILS = {
    "parent_model": "",
    "format": "gguf",
    "family": "qwen2",
    "families": ["qwen2"],
    "parameter_size": "7.6B",
    "quantization_level": "Q4_K_M",
}


@pytest.fixture
def _known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let engines tell what a llama.cpp engine tells."""
    monkeypatch.setattr(ScriptedEngine, "info", property(lambda _: ModelInfo.model_validate(INFO)))


async def get(gateway: Gateway, path: str) -> dict[str, Any]:
    response = await gateway.client.get(path)
    assert response.status == 200
    answer: dict[str, Any] = await response.json()
    return answer


async def test_the_server_is_alive_for_everybody(start: Start) -> None:
    gateway = await start(api_key="k-1")
    response = await gateway.client.get("/")
    assert (response.status, response.content_type) == (200, "text/plain")
    assert await response.text() == "Ollama is running"
    assert (await gateway.client.head("/")).status == 200


@pytest.mark.parametrize("path", ["/api/version", "/api/tags", "/api/ps"])
async def test_everything_else_needs_the_key(start: Start, path: str) -> None:
    gateway = await start(api_key="k-1")
    response = await gateway.client.get(path)
    assert (response.status, list(await response.json())) == (401, ["error"])
    assert (await gateway.client.get(path, headers={"Authorization": "Bearer k-1"})).status == 200


async def test_the_version_is_one_that_clients_can_compare(gateway: Gateway) -> None:
    numbers = [int(part) for part in (await get(gateway, "/api/version"))["version"].split(".")]
    assert numbers >= [0, 9, 0]  # the first that streams tool calls and tells thinking apart


@pytest.mark.usefixtures("_known")
async def test_all_names_are_listed(gateway: Gateway) -> None:
    models = (await get(gateway, "/api/tags"))["models"]
    assert [model["model"] for model in models] == ["zoe:latest", "m:latest", "old-name:latest"]
    assert [model["name"] for model in models] == [model["model"] for model in models]
    assert len({model["digest"] for model in models}) == 1
    assert len(models[0]["digest"]) == 64
    assert (models[0]["size"], models[0]["details"]) == (4_683_074_240, DETAILS)
    assert models[0]["modified_at"] == "2025-10-09T08:53:20.000000Z"


async def test_names_with_a_tag_stay_as_they_are(start: Start, spec: ModelSpec) -> None:
    gateway = await start(specs=[replace(spec, aliases=("phi3:mini", "llama3.2:latest", "llama3.2"))])
    models = (await get(gateway, "/api/tags"))["models"]
    assert [model["name"] for model in models] == ["zoe:latest", "m:latest", "phi3:mini", "llama3.2:latest"]


async def test_lists_load_nothing(start: Start) -> None:
    gateway = await start(wait=False)
    models = (await get(gateway, "/api/tags"))["models"]
    assert [(model["size"], model["details"]["family"]) for model in models] == [(0, "")] * 3
    assert await get(gateway, "/api/ps") == {"models": []}
    assert gateway.engines == []


@pytest.mark.usefixtures("_known")
async def test_what_runs_is_listed(gateway: Gateway) -> None:
    (model,) = (await get(gateway, "/api/ps"))["models"]
    assert (model["model"], model["size"], model["size_vram"]) == ("m:latest", 4_683_071_488, 2_341_535_744)
    assert (model["context_length"], model["details"]) == (4096, DETAILS)
    assert model["expires_at"].startswith("2300-")


@pytest.mark.usefixtures("_known")
@pytest.mark.parametrize("body", [{"model": "zoe"}, {"model": "old-name:latest", "verbose": True}, {"name": "m"}])
async def test_all_that_is_known_is_shown(gateway: Gateway, body: dict[str, Any]) -> None:
    response = await gateway.client.post("/api/show", json=body)
    assert response.status == 200
    assert await response.json() == {
        "parameters": "num_ctx                        4096\ntemperature                    0.7",
        "template": "{{ messages }}",
        "details": DETAILS,
        "model_info": {
            "general.architecture": "qwen2",
            "general.parameter_count": 7_615_616_512,
            "qwen2.context_length": 32768,
        },
        "capabilities": ["completion", "tools"],
        "modified_at": "2025-10-09T08:53:20.000000Z",
    }


async def test_nothing_is_loaded_to_be_shown(start: Start, spec: ModelSpec) -> None:
    waiting = replace(
        spec,
        name="bundled",
        aliases=(),
        load="demand",
        path=bundled_model_path(),
        options=spec.options.model_copy(update={"projector_path": Path("eyes")}),
    )
    gateway = await start(specs=[spec, waiting])
    n_engines = len(gateway.engines)
    shown = await (await gateway.client.post("/api/show", json={"model": "bundled"})).json()
    assert (shown["capabilities"], "<|user|>" in shown["template"]) == (["completion", "tools", "vision"], True)
    assert (shown["details"]["family"], shown["details"]["quantization_level"] != "") == ("llama", True)
    assert shown["model_info"]["general.architecture"] == "llama"
    assert len(gateway.engines) == n_engines


async def test_a_model_that_is_being_loaded_is_not_waited_for(start: Start) -> None:
    gateway = await start(wait=False)
    response = await gateway.client.post("/api/show", json={"model": "m"})
    assert (response.status, (await response.json())["capabilities"]) == (200, ["completion"])
    assert gateway.engines == []


async def test_little_is_shown_of_a_model_without_a_file(gateway: Gateway) -> None:
    shown = await (await gateway.client.post("/api/show", json={"model": "zoe"})).json()
    assert (shown["capabilities"], shown["model_info"], shown["template"]) == (["completion", "tools"], {}, "")
    assert shown["details"]["parameter_size"] == ""


@pytest.mark.parametrize(("body", "status"), [({}, 400), ({"model": 1}, 400), ({"model": "other"}, 404)])
async def test_what_cannot_be_shown(gateway: Gateway, body: dict[str, Any], status: int) -> None:
    response = await gateway.client.post("/api/show", json=body)
    assert response.status == status
    assert "model" in (await response.json())["error"]


async def test_a_model_that_cannot_be_loaded_says_why(start: Start, spec: ModelSpec, tmp_path: Path) -> None:
    gateway = await start(specs=[replace(spec, path=tmp_path / "missing.json")])
    response = await gateway.client.post("/api/show", json={"model": "m"})
    assert response.status == 503
    assert "missing.json" in (await response.json())["error"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/api/push", 501),
        ("POST", "/api/copy", 501),
        ("DELETE", "/api/delete", 501),
        ("POST", "/api/create", 501),
        ("POST", "/api/nowhere", 404),
        ("GET", "/api/chat", 405),
        ("POST", "/api/tags", 405),
    ],
)
async def test_what_is_not_there_is_said_in_ollama_s_form(
    gateway: Gateway, method: str, path: str, status: int
) -> None:
    response = await gateway.client.request(method, path)
    assert response.status == status
    assert list(await response.json()) == ["error"]
    assert status != 405 or response.headers["Allow"]


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (8_000_000_000, "8B"),
        (7_615_616_512, "7.6B"),
        (5_050_000, "5.05M"),
        (137_000_000, "137M"),
        (12_345, "12K"),
        (7, "7"),
    ],
)
def test_sizes_are_written_as_ollama_writes_them(count: int, text: str) -> None:
    assert _human(count) == text
