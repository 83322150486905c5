"""The conversation entity: Home Assistant hands over a sentence, a model answers it."""

import time
from typing import Literal, override

from homeassistant.components import conversation
from homeassistant.config_entries import ConfigSubentry
from homeassistant.const import CONF_LLM_HASS_API, CONF_PROMPT, MATCH_ALL
from homeassistant.core import HomeAssistant
from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback

from .const import DOMAIN, SUBENTRY_CONVERSATION
from .entity import ZoeLLMEntity
from .models import ZoeConfigEntry
from .turn import TurnStats

# The server does its own queueing; Home Assistant need not hold sentences back.
PARALLEL_UPDATES = 0


async def async_setup_entry(
    hass: HomeAssistant, entry: ZoeConfigEntry, async_add_entities: AddConfigEntryEntitiesCallback
) -> None:
    """Add one entity per conversation agent of the entry."""
    for subentry in entry.get_subentries_of_type(SUBENTRY_CONVERSATION):
        async_add_entities([ZoeConversationEntity(entry, subentry)], config_subentry_id=subentry.subentry_id)


class ZoeConversationEntity(ZoeLLMEntity, conversation.ConversationEntity):
    """A conversation agent backed by a Zoe server."""

    _attr_supports_streaming = True
    _attr_translation_key = "conversation"

    def __init__(self, entry: ZoeConfigEntry, subentry: ConfigSubentry) -> None:
        super().__init__(entry, subentry)
        if subentry.data.get(CONF_LLM_HASS_API):
            self._attr_supported_features = conversation.ConversationEntityFeature.CONTROL

    @property
    @override
    def supported_languages(self) -> list[str] | Literal["*"]:
        """Return the languages this agent is offered for; the models decide what they understand."""
        return MATCH_ALL

    @override
    async def _async_handle_message(
        self, user_input: conversation.ConversationInput, chat_log: conversation.ChatLog
    ) -> conversation.ConversationResult:
        """Answer one sentence."""
        turn = TurnStats(time.monotonic)
        try:
            await chat_log.async_provide_llm_data(
                user_input.as_llm_context(DOMAIN),
                self.subentry.data.get(CONF_LLM_HASS_API),
                self.subentry.data.get(CONF_PROMPT),
                user_input.extra_system_prompt,
            )
        except conversation.ConverseError as err:
            return err.as_conversation_result()
        await self.async_answer(chat_log, turn, user_input.context)
        return conversation.async_get_result_from_chat_log(user_input, chat_log)
