"""The base classes of all entities: those that let a model answer, and those that show or change how the server is."""

from collections.abc import Callable, Iterable
from contextlib import aclosing
from math import inf
from typing import Any

from homeassistant.components import conversation
from homeassistant.config_entries import ConfigSubentry
from homeassistant.const import EntityCategory
from homeassistant.core import Context, callback
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers.entity import Entity, EntityDescription
from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback
from homeassistant.helpers.update_coordinator import CoordinatorEntity

from .api.errors import ZoeContextExceededError
from .const import DOMAIN, EVENT_TURN, MODEL_AUTOMATIC
from .coordinator import ZoeConfigEntry, ZoeCoordinator
from .options import AgentOptions
from .pictures import Pictures, async_load_pictures
from .turn.history import ContextBudget
from .turn.outcome import Intervention
from .turn.request import ChatRequest, RequestKind, chat_request
from .turn.stats import RequestStats, TurnStats
from .turn.stream import Listener, StreamRules, chat_log_deltas


class ZoeLLMEntity(CoordinatorEntity[ZoeCoordinator]):
    """An entity backed by a model of a Zoe server; unavailable while the server is."""

    _attr_has_entity_name = True
    _attr_name = None

    def __init__(self, entry: ZoeConfigEntry, subentry: ConfigSubentry) -> None:
        # Kept, since a reload of the entry makes another one, and a turn that runs then goes on to its end.
        super().__init__(entry.runtime_data)
        self.entry = entry
        self.client = self.coordinator.client
        self.subentry = subentry
        self.options = AgentOptions.from_data(subentry.data)
        self._budgets: dict[str, ContextBudget] = {}
        self._attr_unique_id = subentry.subentry_id
        self._attr_device_info = dr.DeviceInfo(
            identifiers={(DOMAIN, subentry.subentry_id)},
            name=subentry.title,
            manufacturer="Zoe",
            model=None if self.options.model == MODEL_AUTOMATIC else self.options.model,
            sw_version=self.coordinator.data.health.version,
            entry_type=dr.DeviceEntryType.SERVICE,
        )

    def expected_budget(self) -> ContextBudget:
        """Return what is known of how long the next sentence's request may be.

        Where the server chooses the model, the one that can read most counts, also if it has not told how much: the
        limit of a small model must not cut what a large one answers. What then does not fit, the server refuses.
        """
        if self.options.model != MODEL_AUTOMATIC:
            return self._budgets.setdefault(self.options.model, ContextBudget())
        answering = [model.name for model in self.coordinator.data.models if model.roles != ("embeddings",)]
        return max((self._budgets.get(name, ContextBudget()) for name in answering), key=_room, default=ContextBudget())

    def build_request(
        self,
        chat_log: conversation.ChatLog,
        kind: RequestKind,
        pictures: Pictures | None = None,
        budget: ContextBudget | None = None,
    ) -> ChatRequest:
        """Return the request that continues `chat_log`, by default within the expected budget."""
        budget = budget or self.expected_budget()
        return chat_request(self.hass, chat_log, self.options, budget, kind, pictures or {})

    async def async_request(
        self,
        chat_log: conversation.ChatLog,
        turn: TurnStats,
        kind: RequestKind,
        *,
        speech_language: str | None = None,
        listener: Listener | None = None,
    ) -> None:
        """Send one request and add what comes back, tool results included, to `chat_log`.

        When the server says that it is too long, it is sent again with less history and shorter results of tools, as
        long as that makes it shorter.

        Raises:
            ZoeError: the server or the model failed, or a picture cannot be read.
        """
        pictures = await async_load_pictures(self.hass, chat_log.content)
        # After the result of a tool, the model of the sentence goes on.
        answered = next((request.model for request in reversed(turn.requests) if request.model), None)
        budget = self._budgets.get(answered or "") or self.expected_budget()
        refused: ContextBudget | None = None
        while True:
            request = self.build_request(chat_log, kind, pictures, budget)
            rules = StreamRules(request.tools, speech_language, listener)
            try:
                await self._async_stream(chat_log, turn, request.body, rules)
            except ZoeContextExceededError as err:
                # Which model that is, the server tells with the answer to the next attempt.
                budget = refused = ContextBudget()
                refused.learn_limit(err.prompt_tokens, err.context_tokens, request.chars)
                if self.build_request(chat_log, kind, pictures, refused).chars >= request.chars:
                    raise
                turn.repairs[Intervention.HISTORY_TRIMMED] += 1
                chat_log.async_trace({"repair": {"kind": str(Intervention.HISTORY_TRIMMED)}})
            else:
                self._learn(turn.requests[-1], request.chars, refused)
                return

    def _learn(self, stats: RequestStats, chars: int, refused: ContextBudget | None) -> None:
        """Take what an answer tells about the model that gave it, and what it refused before."""
        automatic = self.options.model == MODEL_AUTOMATIC
        model = stats.model or MODEL_AUTOMATIC if automatic else self.options.model
        if refused is not None:
            self._budgets[model] = refused
        self._budgets.setdefault(model, ContextBudget()).learn_length(stats.prompt_tokens, chars)

    async def _async_stream(
        self, chat_log: conversation.ChatLog, turn: TurnStats, body: dict[str, Any], rules: StreamRules
    ) -> None:
        async with (
            self.coordinator.async_chat(body, self.options.timeout_s) as answer,
            aclosing(chat_log_deltas(answer.chunks, turn, rules)) as deltas,
        ):
            async for _ in chat_log.async_add_delta_content_stream(self.entity_id, deltas):
                pass  # the chat log keeps the content, and runs the tools between the steps of this loop
        chat_log.async_trace({"stats": turn.requests[-1].as_trace()})

    def fire_turn(self, chat_log: conversation.ChatLog, turn: TurnStats, context: Context | None) -> None:
        """Fire `zoe_turn` in `context` with the figures of a turn that is over (`TurnStats.as_event_data`)."""
        data = turn.as_event_data(chat_log.conversation_id, self.entity_id)
        self.hass.bus.async_fire(EVENT_TURN, data, context=context)


