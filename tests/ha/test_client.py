"""Addresses as users type them, and which request carries the key."""

import asyncio
from typing import Any

import pytest
from aiohttp import ClientError, ClientSession, TCPConnector, ThreadedResolver, web
from aiohttp.abc import ResolveResult
from homeassistant.core import HomeAssistant
from homeassistant.helpers.aiohttp_client import async_get_clientsession

from custom_components.zoe.api.client import Route, ZoeClient, normalised_url
from custom_components.zoe.api.errors import (
    ZoeCannotConnectError,
    ZoeInvalidUrlError,
    ZoeStreamBrokenError,
    ZoeTimeoutError,
    ZoeUnauthorizedError,
)
from custom_components.zoe.api.status import Health
from tests.ha.fake_zoe import FakeZoe, role


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


async def test_a_key_is_taken_as_people_paste_it(hass: HomeAssistant, zoe: FakeZoe) -> None:
    zoe.api_key = "secret"
    client = ZoeClient(async_get_clientsession(hass), zoe.url, " secret \n")
    assert await client.async_models() == ["zoe", "zoe-nano", "llama-3.2-3b"]


async def test_a_key_that_no_header_can_carry_is_refused(hass: HomeAssistant, zoe: FakeZoe) -> None:
    with pytest.raises(ZoeUnauthorizedError, match="such as a line break"):
        await ZoeClient(async_get_clientsession(hass), zoe.url, "two\nlines").async_models()


class SystemResolver(ThreadedResolver):
    """Encodes names as Python's `getaddrinfo` does, and asks nobody."""

    async def resolve(self, host: str, *_: object, **__: object) -> list[ResolveResult]:
        raise OSError(host.encode("idna"))


@pytest.mark.parametrize("host", ["a" * 64, "a..b", "."])
async def test_what_is_no_host_name_cannot_be_reached(socket_enabled: None, host: str) -> None:
    async with ClientSession(connector=TCPConnector(resolver=SystemResolver())) as session:
        with pytest.raises(ZoeCannotConnectError):
            await ZoeClient(session, f"http://{host}").async_health()


async def test_an_answer_without_an_end_of_brackets(hass: HomeAssistant, zoe: FakeZoe) -> None:
    async def models(request: web.Request) -> web.StreamResponse:
        return web.Response(text="[" * 200_000)

    zoe.overrides["/v1/models"] = models
    with pytest.raises(ZoeStreamBrokenError):
        await ZoeClient(async_get_clientsession(hass), zoe.url).async_models()


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


def _chat() -> dict[str, Any]:
    return {"model": "zoe", "messages": [], "max_tokens": 9, "stream": True}


async def test_an_answer_comes_with_the_choice_of_its_model(hass: HomeAssistant, zoe: FakeZoe) -> None:
    zoe.says("Hello.")
    client = ZoeClient(async_get_clientsession(hass), zoe.url)
    async with client.async_chat(_chat()) as answer:
        assert answer.route == Route("automation", "zoe-nano", ("zoe-nano", "llama-3.2-3b"))
        chunks = [chunk async for chunk in answer.chunks]
    assert chunks[1]["choices"][0]["delta"] == {"content": "Hello."}


@pytest.mark.parametrize("failure", [ClientError("a tool's own"), TimeoutError(), UnicodeError()])
async def test_what_fails_beside_the_answer_is_no_failure_of_the_server(
    hass: HomeAssistant, zoe: FakeZoe, failure: Exception
) -> None:
    zoe.script.append([role(), asyncio.Event()])
    client = ZoeClient(async_get_clientsession(hass), zoe.url)

    async def use() -> None:
        async with client.async_chat(_chat()) as answer:
            async for _ in answer.chunks:
                raise failure

    with pytest.raises(type(failure)) as raised:
        await use()
    assert raised.value is failure
    async with asyncio.timeout(5):
        await zoe.disconnected.wait()


async def test_an_answer_has_its_time(hass: HomeAssistant, zoe: FakeZoe) -> None:
    zoe.script.append([role(), asyncio.Event()])
    client = ZoeClient(async_get_clientsession(hass), zoe.url)
    async with client.async_chat(_chat(), within_s=0.1) as answer:
        await anext(answer.chunks)
        with pytest.raises(ZoeTimeoutError):
            await anext(answer.chunks)


async def test_the_time_runs_from_the_start(hass: HomeAssistant, zoe: FakeZoe) -> None:
    async def thinks(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(5)
        return web.Response()

    zoe.overrides["/v1/chat/completions"] = thinks
    client = ZoeClient(async_get_clientsession(hass), zoe.url)
    with pytest.raises(ZoeTimeoutError):
        async with client.async_chat(_chat(), within_s=0.1):
            pytest.fail("there is no answer")
