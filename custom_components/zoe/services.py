"""The actions `zoe.ask`, `zoe.explain` and `zoe.prime`."""

from typing import Any, Final

import probatio
from homeassistant.core import HomeAssistant, ServiceCall, ServiceResponse, SupportsResponse, callback
from homeassistant.helpers import config_validation as cv
from homeassistant.helpers import service
from homeassistant.helpers.selector import validate_selector
from homeassistant.util.json import JsonObjectType

from .ask import async_ask
from .connection import client_for
from .const import CONF_MODEL, DOMAIN, MODEL_AUTOMATIC, SUBENTRY_CONVERSATION
from .errors import translated_errors
from .grounding import argument_values
from .models import ZoeConfigEntry
from .self_test import note_size
from .server_check import async_measure_prompt

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
            _entry(call).runtime_data.client,
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