def _room(budget: ContextBudget) -> float:
    """Return how many characters a model can read, as far as it has told."""
    return inf if budget.context_tokens is None else budget.context_tokens * budget.chars_per_token


def server_device(coordinator: ZoeCoordinator) -> dr.DeviceInfo:
    """Return the device of the server."""
    entry = coordinator.config_entry
    return dr.DeviceInfo(
        identifiers={(DOMAIN, entry.entry_id)},
        translation_key="server",
        translation_placeholders={"name": entry.title},
        manufacturer="Zoe",
        sw_version=coordinator.data.health.version,
        entry_type=dr.DeviceEntryType.SERVICE,
    )


class ZoeServerEntity(CoordinatorEntity[ZoeCoordinator]):
    """An entity of the server; `about` names what of it, where there are several of a kind."""

    _attr_has_entity_name = True

    def __init__(self, coordinator: ZoeCoordinator, description: EntityDescription, about: str = "") -> None:
        super().__init__(coordinator)
        self.entity_description = description
        self.about = about
        self._attr_entity_category = description.entity_category or EntityCategory.DIAGNOSTIC
        key = f"{description.key}_{about}" if about else description.key
        self._attr_unique_id = f"{coordinator.config_entry.entry_id}_{key}"
        self._attr_device_info = server_device(coordinator)
        if about:
            self._attr_translation_placeholders = {"about": about}


@callback
def async_add_as_they_appear(
    coordinator: ZoeCoordinator,
    add_entities: AddConfigEntryEntitiesCallback,
    present: Callable[[], Iterable[tuple[str, Callable[[], Entity]]]],
) -> None:
    """Add entities now, and those that appear with a later poll.

    `present` yields what there is at the moment: a name of its own, and what makes its entity.
    """
    known: set[str] = set()

    @callback
    def async_add_new() -> None:
        new = {name: make for name, make in present() if name not in known}
        known.update(new)
        if new:
            add_entities([make() for make in new.values()])

    async_add_new()
    coordinator.config_entry.async_on_unload(coordinator.async_add_listener(async_add_new))
