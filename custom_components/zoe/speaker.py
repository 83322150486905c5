"""Who is about to say something, as far as that is known before there is a sentence, and who has spoken before.

Home Assistant tells an agent that is to prepare itself nothing but a language. It does so inside a run of the voice
pipeline, though: the chat session of that run tells the conversation, and the run the device. Both are internals of
Home Assistant. Where they are not as expected, the device is that of the satellite in the run's first event, and if
that is not there either, none; then all that devices have in common is still right.

Which devices people speak to is kept over restarts of Home Assistant, because that is when computing ahead counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from homeassistant.components import conversation
from homeassistant.core import Context, HomeAssistant, callback
from homeassistant.helpers import chat_session, llm
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers.singleton import singleton
from homeassistant.helpers.storage import Store
from homeassistant.util.hass_dict import HassKey

from .const import DOMAIN, LOGGER

_PIPELINES: Final = "assist_pipeline"


@dataclass(frozen=True, slots=True)
class Speaker:
    """Somebody who speaks a language (a tag) to a device, in a conversation."""

    language: str | None
    device_id: str | None = None
    conversation_id: str | None = None
    context: Context | None = None

    def as_llm_context(self) -> llm.LLMContext:
        """Return what decides about prompt and tools, as the sentence to come will have it."""
        return llm.LLMContext(DOMAIN, self.context or Context(), self.language, conversation.DOMAIN, self.device_id)


@callback
def current_speaker(hass: HomeAssistant, language: str | None) -> Speaker:
    """Return who speaks in the pipeline run that this is called in; called elsewhere, somebody without a device."""
    session = chat_session.current_session.get()
    if session is None:
        return Speaker(language)
    try:
        device_id, context = _device_and_context(hass, session.conversation_id)
    except (AttributeError, KeyError, TypeError) as err:
        LOGGER.debug("The runs of the voice pipeline are not as expected: %r", err)
        device_id, context = None, None
    return Speaker(language, device_id, session.conversation_id, context)


def _device_and_context(hass: HomeAssistant, conversation_id: str) -> tuple[str | None, Context | None]:
    pipelines: Any = hass.data.get(_PIPELINES)  # its types are only there if the component is
    starts = _starts(pipelines.pipeline_debug, conversation_id) if pipelines else {}
    if not starts:
        return None, None
    newest = max(starts)  # run ids are made of the time
    pipeline_id, data = starts[newest]
    # What runs is private to Home Assistant, and may be gone.
    runs: Mapping[str, Any] = getattr(pipelines.pipeline_runs, "_pipeline_runs", {})
    if run := runs.get(pipeline_id, {}).get(newest):
        return run.device_id, run.context
    satellite = er.async_get(hass).async_get(data.get("satellite_id") or "")
    return (satellite.device_id if satellite else None), None


def _starts(debug: Mapping[str, Any], conversation_id: str) -> dict[str, tuple[str, Mapping[str, Any]]]:
    """Return the pipeline and the first event's data of each run of a conversation, by the id of the run."""
    return {
        run_id: (pipeline_id, run.events[0].data)
        for pipeline_id, runs in debug.items()
        for run_id, run in runs.items()
        if run.events and (run.events[0].data or {}).get("conversation_id") == conversation_id
    }


MAX_PER_AGENT: Final = 6
"""So many prompts are kept for one agent; a server has not many more places for them."""

_VERSION: Final = 1
_SAVE_DELAY_S: Final = 10.0


class Satellite(NamedTuple):
    """A device, None for a text field, and the tag of the language that is spoken to it."""

    device_id: str | None
    language: str


type Stored = dict[str, list[list[str | None]]]


class Satellites:
    """For each agent, by its id, the satellites that were used, the last one first."""

    def __init__(self, hass: HomeAssistant, store: Store[Stored], stored: Mapping[str, Any]) -> None:
        self._hass = hass
        self._store = store
        self._seen = {agent: [Satellite(*pair) for pair in pairs] for agent, pairs in stored.items()}

    @callback
    def seen(self, agent: str) -> list[Satellite]:
        """Return the satellites of an agent."""
        return list(self._seen.get(agent, ()))

    @callback
    def see(self, agent: str, satellite: Satellite) -> None:
        """Take note that a satellite was used; only a new one is worth a write to the disk."""
        before = self._seen.get(agent, [])
        self._seen[agent] = [satellite, *(other for other in before if other != satellite)][:MAX_PER_AGENT]
        if satellite not in before:
            self._store.async_delay_save(self._data, _SAVE_DELAY_S)

    async def async_clear(self) -> None:
        """Forget all of them, on the disk too."""
        self._seen.clear()
        await self._store.async_remove()

    @callback
    def _data(self) -> Stored:
        """Return what is stored: nothing of agents that are gone."""
        entries = self._hass.config_entries.async_entries(DOMAIN)
        agents = {agent for entry in entries for agent in entry.subentries}
        return {agent: [list(one) for one in seen] for agent, seen in self._seen.items() if agent in agents}


DATA_SATELLITES: HassKey[Satellites] = HassKey(f"{DOMAIN}_satellites")


@singleton(DATA_SATELLITES, async_=True)
async def async_load_satellites(hass: HomeAssistant) -> Satellites:
    """Return the satellites of all agents, read from the disk the first time."""
    store: Store[Stored] = Store(hass, _VERSION, f"{DOMAIN}.satellites")
    return Satellites(hass, store, await store.async_load() or {})
