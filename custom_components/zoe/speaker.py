"""Who is about to say something, as far as that is known before there is a sentence.

Home Assistant tells an agent that is to prepare itself nothing but a language. It does so inside a run of the voice
pipeline, though: the chat session of that run tells the conversation, and the run the device. Both are internals of
Home Assistant. Where they are not as expected, the device is that of the satellite in the run's first event, and if
that is not there either, none; then all that devices have in common is still right.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from homeassistant.components import conversation
from homeassistant.core import Context, HomeAssistant, callback
from homeassistant.helpers import chat_session, llm
from homeassistant.helpers import entity_registry as er

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
