"""The actions `zoe.ask`, `zoe.explain` and `zoe.prime`."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import probatio
from homeassistant.core import HomeAssistant, ServiceCall, ServiceResponse, SupportsResponse, callback
from homeassistant.helpers import config_validation as cv
from homeassistant.helpers import llm, service
from homeassistant.helpers.selector import selector, validate_selector
from homeassistant.util.json import JSON_DECODE_EXCEPTIONS, JsonObjectType, json_loads

from .api.errors import ZoeStructureError, translated_errors
from .api.openai_client import client_for
from .checks import async_measure_prompt, note_size
from .const import CONF_MODEL, DOMAIN, MAX_ANSWER_TOKENS, MODEL_AUTOMATIC, SUBENTRY_CONVERSATION
from .coordinator import ZoeConfigEntry, ZoeCoordinator
from .home import argument_values
from .pictures import async_data_url
from .turn.stats import RequestStats

ATTR_ENTRY: Final = "config_entry"
ATTR_TEXT: Final = "text"
ATTR_IMAGES: Final = "images"
ATTR_STRUCTURE: Final = "structure"

_FIELD = probatio.Schema(
    {
        probatio.Optional("description"): cv.string,
        probatio.Optional("required", default=False): cv.boolean,
        probatio.Required("selector"): validate_selector,
    }
)
_MEDIA = probatio.Schema(
    {probatio.Required("media_content_id"): cv.string, probatio.Optional("media_content_type"): cv.string},
    extra=probatio.REMOVE_EXTRA,  # the media selector adds what it shows of it
)
PRIME_SCHEMA = probatio.Schema({probatio.Optional(ATTR_ENTRY): cv.string})
EXPLAIN_SCHEMA = PRIME_SCHEMA.extend(
    {probatio.Required(ATTR_TEXT): cv.string, probatio.Optional(CONF_MODEL, default=MODEL_AUTOMATIC): cv.string}
)
ASK_SCHEMA = EXPLAIN_SCHEMA.extend(
    {
        probatio.Optional(ATTR_IMAGES, default=list): probatio.All(cv.ensure_list, [_MEDIA]),
        probatio.Optional(ATTR_STRUCTURE): probatio.Schema({cv.string: _FIELD}),
    }
)


@callback
def async_setup_services(hass: HomeAssistant) -> None:
    """Register the actions."""
    for name, handler, schema in (
        ("ask", _async_ask, ASK_SCHEMA),
        ("explain", _async_explain, EXPLAIN_SCHEMA),
    ):
        hass.services.async_register(DOMAIN, name, handler, schema=schema, supports_response=SupportsResponse.ONLY)
    hass.services.async_register(
        DOMAIN, "prime", _async_prime, schema=PRIME_SCHEMA, supports_response=SupportsResponse.OPTIONAL
    )


async def _async_ask(call: ServiceCall) -> ServiceResponse:
    """Let a model answer a text, apart from any conversation and without the home."""
    with translated_errors():
        return await async_ask(
            call.hass,
            _entry(call).runtime_data,
            text=call.data[ATTR_TEXT],
            model=call.data[CONF_MODEL],
            images=call.data[ATTR_IMAGES],
            fields=call.data.get(ATTR_STRUCTURE),
        )


async def _async_explain(call: ServiceCall) -> ServiceResponse:
    """Tell which model would answer a sentence said in this home, and why; nothing is asked."""
    values = argument_values(call.hass)
    question = {
        "text": call.data[ATTR_TEXT],
        "model": call.data[CONF_MODEL],
        "devices": values["name"],
        "areas": [*values["area"], *values["floor"]],
    }
    with translated_errors():
        return await _entry(call).runtime_data.client.async_explain(question)


async def _async_prime(call: ServiceCall) -> ServiceResponse:
    """Let the server compute the prompts of all agents, so that the next sentence is answered sooner."""
    entry = _entry(call)
    agents: list[Any] = []
    with translated_errors():
        for agent in entry.get_subentries_of_type(SUBENTRY_CONVERSATION):
            size = await async_measure_prompt(call.hass, client_for(call.hass, entry.data), agent.data)
            note_size(call.hass, entry, agent, size)
            told: JsonObjectType = {
                "agent": agent.title,
                "prompt_tokens": size.prompt_tokens,
                "cached_tokens": size.cached_tokens,
                "lookup_tokens": size.lookup_tokens,
                "context_tokens": size.context_tokens,
                "fits": size.fits,
            }
            agents.append(told)
    return {"agents": agents} if call.return_response else None


def _entry(call: ServiceCall) -> ZoeConfigEntry:
    """Return the server that the call names, or the only one.

    Raises:
        ServiceValidationError: there is no such server, or it is not connected.
    """
    entry: ZoeConfigEntry = service.async_get_config_entry(call.hass, DOMAIN, call.data.get(ATTR_ENTRY))
    return entry


_NAME: Final = "answer"


async def async_ask(
    hass: HomeAssistant,
    server: ZoeCoordinator,
    *,
    text: str,
    model: str,
    images: Sequence[Mapping[str, Any]] = (),
    fields: Mapping[str, Mapping[str, Any]] | None = None,
) -> JsonObjectType:
    """Return the answer of `model` as `text`, or as `data` where it is to have `fields`, and what it took.

    Args:
        hass: Home Assistant.
        server: the server.
        text: what is asked.
        model: a model's name, or `zoe` for the server's choice.
        images: pictures, as a media selector gives them.
        fields: for each field of the answer its selector, and whether it is required (as in AI tasks).

    Raises:
        ZoeAttachmentError: an image cannot be used.
        ZoeStructureError: the answer does not have these fields.
        ZoeError: the server or the model fails.
    """
    request: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": await _async_content(hass, text, images)}],
        "max_tokens": MAX_ANSWER_TOKENS,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    structure = None if fields is None else _structure(fields)
    if structure is not None:
        request["response_format"] = _response_format(structure)
    answer, stats = await _async_answer(server, request)
    told: JsonObjectType = {
        "model": stats.model,
        "prompt_tokens": stats.prompt_tokens,
        "completion_tokens": stats.completion_tokens,
    }
    return {"text": answer, **told} if structure is None else {"data": _data(structure, answer), **told}


async def _async_content(
    hass: HomeAssistant, text: str, images: Sequence[Mapping[str, Any]]
) -> str | list[dict[str, Any]]:
    urls = [await async_data_url(hass, image) for image in images]
    shown = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return [{"type": "text", "text": text}, *shown] if shown else text


async def _async_answer(server: ZoeCoordinator, request: dict[str, Any]) -> tuple[str, RequestStats]:
    pieces: list[str] = []
    stats = RequestStats()
    async with server.async_chat(request) as answer:
        async for chunk in answer.chunks:
            stats.read_chunk(chunk)
            pieces += [(choice.get("delta") or {}).get("content") or "" for choice in chunk["choices"]]
    return "".join(pieces).strip(), stats


def _structure(fields: Mapping[str, Mapping[str, Any]]) -> probatio.Schema:
    schema: dict[probatio.Marker, Any] = {}
    for name, field in fields.items():
        marker = probatio.Required if field["required"] else probatio.Optional
        schema[marker(name, description=field.get("description"))] = selector(field["selector"])
    return probatio.Schema(schema)


def _response_format(structure: probatio.Schema) -> dict[str, Any]:
    schema = probatio.to_openapi(structure, custom_serializer=llm.selector_serializer, openapi_version="3.1.0")
    return {"type": "json_schema", "json_schema": {"name": _NAME, "schema": schema}}


def _data(structure: probatio.Schema, answer: str) -> JsonObjectType:
    """Return the answer's data.

    Raises:
        ZoeStructureError: it is cut off, or something else is wrong with it.
    """
    try:
        data: JsonObjectType = structure(json_loads(answer))
    except (*JSON_DECODE_EXCEPTIONS, probatio.Invalid) as err:
        raise ZoeStructureError(str(err)) from err
    return data
