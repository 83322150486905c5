"""Whatever fails on the way to an answer, the user hears it in words, and the next sentence works."""

import asyncio
from typing import Any

import pytest
from aiohttp import ClientTimeout, web
from homeassistant.core import HomeAssistant
from homeassistant.helpers import intent
from homeassistant.helpers.translation import async_get_translations
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.zoe.api import client, errors
from custom_components.zoe.speech.sentences import LANGUAGES, Sentences
from tests.ha.conftest import Say
from tests.ha.fake_zoe import FakeZoe, chunk, delta, error_response, role

TURN_ON = "intent__HassTurnOn"


CONTEXT = {"type": "exceed_context_size_error", "message": "too long", "n_prompt_tokens": 5000, "n_ctx": 4096}
BROKEN = "I lost my thread. Please say that again."

FAILURES: dict[str, tuple[Any, str, str]] = {
    "wrong key": (
        lambda: error_response(401, "authentication_error", "no such key"),
        "no such key",
        "failed_key",
    ),
    "forbidden without a body": (
        lambda: web.Response(status=403),
        "HTTP status 403",
        "failed_key",
    ),
    "unknown model": (
        lambda: error_response(404, "invalid_request_error", "no model of that name"),
        "no model of that name",
        "failed_settings",
    ),
    "context exceeded": (
        lambda: web.json_response({"error": CONTEXT}, status=400),
        "too long",
        "failed_too_long",
    ),
    "queue full": (
        lambda: error_response(429, "rate_limit_error", "12 requests are waiting"),
        "12 requests are waiting",
        "failed_busy",
    ),
    "engine restarts": (
        lambda: error_response(503, "unavailable_error", "the engine restarts"),
        "the engine restarts",
        "failed_busy",
    ),
    "server bug": (
        lambda: web.Response(status=500, text="Internal Server Error"),
        "HTTP status 500",
        "failed_server",
    ),
    "unknown error type": (
        lambda: error_response(418, "teapot", "short and stout"),
        "short and stout",
        "failed_settings",
    ),
    "redirect": (
        lambda: web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"}),
        "the server redirects to another address (HTTP status 302)",
        "failed_unreachable",
    ),
    "error in the stream": (
        lambda: [role(), delta(content="Well, "), {"error": {"type": "server_error", "message": "out of memory"}}],
        "out of memory",
        "failed_server",
    ),
    "context exceeded in the stream": (
        lambda: [role(), {"error": {**CONTEXT, "n_ctx": "?"}}],
        "too long",
        "failed_too_long",
    ),
    "connection closed": (
        lambda: [role(), delta(content="Well, ")],
        "the connection was closed in the middle of the answer",
        "failed_interrupted",
    ),
    "no finish reason": (
        lambda: [role(), delta(content="Well, "), "data: [DONE]\n\n"],
        "the answer ended without a finish reason",
        "failed_interrupted",
    ),
    "not JSON": (
        lambda: ["data: {oops\n\n"],
        "a part of the answer is not JSON",
        "failed_interrupted",
    ),
    "not an object": (
        lambda: ["data: []\n\n"],
        "a part of the answer is not a JSON object",
        "failed_interrupted",
    ),
    "bad delta": (
        lambda: [chunk(choices=[{"index": 0, "delta": "Well, "}])],
        "a part of the answer has not the shape that it should have",
        "failed_interrupted",
    ),
    "bad choices": (
        lambda: [chunk(choices=[None])],
        "the choices of an answer are not a list of objects",
        "failed_interrupted",
    ),
}


