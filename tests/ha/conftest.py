"""Zoe in Home Assistant's own test harness, against a real HTTP server on loopback."""

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import contextmanager
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestServer
from homeassistant.components import conversation
from homeassistant.components.homeassistant.exposed_entities import async_expose_entity
from homeassistant.config_entries import ConfigSubentryData
from homeassistant.core import Context, Event, HomeAssistant
from homeassistant.helpers import area_registry as ar
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers import floor_registry as fr
from homeassistant.helpers.chat_session import ChatSession, async_get_chat_session
from homeassistant.setup import async_setup_component
from pytest_homeassistant_custom_component.common import MockConfigEntry, async_capture_events

# Imported before Home Assistant puts its own test folder, which also has a `custom_components`, on the path.
from custom_components.zoe.const import DOMAIN, EVENT_TURN
from tests.ha.fake_zoe import FakeZoe

AGENT = "conversation.zoe"

type Say = Callable[..., Coroutine[Any, Any, conversation.ConversationResult]]

# What Home Assistant 2026.10 itself warns about, which is not ours to repair.
HOME_ASSISTANT_WARNINGS = (
    # components/http keeps `app["hass"]` for old integrations.
    "ignore::aiohttp.web_exceptions.NotAppKeyWarning",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            for warning in HOME_ASSISTANT_WARNINGS:
                item.add_marker(pytest.mark.filterwarnings(warning))


@pytest.fixture(autouse=True)
def no_complaints(enable_custom_integrations: None, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail when Home Assistant finds the integration doing something deprecated."""
    yield
    messages = [record.getMessage() for phase in ("setup", "call") for record in caplog.get_records(phase)]
    assert not [message for message in messages if "Detected that custom integration" in message]


@pytest.fixture
async def zoe(socket_enabled: None) -> AsyncIterator[FakeZoe]:
    fake = FakeZoe()
    server = TestServer(fake.app(), host="127.0.0.1")
    await server.start_server()
    fake.url = str(server.make_url("")).rstrip("/")
    yield fake
    await server.close()


@pytest.fixture
def entry(hass: HomeAssistant, zoe: FakeZoe) -> MockConfigEntry:
    """A configured server, not yet set up."""
    entry = MockConfigEntry(
        domain=DOMAIN,
        title="Zoe",
        unique_id="server-1",
        data={"url": zoe.url},
        subentries_data=[
            ConfigSubentryData(
                data={"llm_hass_api": ["assist"]}, subentry_type="conversation", title="Zoe", unique_id=None
            )
        ],
    )
    entry.add_to_hass(hass)
    return entry


@pytest.fixture
async def agent(hass: HomeAssistant, entry: MockConfigEntry) -> str:
    """The entity id of a conversation agent that is set up."""
    assert await async_setup_component(hass, "homeassistant", {})
    assert await hass.config_entries.async_setup(entry.entry_id)
    await hass.async_block_till_done()
    return AGENT


@pytest.fixture
async def home(hass: HomeAssistant) -> HomeAssistant:
    """Two areas on a floor, with real template lights over input booleans, and a thermometer."""
    assert await async_setup_component(hass, "homeassistant", {})
    lamps = {"kitchen": "Kitchen light", "desk": "Desk lamp"}
    booleans = {key: {"initial": False} for key in lamps}
    assert await async_setup_component(hass, "input_boolean", {"input_boolean": booleans})
    lights = [_template_light(key, name) for key, name in lamps.items()]
    assert await async_setup_component(hass, "template", {"template": [{"light": lights}]})
    await hass.async_block_till_done()

    floor = fr.async_get(hass).async_create("Ground floor", aliases={"downstairs"})
    areas = ar.async_get(hass)
    kitchen = areas.async_create("Kitchen", floor_id=floor.floor_id, aliases={"galley"})
    areas.async_create("Cellar")
    entities = er.async_get(hass)
    entities.async_update_entity("light.kitchen_light", area_id=kitchen.id)
    hass.states.async_set("sensor.outside", "12", {"friendly_name": "Outside", "device_class": "temperature"})
    for entity_id in ("light.kitchen_light", "light.desk_lamp", "sensor.outside"):
        async_expose_entity(hass, "conversation", entity_id, True)
    for entity_id in ("input_boolean.kitchen", "input_boolean.desk"):
        async_expose_entity(hass, "conversation", entity_id, False)
    return hass


def _template_light(key: str, name: str) -> dict[str, Any]:
    target = {"target": {"entity_id": f"input_boolean.{key}"}}
    return {
        "name": name,
        "unique_id": key,
        "state": f"{{{{ is_state('input_boolean.{key}', 'on') }}}}",
        "turn_on": {"action": "input_boolean.turn_on", **target},
        "turn_off": {"action": "input_boolean.turn_off", **target},
    }


@contextmanager
def chat_session(hass: HomeAssistant, conversation_id: str | None = None) -> Iterator[ChatSession]:
    """A conversation; from Home Assistant 2026.11 on, it is somebody's."""
    owned = {"context": Context()} if "context" in signature(async_get_chat_session).parameters else {}
    with async_get_chat_session(hass, conversation_id, **owned) as session:
        yield session


@pytest.fixture
def say(hass: HomeAssistant, agent: str) -> Say:
    """Say a sentence to the agent and wait for its answer."""

    async def _say(
        text: str, conversation_id: str | None = None, language: str = "en", device_id: str | None = None
    ) -> conversation.ConversationResult:
        return await conversation.async_converse(
            hass, text, conversation_id, Context(), language, agent, device_id=device_id
        )

    return _say


@pytest.fixture
def turns(home: HomeAssistant) -> list[Event]:
    """The turns that have ended, as the integration tells them."""
    events: list[Event] = async_capture_events(home, EVENT_TURN)
    return events
