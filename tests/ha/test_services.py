"""The actions: what they send, what they return, and what they say when it goes wrong."""

import base64
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import probatio
import pytest
from aiohttp import web
from homeassistant.components import camera, image
from homeassistant.components.media_source import MediaSource, MediaSourceItem, PlayMedia
from homeassistant.core import HomeAssistant
from homeassistant.exceptions import HomeAssistantError, ServiceValidationError
from homeassistant.helpers.entity import Entity
from homeassistant.setup import async_setup_component
from pytest_homeassistant_custom_component.common import MockConfigEntry, MockModule, mock_integration, mock_platform

from tests.ha.conftest import Say
from tests.ha.fake_zoe import FakeZoe

PIXEL = base64.b64decode("R0lGODlhAQABAAAAACwAAAAAAQABAAACAkQBADs=")


async def call(hass: HomeAssistant, action: str, **data: object) -> dict[str, Any]:
    answer: dict[str, Any] = await hass.services.async_call("zoe", action, data, blocking=True, return_response=True)
    return answer


async def test_ask(hass: HomeAssistant, zoe: FakeZoe, agent: str) -> None:
    zoe.says("Hello", " there. ")
    answer = await call(hass, "ask", text="hi")
    told = {"model": "zoe-nano", "prompt_tokens": 100, "completion_tokens": 7}
    assert answer == {"text": "Hello there.", **told}
    (request,) = zoe.requests
    assert request["messages"] == [{"role": "user", "content": "hi"}]
    assert request["model"] == "zoe"
    assert "response_format" not in request


async def test_ask_for_data(hass: HomeAssistant, zoe: FakeZoe, agent: str, entry: MockConfigEntry) -> None:
    structure = {
        "people": {"description": "How many", "required": True, "selector": {"number": {"min": 0}}},
        "mood": {"selector": {"select": {"options": ["good", "bad"]}}},
    }
    zoe.says('{"people": 3, ', '"mood": "good"}')
    answer = await call(hass, "ask", text="count", model="qwen", structure=structure, config_entry=entry.entry_id)
    assert answer["data"] == {"people": 3, "mood": "good"}
    (request,) = zoe.requests
    assert request["model"] == "qwen"
    schema = request["response_format"]["json_schema"]["schema"]
    assert schema["required"] == ["people"]
    assert schema["properties"]["people"]["description"] == "How many"
    assert schema["properties"]["mood"]["enum"] == ["good", "bad"]


@pytest.mark.parametrize("answer", ['{"people": ', '{"people": "many"}', "[]", "three"])
async def test_data_of_another_structure(hass: HomeAssistant, zoe: FakeZoe, agent: str, answer: str) -> None:
    zoe.says(answer)
    structure = {"people": {"required": True, "selector": {"number": {}}}}
    with pytest.raises(HomeAssistantError, match="did not write the data"):
        await call(hass, "ask", text="count", structure=structure)


@pytest.mark.parametrize(
    "data", [{}, {"text": "a", "structure": {"x": {"selector": {"nonsense": {}}}}}, {"text": "a", "images": [{}]}]
)
async def test_wrong_data_is_refused(hass: HomeAssistant, agent: str, data: dict[str, Any]) -> None:
    with pytest.raises(probatio.Invalid):
        await call(hass, "ask", **data)


@pytest.fixture
async def media(hass: HomeAssistant, tmp_path: Path) -> Path:
    hass.config.media_dirs = {"local": str(tmp_path)}
    hass.config.allowlist_external_dirs = {str(tmp_path)}
    assert await async_setup_component(hass, "media_source", {})
    await hass.async_block_till_done()
    return tmp_path


def local(name: str, kind: str | None = None) -> dict[str, Any]:
    chosen = {"media_content_id": f"media-source://media_source/local/{name}", "metadata": {"title": name}}
    return {**chosen, "media_content_type": kind} if kind else chosen