@pytest.mark.parametrize("name", FAILURES)
async def test_failure_is_told_and_the_next_sentence_works(
    home: HomeAssistant, zoe: FakeZoe, say: Say, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """Spoken in words for everybody; the log has the others."""
    answer, message, key = FAILURES[name]
    zoe.script += [answer(), answer()]
    result = await say("turn on the desk lamp", language="de")
    assert result.response.response_type is intent.IntentResponseType.ERROR
    spoken = (await Sentences.async_load(home, "de")).say(key)
    assert result.response.speech["plain"]["speech"] == spoken
    assert message in caplog.text
    zoe.script.clear()
    zoe.says("Here I am.")
    assert (await say("hello")).response.speech["plain"]["speech"] == "Here I am."


@pytest.mark.parametrize("name", ["queue full", "engine restarts", "not JSON"])
async def test_what_may_be_over_a_moment_later_is_tried_once_more(
    home: HomeAssistant, zoe: FakeZoe, say: Say, name: str
) -> None:
    answer, _, _ = FAILURES[name]
    zoe.script.append(answer())
    zoe.says("Here I am.")
    assert (await say("hello")).response.speech["plain"]["speech"] == "Here I am."


async def test_what_was_begun_to_be_said_is_not_said_twice(home: HomeAssistant, zoe: FakeZoe, say: Say) -> None:
    zoe.script.append([role(), delta(content="Well, ")])
    zoe.says("Here I am.")
    result = await say("hello")
    assert result.response.response_type is intent.IntentResponseType.ERROR
    assert len(zoe.requests) == 1


async def test_not_utf8(home: HomeAssistant, zoe: FakeZoe, say: Say) -> None:
    zoe.script += [web.Response(body=b"data: \xff\n\n") for _ in range(2)]
    assert (await say("hello")).response.speech["plain"]["speech"] == BROKEN


async def test_a_broken_answer_leaves_nothing_half_done(home: HomeAssistant, zoe: FakeZoe, say: Say) -> None:
    whole = {"index": 0, "id": "c0", "function": {"name": TURN_ON, "arguments": '{"name": "Desk lamp"}'}}
    begun = {"index": 1, "id": "c1", "function": {"name": TURN_ON, "arguments": '{"na'}}
    zoe.script.append([role(), delta(tool_calls=[whole]), delta(tool_calls=[begun])])
    assert (await say("turn on both lamps")).response.speech["plain"]["speech"] == BROKEN
    await home.async_block_till_done()
    assert home.states.is_state("light.desk_lamp", "off")


async def test_silent_server_is_given_up(
    home: HomeAssistant, zoe: FakeZoe, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "STREAM_TIMEOUT", ClientTimeout(total=None, sock_read=0.05))
    zoe.script += [[role(), asyncio.Event()] for _ in range(2)]
    assert (await say("hello")).response.speech["plain"]["speech"] == BROKEN


async def test_server_gone(home: HomeAssistant, zoe: FakeZoe, say: Say) -> None:
    zoe.overrides["/v1/chat/completions"] = _drop
    assert (await say("hello")).response.speech["plain"]["speech"] == "I can't reach my server right now."


@pytest.mark.parametrize(
    ("language", "told"),
    [
        ("en", "I couldn't finish because my server failed. Already done: Desk lamp."),
        ("de", "Ich konnte nicht fertig werden, weil mein Server ausgefallen ist. Schon erledigt: Desk lamp."),
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
    zoe.script += [error_response(503, "unavailable_error", "the engine restarts") for _ in range(2)]
    result = await say("is the desk lamp on?")
    assert result.response.response_type is intent.IntentResponseType.ERROR


async def _drop(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.close()
    return web.Response()


async def test_every_error_is_translated(hass: HomeAssistant, entry: MockConfigEntry) -> None:
    texts = await async_get_translations(hass, "en", "exceptions", {"zoe"})
    classes = [cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, errors.ZoeError)]
    keys = {cls.translation_key for cls in classes if cls is not errors.ZoeError}
    assert keys == {name.split(".")[3] for name in texts}


CLASSES = [
    cls
    for cls in vars(errors).values()
    if isinstance(cls, type) and issubclass(cls, errors.ZoeError) and cls is not errors.ZoeError
]


@pytest.mark.parametrize("language", sorted(LANGUAGES))
@pytest.mark.parametrize("cls", CLASSES)
async def test_every_error_can_be_spoken(hass: HomeAssistant, language: str, cls: type[errors.ZoeError]) -> None:
    """Without anything that only somebody at a keyboard understands."""
    sentence = (await Sentences.async_load(hass, language)).say(cls.spoken_key)
    assert sentence[0].isupper()
    assert sentence[-1] == "."
    assert len(sentence) < 90
    assert not set("{}:/_`") & set(sentence)
    assert "HTTP" not in sentence


def test_what_may_be_over_a_moment_later_can_be_tried_again() -> None:
    assert {cls for cls in CLASSES if cls.retryable} == {
        errors.ZoeCannotConnectError,
        errors.ZoeStreamBrokenError,
        errors.ZoeUnavailableError,
    }
