"""Whether somebody says yes to a question that Zoe asked.

By the words of a language that mean yes and no (in the translations). A reply that has a word of doubt in it is no
consent, and neither is one that begins with anything but a yes. After a yes and nothing else, the calls are made at
once; after a yes with more ("OK, turn on the lamp instead"), only if the model makes them again. What it cannot know:
who spoke.

Which calls wait for it, the chat log tells: results of the round before say so (`refusal.AwaitingConsent`), so nothing
is remembered elsewhere, and a question holds as long as it is the last thing that was said.
"""

import re
from collections.abc import Collection, Sequence
from enum import Enum, auto
from typing import Final

from homeassistant.components import conversation
from homeassistant.helpers import llm

from .history import round_starts
from .refusal import AwaitingConsent

_WORDS: Final = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")  # noqa: RUF001 (the apostrophe of typographers)


class Consent(Enum):
    """`GIVEN`: a yes and nothing else. `LIKELY`: a yes and more, which may be about something else. Or `NONE`."""

    GIVEN = auto()
    LIKELY = auto()
    NONE = auto()


def consent(reply: str, yes: Collection[str], fillers: Collection[str], no: Collection[str]) -> Consent:
    """Return what `reply` says, given phrases that mean yes, words that may come along, and words of doubt."""
    words = [word.casefold().replace("’", "'") for word in _WORDS.findall(reply)]  # noqa: RUF001
    said = " ".join(words) + " "
    if not any(said.startswith(f"{phrase} ") for phrase in yes) or not set(words).isdisjoint(no):
        return Consent.NONE
    vocabulary = {*fillers, *(word for phrase in yes for word in phrase.split())}
    return Consent.GIVEN if vocabulary.issuperset(words) else Consent.LIKELY


def calls_awaiting_consent(content: Sequence[conversation.Content]) -> list[llm.ToolInput]:
    """Return the calls that the user was asked about right before the last thing he said."""
    starts = round_starts(content)
    before = content[starts[-2] : starts[-1]] if len(starts) > 1 else ()
    results = [item.result for item in before if isinstance(item, conversation.ToolResultContent)]
    waiting = [result for result in results if isinstance(result, AwaitingConsent)]
    return [llm.ToolInput(result.tool, dict(result.arguments)) for result in waiting]
