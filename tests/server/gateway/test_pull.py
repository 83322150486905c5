"""POST /api/pull and GET /admin/catalogue: models from a hub on loopback, taken into service while the server runs."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import shutil
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ollama
import pytest
from aiohttp import ClientTimeout
from huggingface_hub import constants

from tests.server.catalogue.local_hub import LocalHub
from tests.server.gateway.pulling_server import CONFIGURATION, CONTENT, SUM, Server, local_hub, serving
from zoe_server import settings
from zoe_server.catalogue import download
from zoe_server.routing.question import RouteQuestion

if TYPE_CHECKING:
    pass

NOTHING = RouteQuestion("What do you think of Mozart?")


class Tap:
    """Holds up what arrives until it is opened."""

    def __init__(self) -> None:
        self.arriving = threading.Event()
        self.open = threading.Event()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    with local_hub(monkeypatch) as hub:
        yield hub


@pytest.fixture
def tap(monkeypatch: pytest.MonkeyPatch) -> Iterator[Tap]:
    """Every download waits, before its first file, until the tap is opened."""
    tap = Tap()
    original = download._check_space

    def waiting(*arguments: Any) -> None:  # noqa: ANN401 - whatever it takes
        tap.arriving.set()
        assert tap.open.wait(10)
        original(*arguments)

    monkeypatch.setattr(download, "_check_space", waiting)
    yield tap
    tap.open.set()


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user with models of their own in the catalogue; returns their zoe.toml."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ZOE_SERVER__MODELS_FOLDER", str(tmp_path / "models"))
    for name in ("HF_TOKEN", "HF_ENDPOINT", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "zoe.toml").write_text(CONFIGURATION, encoding="utf-8")
    return tmp_path / "zoe.toml"


@pytest.fixture
async def server(user: Path, hub: LocalHub) -> AsyncIterator[Server]:
    async with serving(settings.load()) as server:
        yield server


async def test_the_records_are_those_of_ollama(server: Server) -> None:
    status, records = await server.pull(model="talker")
    assert status == 200
    size = len(CONTENT)
    digest = f"sha256:{SUM}"
    steps = {record["status"]: record for record in records}
    assert list(steps) == [
        *("pulling manifest", f"pulling {SUM[:12]}", "verifying sha256 digest"),
        *("writing manifest", "loading model", "success"),
    ]
    assert steps[f"pulling {SUM[:12]}"] == {
        "status": f"pulling {SUM[:12]}", "digest": digest, "total": size, "completed": size,
    }  # fmt: skip
    assert steps["verifying sha256 digest"]["completed"] == size
    assert (server.folder / "talker.gguf").read_bytes() == CONTENT


async def test_a_pulled_model_is_served_at_once(server: Server) -> None:
    before = server.state.router.route("zoe", NOTHING)
    assert before.model == "zoe-nano"
    await server.pull(name="chatty:3b")
    plan = server.state.router.route("zoe", NOTHING)
    assert (plan.model, plan.never_calling) == ("talker", frozenset({"zoe-nano"}))
    assert await server.served() == ["talker", "zoe-nano"]
    body = {"model": "chatty:3b", "messages": [{"role": "user", "content": "hi"}]}
    answer = await (await server.client.post("/v1/chat/completions", json=body)).json()
    assert answer["choices"][0]["message"]["content"] == "I am talker"
    listed = await (await server.client.get("/v1/models")).json()
    assert [model["id"] for model in listed["data"]] == ["zoe", "talker", "zoe-nano"]
    metrics = await (await server.client.get("/metrics/json")).json()
    assert metrics["models"]["talker"]["loaded"] is True
    assert (await server.client.get("/health")).status == 200


async def test_it_is_served_after_a_restart_and_zoe_toml_is_as_it_was(server: Server, user: Path) -> None:
    await server.pull(model="talker", stream=False)
    again = settings.load()
    assert [spec.name for spec in again.specs()] == ["talker", "zoe-nano"]
    assert again.pulled == ("talker",)
    assert _read(user) == CONFIGURATION
    async with serving(again) as restarted:
        assert await restarted.served() == ["talker", "zoe-nano"]
        assert "talker" not in [model["id"] for model in (await restarted.offers())["models"]]


async def test_the_order_of_zoe_toml_goes_before_what_was_pulled(user: Path, hub: LocalHub) -> None:
    _write(user, f"{CONFIGURATION}\n[models.zoe-nano]\nroles = ['tools', 'chat']")
    async with serving(settings.load()) as server:
        await server.pull(model="talker")
        assert await server.served() == ["zoe-nano", "talker"]
        assert server.state.router.route("zoe", NOTHING).model == "zoe-nano"


async def test_a_model_that_is_here_needs_no_hub(server: Server, hub: LocalHub) -> None:
    server.folder.mkdir()
    (server.folder / "talker.gguf").write_bytes(CONTENT)
    assert (await server.offer("talker"))["download_bytes"] == 0
    for _ in range(2):
        assert (await server.pull(model="talker"))[1][-1] == {"status": "success"}
    assert hub.requests == []
    assert await server.served() == ["talker", "zoe-nano"]


async def test_the_bundled_model_can_be_added(user: Path, hub: LocalHub) -> None:
    (user.parent / "models").mkdir()
    (user.parent / "models" / "talker.gguf").write_bytes(CONTENT)
    _write(user, f"{CONFIGURATION}\n[models.talker]")
    async with serving(settings.load()) as server:
        offers = await server.offers()
        assert offers["recommended"] == {
            "tools": "qwen2.5-coder-7b",
            "chat": None,
            "vision": "eyes",
            "embeddings": _EMBEDDER,
        }
        assert (await server.pull(model="zoe-nano", stream=False)) == (200, [{"status": "success"}])
        assert await server.served() == ["talker", "zoe-nano"]


async def test_a_model_that_sees_comes_with_its_projector_and_waits_to_be_asked(server: Server) -> None:
    records = (await server.pull(model="eyes"))[1]
    assert records[-1] == {"status": "success"}
    (spec,) = (spec for spec in server.state.fleet.specs if spec.name == "eyes")
    assert (spec.options.projector_path, spec.load) == (server.folder / "mmproj-eyes.gguf", "demand")
    assert server.state.router.route("zoe", RouteQuestion("Who?", has_images=True)).model == "eyes"


async def test_what_is_on_offer(server: Server) -> None:
    server.folder.mkdir()
    (server.folder / "mmproj-eyes.gguf").write_bytes(CONTENT[:300_000])
    offers = await server.offers()
    assert offers["memory_budget_bytes"] == 8_000_000_000
    names = [model["id"] for model in offers["models"]]
    assert "zoe-nano" not in names
    assert {"talker", "eyes", "huge", "qwen2.5-coder-7b"} <= set(names)
    assert offers["recommended"] == {
        "tools": "qwen2.5-coder-7b",
        "chat": "talker",
        "vision": "eyes",
        "embeddings": _EMBEDDER,
    }
    assert await server.offer("talker") == {
        "id": "talker",
        "description": "talks",
        "licence": "unknown",
        "roles": ["chat"],
        "size_bytes": 1_000_000,
        "download_bytes": 1_000_000,
        "memory_bytes": 1_000_000 + (256 << 20),
        "context_tokens": 4096,
        "fits": True,
        "is_here": False,
        "pulling": None,
    }
    assert (await server.offer("eyes"))["download_bytes"] == 1_700_000
    assert (await server.offer("huge"))["fits"] is False


async def test_what_does_not_fit_is_not_downloaded(server: Server, hub: LocalHub) -> None:
    status, (record,) = await server.pull(model="huge")
    assert status == 400
    assert "models may take 8.0 GB here" in record["error"]
    assert "memory_budget_bytes" in record["error"]
    assert hub.requests == []


async def test_an_unknown_name_lists_what_is_known(server: Server) -> None:
    status, (record,) = await server.pull(model="nobody")
    assert status == 404
    assert "'nobody'" in record["error"]
    assert "llama-3.2-3b" in record["error"]
    assert "talker" in record["error"]


@pytest.mark.parametrize(
    ("body", "wrong"), [({}, "model"), ({"model": 3}, "model"), ({"model": "talker", "stream": "x"}, "stream")]
)
async def test_a_wrong_body_names_what_is_wrong(server: Server, body: dict[str, Any], wrong: str) -> None:
    status, (record,) = await server.pull(**body)
    assert (status, wrong in record["error"]) == (400, True)


async def test_a_name_of_the_user_s_own_is_not_taken(user: Path, hub: LocalHub, tmp_path: Path) -> None:
    (tmp_path / "mine.gguf").write_bytes(CONTENT)
    table = "[models.mine]\npath = 'mine.gguf'\nroles = ['tools']\naliases = ['talker', 'zoe-nano']"
    _write(user, f"{CONFIGURATION}\n{table}")
    async with serving(settings.load()) as server:
        offers = await server.offers()
        assert {"talker", "zoe-nano"}.isdisjoint(model["id"] for model in offers["models"])
        assert offers["recommended"]["chat"] == "other"
        status, (record,) = await server.pull(model="talker")
        assert (status, "zoe.toml gives the name 'talker' to its model 'mine'" in record["error"]) == (400, True)


async def test_a_server_of_one_file_stays_that(user: Path, hub: LocalHub, tmp_path: Path) -> None:
    (tmp_path / "mine.gguf").write_bytes(CONTENT)
    chosen = settings.load(model=tmp_path / "mine.gguf")
    chosen.store.pulled_models.add("zoe-nano")
    async with serving(chosen) as server:
        assert await server.served() == ["mine"]
        status, (record,) = await server.pull(model="talker")
        assert (status, "--model" in record["error"]) == (400, True)
        assert (await server.offers())["models"] == []


async def test_who_asks_again_joins(server: Server, tap: Tap, hub: LocalHub) -> None:
    first = asyncio.create_task(server.pull(model="talker"))
    await asyncio.to_thread(tap.arriving.wait, 10)
    second = asyncio.create_task(server.pull(model="chatty:3b"))
    third = await server.client.post("/api/pull", json={"model": "talker"})
    assert json.loads(await third.content.readline()) == {"status": "pulling manifest"}
    assert (await server.offer("talker"))["pulling"] == {"status": "pulling manifest"}
    third.close()
    tap.open.set()
    (_, one), (_, other) = await asyncio.gather(first, second)
    assert [record["status"] for record in one][-1] == "success"
    assert {record["status"] for record in one} == {record["status"] for record in other}
    assert hub.gets() == [0]


async def test_a_second_model_waits_for_its_turn(server: Server, tap: Tap) -> None:
    first = asyncio.create_task(server.pull(model="talker"))
    await asyncio.to_thread(tap.arriving.wait, 10)
    second = await server.client.post("/api/pull", json={"model": "other"})
    assert json.loads(await second.content.readline()) == {"status": "waiting for another download"}
    tap.open.set()
    await first
    assert (await second.text()).splitlines()[-1] == '{"status":"success"}'
    assert await server.served() == ["talker", "other", "zoe-nano"]


async def test_it_goes_on_when_nobody_waits_for_it(server: Server, tap: Tap) -> None:
    alone = await server.client.post("/api/pull", json={"model": "talker"})
    await alone.content.readline()
    await asyncio.to_thread(tap.arriving.wait, 10)
    alone.close()
    tap.open.set()
    async with asyncio.timeout(10):
        while settings.load().pulled != ("talker",):  # noqa: ASYNC110 - nobody is told of it
            await asyncio.sleep(0.01)
    assert await server.served() == ["talker", "zoe-nano"]


async def test_a_slow_hub_is_told_of_again_and_again(user: Path, hub: LocalHub, tap: Tap) -> None:
    _write(user, f"[server]\nkeep_alive_interval_s = 0.01\n{CONFIGURATION}")
    async with serving(settings.load()) as server:
        response = await server.client.post("/api/pull", json={"model": "talker"})
        lines = [await response.content.readline() for _ in range(3)]
        assert {json.loads(line)["status"] for line in lines} == {"pulling manifest"}
        tap.open.set()
        assert (await response.text()).splitlines()[-1] == '{"status":"success"}'


async def test_the_server_answers_others_while_it_downloads(server: Server, tap: Tap) -> None:
    pulling = asyncio.create_task(server.pull(model="talker"))
    await asyncio.to_thread(tap.arriving.wait, 10)
    for path in ("/health", "/admin/catalogue", "/v1/models"):
        assert (await server.client.get(path, timeout=ClientTimeout(total=5))).status == 200
    tap.open.set()
    await pulling


async def test_a_broken_connection_is_told_and_the_next_pull_goes_on(server: Server, hub: LocalHub) -> None:
    hub.cuts = [2_500_000, *[0] * 20]
    status, records = await server.pull(model="talker")
    assert status == 200
    assert "what has arrived is kept" in records[-1]["error"] or "try again" in records[-1]["error"]
    hub.cuts.clear()
    hub.requests.clear()
    assert (await server.pull(model="talker"))[1][-1] == {"status": "success"}
    assert hub.gets()[0] > 0
    assert (server.folder / "talker.gguf").read_bytes() == CONTENT


async def test_no_network(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = "http://127.0.0.1:1"
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, nobody)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "ENDPOINT", nobody)
    assert "cannot reach" in (await server.pull(model="talker"))[1][-1]["error"]
    status, (record,) = await server.pull(model="talker", stream=False)
    assert (status, "HF_ENDPOINT" in record["error"]) == (503, True)
    assert await server.served() == ["zoe-nano"]


async def test_damage_on_the_way(server: Server, hub: LocalHub) -> None:
    hub.corrupt = True
    assert "arrived damaged and was deleted" in (await server.pull(model="talker"))[1][-1]["error"]
    assert not (server.folder / "talker.gguf").exists()
    assert settings.load().pulled == ()


async def test_a_full_disk(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type(shutil.disk_usage("/"))(1 << 40, 1 << 40, 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert "not enough room in" in (await server.pull(model="talker"))[1][-1]["error"]


async def test_a_full_disk_on_the_way(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    assert "is full; what has arrived is kept" in (await server.pull(model="talker"))[1][-1]["error"]


async def test_a_model_that_cannot_be_loaded_is_not_taken_in(user: Path, hub: LocalHub) -> None:
    async with serving(settings.load(), broken="talker") as server:
        error = (await server.pull(model="talker"))[1][-1]["error"]
        assert "talker is here, but is not served" in error
        assert await server.served() == ["zoe-nano"]
        assert (await server.client.get("/health")).status == 200
        assert settings.load().pulled == ()


async def test_a_model_whose_files_were_removed_is_pulled_again(server: Server) -> None:
    await server.pull(model="talker")
    server.settings.store.pulled_models.remove("talker")
    (server.folder / "talker.gguf").unlink()
    assert (await server.pull(model="talker"))[1][-1] == {"status": "success"}
    assert [spec.name for spec in settings.load().specs()] == ["talker", "zoe-nano"]


async def test_a_model_of_zoe_toml_is_not_remembered(user: Path, hub: LocalHub) -> None:
    (user.parent / "models").mkdir()
    (user.parent / "models" / "talker.gguf").write_bytes(CONTENT)
    _write(user, f"{CONFIGURATION}\n[models.'chatty:3b']")
    async with serving(settings.load()) as server:
        assert (await server.pull(model="talker", stream=False)) == (200, [{"status": "success"}])
        assert await server.served() == ["chatty:3b"]
        assert server.settings.store.pulled_models.names == ()


async def test_what_cannot_be_remembered_is_said(server: Server) -> None:
    (server.folder / ".zoe" / "served.json.new").mkdir(parents=True)
    error = (await server.pull(model="talker"))[1][-1]["error"]
    assert "is served, but will not be after a restart" in error
    assert await server.served() == ["talker", "zoe-nano"]


async def test_a_server_that_stops_ends_the_download_and_keeps_what_there_is(server: Server, tap: Tap) -> None:
    pulling = asyncio.create_task(server.pull(model="talker"))
    await asyncio.to_thread(tap.arriving.wait, 10)
    assert server.state.pulls is not None
    stopping = asyncio.create_task(server.state.pulls.stop())
    await asyncio.sleep(0)
    tap.open.set()
    await stopping
    assert "the server is stopping" in (await pulling)[1][-1]["error"]
    assert not (server.folder / "talker.gguf").exists()


async def test_the_key_and_the_origin_are_those_of_all_routes(user: Path, hub: LocalHub) -> None:
    async with serving(settings.load(), api_key="secret") as server:
        for method, path in (("POST", "/api/pull"), ("GET", "/admin/catalogue")):
            body = {"model": "talker"} if method == "POST" else None
            assert (await server.client.request(method, path, json=body)).status == 401
            page = {"Origin": "http://evil.example", "Authorization": "Bearer secret"}
            assert (await server.client.request(method, path, json=body, headers=page)).status == 403
        assert hub.requests == []


async def test_ollama_s_own_client(server: Server) -> None:
    host = str(server.client.make_url(""))
    async with ollama.AsyncClient(host=host) as client:
        steps = [step async for step in await client.pull("talker", stream=True)]
        assert [step.status for step in steps][-1] == "success"
        assert max(step.completed or 0 for step in steps) == len(CONTENT)
        assert {step.digest for step in steps} == {None, f"sha256:{SUM}"}
        assert (await client.pull("other")).status == "success"
        assert "other:latest" in [model.model for model in (await client.list()).models]
        with pytest.raises(ollama.ResponseError, match="nobody") as caught:
            await client.pull("nobody")
        assert caught.value.status_code == 404


async def test_a_fallback_of_the_catalogue_comes_with_its_model(user: Path, hub: LocalHub) -> None:
    (user.parent / "models").mkdir()
    (user.parent / "models" / "other.gguf").write_bytes(CONTENT)
    text = CONFIGURATION.replace("scores = { speed = 98 }", "scores = { speed = 98 }\nfallback = 'talker'")
    _write(user, f"{text}\n[models.other]")
    async with serving(settings.load()) as server:
        assert server.state.fleet.specs[0].fallback is None
        await server.pull(model="talker")
        assert server.state.fleet.specs[0] == replace(server.settings.specs()[0], fallback="talker")


_EMBEDDER = "nomic-embed-text-v1.5"


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


async def test_what_waits_to_be_asked_for_takes_no_room_from_what_is_recommended(server: Server) -> None:
    before = (await server.offers())["recommended"]
    await server.pull(model="eyes")
    assert server.state.pulls is not None
    assert server.state.pulls.room.taken_bytes == 0
    assert (await server.offers())["recommended"] == {**before, "vision": None}
