"""Web pages: refused unless the owner allows their origin by name."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from zoe_server.settings import ServerSettings

if TYPE_CHECKING:
    from tests.server.gateway.conftest import Gateway, Start

PAGE = "https://home.example:8123"
PREFLIGHT = {
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type,x-stainless-os",
}


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://localhost",
        "http://localhost.evil.example",
        "http://127.0.0.1",
        "http://home.example:8123",
        "https://home.example",
        "https://home.example:8123.evil.example",
        "https://xhome.example:8123",
        "null",
        "",
        "x" * 5000,
    ],
)
async def test_a_page_that_nobody_named_is_refused(start: Start, origin: str) -> None:
    gateway = await start(allowed_origins=[PAGE])
    for response in (
        await gateway.client.get("/v1/models", headers={"Origin": origin}),
        await gateway.client.get("/health", headers={"Origin": origin}),
        await gateway.client.options("/v1/chat/completions", headers={"Origin": origin, **PREFLIGHT}),
        await gateway.client.post("/v1/chat/completions", headers={"Origin": origin}, data=b"{}"),
    ):
        assert response.status == 403
        error = (await response.json())["error"]
        assert (error["type"], error["code"]) == ("permission_error", "origin_not_allowed")
        assert "Access-Control-Allow-Origin" not in response.headers
    assert gateway.engines[0].requests == []


async def test_one_good_origin_does_not_hide_a_bad_one(start: Start) -> None:
    gateway = await start(allowed_origins=[PAGE])
    headers = [("Origin", PAGE), ("Origin", "https://evil.example")]
    assert (await gateway.client.get("/v1/models", headers=headers)).status == 403


async def test_where_ollama_s_clients_ask_the_refusal_has_their_form(gateway: Gateway) -> None:
    response = await gateway.client.get("/api/tags", headers={"Origin": "https://evil.example"})
    assert response.status == 403
    assert "https://evil.example" in (await response.json())["error"]


async def test_a_page_that_is_named_may_ask_and_read(start: Start) -> None:
    gateway = await start(allowed_origins=[PAGE], api_key="k-1")
    headers = {"Origin": PAGE, "X-Api-Key": "k-1"}
    body = {"messages": [{"role": "user", "content": "hi"}]}
    for stream in (False, True):
        response = await gateway.client.post("/v1/chat/completions", json={**body, "stream": stream}, headers=headers)
        assert response.status == 200
        assert response.headers["Access-Control-Allow-Origin"] == PAGE
        assert response.headers["Vary"] == "Origin"
    keyless = await gateway.client.get("/v1/models", headers={"Origin": PAGE})
    assert (keyless.status, keyless.headers["Access-Control-Allow-Origin"]) == (401, PAGE)


async def test_the_browser_s_question_is_answered_without_the_key(start: Start) -> None:
    gateway = await start(allowed_origins=[PAGE], api_key="k-1")
    response = await gateway.client.options("/v1/chat/completions", headers={"Origin": PAGE, **PREFLIGHT})
    assert response.status == 204
    assert response.headers["Access-Control-Allow-Origin"] == PAGE
    assert "POST" in response.headers["Access-Control-Allow-Methods"]
    assert response.headers["Access-Control-Allow-Headers"] == PREFLIGHT["Access-Control-Request-Headers"]


@pytest.mark.parametrize("host", ["127.0.0.1:11434", "localhost:11434", "[::1]:11434", "192.168.7.7", "jetson.local"])
async def test_the_server_s_own_pages_pass_where_no_other_site_can_be(gateway: Gateway, host: str) -> None:
    for scheme in ("http", "https"):
        headers = {"Host": host, "Origin": f"{scheme}://{host}"}
        assert (await gateway.client.get("/v1/models", headers=headers)).status == 200


@pytest.mark.parametrize("host", ["evil.example:11434", "localhost.evil.example", "127.0.0.1.evil.example"])
async def test_a_name_that_was_made_to_mean_this_server_does_not_pass(gateway: Gateway, host: str) -> None:
    headers = {"Host": host, "Origin": f"http://{host}"}
    assert (await gateway.client.get("/v1/models", headers=headers)).status == 403


@pytest.mark.parametrize(
    "host",
    [
        *(
            "evil.example",
            "evil.example:11434",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "local.evil.example",
        ),
        *("xlocal.example", "evil.example@127.0.0.1", "127.0.0.1@evil.example", "[::1].evil.example", "[evil.example]"),
        *("1.2.3.4.5", "a b.example", "[::1", "http://127.0.0.1", "..", "x" * 5000 + ".example"),
    ],
)
async def test_a_server_without_a_key_answers_to_no_name_that_may_be_somebody_else_s(
    gateway: Gateway, host: str
) -> None:
    """A page that made its own name mean this server sends no `Origin` with a GET."""
    for path in ("/admin/requests", "/admin/status", "/v1/models", "/", "/health", "/nowhere"):
        response = await gateway.client.get(path, headers={"Host": host})
        assert response.status == 403
        error = (await response.json())["error"]
        assert (error["type"], error["code"]) == ("permission_error", "host_not_allowed")
        assert "allowed_hosts" in error["message"]
    response = await gateway.client.get("/api/tags", headers={"Host": host})
    assert (response.status, "allowed_hosts" in (await response.json())["error"]) == (403, True)


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "192.168.7.7:11434", "[::1]:11434", "[fe80::1%25eth0]:11434", "[2001:db8::7]", ""),
        *("localhost", "LOCALHOST:11434", "zoe.localhost", "jetson.local", "Jetson.Local.:11434"),
        *("zoe", "a0d7b954-zoe:11434", "zoe_server", "host.docker.internal", "zoe.home.svc.cluster.local"),
        *("nas.home.arpa", "Zoe.Example:443", "zoe.example."),
    ],
)
async def test_names_of_the_local_network_addresses_and_named_hosts_are_answered(start: Start, host: str) -> None:
    gateway = await start(allowed_hosts=["zoe.Example"])
    assert (await gateway.client.get("/admin/requests", headers={"Host": host})).status == 200


async def test_the_machine_s_own_name_is_answered(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "Jetson.fritz.example")
    assert (await gateway.client.get("/v1/models", headers={"Host": "jetson.fritz.example:11434"})).status == 200
    assert (await gateway.client.get("/v1/models", headers={"Host": "other.fritz.example"})).status == 403


async def test_where_there_is_a_key_it_is_what_counts(start: Start) -> None:
    """A proxy in front may pass on its own public name; a page that made a name mean this server has no key."""
    gateway = await start(api_key="k-1")
    public = {"Host": "zoe.example.com"}
    assert (await gateway.client.get("/admin/requests", headers=public)).status == 401
    assert (await gateway.client.get("/admin/requests", headers={**public, "X-Api-Key": "k-1"})).status == 200


async def test_a_request_without_a_host_is_no_browser_s(gateway: Gateway) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.client.port)
    writer.write(b"GET /v1/models HTTP/1.0\r\n\r\n")
    await writer.drain()
    assert (await reader.readline()).split()[1] == b"200"
    writer.close()
    await writer.wait_closed()


async def test_one_good_name_does_not_hide_a_bad_one(gateway: Gateway) -> None:
    headers = [("Host", "127.0.0.1"), ("Host", "evil.example")]
    assert (await gateway.client.get("/v1/models", headers=headers)).status in (400, 403)


@pytest.mark.parametrize("host", ["", "http://zoe.example", "zoe.example:443", "*.example", "a b", "zoe/"])
def test_what_is_no_name_cannot_be_allowed(host: str) -> None:
    with pytest.raises(ValidationError, match="allowed_hosts"):
        ServerSettings.model_validate({"allowed_hosts": [host]})


async def test_programs_send_no_origin_and_pass(gateway: Gateway) -> None:
    response = await gateway.client.get("/v1/models")
    assert response.status == 200
    assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.parametrize("origin", ["*", "https://*.example", "home.example", "https://home.example/path", "null", ""])
def test_what_is_no_origin_cannot_be_allowed(origin: str) -> None:
    with pytest.raises(ValidationError, match="allowed_origins"):
        ServerSettings.model_validate({"allowed_origins": [origin]})


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("https://Home.Example/", "https://home.example"),
        ("https://home.example:443", "https://home.example"),
        ("http://home.example:443", "http://home.example:443"),
        ("app://obsidian.md", "app://obsidian.md"),
    ],
)
def test_an_origin_is_read_as_browsers_write_it(written: str, read: str) -> None:
    assert ServerSettings.model_validate({"allowed_origins": [written]}).allowed_origins == (read,)
