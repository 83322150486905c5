"""Whatever fails on the way to an answer, the user hears it in words, and the next sentence works."""

import asyncio
from typing import Any

import pytest
from aiohttp import ClientTimeout, web
from homeassistant.core import HomeAssistant
from homeassistant.helpers import intent
from homeassistant.helpers.translation import async_get_translations
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.zoe import client, errors
from tests.ha.conftest import Say
from tests.ha.fake_zoe import FakeZoe, chunk, delta, error_response, role

TURN_ON = "intent__HassTurnOn"


CONTEXT = {"type": "exceed_context_size_error", "message": "too long", "n_prompt_tokens": 5000, "n_ctx": 4096}
CONTEXT_WORDS = (
    "The request needs 5000 tokens, but the model can only read {}. "
    "Expose fewer devices or choose a model with a larger context"
)

FAILURES: dict[str, tuple[Any, str]] = {
    "wrong key": (
        lambda: error_response(401, "authentication_error", "no such key"),
        "The Zoe server refuses the API key: no such key",
    ),
    "forbidden without a body": (
        lambda: web.Response(status=403),
        "The Zoe server refuses the API key: HTTP status 403",
    ),
    "unknown model": (
        lambda: error_response(404, "invalid_request_error", "no model of that name"),
        "The Zoe server refuses the request: no model of that name",
    ),
    "context exceeded": (
        lambda: web.json_response({"error": CONTEXT}, status=400),
        CONTEXT_WORDS.format(4096),
    ),
    "queue full": (
        lambda: error_response(429, "rate_limit_error", "12 requests are waiting"),
        "The Zoe server cannot answer right now: 12 requests are waiting",
    ),
    "engine restarts": (
        lambda: error_response(503, "unavailable_error", "the engine restarts"),
        "The Zoe server cannot answer right now: the engine restarts",
    ),
    "server bug": (
        lambda: web.Response(status=500, text="Internal Server Error"),
        "The Zoe server failed: HTTP status 500",
    ),
    "unknown error type": (
        lambda: error_response(418, "teapot", "short and stout"),
        "The Zoe server refuses the request: short and stout",
    ),
    "redirect": (
        lambda: web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"}),
        "The configured address is not a Zoe server: the server redirects to another address (HTTP status 302)",
    ),
    "error in the stream": (
        lambda: [role(), delta(content="Well, "), {"error": {"type": "server_error", "message": "out of memory"}}],
        "The Zoe server failed: out of memory",
    ),
    "context exceeded in the stream": (
        lambda: [role(), {"error": {**CONTEXT, "n_ctx": "?"}}],
        CONTEXT_WORDS.format(0),
    ),
    "connection closed": (
        lambda: [role(), delta(content="Well, ")],
        "The answer of the Zoe server broke off: the connection was closed in the middle of the answer",
    ),
    "no finish reason": (
        lambda: [role(), delta(content="Well, "), "data: [DONE]\n\n"],
        "The answer of the Zoe server broke off: the answer ended without a finish reason",
    ),
    "not JSON": (
        lambda: ["data: {oops\n\n"],
        "The answer of the Zoe server broke off: a part of the answer is not JSON",
    ),
    "not an object": (
        lambda: ["data: []\n\n"],
        "The answer of the Zoe server broke off: a part of the answer is not a JSON object",
    ),
    "bad delta": (
        lambda: [chunk(choices=[{"index": 0, "delta": "Well, "}])],
        "The answer of the Zoe server broke off: a part of the answer has not the shape that it should have",
    ),
    "bad choices": (
        lambda: [chunk(choices=[None])],
        "The answer of the Zoe server broke off: the choices of an answer are not a list of objects",
    ),
}


@pytest.mark.parametrize("name", FAILURES)
async def test_failure_is_told_and_the_next_sentence_works(
    home: HomeAssistant, zoe: FakeZoe, say: Say, name: str
) -> None:
    answer, words = FAILURES[name]
    zoe.script.append(answer())
    result = await say("turn on the desk lamp")
    assert result.response.response_type is intent.IntentResponseType.ERROR
    assert result.response.speech["plain"]["speech"] == words
    zoe.says("Here I am.")
    assert (await say("hello")).response.speech["plain"]["speech"] == "Here I am."


async def test_not_utf8(home: HomeAssistant, zoe: FakeZoe, say: Say) -> None:
    zoe.script.append(web.Response(body=b"data: \xff\n\n"))
    assert "broke off" in (await say("hello")).response.speech["plain"]["speech"]


async def test_a_broken_answer_leaves_nothing_half_done(home: HomeAssistant, zoe: FakeZoe, say: Say) -> None:
    whole = {"index": 0, "id": "c0", "function": {"name": TURN_ON, "arguments": '{"name": "Desk lamp"}'}}
    begun = {"index": 1, "id": "c1", "function": {"name": TURN_ON, "arguments": '{"na'}}
    zoe.script.append([role(), delta(tool_calls=[whole]), delta(tool_calls=[begun])])
    assert "broke off" in (await say("turn on both lamps")).response.speech["plain"]["speech"]
    await home.async_block_till_done()
    assert home.states.is_state("light.desk_lamp", "off")


async def test_silent_server_is_given_up(
    home: HomeAssistant, zoe: FakeZoe, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "STREAM_TIMEOUT", ClientTimeout(total=None, sock_read=0.05))
    zoe.script.append([role(), asyncio.Event()])
    assert "broke off" in (await say("hello")).response.speech["plain"]["speech"]


async def test_server_gone(home: HomeAssistant, zoe: FakeZoe, say: Say) -> None:
    zoe.overrides["/v1/chat/completions"] = _drop
    assert "I cannot reach the Zoe server" in (await say("hello")).response.speech["plain"]["speech"]


@pytest.mark.parametrize(
    ("language", "told"),
    [
        ("en", "I could not get to an end, because the server failed. This was done: Desk lamp."),
        ("de", "Ich konnte nicht fertig werden, weil der Server ausgefallen ist. Das ist geschehen: Desk lamp."),
    ],
)
async def test_what_was_done_before_the_server_failed_is_told(
    home: HomeAssistant, zoe: FakeZoe, say: Say, language: str, told: str
) -> None:
    zoe.calls((TURN_ON, {"name": "Desk lamp"}))
    zoe.script.append(error_response(503, "unavailable_error", "the engine restarts"))
    result = await say("turn on the desk lamp and tell me a joke", language=language)
    assert result.response.speech["plain"]["speech"] == told
    await home.async_block_till_done()
    assert home.states.is_state("light.desk_lamp", "on")


async def test_a_failure_after_looking_is_a_failure(home: HomeAssistant, zoe: FakeZoe, say: Say) -> None:
    zoe.calls(("homeassistant__GetLiveContext", {}))
    zoe.script.append(error_response(503, "unavailable_error", "the engine restarts"))
    result = await say("is the desk lamp on?")
    assert result.response.speech["plain"]["speech"] == "The Zoe server cannot answer right now: the engine restarts"


async def _drop(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.close()
    return web.Response()


async def test_every_error_is_translated(hass: HomeAssistant, entry: MockConfigEntry) -> None:
    texts = await async_get_translations(hass, "en", "exceptions", {"zoe"})
    classes = [cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, errors.ZoeError)]
    keys = {cls.translation_key for cls in classes if cls is not errors.ZoeError}
    assert keys == {name.split(".")[3] for name in texts}
