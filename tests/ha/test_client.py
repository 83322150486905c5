"""Addresses as users type them, and which request carries the key."""

import pytest
from aiohttp import web
from homeassistant.core import HomeAssistant
from homeassistant.helpers.aiohttp_client import async_get_clientsession

from custom_components.zoe.client import ZoeClient, normalised_url
from custom_components.zoe.errors import ZoeInvalidUrlError, ZoeStreamBrokenError
from custom_components.zoe.models import Health
from tests.ha.fake_zoe import FakeZoe


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("http://127.0.0.1:11434", "http://127.0.0.1:11434"),
        (" http://jetson.local:11434/ ", "http://jetson.local:11434"),
        ("http://jetson.local:11434/v1", "http://jetson.local:11434"),
        ("HTTP://Jetson.Local/v1/", "http://jetson.local"),
        ("https://home.example/zoe/v1?x=1#y", "https://home.example/zoe"),
        ("http://[fd00::1]:11434", "http://[fd00::1]:11434"),
    ],
)
def test_normalised_url(typed: str, meant: str) -> None:
    assert normalised_url(typed) == meant


@pytest.mark.parametrize("typed", ["", "127.0.0.1:11434", "file:///etc/passwd", "http://me@host", "http://host:99999"])
def test_invalid_url(typed: str) -> None:
    with pytest.raises(ZoeInvalidUrlError):
        normalised_url(typed)


async def test_key_goes_only_where_it_is_needed(hass: HomeAssistant, zoe: FakeZoe) -> None:
    zoe.api_key = "secret"
    client = ZoeClient(async_get_clientsession(hass), zoe.url, "secret")
    # The fake refuses a health request that carries a key, and a models request that does not.
    assert await client.async_health() == Health(ready=True, server_id="server-1", version="0.1.0", api_version=1)
    assert await client.async_models() == ["zoe", "zoe-nano", "llama-3.2-3b"]


async def test_base_path_is_kept(hass: HomeAssistant, zoe: FakeZoe) -> None:
    async def health(request: web.Request) -> web.StreamResponse:
        return web.json_response({"server": "zoe", "status": "ok"})

    zoe.overrides["/behind/a/proxy/health"] = health
    client = ZoeClient(async_get_clientsession(hass), f"{zoe.url}/behind/a/proxy")
    assert await client.async_health() == Health(ready=True)


async def test_models_answer_of_the_wrong_shape(hass: HomeAssistant, zoe: FakeZoe) -> None:
    async def models(request: web.Request) -> web.StreamResponse:
        return web.Response(text="<html>")

    zoe.overrides["/v1/models"] = models
    with pytest.raises(ZoeStreamBrokenError):
        await ZoeClient(async_get_clientsession(hass), zoe.url).async_models()
