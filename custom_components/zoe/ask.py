"""A question to a model that has nothing to do with a conversation or the home: text in, text or data out."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import probatio
from homeassistant.core import HomeAssistant
from homeassistant.helpers import llm
from homeassistant.helpers.selector import selector
from homeassistant.util.json import JSON_DECODE_EXCEPTIONS, JsonObjectType, json_loads

from .client import ZoeClient
from .const import MAX_ANSWER_TOKENS
from .errors import ZoeStructureError
from .pictures import async_data_url
from .turn import RequestStats

_NAME: Final = "answer"


async def async_ask(
    hass: HomeAssistant,
    client: ZoeClient,
    *,
    text: str,
    model: str,
    images: Sequence[Mapping[str, Any]] = (),
    fields: Mapping[str, Mapping[str, Any]] | None = None,
) -> JsonObjectType:
    """Return the answer of `model` as `text`, or as `data` where it is to have `fields`, and what it took.

    Args:
        hass: Home Assistant.
        client: the server.
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
    answer, stats = await _async_answer(client, request)
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


async def _async_answer(client: ZoeClient, request: dict[str, Any]) -> tuple[str, RequestStats]:
    pieces: list[str] = []
    stats = RequestStats()
    async for chunk in client.async_chat(request):
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
