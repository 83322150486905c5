"""A server that is not Zoe's, but speaks OpenAI's API: connected with clicks, asked as it understands it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, override

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from homeassistant.components import conversation
from homeassistant.config_entries import SOURCE_USER, ConfigEntryState, ConfigSubentryData
from homeassistant.core import Context, HomeAssistant
from homeassistant.data_entry_flow import FlowResultType
from homeassistant.exceptions import HomeAssistantError
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers import issue_registry as ir
from hypothesis import given
from hypothesis import strategies as st
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.zoe.api.errors import (
    ZoeContextExceededError,
    ZoeNotZoeError,
    ZoeRequestRefusedError,
    error_from_body,
)
from custom_components.zoe.api.offers import sees_pictures
from custom_components.zoe.api.openai_client import is_local, plain_request, stated_context_tokens, with_enums
from custom_components.zoe.const import DOMAIN
from tests.ha.fake_zoe import FakeZoe, error_response

type Result = Any  # several kinds of typed dicts, each with other keys

HEALTHS = {
    "llama-server": web.json_response({"status": "ok"}),
    "vLLM": web.Response(),
    "Ollama": web.Response(status=404, text="404 page not found"),
    "LM Studio": web.json_response({"error": "Unexpected endpoint or method. (GET /health)"}),
}


class OtherServer(FakeZoe):
    """Answers /v1 only, knows nothing of Zoe, and computes a prompt only with a token of an answer."""

    health: str = "llama-server"

    @override
    async def _dispatch(self, request: web.Request) -> web.StreamResponse:
        if not request.path.startswith("/v1/"):
            known = HEALTHS[self.health]
            return web.Response(status=known.status, body=known.body, content_type="application/json")
        return await super()._dispatch(request)

    @override
    def _model(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "owned_by": "vllm", "max_model_len": self.context_tokens}

    @override
    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        unknown = body.keys() & {"zoe"}
        if unknown:
            return error_response(400, "BadRequestError", f"unknown fields {unknown}")
        return await (self._prime(request, body) if body["max_tokens"] == 1 else super()._chat(request))


@pytest.fixture
async def other(socket_enabled: None) -> AsyncIterator[OtherServer]:
    fake = OtherServer(models=["qwen3-4b", "bge"])
    server = TestServer(fake.app(), host="127.0.0.1")
    await server.start_server()
    fake.url = str(server.make_url("")).rstrip("/")
    yield fake
    await server.close()


@pytest.fixture
async def entry(home: HomeAssistant, other: OtherServer) -> MockConfigEntry:
    entry = MockConfigEntry(
        domain=DOMAIN,
        data={"url": other.url, "server": "openai", "model": "qwen3-4b"},
        subentries_data=[
            ConfigSubentryData(
                data={"llm_hass_api": ["assist"]}, subentry_type="conversation", title="Zoe", unique_id=None
            )
        ],
    )
    entry.add_to_hass(home)
    assert await home.config_entries.async_setup(entry.entry_id)
    await home.async_block_till_done(wait_background_tasks=True)
    return entry


async def submit(hass: HomeAssistant, result: Result, data: dict[str, Any]) -> Result:
    answer: Result = await hass.config_entries.flow.async_configure(result["flow_id"], data)
    await hass.async_block_till_done()
    return answer


async def start(hass: HomeAssistant) -> Result:
    return await hass.config_entries.flow.async_init(DOMAIN, context={"source": SOURCE_USER})


async def say(hass: HomeAssistant, text: str) -> str:
    result = await conversation.async_converse(hass, text, "talk", Context(), "en", "conversation.zoe")
    return str(result.response.speech["plain"]["speech"])


@pytest.mark.parametrize("health", HEALTHS)
async def test_connects_with_clicks(home: HomeAssistant, other: OtherServer, health: str) -> None:
    other.health, other.api_key = health, "secret"
    form = await submit(home, await start(home), {"url": f"{other.url}/v1"})
    assert (form["step_id"], form["errors"]) == ("api_key", {})
    form = await submit(home, form, {"api_key": "wrong"})
    assert form["errors"] == {"base": "invalid_auth"}
    form = await submit(home, form, {"api_key": "secret"})
    assert (form["step_id"], form["errors"]) == ("other_server", {})
    other.calls(("intent__HassTurnOn", {"name": "Kitchen light"}))
    progress = await submit(home, form, {"model": "qwen3-4b"})
    assert progress["type"] is FlowResultType.SHOW_PROGRESS
    await home.async_block_till_done()
    form = await home.config_entries.flow.async_configure(progress["flow_id"])
    assert form["step_id"] == "checked"
    assert form["description_placeholders"]["context_tokens"] == "4,096"
    created = await submit(home, form, {})
    assert created["type"] is FlowResultType.CREATE_ENTRY
    assert created["data"] == {"url": other.url, "server": "openai", "api_key": "secret", "model": "qwen3-4b"}
    assert created["result"].state is ConfigEntryState.LOADED
    assert created["result"].unique_id == other.url


async def test_what_speaks_neither_is_refused(home: HomeAssistant, other: OtherServer) -> None:
    async def not_found(_: web.Request) -> web.StreamResponse:
        return web.Response(status=404)

    other.overrides["/v1/models"] = not_found
    form = await submit(home, await start(home), {"url": other.url})
    assert (form["step_id"], form["errors"]) == ("user", {"base": "not_zoe"})


async def test_an_order(home: HomeAssistant, other: OtherServer, entry: MockConfigEntry) -> None:
    other.calls(("intent__HassTurnOn", {"name": "desk lamp"}))
    other.says("Done.")
    assert await say(home, "turn on the desk lamp") == "Done."
    await home.async_block_till_done()
    assert home.states.is_state("light.desk_lamp", "on")
    request = other.requests[0]
    assert request["model"] == "qwen3-4b"
    assert "zoe" not in request
    turn_on = next(tool["function"] for tool in request["tools"] if tool["function"]["name"] == "intent__HassTurnOn")
    properties = turn_on["parameters"]["properties"]
    assert properties["name"]["enum"] == ["Desk lamp", "Kitchen light"]
    assert "Kitchen" in properties["area"]["enum"]


async def test_the_prompt_is_computed_with_a_token(
    home: HomeAssistant, other: OtherServer, entry: MockConfigEntry
) -> None:
    await home.services.async_call(DOMAIN, "prime", {}, blocking=True, return_response=True)
    (body,) = other.primed
    assert (body["max_tokens"], body["model"]) == (1, "qwen3-4b")
    assert "Kitchen light" in body["messages"][0]["content"]


async def test_only_what_such_a_server_tells_is_shown(
    home: HomeAssistant, other: OtherServer, entry: MockConfigEntry
) -> None:
    entities = {one.domain for one in er.async_entries_for_config_entry(er.async_get(home), entry.entry_id)}
    assert entities == {"conversation", "binary_sensor"}
    assert not ir.async_get(home).issues


async def test_its_choice_cannot_be_explained(home: HomeAssistant, other: OtherServer, entry: MockConfigEntry) -> None:
    with pytest.raises(HomeAssistantError) as raised:
        await home.services.async_call(DOMAIN, "explain", {"text": "turn it on"}, blocking=True, return_response=True)
    assert raised.value.translation_key == "not_zoe"
    assert raised.value.translation_placeholders == {"message": "only Zoe's own server can do this"}


TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "turn_on",
            "parameters": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "area": {"type": "string", "description": "where"},
                    "domain": {"type": "array", "items": {"type": "string"}},
                    "brightness": {"type": "integer"},
                },
            },
        },
    },
    {"type": "function", "function": {"name": "bare"}},
]


def test_enums_of_what_there_is() -> None:
    values = {"name": ["Lamp"], "turn_on.area": ["Hall"], "area": ["Attic"], "domain": ["light"], "brightness": ["5"]}
    first, second = with_enums(TOOLS, values)
    assert first["function"]["parameters"]["properties"] == {
        "name": {"type": "string", "enum": ["Lamp"]},
        "area": {"type": "string", "description": "where", "enum": ["Hall"]},
        "domain": {"type": "array", "items": {"type": "string", "enum": ["light"]}},
        "brightness": {"type": "integer"},
    }
    assert second == TOOLS[1]


@given(st.integers(0, 400), st.integers(0, 400))
def test_enums_never_drown_a_prompt(n_names: int, n_areas: int) -> None:
    values = {"name": [f"Some device {n}" for n in range(n_names)], "area": [f"A room {n}" for n in range(n_areas)]}
    grown = len(str(with_enums(TOOLS, values))) - len(str(TOOLS))
    assert grown < 7000
    if 0 < n_areas < 100:
        assert "enum" in str(with_enums(TOOLS, values))


def test_only_the_choice_that_is_left_to_the_server_is_made() -> None:
    assert plain_request({"model": "zoe", "messages": []}, "m")["model"] == "m"
    assert plain_request({"model": "other", "messages": []}, "m")["model"] == "other"


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ({"id": "a", "max_model_len": 4096}, 4096),
        ({"id": "a", "meta": {"n_ctx": 2048}}, 2048),
        ({"id": "a", "context_length": 8192}, 8192),
        ({"id": "a"}, 1 << 20),
    ],
)
def test_contexts_as_servers_tell_them(model: dict[str, Any], expected: int) -> None:
    assert stated_context_tokens({"data": [model]}) == {"a": expected}
    assert stated_context_tokens([]) == {}


@pytest.mark.parametrize(
    ("message", "prompt_tokens", "context_tokens"),
    [
        (
            "The maximum context length is 4096 tokens. However, your prompt contains at least 4097 input tokens",
            4097,
            4096,
        ),
        (
            "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.",
            9000,
            8192,
        ),
        ("request (8889 tokens) exceeds the available context size (4096 tokens), try increasing it", 8889, 4096),
    ],
)
def test_how_servers_say_that_a_prompt_is_too_long(message: str, prompt_tokens: int, context_tokens: int) -> None:
    error = error_from_body({"error": {"message": message, "type": "BadRequestError", "code": 400}}, 400)
    assert isinstance(error, ZoeContextExceededError)
    assert (error.prompt_tokens, error.context_tokens) == (prompt_tokens, context_tokens)


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("192.168.1.5", True), ("nas", True), ("nas.local", True), ("fd00::1", True),
     ("api.openai.com", False), ("8.8.8.8", False)],
)  # fmt: skip
def test_prompts_are_computed_ahead_only_at_home(host: str, local: bool) -> None:
    assert is_local(host) is local


async def test_what_only_zoes_server_does_is_refused(
    home: HomeAssistant, other: OtherServer, entry: MockConfigEntry
) -> None:
    client = entry.runtime_data.client
    for asked in (client.async_load_model("m"), client.async_unload_model("m", 1.0)):
        with pytest.raises(ZoeNotZoeError):
            await asked
    with pytest.raises(ZoeNotZoeError):
        client.async_pull("m")
    with pytest.raises(ZoeRequestRefusedError):
        await client.async_offers()
    assert await client.async_recent_requests() == []
    assert sees_pictures(await client.async_model_facts(), "zoe")


async def test_the_key_can_be_changed(home: HomeAssistant, other: OtherServer, entry: MockConfigEntry) -> None:
    form = await entry.start_reconfigure_flow(home)
    other.api_key = "new"
    form = await submit(home, form, {"url": other.url})
    assert form["errors"] == {"base": "invalid_auth"}
    done = await submit(home, form, {"url": other.url, "api_key": "new"})
    assert done["reason"] == "reconfigure_successful"
    assert entry.data == {"url": other.url, "server": "openai", "model": "qwen3-4b", "api_key": "new"}


async def test_a_server_that_goes_while_its_models_are_asked_for(home: HomeAssistant, other: OtherServer) -> None:
    answers = iter([200, 200, 503])

    async def listed(_: web.Request) -> web.StreamResponse:
        status = next(answers)
        return web.json_response({"data": [{"id": "m"}]}, status=status)

    other.overrides["/v1/models"] = listed
    form = await submit(home, await start(home), {"url": other.url})
    assert (form["step_id"], form["errors"]) == ("other_server", {"base": "cannot_connect"})


def test_what_is_no_list_of_texts_stays_as_it_is() -> None:
    properties = {"name": {"type": "string", "enum": ["own"]}, "area": {"type": "array", "items": True}}
    tool = {"type": "function", "function": {"name": "t", "parameters": {"type": "object", "properties": properties}}}
    (same,) = with_enums([tool], {"name": ["Lamp"], "area": ["Hall"]})
    assert same["function"]["parameters"]["properties"] == properties
