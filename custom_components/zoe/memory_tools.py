"""The tools that a model remembers, forgets and looks up facts of the household with.

What was kept or removed is confirmed in the user's language by the result itself, as Home Assistant's own intents do: a
small model repeats it, and where a model says nothing, the integration does.
"""

from abc import abstractmethod
from typing import Any, Final, override

import probatio
from homeassistant.core import HomeAssistant
from homeassistant.helpers import intent, llm

from .const import DOMAIN
from .memory import MAX_FACT_CHARS, Memory, MemoryRefusedError, async_load_memory
from .sentences import Sentences

_FACT: Final = "fact"
_ABOUT: Final = "about"


class MemoryTool(llm.Tool):
    """A tool that uses the household's memory; what the memory refuses, the model is told.

    It holds nothing itself: Home Assistant copies tools deeply into its traces.
    """

    integration = DOMAIN

    @override
    async def async_call(
        self, hass: HomeAssistant, tool_input: llm.ToolInput, llm_context: llm.LLMContext
    ) -> llm.ToolResult:
        """Use the memory."""
        arguments = self.parameters(tool_input.tool_args)
        sentences = await Sentences.async_load(hass, llm_context.language or hass.config.language)
        try:
            return llm.ToolResult(data=await self._use(await async_load_memory(hass), arguments, sentences))
        except MemoryRefusedError as err:
            return llm.ToolResult(data={"error": "MemoryRefusedError", "error_text": str(err)}, error=True)

    @abstractmethod
    async def _use(self, memory: Memory, arguments: dict[str, Any], sentences: Sentences) -> llm.JsonObjectType:
        """Return the data of the result.

        Raises:
            MemoryRefusedError: nothing was changed.
        """


class RememberTool(MemoryTool):
    """Keeps a fact."""

    name = f"{DOMAIN}__remember"
    title = "Remember a fact"
    description = (
        "Remembers a fact about this household or its people for all later conversations. "
        "Use it only when the user asks to remember something."
    )
    annotations = llm.ToolAnnotations(destructive=False, idempotent=True, open_world=False)
    parameters = probatio.Schema(
        {
            probatio.Required(
                _FACT, description=f"The fact as one short sentence, {MAX_FACT_CHARS} characters at most"
            ): str
        }
    )

    @override
    async def _use(self, memory: Memory, arguments: dict[str, Any], sentences: Sentences) -> llm.JsonObjectType:
        kept = await memory.async_remember(arguments[_FACT])
        return _spoken(sentences, "remembered_already" if kept.known else "remembered", kept.fact)


class ForgetTool(MemoryTool):
    """Removes a fact."""

    name = f"{DOMAIN}__forget"
    title = "Forget a fact"
    description = "Forgets one remembered fact. Use it only when the user asks to forget something."
    annotations = llm.ToolAnnotations(idempotent=True, open_world=False)
    parameters = probatio.Schema({probatio.Required(_FACT, description="The fact, or words that only it has"): str})

    @override
    async def _use(self, memory: Memory, arguments: dict[str, Any], sentences: Sentences) -> llm.JsonObjectType:
        return _spoken(sentences, "forgotten", await memory.async_forget(arguments[_FACT]))


class RecallTool(MemoryTool):
    """Looks facts up."""

    name = f"{DOMAIN}__recall"
    title = "Recall facts"
    description = "Looks up remembered facts about this household and its people."
    annotations = llm.ToolAnnotations(read_only=True, destructive=False, idempotent=True, open_world=False)
    parameters = probatio.Schema(
        {probatio.Optional(_ABOUT, description="Words that the facts have; without them, the newest facts"): str}
    )

    @override
    async def _use(self, memory: Memory, arguments: dict[str, Any], sentences: Sentences) -> llm.JsonObjectType:
        return {"facts": list(memory.recall(arguments.get(_ABOUT, "")))}


def _spoken(sentences: Sentences, key: str, fact: str) -> llm.JsonObjectType:
    response = intent.IntentResponse(sentences.language)
    response.async_set_speech(sentences.say(key, [fact]))
    return llm.IntentResponseDict(response)
