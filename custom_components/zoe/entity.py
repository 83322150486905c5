"""The base of every entity that lets a model answer a chat log: one request to the server, and what a turn needs."""

from contextlib import aclosing
from typing import Any

from homeassistant.components import conversation
from homeassistant.config_entries import ConfigSubentry
from homeassistant.core import Context
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers.entity import Entity

from .attachment import Pictures, async_load_pictures
from .const import DOMAIN, EVENT_TURN, MODEL_AUTOMATIC
from .errors import ZoeContextExceededError
from .history import ContextBudget
from .intervention import Intervention
from .models import ZoeConfigEntry
from .options import AgentOptions
from .request import ChatRequest, RequestKind, chat_request
from .stream import Addition, StreamRules, chat_log_deltas, no_addition
from .turn import TurnStats


class ZoeLLMEntity(Entity):
    """An entity backed by a model of a Zoe server."""

    _attr_has_entity_name = True
    _attr_name = None

    def __init__(self, entry: ZoeConfigEntry, subentry: ConfigSubentry) -> None:
        self.entry = entry
        # Kept, since a reload of the entry takes them from there, and a turn that runs then goes on to its end.
        self.client = entry.runtime_data.client
        self.coordinator = entry.runtime_data.coordinator
        self.subentry = subentry
        self.options = AgentOptions.from_data(subentry.data)
        self._budget = ContextBudget()
        self._attr_unique_id = subentry.subentry_id
        self._attr_device_info = dr.DeviceInfo(
            identifiers={(DOMAIN, subentry.subentry_id)},
            name=subentry.title,
            manufacturer="Zoe",
            model=None if self.options.model == MODEL_AUTOMATIC else self.options.model,
            sw_version=entry.runtime_data.health.version,
            entry_type=dr.DeviceEntryType.SERVICE,
        )

    def build_request(
        self, chat_log: conversation.ChatLog, kind: RequestKind, pictures: Pictures | None = None
    ) -> ChatRequest:
        """Return the request that continues `chat_log`."""
        return chat_request(self.hass, chat_log, self.options, self._budget, kind, pictures or {})

    async def async_request(
        self,
        chat_log: conversation.ChatLog,
        turn: TurnStats,
        kind: RequestKind,
        *,
        speech_language: str | None = None,
        addition: Addition = no_addition,
    ) -> None:
        """Send one request and add what comes back, tool results included, to `chat_log`.

        When the server says that it is too long, it is sent again with less history, as long as there is any.

        Raises:
            ZoeError: the server or the model failed, or a picture cannot be read.
        """
        pictures = await async_load_pictures(self.hass, chat_log.content)
        while True:
            request = self.build_request(chat_log, kind, pictures)
            rules = StreamRules(request.tools_allowed, speech_language, addition)
            try:
                await self._async_stream(chat_log, turn, request.body, rules)
            except ZoeContextExceededError as err:
                self._budget.learn_limit(err.prompt_tokens, err.context_tokens, request.chars)
                if self.build_request(chat_log, kind, pictures).start <= request.start:
                    raise
                turn.repairs[Intervention.HISTORY_TRIMMED] += 1
                chat_log.async_trace({"repair": {"kind": str(Intervention.HISTORY_TRIMMED)}})
            else:
                self._budget.learn_length(turn.requests[-1].prompt_tokens, request.chars)
                return

    async def _async_stream(
        self, chat_log: conversation.ChatLog, turn: TurnStats, body: dict[str, Any], rules: StreamRules
    ) -> None:
        async with (
            aclosing(self.client.async_chat(body)) as chunks,
            aclosing(chat_log_deltas(chunks, turn, rules)) as deltas,
        ):
            async for _ in chat_log.async_add_delta_content_stream(self.entity_id, deltas):
                pass  # the chat log keeps the content, and runs the tools between the steps of this loop
        chat_log.async_trace({"stats": turn.requests[-1].as_trace()})

    def fire_turn(self, chat_log: conversation.ChatLog, turn: TurnStats, context: Context | None) -> None:
        """Fire `zoe_turn` in `context` with the figures of a turn that is over (`TurnStats.as_event_data`)."""
        data = turn.as_event_data(chat_log.conversation_id, self.entity_id)
        self.hass.bus.async_fire(EVENT_TURN, data, context=context)
