"""The conversation entity: Home Assistant hands over a sentence, a model answers it."""

import time
from typing import Final, Literal, override

from homeassistant.components import conversation
from homeassistant.config_entries import ConfigSubentry
from homeassistant.const import CONF_LLM_HASS_API, MATCH_ALL
from homeassistant.core import HomeAssistant
from homeassistant.helpers import intent, llm
from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback
from homeassistant.util import dt as dt_util

from .api.errors import ZoeError
from .const import DOMAIN, LOGGER, SUBENTRY_CONVERSATION
from .coordinator import ZoeConfigEntry
from .entity import ZoeLLMEntity
from .home import async_load_kinds
from .memory import async_load_memory
from .options import guarded_entities
from .prefill import Primer, async_provide_prompt
from .speaker import async_load_satellites
from .speech.followup import asks, is_echo
from .speech.sentences import Sentences
from .turn.consent import agrees, calls_awaiting_consent
from .turn.executor import Executor, Order
from .turn.guard import Rules, signature
from .turn.loop import ToolLoop, spoken_answer
from .turn.reach import Sentence
from .turn.request import RequestKind
from .turn.stats import TurnStats
from .turn.verdict import Answers

_REMEMBERED: Final = 6
"""So many of the last things said may tell what "it" is."""

_MOST_QUESTIONS: Final = 6
"""After so many answers in a row that ask, a satellite does not listen by itself any more."""

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
        self._primer = Primer(self.hass, self.subentry, self.expected_budget, self.client, satellites)
        if self.client.primes:
            self.async_on_remove(self._primer.async_start(await async_load_memory(self.hass)))
            self.async_on_remove(self.coordinator.async_listen_return(self._primer.async_recompute))

    @override
    async def async_prepare(self, language: str | None = None) -> None:
        """Compute the prompt of the sentence that somebody has begun to say."""
        if self.client.primes:
            await self._primer.async_prepare(language)

    @override
    async def _async_handle_message(
        self, user_input: conversation.ConversationInput, chat_log: conversation.ChatLog
    ) -> conversation.ConversationResult:
        """Answer one sentence."""
        if user_input.device_id and is_echo(user_input.text, _last_answer(chat_log)):
            return _silence(user_input, chat_log)
        turn = TurnStats(time.monotonic)
        sentences = await Sentences.async_load(self.hass, user_input.language)
        self._primer.async_see(user_input.device_id, user_input.language)
        try:
            await async_provide_prompt(
                chat_log, self.subentry.data, user_input.as_llm_context(DOMAIN), user_input.extra_system_prompt
            )
        except conversation.ConverseError as err:
            return err.as_conversation_result()
        try:
            await self._async_answer(user_input, chat_log, turn, sentences)
        except ZoeError as err:
            return self._failed(err, user_input, chat_log, sentences)
        self.fire_turn(chat_log, turn, user_input.context)
        result = conversation.async_get_result_from_chat_log(user_input, chat_log)
        asked = result.continue_conversation or asks(spoken_answer(chat_log))
        listens = self.options.follow_up and _rounds_of_questions(chat_log) < _MOST_QUESTIONS
        result.continue_conversation = listens and asked
        return result

    def _failed(
        self,
        err: ZoeError,
        user_input: conversation.ConversationInput,
        chat_log: conversation.ChatLog,
        sentences: Sentences,
    ) -> conversation.ConversationResult:
        """Return what is spoken of a failure: short, in the language of the sentence; the log has the rest."""
        LOGGER.error("%s could not answer: %s", self.entity_id, err)
        response = intent.IntentResponse(language=user_input.language)
        response.async_set_error(intent.IntentResponseErrorCode.UNKNOWN, sentences.say(err.spoken_key))
        return conversation.ConversationResult(response, chat_log.conversation_id)

    async def _async_answer(
        self,
        user_input: conversation.ConversationInput,
        chat_log: conversation.ChatLog,
        turn: TurnStats,
        sentences: Sentences,
    ) -> None:
        """Let the model answer, with the executor between it and the tools.

        Raises:
            ZoeError: the server or the model failed, twice if it may be asked twice; nothing was done.
        """
        said = _sentence(user_input, chat_log)
        agreed = self._agreed(user_input, chat_log, sentences)
        executor = await self._async_executor(user_input, chat_log, turn, said, agreed)
        answers = Answers(self.hass, executor, sentences, said)

        async def ask(tool_choice: str) -> None:
            kind = RequestKind(language=user_input.language, tool_choice=tool_choice)
            language = user_input.language if self.options.plain_speech else None
            await self.async_request(chat_log, turn, kind, speech_language=language, listener=answers)

        loop = ToolLoop(chat_log, self.entity_id, turn, sentences, executor, ask, answers)
        length = len(chat_log.content)
        try:
            try:
                await loop.async_run(agreed)
            except ZoeError as err:
                if not err.retryable or len(chat_log.content) > length or turn.has_spoken:
                    raise
                LOGGER.warning("%s is asked once more: %s", self.entity_id, err)
                await loop.async_run(agreed)
        except ZoeError as err:
            if not await loop.async_tell_done(err):
                raise

    def _agreed(
        self, user_input: conversation.ConversationInput, chat_log: conversation.ChatLog, sentences: Sentences
    ) -> list[llm.ToolInput]:
        """Return the calls that the user has just agreed to."""
        if chat_log.llm_api is None or not sentences.speaks(user_input.language):
            return []
        waiting, question = calls_awaiting_consent(chat_log.content, user_input.device_id, dt_util.utcnow())
        words = (sentences.words(key) for key in ("yes", "yes_fillers", "no"))
        return waiting if waiting and agrees(user_input.text, question, *words) else []

    async def _async_executor(
        self,
        user_input: conversation.ConversationInput,
        chat_log: conversation.ChatLog,
        turn: TurnStats,
        said: Sentence,
        agreed: list[llm.ToolInput],
    ) -> Executor | None:
        """Put what makes the tool calls of this turn into the chat log, and return it; None if there are no tools."""
        if chat_log.llm_api is None:
            return None
        consented = frozenset(signature(call.tool_name, call.tool_args) for call in agreed)
        kinds = await async_load_kinds(self.hass, user_input.language, self.hass.config.language)
        order = Order(said, Rules(self.options.confirm, consented), kinds, guarded_entities(self.entry))
        executor = Executor(self.hass, chat_log.llm_api, order, turn, chat_log.async_trace)
        chat_log.llm_api = executor
        executor.reach.begin_reading()
        return executor


