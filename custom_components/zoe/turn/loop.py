"""From a chat log that ends with what the user said to one that ends with an answer.

The model is asked until it answers in words; what it calls on the way, the executor makes. Where it cannot go on, or
says nothing though something was done, the answer is the integration's own and says what is known:

    silence after a change          -> what was done, from the results
    silence otherwise               -> asked once more for words only, then an error
    an answer that cannot stand     -> asked once more, to call a tool (`verdict.Answers`)
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

from ..api.errors import ZoeEmptyAnswerError, ZoeError
from ..const import LOGGER, MAX_TOOL_ITERATIONS
from ..speech.sentences import Sentences
from .executor import MAX_STRIKES, Executor
from .outcome import Intervention, anything_changed, done_names
from .stats import TurnStats
from .verdict import Answers, told_by_results

type Ask = Callable[[str], Awaitable[None]]
"""Sends one request, with a choice of tools as in `request.RequestKind`, and adds what comes back to the chat log."""

_STOPS: Final = {
    Intervention.UNKNOWN_TOOL: "stopped_unknown_tool",
    Intervention.REPEATED_CALL: "stopped_repeating",
}


@dataclass(frozen=True, slots=True)
class ToolLoop:
    """One turn; `executor` is None where there are no tools, `answers` where nobody judges what is said."""

    chat_log: conversation.ChatLog
    agent_id: str
    turn: TurnStats
    sentences: Sentences
    executor: Executor | None
    ask: Ask
    answers: Answers | None = None

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
            await self._ask_to_answer()
            if spoken_answer(self.chat_log):
                return
            if self.answers is not None and self.answers.again:
                continue
            if len(self.chat_log.content) == length or not self.chat_log.unresponded_tool_results:
                await self._break_silence()
                return
            if self.executor and (ending := self._ending(self.executor)):
                await self._add({"content": ending})
                return
        if self.executor:
            await self._add({"content": self._stopped("stopped_rounds", self.executor)})

    async def _ask_to_answer(self) -> None:
        """Ask the model; if it was asked again and that fails, the answer is the integration's own."""
        again = self.answers.take_again() if self.answers is not None else ""
        if self.answers is None or not again:
            await self.ask("auto")
            return
        try:
            await self.ask(again)
        except ZoeError as err:
            LOGGER.warning("The model could not be asked again: %s", err)
            await self._add({"content": self.answers.own()})

    async def async_tell_done(self, err: ZoeError) -> bool:
        """Answer, instead of with `err` alone, with what was done before it; return whether there was anything."""
        if not (self.executor and anything_changed(self.executor.outcomes)):
            return False
        LOGGER.warning("The server failed in the middle of a turn: %s", err)
        await self._add({"content": self._stopped("stopped_server", self.executor)})
        return True

    def _ending(self, executor: Executor) -> str:
        """Return what the turn has to end with now, "" if it may go on."""
        if executor.questions:
            asked = [self.sentences.say(key, names) for key, names in executor.questions.items()]
            question = " ".join(asked)
            return self.sentences.say("consent_later", question=question) if executor.asks_about_later else question
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
        if self.executor and (answer := told_by_results(self.executor, self.sentences)):
            self.executor.note(Intervention.ANSWER_FROM_RESULT)
            await self._add({"content": answer})
            return
        await self.ask("none")
        if not spoken_answer(self.chat_log):
            raise ZoeEmptyAnswerError("the model gave no answer")

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
