"""The check of a server that is in use: with each of its agents, and its outcome told as issues."""

from dataclasses import dataclass

from homeassistant.config_entries import ConfigSubentry
from homeassistant.const import CONF_LLM_HASS_API
from homeassistant.core import HomeAssistant

from .connection import client_for
from .const import CONF_MODEL, MODEL_AUTOMATIC, SUBENTRY_CONVERSATION
from .issues import NO_TOOL_CALLS, PROMPT_TOO_LONG, async_raise, async_remove
from .models import ZoeConfigEntry
from .server_check import PromptSize, Trial, async_measure_prompt, async_try_model


@dataclass(frozen=True, slots=True)
class AgentTest:
    """What was found out about one agent; no `trial` for one that controls nothing."""

    agent: str
    size: PromptSize
    trial: Trial | None


async def async_self_test(hass: HomeAssistant, entry: ZoeConfigEntry) -> list[AgentTest]:
    """Check the server with each agent, and raise or remove the issues that this tells of.

    Raises:
        ZoeError: the server or a model fails.
    """
    agents = entry.get_subentries_of_type(SUBENTRY_CONVERSATION)
    return [await async_test_agent(hass, entry, agent) for agent in agents]


async def async_test_agent(hass: HomeAssistant, entry: ZoeConfigEntry, agent: ConfigSubentry) -> AgentTest:
    """Check the server with one agent, see `async_self_test`."""
    client = client_for(hass, entry.data)  # one of its own: what is asked here is no request of the home
    trial: Trial | None = None
    if agent.data.get(CONF_LLM_HASS_API):
        trial = await async_try_model(client, agent.data.get(CONF_MODEL, MODEL_AUTOMATIC))
    size = await async_measure_prompt(hass, client, agent.data)
    note_trial(hass, entry, agent, trial)
    note_size(hass, entry, agent, size)
    return AgentTest(agent.title, size, trial)


def note_trial(hass: HomeAssistant, entry: ZoeConfigEntry, agent: ConfigSubentry, trial: Trial | None) -> None:
    """Raise or remove the issue that the model of `agent` calls no tools."""
    if trial is None or trial.calls_tools:
        async_remove(hass, entry, NO_TOOL_CALLS, about=agent.subentry_id)
    else:
        about = agent.subentry_id
        async_raise(hass, entry, NO_TOOL_CALLS, about=about, agent=agent.title, model=trial.model)


def note_size(hass: HomeAssistant, entry: ZoeConfigEntry, agent: ConfigSubentry, size: PromptSize) -> None:
    """Raise or remove the issue that the home does not fit into what the model of `agent` can read."""
    if size.fits:
        async_remove(hass, entry, PROMPT_TOO_LONG, about=agent.subentry_id)
    else:
        about = agent.subentry_id
        async_raise(hass, entry, PROMPT_TOO_LONG, about=about, agent=agent.title, **size.placeholders)