def _last_answer(chat_log: conversation.ChatLog) -> str:
    """Return what was spoken before the sentence that the chat log ends with."""
    *before, _ = chat_log.content
    spoken = (item.content for item in reversed(before) if isinstance(item, conversation.AssistantContent))
    return next((text for text in spoken if text), "")


def _rounds_of_questions(chat_log: conversation.ChatLog) -> int:
    """Return how many of the last answers, without a break, ended with a question before this one."""
    answers = [item.content for item in chat_log.content if isinstance(item, conversation.AssistantContent)]
    earlier = [answer for answer in answers if answer][:-1]
    return next((count for count, answer in enumerate(reversed(earlier)) if not asks(answer)), len(earlier))


def _silence(
    user_input: conversation.ConversationInput, chat_log: conversation.ChatLog
) -> conversation.ConversationResult:
    """Return no answer: a satellite that has heard itself must not talk to itself."""
    response = intent.IntentResponse(language=user_input.language)
    response.async_set_speech("")
    return conversation.ConversationResult(response, chat_log.conversation_id)


def _sentence(user_input: conversation.ConversationInput, chat_log: conversation.ChatLog) -> Sentence:
    """Return what was said, with the end of the conversation before it."""
    *earlier, _ = [item for item in chat_log.content if item.role in ("user", "assistant") and item.content]
    before = tuple(str(item.content) for item in earlier[-_REMEMBERED:])
    asked = bool(earlier) and earlier[-1].role == "assistant" and asks(before[-1])
    return Sentence(user_input.text, user_input.language, before, asked)
