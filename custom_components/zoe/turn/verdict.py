"""Whether an answer may be spoken, by what happened and not by its tenses.

    said                      happened                               the answer
    an order to this home     something was changed                  stands; what failed is told behind it
                              nothing, and all of it was so before   stands; that is told behind it
                              nothing, and it admits that            stands
                              nothing                                is not spoken: the model gets one chance to call a
                                                                     tool, then it is told that nothing was changed
    a question about a state  something was read                     stands
                              nothing                                is not spoken: the model has to look, else it is
                                                                     told that it is not known
    anything else                                                    stands

What was done after a yes, Zoe tells itself, from the results. That an answer admits it, the server judges (`denies`).
An answer that asks stands always. The sentence is judged by the server, else by Home Assistant's own sentences
(`said.py`); where neither knows it, answers stand. What it cannot know: whether an answer claims too much besides what
was done.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from homeassistant.components import conversation
from homeassistant.core import HomeAssistant
from homeassistant.helpers import llm

from ..home import inventory
from ..speech.followup import asks
from ..speech.sentences import Sentences
from .executor import Executor
from .outcome import Intervention, Outcome, anything_changed, done_names, failed_names
from .reach import Sentence
from .said import LIKELY, SURE, Said
from .words import relates

CALL_REQUIRED: Final = "required"
"""Of a request: that some tool is called."""

_LOOK_UP: Final = "GetLiveContext"


class Verdict(StrEnum):
    """What is wrong with an answer; the values are the sentences that tell it."""

    STANDS = "stands"
    NOTHING_DONE = "correction_nothing"
    FAILED = "correction_failed"
    NOT_READ = "not_known"


def verdict_of_order(denies: float | None, outcomes: Sequence[Outcome]) -> Verdict:
    """Return what is wrong with the answer to an order, given what came of its calls."""
    admits = denies is not None and denies >= LIKELY
    if admits or (anything_changed(outcomes) and not failed_names(outcomes)):
        return Verdict.STANDS
    return Verdict.FAILED if failed_names(outcomes) else Verdict.NOTHING_DONE


def told_by_results(executor: Executor, sentences: Sentences) -> str:
    """Return what the results say was done, or what a tool wants to be said; "" if nothing."""
    outcomes = executor.outcomes
    said = next((outcome.said for outcome in reversed(outcomes) if outcome.ok and outcome.said), "")
    if said or not anything_changed(outcomes):
        return said
    done, failed = done_names(outcomes), failed_names(outcomes)
    told = [sentences.say("done_names", done) if done else sentences.say("done")]
    if failed:
        told.append(sentences.say("failed_names", failed))
    if executor.left_out:
        told.append(sentences.say("left_out_names", executor.left_out))
    return " ".join(told)


class Answers:
    """Judges the answers of one turn. `again` is what the next request has to call, "" for nothing in particular."""

    def __init__(
        self, hass: HomeAssistant, executor: Executor | None, sentences: Sentences, sentence: Sentence
    ) -> None:
        self._hass = hass
        self._executor = executor
        self._sentences = sentences
        self._sentence = sentence
        self._said: Said | None = None
        self._asked_again: set[str] = set()
        self.again = ""

    def take_again(self) -> str:
        """Return what the next request has to call, and forget it."""
        again, self.again = self.again, ""
        return again

    def heard(self, said: Said | None) -> None:
        """Take the server's judgement of the sentence."""
        self._said = said or self._said
        if self._executor is not None and said is not None:
            self._executor.guard.said = said

    async def async_holds(self) -> bool:
        """Return whether an answer has to be judged as a whole before any of it is spoken."""
        executor = self._executor
        if executor is None:
            return self._said is not None and self._said.order >= LIKELY
        if anything_changed(executor.outcomes):
            return bool(executor.guard.rules.consented)
        return await self._is_order(executor) or await self._lacks_reading(executor)

    async def async_judged(self, answer: str, denies: float | None) -> str:
        """Return what is spoken in place of an answer that was held; "" if the model is to be asked `again`."""
        executor = self._executor
        if executor is None:
            return await self._without_tools(answer, denies)
        if executor.guard.rules.consented and (told := told_by_results(executor, self._sentences)):
            return told
        if asks(answer) or (not answer and anything_changed(executor.outcomes)):
            return answer
        about_home = _tried(executor) or executor.reach.speaks_of_home(answer)
        if about_home and await self._is_order(executor):
            verdict = verdict_of_order(denies, executor.outcomes)
            if verdict is Verdict.NOTHING_DONE and await executor.reach.async_satisfied():
                return f"{answer} {self._sentences.say('nothing_to_do')}"
        elif about_home and await self._lacks_reading(executor) and not (denies is not None and denies >= LIKELY):
            verdict = Verdict.NOT_READ
        else:
            verdict = Verdict.STANDS
        return answer if verdict is Verdict.STANDS else self._instead(executor, verdict, answer, denies)

    async def _without_tools(self, answer: str, denies: float | None) -> str:
        """Return what is spoken of an agent that can do nothing: no claim about things of this home."""
        admits = asks(answer) or denies is None or denies >= LIKELY
        named = [one.name for kind in inventory(self._hass, conversation.DOMAIN).values() for one in kind]
        if admits or not relates(f"{self._sentence.text} {answer}", named):
            return answer
        return self._sentences.say(Verdict.NOTHING_DONE)

    def addition(self, answer: str, denies: float | None) -> str:
        """Return what is said behind an answer that was spoken as it came."""
        executor = self._executor
        if executor is None or asks(answer) or not anything_changed(executor.outcomes):
            return ""
        told = [self._sentences.say("left_out_names", executor.left_out)] if executor.left_out else []
        if verdict_of_order(denies, executor.outcomes) is Verdict.FAILED:
            self._note(executor, Verdict.FAILED)
            told.append(self._sentences.say(Verdict.FAILED, failed_names(executor.outcomes)))
        return "".join(f" {sentence}" for sentence in told)

    def own(self) -> str:
        """Return what is said where the model was asked again and failed."""
        executor = self._executor
        refused = executor.refused if executor else None
        if refused is not None:
            return self._sentences.say(refused.spoken, [refused.target] if refused.target else ())
        return self._sentences.say(Verdict.NOT_READ if _LOOK_UP in self._asked_again else Verdict.NOTHING_DONE)

    def _instead(self, executor: Executor, verdict: Verdict, answer: str, denies: float | None) -> str:
        if answer:
            self._note(executor, verdict)
        if denies is None and answer and _tried(executor):
            # Nobody judges whether the model admits it; then it is told behind the model's own words.
            failed = failed_names(executor.outcomes)
            told = self._sentences.say(Verdict.FAILED, failed) if failed else self.own()
            return f"{answer} {told}"
        if executor.refused is not None and verdict is not Verdict.NOT_READ:
            return self.own()
        if verdict is Verdict.FAILED:
            return self._sentences.say(verdict, failed_names(executor.outcomes))
        wanted, kind = (CALL_REQUIRED, CALL_REQUIRED)
        if verdict is Verdict.NOT_READ:
            wanted, kind = next(iter(_look_ups(executor.tools))), _LOOK_UP
        if kind in self._asked_again:
            return self._sentences.say(verdict)
        self._asked_again.add(kind)
        executor.note(Intervention.ASKED_AGAIN, reason=str(verdict))
        self.again = wanted
        return ""

    @staticmethod
    def _note(executor: Executor, verdict: Verdict) -> None:
        executor.note(Intervention.ANSWER_CORRECTED, verdict=str(verdict))

    async def _is_order(self, executor: Executor) -> bool:
        """Return whether the sentence is an order, or goes on with an order that was asked about."""
        said = await executor.guard.async_said()
        if said is None or (_tried(executor) and said.question < LIKELY):
            return _tried(executor)
        return said.order >= SURE or (self._sentence.replies and said.reply >= LIKELY)

    async def _lacks_reading(self, executor: Executor) -> bool:
        """Return whether the sentence asks for a state that nothing has read."""
        if executor.has_read or not _look_ups(executor.tools):
            return False
        said = await executor.guard.async_said()
        return said is not None and said.question >= LIKELY and said.state >= LIKELY


def _look_ups(tools: Sequence[llm.Tool]) -> list[str]:
    """Return the names of the tools that read the states of the home."""
    return [tool.name for tool in tools if tool.name.endswith(_LOOK_UP)]


def _tried(executor: Executor) -> bool:
    """Return whether the model has tried to change something, and failed or was refused."""
    return any(outcome.changes and not outcome.ok for outcome in executor.outcomes)
