"""A model that is missing is offered and downloaded under Repairs."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from aiohttp import web
from freezegun.api import FrozenDateTimeFactory
from homeassistant.components import ai_task
from homeassistant.components.media_source import PlayMedia
from homeassistant.config_entries import ConfigSubentry
from homeassistant.core import Event, HomeAssistant, callback
from homeassistant.data_entry_flow import EVENT_DATA_ENTRY_FLOW_PROGRESS_UPDATE
from homeassistant.exceptions import HomeAssistantError
from hypothesis import given
from hypothesis import strategies as st
from pytest_homeassistant_custom_component.common import MockConfigEntry
from pytest_homeassistant_custom_component.typing import ClientSessionGenerator

from custom_components.zoe.api.errors import ZoeServerError, ZoeStreamBrokenError
from custom_components.zoe.api.offers import DownloadProgress, OfferedModel, Offers, PullStep
from tests.ha.fake_zoe import FakeZoe, error_response, served_model
from tests.ha.repairs_page import Repairs, open_repairs, poll

JSONS = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["models", "recommended", "id", "roles"]), inner),
)


def offered(name: str, *roles: str, download_bytes: int | None = 4_683_000_000, fits: bool = True) -> dict[str, Any]:
    return {
        "id": name,
        "roles": roles,
        "download_bytes": download_bytes,
        "memory_bytes": 5_421_197_632,
        "fits": fits,
        "description": "automations",
    }


class Supply:
    """What a server offers, and how a pull goes there: its records, None for "until it may go on"."""

    def __init__(self, zoe: FakeZoe) -> None:
        self.catalogue: dict[str, Any] = {
            "models": [
                offered("small", "tools", download_bytes=400_000_000),
                offered("talker", "chat"),
                offered("qwen2.5-coder-7b", "tools"),
                offered("huge", "tools", fits=False),
                offered("eyes", "vision"),
            ],
            "recommended": {"tools": "qwen2.5-coder-7b", "vision": "eyes", "chat": None},
        }
        self.records: list[dict[str, Any] | str | None] = [{"status": "success"}]
        self.pulled: list[dict[str, Any]] = []
        self.may_go_on = asyncio.Event()
        self.gone = asyncio.Event()
        self._zoe = zoe
        zoe.overrides |= {"/admin/catalogue": self._answer_catalogue, "/api/pull": self._pull}

    async def _answer_catalogue(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(self.catalogue)

    async def _pull(self, request: web.Request) -> web.StreamResponse:
        self.pulled.append(await request.json())
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        try:
            for record in self.records:
                if record is None:
                    await self.may_go_on.wait()
                    continue
                if record == {"status": "success"}:
                    self._zoe.served.append(served_model(self.pulled[-1]["model"], "tools", "vision"))
                text = record if isinstance(record, str) else json.dumps(record) + "\n"
                await response.write(text.encode())
        except asyncio.CancelledError:
            self.gone.set()
            raise
        return response


@pytest.fixture
async def repairs(home: HomeAssistant, hass_client: ClientSessionGenerator) -> Repairs:
    return await open_repairs(home, hass_client)


@pytest.fixture
async def supply(zoe: FakeZoe) -> AsyncIterator[Supply]:
    supply = Supply(zoe)
    yield supply
    supply.may_go_on.set()


@pytest.fixture
async def missing(
    home: HomeAssistant, repairs: Repairs, supply: Supply, zoe: FakeZoe, agent: str, freezer: FrozenDateTimeFactory
) -> None:
    """The server has no model for tools."""
    zoe.served = [served_model("llama", "chat")]
    await poll(home, freezer)
    assert repairs.issues()["no_tools_model"].is_fixable


async def submitted(repairs: Repairs, name: str = "qwen2.5-coder-7b") -> dict[str, Any]:
    """Return what comes after the form was submitted and the download has ended."""
    form = await repairs.submit(await repairs.start("no_tools_model"), {"model": name})
    assert (form["type"], form["step_id"], form["progress_action"]) == ("progress", "download", "download")
    assert form["description_placeholders"]["model"] == name
    return await repairs.look(form)


@pytest.mark.usefixtures("missing")
async def test_the_recommended_model_is_offered_and_others_that_fit(repairs: Repairs) -> None:
    form = await repairs.start("no_tools_model")
    told = form["description_placeholders"]
    assert (told["model"], told["size"], told["memory"], told["models"]) == (
        *("qwen2.5-coder-7b", "4.7 GB", "5.4 GB", "llama"),
    )
    (field,) = form["data_schema"]
    assert (field["name"], field["default"]) == ("model", "qwen2.5-coder-7b")
    assert [option["label"] for option in field["selector"]["select"]["options"]] == [
        "qwen2.5-coder-7b (4.7 GB / 5.4 GB)",
        "small (400 MB / 5.4 GB)",
    ]


@pytest.mark.usefixtures("missing")
async def test_it_is_downloaded_and_the_issue_is_gone(home: HomeAssistant, repairs: Repairs, supply: Supply) -> None:
    shares: list[float] = []

    @callback  # else each runs in a thread, and their order is anybody's guess
    def note(event: Event[dict[str, Any]]) -> None:
        shares.append(event.data["progress"])

    home.bus.async_listen(EVENT_DATA_ENTRY_FLOW_PROGRESS_UPDATE, note)
    total = 4_683_000_000
    steps = [{"status": "pulling abc", "total": total, "completed": total * part // 4} for part in (1, 2, 4)]
    supply.records = [
        {"status": "pulling manifest"},
        *steps,
        {"status": "verifying sha256 digest", "total": total, "completed": 5},
        {"status": "loading model"},
        {"status": "success"},
    ]
    assert (await submitted(repairs))["type"] == "create_entry"
    await home.async_block_till_done()
    assert supply.pulled == [{"model": "qwen2.5-coder-7b"}]
    assert shares == [0.25, 0.5, 1.0]
    assert repairs.issues() == {}


@pytest.mark.usefixtures("missing")
async def test_another_one_can_be_chosen(repairs: Repairs, supply: Supply) -> None:
    assert (await submitted(repairs, "small"))["type"] == "create_entry"
    assert supply.pulled == [{"model": "small"}]


@pytest.mark.usefixtures("missing")
@pytest.mark.parametrize(
    ("records", "error", "message"),
    [
        ([{"error": "the disk of /models is full"}], "download_failed", "the disk of /models is full"),
        (
            [{"status": "pulling manifest"}],
            "connection_lost",
            "the connection was closed in the middle of the download",
        ),
        (["<html>\n"], "connection_lost", "a part of the answer is not a line of JSON"),
        (["[]\n"], "connection_lost", "a record of the download is not a JSON object"),
        (
            [{"status": "pulling a", "total": "many", "completed": 1}],
            "connection_lost",
            "a record of the download is not what",
        ),
        (["x" * 3_000_000], "connection_lost", "a part of the answer is not a line of JSON"),
    ],
)
async def test_a_download_that_fails_brings_the_form_back(
    repairs: Repairs, supply: Supply, records: list[Any], error: str, message: str
) -> None:
    supply.records = records
    form = await submitted(repairs)
    assert (form["type"], form["step_id"], form["errors"]) == ("form", "confirm", {"base": error})
    assert message in form["description_placeholders"]["message"]
    assert list(repairs.issues()) == ["no_tools_model"]
    supply.records = [{"status": "success"}]
    form = await repairs.submit(form, {"model": "small"})
    assert (await repairs.look(form))["type"] == "create_entry"
    assert repairs.issues() == {}


@pytest.mark.usefixtures("missing")
@pytest.mark.parametrize(
    ("refusal", "error", "message"),
    [
        (web.json_response({"error": "it needs 9 GB"}, status=400), "download_failed", "it needs 9 GB"),
        (
            web.json_response({"error": "the server is stopping"}, status=503),
            "download_failed",
            "the server is stopping",
        ),
        (error_response(401, "authentication_error", "the API key is wrong"), "invalid_auth", "the API key is wrong"),
    ],
)
async def test_a_refusal_brings_the_form_back(
    repairs: Repairs, zoe: FakeZoe, refusal: web.Response, error: str, message: str
) -> None:
    async def refuse(request: web.Request) -> web.StreamResponse:
        return refusal

    zoe.overrides["/api/pull"] = refuse
    form = await submitted(repairs)
    assert form["errors"] == {"base": error}
    assert form["description_placeholders"]["message"] == message


@pytest.mark.usefixtures("missing")
async def test_a_server_that_is_away_brings_the_form_back(
    home: HomeAssistant, repairs: Repairs, entry: MockConfigEntry
) -> None:
    form = await repairs.start("no_tools_model")
    object.__setattr__(entry, "data", {"url": "http://127.0.0.1:1"})
    form = await repairs.look(await repairs.submit(form, {"model": "small"}))
    assert form["errors"] == {"base": "cannot_connect"}
    gone = await repairs.start("no_tools_model")
    assert (gone["type"], gone["reason"]) == ("abort", "no_answer")
    assert "127.0.0.1" in gone["description_placeholders"]["message"]
    assert list(repairs.issues()) == ["no_tools_model"]


@pytest.mark.usefixtures("missing")
async def test_a_server_too_old_for_it_is_mended_by_hand(repairs: Repairs, zoe: FakeZoe) -> None:
    del zoe.overrides["/admin/catalogue"]
    told = await repairs.start("no_tools_model")
    assert (told["type"], told["reason"]) == ("abort", "cannot_download")
    assert told["description_placeholders"]["models"] == "llama"
    assert list(repairs.issues()) == ["no_tools_model"]


@pytest.mark.usefixtures("missing")
async def test_a_server_that_offers_nothing_is_mended_by_hand(repairs: Repairs, supply: Supply) -> None:
    supply.catalogue["models"] = [offered("huge", "tools", fits=False), offered("talker", "chat")]
    assert (await repairs.start("no_tools_model"))["reason"] == "cannot_download"


@pytest.mark.usefixtures("missing")
async def test_an_answer_of_another_shape_is_said(repairs: Repairs, supply: Supply) -> None:
    supply.catalogue = {"models": 3}
    told = await repairs.start("no_tools_model")
    assert (told["reason"], "does not list models" in told["description_placeholders"]["message"]) == (
        "no_answer",
        True,
    )


@pytest.mark.usefixtures("missing")
async def test_a_dialog_that_is_closed_hangs_up(repairs: Repairs, supply: Supply) -> None:
    supply.records = [{"status": "pulling manifest"}, None]
    form = await repairs.submit(await repairs.start("no_tools_model"), {"model": "small"}, wait=False)
    assert (await repairs.look(form))["type"] == "progress"
    await repairs.close(form)
    async with asyncio.timeout(10):
        await supply.gone.wait()


@pytest.fixture
def picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A picture in the media folder, as Home Assistant resolves it."""
    (tmp_path / "cat.png").write_bytes(b"PNG")

    async def resolve(*_: object) -> PlayMedia:
        return PlayMedia(url="/media/cat.png", mime_type="image/png", path=tmp_path / "cat.png")

    monkeypatch.setattr("homeassistant.components.media_source.async_resolve_media", resolve)
    return {"media_content_id": "media-source://media_source/local/cat.png", "media_content_type": "image/png"}


