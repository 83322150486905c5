"""The AI task entity: data made by a model, from instructions and pictures."""

import time
from typing import Any, Final, override

import probatio
from homeassistant.components import ai_task, conversation
from homeassistant.core import HomeAssistant
from homeassistant.helpers import llm
from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback
from homeassistant.util.json import JSON_DECODE_EXCEPTIONS, json_loads

from .api.errors import ZoeNoVisionError, ZoeStructureError, translated_errors
from .api.offers import sees_pictures
from .const import MODEL_AUTOMATIC, SUBENTRY_AI_TASK
from .coordinator import ZoeConfigEntry
from .entity import ZoeLLMEntity
from .home import async_load_kinds
from .issues import NO_VISION_MODEL, async_raise
from .options import guarded_entities
from .speech.sentences import Sentences
from .turn.executor import Executor, Order
from .turn.guard import Rules
from .turn.loop import ToolLoop, spoken_answer
from .turn.outcome import Intervention
from .turn.reach import Sentence
from .turn.request import RequestKind
from .turn.stats import TurnStats

# The server does its own queueing; Home Assistant need not hold tasks back.
PARALLEL_UPDATES = 0

_ATTEMPTS: Final = 2


async def async_setup_entry(
    hass: HomeAssistant, entry: ZoeConfigEntry, async_add_entities: AddConfigEntryEntitiesCallback
) -> None:
    """Add one entity per AI task of the entry."""
    for subentry in entry.get_subentries_of_type(SUBENTRY_AI_TASK):
        async_add_entities([ZoeAITaskEntity(entry, subentry)], config_subentry_id=subentry.subentry_id)


class ZoeAITaskEntity(ZoeLLMEntity, ai_task.AITaskEntity):
    """Generates data with a model of a Zoe server; nobody waits for it with an ear, so speech goes first."""

    _attr_translation_key = "ai_task_data"
    _attr_supported_features = (
        ai_task.AITaskEntityFeature.GENERATE_DATA | ai_task.AITaskEntityFeature.SUPPORT_ATTACHMENTS
    )

    @override
    async def _async_generate_data(
        self, task: ai_task.GenDataTask, chat_log: conversation.ChatLog
    ) -> ai_task.GenDataTaskResult:
        """Generate text, or data of the structure that the task asks for."""
        turn = TurnStats(time.monotonic)
        with translated_errors():
            if task.attachments:
                await self._async_check_vision()
            data = await self._async_data(task, chat_log, turn)
        self.fire_turn(chat_log, turn, None)
        return ai_task.GenDataTaskResult(chat_log.conversation_id, data)

    async def _async_data(self, task: ai_task.GenDataTask, chat_log: conversation.ChatLog, turn: TurnStats) -> Any:  # noqa: ANN401 (whatever the structure of the task says)
        """Return the answer, held against the structure; what does not fit is told to the model once.

        Raises:
            ZoeStructureError: it does not fit the second time either.
        """
        loop = await self._async_loop(task, chat_log, turn)
        problem = ""
        for _ in range(_ATTEMPTS):
            await loop.async_run()
            answer = spoken_answer(chat_log)
            if task.structure is None:
                return answer
            try:
                return task.structure(json_loads(answer))
            except (*JSON_DECODE_EXCEPTIONS, probatio.Invalid) as err:
                problem = str(err)
                turn.repairs[Intervention.WRONG_STRUCTURE] += 1
                chat_log.async_trace({"repair": {"kind": str(Intervention.WRONG_STRUCTURE), "problem": problem}})
                chat_log.async_add_user_content(conversation.UserContent(_mend(problem)))
        raise ZoeStructureError(problem)

    async def _async_loop(self, task: ai_task.GenDataTask, chat_log: conversation.ChatLog, turn: TurnStats) -> ToolLoop:
        executor = None
        if chat_log.llm_api is not None:
            language = self.hass.config.language
            kinds = await async_load_kinds(self.hass, language)
            order = Order(
                Sentence(task.instructions, language), Rules(unattended=True), kinds, guarded_entities(self.entry)
            )
            executor = Executor(self.hass, chat_log.llm_api, order, turn, chat_log.async_trace)
            chat_log.llm_api = executor
        schema = _schema(task.structure)

        async def ask(tool_choice: str) -> None:
            kind = RequestKind(priority="background", answer_schema=schema, tool_choice=tool_choice)
            await self.async_request(chat_log, turn, kind)

        sentences = await Sentences.async_load(self.hass, self.hass.config.language)
        return ToolLoop(chat_log, self.entity_id, turn, sentences, executor, ask)

    async def _async_check_vision(self) -> None:
        """Raise `ZoeNoVisionError` if the server says that what would get the pictures does not see.

        The server is asked now: a model may have been added since this entry was set up.
        """
        facts = await self.client.async_model_facts()
        if sees_pictures(facts, self.options.model):
            return
        if self.options.model == MODEL_AUTOMATIC:
            served = self.coordinator.data.models
            async_raise(self.hass, self.entry, NO_VISION_MODEL, models=", ".join(model.name for model in served))
        raise ZoeNoVisionError(self.options.model)


def _schema(structure: probatio.Schema | None) -> dict[str, Any] | None:
    if structure is None:
        return None
    return probatio.to_openapi(structure, custom_serializer=llm.selector_serializer, openapi_version="3.1.0")


def _mend(problem: str) -> str:
    return f"This is not data of the structure that was asked for: {problem}. Write it again, and nothing but the JSON."
