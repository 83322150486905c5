"""The base of every entity that lets a model answer a chat log: the request, and the tool loop around it."""

from contextlib import aclosing
from typing import Any

from homeassistant.components import conversation
from homeassistant.config_entries import ConfigSubentry
from homeassistant.core import Context
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers.entity import Entity

from .const import CONF_MODEL, DOMAIN, EVENT_TURN, MAX_ANSWER_TOKENS, MAX_TOOL_ITERATIONS, MODEL_AUTOMATIC
from .convert import content_to_message, tools_to_openai
from .errors import ZoeEmptyAnswerError, translated_errors
from .grounding import argument_values
from .models import ZoeConfigEntry
from .stream import chat_log_deltas
from .turn import TurnStats


class ZoeLLMEntity(Entity):
    """An entity backed by a model of a Zoe server."""

    _attr_has_entity_name = True
    _attr_name = None

    def __init__(self, entry: ZoeConfigEntry, subentry: ConfigSubentry) -> None:
        self.entry = entry
        self.subentry = subentry
        self.model: str = subentry.data.get(CONF_MODEL, MODEL_AUTOMATIC)
        self._attr_unique_id = subentry.subentry_id
        self._attr_device_info = dr.DeviceInfo(
            identifiers={(DOMAIN, subentry.subentry_id)},
            name=subentry.title,
            manufacturer="Zoe",
            model=self.model,
            sw_version=entry.runtime_data.health.version,
            entry_type=dr.DeviceEntryType.SERVICE,
        )

    def build_request(self, chat_log: conversation.ChatLog) -> dict[str, Any]:
        """Return the chat completion request that continues `chat_log`.

        The one function that makes a request: whatever computes a prompt ahead of time must send the very same bytes.
        """
        request: dict[str, Any] = {
            "model": self.model,
            "messages": [content_to_message(content) for content in chat_log.content],
            "max_tokens": MAX_ANSWER_TOKENS,
            "stream": True,
            "stream_options": {"include_usage": True},
            "zoe": {"priority": "interactive"},
        }
        if (api := chat_log.llm_api) and api.tools:
            request["tools"] = tools_to_openai(api.tools, api.custom_serializer)
            request["zoe"]["argument_values"] = argument_values(self.hass, api.llm_context.assistant, api.tools)
        return request

    async def async_answer(
        self, chat_log: conversation.ChatLog, turn: TurnStats, context: Context | None = None
    ) -> None:
        """Let the model answer `chat_log`, tools included; afterwards its last content is the assistant's answer.

        `turn` was begun when the sentence arrived; fires `zoe_turn` in `context` with its figures
        (`TurnStats.as_event_data`).

        Raises:
            HomeAssistantError: translated; the server or the model failed.
        """
        with translated_errors():
            await self._async_run_loop(chat_log, turn)
        data = turn.as_event_data(chat_log.conversation_id, self.entity_id)
        self.hass.bus.async_fire(EVENT_TURN, data, context=context)

    async def _async_run_loop(self, chat_log: conversation.ChatLog, turn: TurnStats) -> None:
        """Ask the model until it answers in words.

        After `MAX_TOOL_ITERATIONS` rounds of tools, or after an empty answer, it is asked once more for words only.
        """
        for _ in range(MAX_TOOL_ITERATIONS):
            length = len(chat_log.content)
            await self._async_request(chat_log, turn)
            if _is_answered(chat_log):
                return
            if len(chat_log.content) == length or not chat_log.unresponded_tool_results:
                break
        await self._async_request(chat_log, turn, words_only=True)
        if not _is_answered(chat_log):
            raise ZoeEmptyAnswerError("the model gave no answer")

    async def _async_request(
        self, chat_log: conversation.ChatLog, turn: TurnStats, *, words_only: bool = False
    ) -> None:
        """Send one request and add what comes back, tool results included, to `chat_log`."""
        request = self.build_request(chat_log)
        tools_allowed = "tools" in request and not words_only
        if "tools" in request and words_only:
            request["tool_choice"] = "none"
        client = self.entry.runtime_data.client
        async with (
            aclosing(client.async_chat(request)) as chunks,
            aclosing(chat_log_deltas(chunks, turn, tools_allowed=tools_allowed)) as deltas,
        ):
            async for _ in chat_log.async_add_delta_content_stream(self.entity_id, deltas):
                pass  # the chat log keeps the content, and runs the tools between the steps of this loop
        chat_log.async_trace({"stats": turn.requests[-1].as_trace()})


def _is_answered(chat_log: conversation.ChatLog) -> bool:
    last = chat_log.content[-1]
    return isinstance(last, conversation.AssistantContent) and bool(last.content and last.content.strip())
