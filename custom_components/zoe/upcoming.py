"""The request that a sentence will lead to, made before it is said: all but the sentence.

It takes the way of the real one (`async_provide_prompt`, `request.chat_request`), with a chat log that is a copy, so
both have the same bytes up to the sentence. No entity is needed, only what a user chose for an agent.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from homeassistant.components import conversation
from homeassistant.components.conversation.chat_log import DATA_CHAT_LOGS
from homeassistant.const import CONF_LLM_HASS_API, CONF_PROMPT
from homeassistant.core import HomeAssistant
from homeassistant.helpers import llm

from .history import ContextBudget
from .memory import async_load_memory
from .options import AgentOptions
from .request import RequestKind, chat_request
from .speaker import Speaker

_CONVERSATION: Final = "zoe-prefill"


@dataclass(frozen=True)
class _PromptWithFacts(conversation.SystemContent):
    """A system prompt with what the household wants its agents to know, which may be other facts with the next turn."""

    bare: str = ""


async def async_provide_prompt(
    chat_log: conversation.ChatLog,
    agent: Mapping[str, Any],
    llm_context: llm.LLMContext,
    extra_prompt: str | None = None,
) -> None:
    """Put the system prompt and the tools of a turn into its chat log; `agent` is the data of a subentry.

    Raises:
        ConverseError: Home Assistant cannot make them.
    """
    await chat_log.async_provide_llm_data(
        llm_context, agent.get(CONF_LLM_HASS_API), agent.get(CONF_PROMPT), extra_prompt
    )
    prompt = cast("conversation.SystemContent", chat_log.content[0])  # which every chat log begins with
    # Home Assistant 2026.11 keeps the prompt of a conversation: then it is the one that we made in an earlier turn.
    bare = prompt.bare if isinstance(prompt, _PromptWithFacts) else prompt.content
    facts = (await async_load_memory(chat_log.hass)).as_prompt()
    chat_log.content[0] = _PromptWithFacts(f"{bare}\n{facts}", bare) if facts else conversation.SystemContent(bare)


async def async_upcoming_request(
    hass: HomeAssistant, agent: Mapping[str, Any], speaker: Speaker, budget: ContextBudget | None = None
) -> dict[str, Any]:
    """Return the request that computes the prompt of what `speaker` says next to an agent, and nothing more.

    `agent` is the data of its subentry, `budget` what it has learned about the length of requests.

    Raises:
        ConverseError: Home Assistant cannot make the prompt.
    """
    chat_log = _private_log(hass, speaker.conversation_id)
    await async_provide_prompt(chat_log, agent, speaker.as_llm_context())
    # Without the sentence to come, the history might be cut elsewhere, and some chat templates would refuse.
    chat_log.content.append(conversation.UserContent(""))
    kind = RequestKind(speaker.language, priority="background")
    body = chat_request(hass, chat_log, AgentOptions.from_data(agent), budget or ContextBudget(), kind, {}).body
    *before, _ = body["messages"]
    return {**body, "messages": [*before, {"role": "user", "content": ""}], "max_tokens": 0}


def _private_log(hass: HomeAssistant, conversation_id: str | None) -> conversation.ChatLog:
    """Return a chat log that nobody else sees, with what was said in a conversation so far."""
    chat_log = conversation.ChatLog(hass, _CONVERSATION)
    known = hass.data.get(DATA_CHAT_LOGS, {}).get(conversation_id or "")
    if known is not None:
        chat_log.content = known.content.copy()
        chat_log.extra_system_prompt = known.extra_system_prompt
    return chat_log
