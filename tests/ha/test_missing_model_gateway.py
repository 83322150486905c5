"""Repairs and Zoe's own gateway: a missing model is downloaded, and controls the home."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from homeassistant.core import HomeAssistant
from pytest_homeassistant_custom_component.common import MockConfigEntry
from pytest_homeassistant_custom_component.typing import ClientSessionGenerator

from custom_components.zoe.const import DOMAIN
from tests.ha.repairs_page import Repairs, open_repairs
from tests.server.catalogue.local_hub import LocalHub
from tests.server.gateway.pulling_server import CONFIGURATION, CONTENT, Server, local_hub, serving
from zoe_server import settings

TALKS = f"""{CONFIGURATION}
[catalogue.worker]
roles = ["tools"]
weights = {{ repository = "somebody/GGUF", file = "worker.gguf", size_bytes = 3_000_000 }}
scores = {{ tools = 99 }}
[models.talker]
"""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    with local_hub(monkeypatch) as hub:
        hub.files["somebody/GGUF/worker.gguf"] = CONTENT
        yield hub


@pytest.fixture
async def server(
    socket_enabled: None, hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Server]:
    """It serves a model that only talks."""
    models = tmp_path / "models"
    models.mkdir()
    (models / "talker.gguf").write_bytes(CONTENT)
    (tmp_path / "zoe.toml").write_text(TALKS, encoding="utf-8")
    monkeypatch.setenv("ZOE_SERVER__MODELS_FOLDER", str(models))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    async with serving(settings.load(tmp_path / "zoe.toml"), api_key="a key") as server:
        yield server


@pytest.fixture
async def repairs(home: HomeAssistant, server: Server, hass_client: ClientSessionGenerator) -> Repairs:
    agent = {"data": {"llm_hass_api": ["assist"]}, "subentry_type": "conversation", "title": "Zoe", "unique_id": None}
    data = {"url": str(server.client.make_url("")), "api_key": "a key"}
    entry = MockConfigEntry(domain=DOMAIN, title="Zoe", data=data, subentries_data=[agent])
    entry.add_to_hass(home)
    repairs = await open_repairs(home, hass_client)
    assert await home.config_entries.async_setup(entry.entry_id)
    await home.async_block_till_done()
    return repairs


async def test_a_model_is_downloaded_and_the_issue_is_gone(
    home: HomeAssistant, repairs: Repairs, server: Server
) -> None:
    assert list(repairs.issues()) == ["no_tools_model"]
    form = await repairs.start("no_tools_model")
    assert form["description_placeholders"]["model"] == "worker"
    assert form["description_placeholders"]["size"] == "3 MB"
    form = await repairs.submit(form, {"model": "worker"})
    assert (await repairs.look(form))["type"] == "create_entry"
    await home.async_block_till_done()
    assert repairs.issues() == {}
    assert server.state.router.default == "worker"
    assert server.settings.store.pulled_models.names == ("worker",)


async def test_a_hub_that_refuses(repairs: Repairs, server: Server, hub: LocalHub) -> None:
    hub.refusals["HEAD"] = (401, "GatedRepo")
    form = await repairs.submit(await repairs.start("no_tools_model"), {"model": "worker"})
    form = await repairs.look(form)
    assert form["errors"] == {"base": "download_failed"}
    assert "accept its licence first" in form["description_placeholders"]["message"]
    hub.refusals.clear()
    form = await repairs.submit(form, {"model": "zoe-nano"})
    assert (await repairs.look(form))["type"] == "create_entry"
    assert server.state.router.default == "zoe-nano"