@pytest.mark.usefixtures("agent")
async def test_an_ai_task_that_gets_pictures_and_no_model_that_sees(
    home: HomeAssistant,
    repairs: Repairs,
    supply: Supply,
    zoe: FakeZoe,
    entry: MockConfigEntry,
    picture: dict[str, str],
) -> None:
    clerk = ConfigSubentry(data=MappingProxyType({}), subentry_type="ai_task_data", title="Clerk", unique_id=None)
    home.config_entries.async_add_subentry(entry, clerk)
    await home.async_block_till_done()
    zoe.facts = [{"id": "zoe-nano", "aliases": [], "roles": ["tools"], "abilities": ["tools"], "context_tokens": 4096}]
    with pytest.raises(HomeAssistantError, match="sees pictures"):
        await ai_task.async_generate_data(
            home, task_name="t", entity_id="ai_task.clerk", instructions="Count.", attachments=[picture]
        )
    issue = repairs.issues()["no_vision_model"]
    assert issue.translation_placeholders == {"name": "Zoe", "models": "zoe-nano"}
    form = await repairs.submit(await repairs.start("no_vision_model"), {"model": "eyes"})
    assert (await repairs.look(form))["type"] == "create_entry"
    await home.async_block_till_done()
    assert supply.pulled == [{"model": "eyes"}]
    assert repairs.issues() == {}


@given(JSONS)
def test_offers_are_read_or_refused(body: object) -> None:
    try:
        offers = Offers.from_body(body)
    except ZoeStreamBrokenError:
        return
    assert all(isinstance(model, OfferedModel) for model in offers.models)


@given(st.dictionaries(st.sampled_from(["status", "total", "completed", "error"]), JSONS) | JSONS)
def test_records_are_read_or_refused(record: object) -> None:
    try:
        share = DownloadProgress(None).share(PullStep.from_record(record))
    except ZoeServerError, ZoeStreamBrokenError:
        return
    assert share is None or 0 <= share <= 1


def test_the_share_of_several_files() -> None:
    progress = DownloadProgress(400)
    steps = [("pulling a", 0, 300), ("pulling a", 300, 300), ("verifying", 300, 300), ("pulling b", 50, 100)]
    assert [progress.share(PullStep(*step)) for step in steps] == [0.0, 0.75, None, 0.875]
    resumed = DownloadProgress(60)
    assert resumed.share(PullStep("pulling a", 70, 100)) == 0.7


def test_a_size_that_nobody_knows() -> None:
    assert OfferedModel("small", ("tools",), None, None, fits=True).label == "small (? / ?)"
