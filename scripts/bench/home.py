"""What one request costs Home Assistant's event loop in a large home: 500 exposed entities with two aliases each.

Everything that runs there while a request is built counts, except the prompt and the tools themselves, which Home
Assistant makes. The baseline is the first request after an entity was renamed, for which the home is looked at anew.
Counted is the processor's time, for the machine may have other things to do.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from homeassistant.components import conversation
from homeassistant.components.homeassistant.exposed_entities import async_expose_entity
from homeassistant.core import HomeAssistant
from homeassistant.helpers import area_registry as ar
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers import floor_registry as fr
from homeassistant.setup import async_setup_component

from bench.figure import Figure, Target
from custom_components.zoe.home import argument_values, inventory
from custom_components.zoe.options import AgentOptions
from custom_components.zoe.prefill import async_provide_prompt
from custom_components.zoe.speaker import Speaker
from custom_components.zoe.turn.history import ContextBudget
from custom_components.zoe.turn.request import RequestKind, chat_request
from zoe_eval.core import home_assistant

NAME = "home"
N_ENTITIES = 500
N_AREAS = 20
N_COLD = 15
N_WARM = 60
N_UNITS = N_COLD + N_WARM + 1
TITLE = f"event loop per request, {N_ENTITIES} exposed entities with two aliases each"
LIMIT_MS = 5.0
DOMAINS = ("light", "switch", "sensor", "cover", "climate", "media_player", "lock", "fan", "number", "vacuum")
Advance = Callable[[int], None]


async def furnish(hass: HomeAssistant, n_entities: int = N_ENTITIES) -> None:
    """Put entities into the home, in areas on two floors."""
    for domain in DOMAINS:
        await async_setup_component(hass, domain, {})
    await hass.async_block_till_done()
    floors = [fr.async_get(hass).async_create(name) for name in ("Upstairs", "Downstairs")]
    areas = [
        ar.async_get(hass).async_create(f"Room {n}", floor_id=floors[n % 2].floor_id, aliases={f"Chamber {n}"})
        for n in range(N_AREAS)
    ]
    entities = er.async_get(hass)
    for n in range(n_entities):
        domain = DOMAINS[n % len(DOMAINS)]
        entry = entities.async_get_or_create(domain, "bench", str(n), original_name=f"Thing {n}")
        aliases: list[str | er.ComputedNameType] = [er.COMPUTED_NAME, f"Second name {n}", f"Third name {n}"]
        entities.async_update_entity(entry.entity_id, area_id=areas[n % N_AREAS].id, aliases=aliases)
        hass.states.async_set(entry.entity_id, "on", {"friendly_name": f"Thing {n}", "supported_features": 0xFFFF})
        async_expose_entity(hass, "conversation", entry.entity_id, should_expose=True)
    await hass.async_block_till_done()


async def chat_log(hass: HomeAssistant) -> conversation.ChatLog:
    """Return a conversation at the point where the request is built."""
    log = conversation.ChatLog(hass, "bench")
    await async_provide_prompt(log, {"llm_hass_api": ["assist"]}, Speaker("en").as_llm_context())
    log.content.append(conversation.UserContent("turn on thing 1"))
    return log


async def run(advance: Advance) -> list[Figure]:
    """Measure; `advance` is called after every request."""
    options, budget, kind = AgentOptions.from_data({}), ContextBudget(), RequestKind("en")
    prompt_ms: list[float] = []
    request_ms: dict[bool, list[float]] = {True: [], False: []}
    names_ms: dict[bool, list[float]] = {True: [], False: []}
    async with home_assistant() as hass:
        await furnish(hass)
        await chat_log(hass)
        advance(1)
        for n in range(N_COLD + N_WARM):
            is_cold = n < N_COLD
            if is_cold:
                er.async_get(hass).async_update_entity("light.bench_0", name=f"Renamed {n}")
                await hass.async_block_till_done()
            began_s = time.thread_time()
            log = await chat_log(hass)
            prompt_ms.append((time.thread_time() - began_s) * 1000)
            began_s = time.thread_time()
            chat_request(hass, log, options, budget, kind, {})
            built_s = time.thread_time()
            if log.llm_api is not None:
                inventory(hass, conversation.DOMAIN)
                argument_values(hass, conversation.DOMAIN, log.llm_api.tools)
            request_ms[is_cold].append((built_s - began_s) * 1000)
            names_ms[is_cold].append((time.thread_time() - built_s) * 1000)
            advance(1)
    cold, warm = (statistics.median(request_ms[is_cold]) for is_cold in (True, False))
    cold_names, warm_names = (statistics.median(names_ms[is_cold]) for is_cold in (True, False))
    return [
        Figure("building a request, cold", cold, "ms", target=Target(LIMIT_MS)),
        Figure("building a request, warm", warm, "ms", target=Target(LIMIT_MS)),
        Figure("building a request, cold over warm", cold, "ms", warm),
        Figure("names for the calls, cold over warm", cold_names, "ms", warm_names),
        Figure("prompt and tools, by Home Assistant itself", statistics.median(prompt_ms), "ms"),
    ]
