"""Whether somebody says yes to a question that Zoe asked, and which calls wait for it.

A yes is an explicit yes and nothing else: words of the speaker's language for it, besides it only courtesy and words
of the question itself ("Yes, unlock the front door"). A question mark, hesitation, "OK", another order, or a language
whose words for yes are not known, is none. It counts within a minute, in the same conversation, at the same device.
Which calls wait for it, the chat log tells: results of the round before say so (`outcome.AwaitingConsent`), so
nothing is remembered elsewhere. What it cannot know: who spoke.
"""

import re
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Final

from homeassistant.components import conversation
from homeassistant.helpers import llm

from ..speech.followup import QUESTION_MARKS
from .history import round_starts
from .outcome import AwaitingConsent

EXPIRES_AFTER: Final = timedelta(seconds=60)

_WORDS: Final = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")  # noqa: RUF001 (the apostrophe of typographers)


def agrees(reply: str, question: str, yes: Collection[str], fillers: Collection[str], no: Collection[str]) -> bool:
    """Return whether `reply` says yes to `question`, given phrases that mean yes, words that may come along, and
    doubts."""
    words = _words(reply)
    said = " ".join(words) + " "
    explicit = any(said.startswith(f"{phrase} ") for phrase in yes)
    if not explicit or not QUESTION_MARKS.isdisjoint(reply) or not set(words).isdisjoint(no):
        return False
    vocabulary = {*fillers, *_words(question), *(word for phrase in yes for word in phrase.split())}
    return vocabulary.issuperset(words)


def _words(text: str) -> list[str]:
    return [word.casefold().replace("’", "'") for word in _WORDS.findall(text)]  # noqa: RUF001


def calls_awaiting_consent(
    content: Sequence[conversation.Content], device_id: str | None, now: datetime
) -> tuple[list[llm.ToolInput], str]:
    """Return the calls that the user was asked about right before the last thing he said, and the question."""
    starts = round_starts(content)
    before = content[starts[-2] : starts[-1]] if len(starts) > 1 else ()
    results = [item.result for item in before if isinstance(item, conversation.ToolResultContent)]
    waiting = [
        result
        for result in results
        if isinstance(result, AwaitingConsent) and result.device_id == device_id and now - result.asked <= EXPIRES_AFTER
    ]
    spoken = [item.content or "" for item in before if isinstance(item, conversation.AssistantContent)]
    calls = [llm.ToolInput(result.tool, dict(result.arguments)) for result in waiting]
    return calls, spoken[-1] if spoken else ""
