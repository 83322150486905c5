"""The conversation entity: Home Assistant hands over a sentence, a model answers it."""

import time
from collections.abc import Iterator
from typing import Literal, override

from homeassistant.components import conversation
from homeassistant.config_entries import ConfigSubentry
from homeassistant.const import CONF_LLM_HASS_API, MATCH_ALL
from homeassistant.core import HomeAssistant
from homeassistant.helpers import llm
from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback

from .consent import Consent, calls_awaiting_consent, consent
from .const import DOMAIN, SUBENTRY_CONVERSATION
from .entity import ZoeLLMEntity
from .errors import ZoeError, translated_errors
from .executor import Executor, Order, signature
from .followup import asks
from .honesty import correction
from .intervention import Intervention
from .inventory import inventory
from .memory import async_load_memory
from .models import ZoeConfigEntry
from .prefill import Primer
from .request import RequestKind
from .satellites import async_load_satellites
from .sentences import Sentences
from .tool_loop import ToolLoop, spoken_answer
from .turn import TurnStats
from .upcoming import async_provide_prompt

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
    _primer: Primer

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
    async def async_added_to_hass(self) -> None:
        """Begin to keep the prompts of this agent computed."""
        await super().async_added_to_hass()
        satellites = await async_load_satellites(self.hass)
        self._primer = Primer(self.hass, self.subentry, self._budget, self.client, satellites)
        self.async_on_remove(self._primer.async_start(await async_load_memory(self.hass)))
        self.async_on_remove(self.coordinator.async_listen_return(self._primer.async_recompute))

    @override
    async def async_prepare(self, language: str | None = None) -> None:
        """Compute the prompt of the sentence that somebody has begun to say."""
        await self._primer.async_prepare(language)

    @override
    async def _async_handle_message(
        self, user_input: conversation.ConversationInput, chat_log: conversation.ChatLog
    ) -> conversation.ConversationResult:
        """Answer one sentence."""
        turn = TurnStats(time.monotonic)
        self._primer.async_see(user_input.device_id, user_input.language)
        try:
            await async_provide_prompt(
                chat_log, self.subentry.data, user_input.as_llm_context(DOMAIN), user_input.extra_system_prompt
            )
        except conversation.ConverseError as err:
            return err.as_conversation_result()
        with translated_errors():
            await self._async_answer(user_input, chat_log, turn)
        self.fire_turn(chat_log, turn, user_input.context)
        result = conversation.async_get_result_from_chat_log(user_input, chat_log)
        asked = result.continue_conversation or asks(spoken_answer(chat_log))
        result.continue_conversation = self.options.follow_up and asked
        return result

    async def _async_answer(
        self, user_input: conversation.ConversationInput, chat_log: conversation.ChatLog, turn: TurnStats
    ) -> None:
        """Let the model answer, with the executor between it and the tools."""
        sentences = await Sentences.async_load(self.hass, user_input.language)
        waiting = calls_awaiting_consent(chat_log.content) if chat_log.llm_api else []
        reply = consent(user_input.text, *(sentences.words(key) for key in ("yes", "yes_fillers", "no")))
        agreed = waiting if reply is Consent.GIVEN else []
        judged = waiting if reply is Consent.LIKELY or not sentences.speaks(user_input.language) else agreed
        executor = self._executor(user_input, chat_log, turn, judged)
        chat_log.llm_api = executor

        def addition(answer: str) -> str:
            return self._correction(answer, user_input, chat_log, turn, sentences)

        async def ask(words_only: bool) -> None:
            kind = RequestKind(language=user_input.language, words_only=words_only)
            language = user_input.language if self.options.plain_speech else None
            await self.async_request(chat_log, turn, kind, speech_language=language, addition=addition)

        loop = ToolLoop(chat_log, self.entity_id, turn, sentences, executor, ask)
        try:
            await loop.async_run(agreed)
        except ZoeError as err:
            if not await loop.async_tell_done(err):
                raise

    def _executor(
        self,
        user_input: conversation.ConversationInput,
        chat_log: conversation.ChatLog,
        turn: TurnStats,
        consented: list[llm.ToolInput],
    ) -> Executor | None:
        """Return what makes the tool calls of this turn, or None if there are no tools.

        `consented` may be made although they need a consent. Where it is not sure that a reply is one (it says more
        than yes, or says it in a language whose yes is not known), the model judges: it has to make them again.
        """
        if chat_log.llm_api is None:
            return None
        agreed = frozenset(signature(call.tool_name, call.tool_args) for call in consented)
        order = Order(user_input.text, user_input.language, self.options.confirm_destructive, agreed)
        return Executor(self.hass, chat_log.llm_api, order, turn, chat_log.async_trace)

    def _correction(
        self,
        answer: str,
        user_input: conversation.ConversationInput,
        chat_log: conversation.ChatLog,
        turn: TurnStats,
        sentences: Sentences,
    ) -> str:
        """Return what has to be said behind an answer that claims what was not done."""
        executor = chat_log.llm_api
        outcomes = executor.outcomes if isinstance(executor, Executor) else ()
        found = correction(answer, user_input.text, user_input.language, outcomes, self._names_at_home())
        if found is None:
            return ""
        turn.repairs[Intervention.ANSWER_CORRECTED] += 1
        chat_log.async_trace({"repair": {"kind": str(Intervention.ANSWER_CORRECTED), "verdict": str(found.verdict)}})
        return f" {sentences.say(found.verdict, found.names)}"

    def _names_at_home(self) -> Iterator[str]:
        """Yield the names of things and places; looked up only if somebody wants them."""
        for named in inventory(self.hass, conversation.DOMAIN).values():
            yield from (one.name for one in named)