async def test_ask_about_a_picture(hass: HomeAssistant, zoe: FakeZoe, media: Path, agent: str) -> None:
    (media / "pixel.gif").write_bytes(PIXEL)
    zoe.says("A dot.")
    answer = await call(hass, "ask", text="what is it?", images=local("pixel.gif"))
    assert answer["text"] == "A dot."
    text, picture = zoe.requests[0]["messages"][0]["content"]
    assert text == {"type": "text", "text": "what is it?"}
    url = picture["image_url"]["url"]
    assert url == f"data:image/gif;base64,{base64.b64encode(PIXEL).decode()}"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.png", None, "missing.png"),
        ("notes.txt", b"words", "is no picture but text/plain"),
        ("large.png", b"x" * (5 * 2**20 + 1), "more than 5 MiB"),
    ],
    ids=["missing", "text", "large"],
)
async def test_what_is_no_picture(
    hass: HomeAssistant, zoe: FakeZoe, media: Path, agent: str, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (media / name).write_bytes(content)
    with pytest.raises(HomeAssistantError, match=message):
        await call(hass, "ask", text="what is it?", images=[local(name)])
    assert zoe.requests == []


class Door(camera.Camera):
    """A camera that always sees the same."""

    _attr_name = "Door"

    def __init__(self) -> None:
        super().__init__()
        self.content_type = "image/gif"

    async def async_camera_image(self, width: int | None = None, height: int | None = None) -> bytes:
        return PIXEL


class Plan(image.ImageEntity):
    """A picture that never changes."""

    _attr_name = "Plan"
    _attr_content_type = "image/gif"

    async def async_image(self) -> bytes:
        return PIXEL


@pytest.mark.parametrize(("domain", "make"), [("camera", lambda _: Door()), ("image", Plan)])
async def test_ask_about_what_an_entity_shows(
    hass: HomeAssistant, zoe: FakeZoe, agent: str, domain: str, make: Callable[[HomeAssistant], Entity]
) -> None:
    assert await async_setup_component(hass, domain, {})
    await hass.data[camera.DATA_COMPONENT if domain == "camera" else image.DATA_COMPONENT].async_add_entities(
        [make(hass)]
    )
    (entity_id,) = hass.states.async_entity_ids(domain)
    zoe.says("A dot.")
    shown = {"media_content_id": f"media-source://{domain}/{entity_id}", "media_content_type": "image/gif"}
    assert (await call(hass, "ask", text="what is it?", images=shown))["text"] == "A dot."
    _, picture = zoe.requests[0]["messages"][0]["content"]
    assert picture["image_url"]["url"] == f"data:image/gif;base64,{base64.b64encode(PIXEL).decode()}"


class Elsewhere(MediaSource):
    """Pictures on another machine."""

    async def async_resolve_media(self, item: MediaSourceItem) -> PlayMedia:
        return PlayMedia("http://192.0.2.1/cat.png", "image/png")


async def elsewhere(hass: HomeAssistant) -> MediaSource:
    return Elsewhere("elsewhere")


async def test_a_picture_on_another_machine_is_not_fetched(hass: HomeAssistant, zoe: FakeZoe, agent: str) -> None:
    mock_integration(hass, MockModule("elsewhere"))
    mock_platform(hass, "elsewhere.media_source", SimpleNamespace(async_get_media_source=elsewhere))
    assert await async_setup_component(hass, "elsewhere", {})
    assert await async_setup_component(hass, "media_source", {})
    with pytest.raises(HomeAssistantError, match="is not on this machine"):
        await call(hass, "ask", text="what is it?", images={"media_content_id": "media-source://elsewhere/cat"})


async def test_without_a_folder_for_media_there_are_no_pictures(hass: HomeAssistant, zoe: FakeZoe, agent: str) -> None:
    with pytest.raises(HomeAssistantError, match="cannot be used"):
        await call(hass, "ask", text="what is it?", images=[local("pixel.gif")])


@pytest.mark.parametrize("domain", ["camera", "image"])
async def test_a_camera_that_is_not_there(hass: HomeAssistant, zoe: FakeZoe, agent: str, domain: str) -> None:
    assert await async_setup_component(hass, domain, {})
    picture = {"media_content_id": f"media-source://{domain}/{domain}.none"}
    with pytest.raises(HomeAssistantError, match="cannot be used"):
        await call(hass, "ask", text="who is it?", images=[picture])


async def test_explain(home: HomeAssistant, zoe: FakeZoe, agent: str) -> None:
    answer = await call(home, "explain", text="turn on the desk lamp")
    assert answer == {"rule": "automation", "why": "an order", "model": "zoe-nano"}
    (order,) = zoe.orders
    assert order == (
        "/admin/route",
        {
            "text": "turn on the desk lamp",
            "model": "zoe",
            "devices": ["Desk lamp", "Kitchen light", "Outside"],
            "areas": ["Kitchen", "galley", "Ground floor", "downstairs"],
        },
    )


async def test_prime(home: HomeAssistant, zoe: FakeZoe, agent: str) -> None:
    answer = await call(home, "prime")
    told = {"agent": "Zoe", "prompt_tokens": 1000, "cached_tokens": 0}
    told |= {"context_tokens": 4096, "fits": True}
    lookup_tokens = answer["agents"][0].pop("lookup_tokens")
    assert 0 < lookup_tokens < 500
    assert answer == {"agents": [told]}
    (prompt,) = zoe.primed
    assert (prompt["model"], prompt["max_tokens"], prompt["zoe"]["priority"]) == ("zoe", 0, "background")
    await home.services.async_call("zoe", "prime", {}, blocking=True)
    assert zoe.primed == [prompt, prompt]


async def test_what_is_primed_is_what_is_asked(home: HomeAssistant, zoe: FakeZoe, agent: str, say: Say) -> None:
    await call(home, "prime")
    zoe.says("Hello.")
    await say("hello")
    primed, asked = zoe.primed[0], zoe.requests[0]
    assert primed["tools"] == asked["tools"]
    assert primed["messages"][0] == asked["messages"][0]


async def test_instructions_that_are_no_template(
    home: HomeAssistant, zoe: FakeZoe, entry: MockConfigEntry, agent: str
) -> None:
    (subentry,) = entry.subentries.values()
    home.config_entries.async_update_subentry(entry, subentry, data={"prompt": "{{ oops"})
    await home.async_block_till_done()
    with pytest.raises(HomeAssistantError, match="instructions of an agent cannot be used"):
        await call(home, "prime")


@pytest.mark.parametrize(("action", "data"), [("ask", {"text": "hi"}), ("explain", {"text": "hi"}), ("prime", {})])
async def test_a_server_that_fails_is_told(
    hass: HomeAssistant, zoe: FakeZoe, agent: str, action: str, data: dict[str, str]
) -> None:
    zoe.api_key = "new"
    with pytest.raises(HomeAssistantError, match="refuses the API key"):
        await call(hass, action, **data)


async def test_without_a_server(hass: HomeAssistant, entry: MockConfigEntry, agent: str) -> None:
    with pytest.raises(ServiceValidationError):
        await call(hass, "ask", text="hi", config_entry="none")
    await hass.config_entries.async_unload(entry.entry_id)
    with pytest.raises(ServiceValidationError):
        await call(hass, "ask", text="hi")


@pytest.mark.parametrize("domain", ["camera", "image"])
async def test_pictures_of_an_integration_that_this_home_has_not(
    hass: HomeAssistant, agent: str, monkeypatch: pytest.MonkeyPatch, domain: str
) -> None:
    """What cameras need is installed when there is one; until then, they cannot even be imported."""
    monkeypatch.setitem(sys.modules, f"homeassistant.components.{domain}", None)
    monkeypatch.delattr(f"homeassistant.components.{domain}", raising=False)
    picture = {"media_content_id": f"media-source://{domain}/{domain}.door"}
    with pytest.raises(HomeAssistantError, match=f"there is no {domain} in this home"):
        await call(hass, "ask", text="who is it?", images=[picture])


@pytest.mark.parametrize("answer", [web.json_response([]), web.Response(text="oops")])
async def test_explained_in_no_way(hass: HomeAssistant, zoe: FakeZoe, agent: str, answer: web.Response) -> None:
    async def explain(request: web.Request) -> web.StreamResponse:
        return answer

    zoe.overrides["/admin/route"] = explain
    with pytest.raises(HomeAssistantError, match="is not a JSON object"):
        await call(hass, "explain", text="turn on the desk lamp")
