"""From a chat log that ends with what the user said to one that ends with an answer.

The model is asked until it answers in words; what it calls on the way, the executor makes. Where it cannot go on, or
says nothing though something was done, the answer is the integration's own and says what is known:

    silence after a change          -> what was done, from the results
    silence otherwise               -> asked once more for words only, then an error
    consent needed                  -> the question
    the server fails after a change -> that it stopped, and what was done (`async_tell_done`)
    unknown tools, repeated calls,
    more than `MAX_TOOL_ITERATIONS` -> that it stopped, and what was done
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from homeassistant.components import conversation
from homeassistant.components.conversation import AssistantContentDeltaDict
from homeassistant.helpers import llm

from .const import LOGGER, MAX_TOOL_ITERATIONS
from .errors import ZoeEmptyAnswerError, ZoeError
from .executor import MAX_STRIKES, Executor
from .intervention import Intervention
from .outcome import anything_changed, done_names, failed_names
from .sentences import Sentences
from .turn import TurnStats

type Ask = Callable[[bool], Awaitable[None]]
"""Sends one request and adds what comes back to the chat log; with True, no tool may be called."""

_STOPS: Final = {
    Intervention.UNKNOWN_TOOL: "stopped_unknown_tool",
    Intervention.REPEATED_CALL: "stopped_repeating",
}


@dataclass(frozen=True, slots=True)
class ToolLoop:
    """One turn; `executor` is None where there are no tools."""

    chat_log: conversation.ChatLog
    agent_id: str
    turn: TurnStats
    sentences: Sentences
    executor: Executor | None
    ask: Ask

    async def async_run(self, calls: Sequence[llm.ToolInput] = ()) -> None:
        """Answer. `calls` were agreed on before and are made first.

        Raises:
            ZoeEmptyAnswerError: the model said nothing, and nothing was done that could be told.
            ZoeError: whatever `ask` raises.
        """
        if calls:
            self.turn.tool_calls += calls
            await self._add({"tool_calls": list(calls)})
        for _ in range(MAX_TOOL_ITERATIONS):
            if self.executor:
                self.executor.begin_round()
            length = len(self.chat_log.content)
            await self.ask(False)
            if spoken_answer(self.chat_log):
                return
            if len(self.chat_log.content) == length or not self.chat_log.unresponded_tool_results:
                await self._break_silence()
                return
            if self.executor and (ending := self._ending(self.executor)):
                await self._add({"content": ending})
                return
        if self.executor:
            await self._add({"content": self._stopped("stopped_rounds", self.executor)})

    async def async_tell_done(self, err: ZoeError) -> bool:
        """Answer, instead of with `err` alone, with what was done before it; return whether there was anything."""
        if not (self.executor and anything_changed(self.executor.outcomes)):
            return False
        LOGGER.warning("The server failed in the middle of a turn: %s", err)
        await self._add({"content": self._stopped("stopped_server", self.executor)})
        return True

    def _ending(self, executor: Executor) -> str:
        """Return what the turn has to end with now, "" if it may go on."""
        if executor.awaiting_consent:
            return self.sentences.say("consent", dict.fromkeys(executor.awaiting_consent))
        struck = (key for kind, key in _STOPS.items() if len(executor.strikes.get(kind, ())) >= MAX_STRIKES)
        return next((self._stopped(key, executor) for key in struck), "")

    def _stopped(self, key: str, executor: Executor) -> str:
        """Return that the turn stopped, and what came of it."""
        executor.note(Intervention.STOPPED, reason=key)
        stopped = self.sentences.say(key, rounds=MAX_TOOL_ITERATIONS)
        if done := done_names(executor.outcomes):
            return f"{stopped} {self.sentences.say('done_so_far', done)}"
        if anything_changed(executor.outcomes):
            return stopped
        return f"{stopped} {self.sentences.say('nothing_changed')}"

    async def _break_silence(self) -> None:
        """Answer in place of a model that said nothing."""
        if self.executor and (answer := self._from_results(self.executor)):
            self.executor.note(Intervention.ANSWER_FROM_RESULT)
            await self._add({"content": answer})
            return
        await self.ask(True)
        if not spoken_answer(self.chat_log):
            raise ZoeEmptyAnswerError("the model gave no answer")

    def _from_results(self, executor: Executor) -> str:
        """Return what the results say was done, or what a tool wants to be said; "" if nothing."""
        outcomes = executor.outcomes
        said = next((outcome.said for outcome in reversed(outcomes) if outcome.ok and outcome.said), "")
        if said or not anything_changed(outcomes):
            return said
        done, failed = done_names(outcomes), failed_names(outcomes)
        told = [self.sentences.say("done_names", done) if done else self.sentences.say("done")]
        return " ".join([*told, self.sentences.say("failed_names", failed)] if failed else told)

    async def _add(self, delta: AssistantContentDeltaDict) -> None:
        """Add a message of the assistant, as if the model had sent it; its calls are made."""

        async def deltas() -> AsyncGenerator[AssistantContentDeltaDict]:
            yield {"role": "assistant"}
            yield delta

        async for _ in self.chat_log.async_add_delta_content_stream(self.agent_id, deltas()):
            pass  # the chat log keeps it


def spoken_answer(chat_log: conversation.ChatLog) -> str:
    """Return what the chat log ends with to be spoken, "" if it is nothing."""
    last = chat_log.content[-1]
    answer = last.content if isinstance(last, conversation.AssistantContent) else None
    return (answer or "").strip()
