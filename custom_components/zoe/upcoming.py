"""The request that a sentence will lead to, made before it is said: all but the sentence.

It takes the way of the real one (the agent's prompt, `request.chat_request`), with a chat log that is a copy, so both
have the same bytes up to the sentence.
"""

from typing import Any, Protocol

from homeassistant.components import conversation
from homeassistant.components.conversation.chat_log import DATA_CHAT_LOGS
from homeassistant.core import HomeAssistant
from homeassistant.helpers import llm

from .request import ChatRequest, RequestKind
from .speaker import Speaker

_CONVERSATION: str = "zoe-prefill"


class Agent(Protocol):
    """Makes prompts and requests for sentences."""

    hass: HomeAssistant
    entity_id: str

    async def async_provide_prompt(
        self, chat_log: conversation.ChatLog, llm_context: llm.LLMContext, extra_prompt: str | None = None
    ) -> None:
        """Put the system prompt and the tools of a turn into its chat log."""

    def build_request(self, chat_log: conversation.ChatLog, kind: RequestKind) -> ChatRequest:
        """Return the request that continues a chat log."""


async def async_upcoming_request(agent: Agent, speaker: Speaker) -> dict[str, Any]:
    """Return the request that computes the prompt of what `speaker` says next, and nothing more.

    Raises:
        ConverseError: Home Assistant cannot make the prompt.
    """
    chat_log = _private_log(agent.hass, speaker.conversation_id)
    await agent.async_provide_prompt(chat_log, speaker.as_llm_context())
    # Without the sentence to come, the history might be cut elsewhere, and some chat templates would refuse.
    chat_log.content.append(conversation.UserContent(""))
    body = agent.build_request(chat_log, RequestKind(speaker.language, priority="background")).body
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
