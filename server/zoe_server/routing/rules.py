"""The rules that choose a role for a request; the first that applies decides.

    vision         it holds a picture                            -> vision
    tool_results   a tool's result came back                     -> as the sentence before it, so to the same model
    required_call  the client demands a tool call                -> tools
    preparation    the prompt is to be computed, nothing is said -> tools, whose prompt is the long one
    automation     an order or a question to the home            -> tools
    reasoning      plan, analyse, compare, workflow              -> tools, the longest context first
    chat           everything else                               -> chat

Each is a function of the request alone, so the same request is always routed alike: that is how a conversation stays
with its model although the server keeps none. What it cannot know: that a fallback made the call because the first
candidate was down at that moment.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from zoe_server.catalogue.spec import CHAT_ROLE, TOOLS_ROLE, VISION_ROLE
from zoe_server.routing.intent import Intent, IntentClassifier, normalize
from zoe_server.routing.question import RouteQuestion
from zoe_server.routing.said import Said, SaidClassifier, spoken

DEVICE_ODDS: Final = 2.5
PLACE_ODDS: Final = 1.0
STATE_QUESTION_ODDS: Final = 1.0
"""What the name of a device or a place of this home adds to the log odds of automation, and a question that has one."""
_QUESTION_MARKS: Final = frozenset("?\u061f\uff1f\u055e")
_MIN_NAME: Final = 3
_UNSPACED: Final = ("\u0e00", "\u0eff"), ("\u3040", "\u9fff"), ("\uac00", "\ud7af")
"""First and last letters of scripts that put no space, or an ending, behind a name: Thai and Lao, CJK, Hangul."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The role that is to answer, the rule that chose it, and why, in ASCII."""

    rule: str
    role: str
    why: str
    long_context: bool = False


Rule = Callable[[RouteQuestion, Intent], Decision | None]


def vision(question: RouteQuestion, _: Intent) -> Decision | None:
    """A picture needs a model that sees."""
    return Decision("vision", VISION_ROLE, "it holds a picture") if question.has_images else None


def tool_results(question: RouteQuestion, intent: Intent) -> Decision | None:
    """The model that called a tool reads its result: the one that the sentence before was routed to."""
    if not question.has_tool_results:
        return None
    before = _first(dataclasses.replace(question, has_tool_results=False), intent)
    return dataclasses.replace(before, rule="tool_results", why=f"a tool's result; before it {before.rule}")


def required_call(question: RouteQuestion, _: Intent) -> Decision | None:
    """A call that is demanded needs a model that makes calls."""
    return Decision("required_call", TOOLS_ROLE, "a tool call is demanded") if question.must_call else None


def preparation(question: RouteQuestion, _: Intent) -> Decision | None:
    """What is computed ahead of the sentence is the long prompt with the tools."""
    if question.is_preparation or not normalize(question.text):
        return Decision("preparation", TOOLS_ROLE, "nothing is said yet")
    return None


def automation(question: RouteQuestion, intent: Intent) -> Decision | None:
    """An order or a question to the home: by the words, and by the names of this home among them."""
    evidence = home_evidence(question)
    odds = intent.automation + evidence
    if odds <= 0:
        return None
    return Decision("automation", TOOLS_ROLE, f"log odds {intent.automation:+.1f}, names of this home {evidence:+.1f}")


def reasoning(question: RouteQuestion, intent: Intent) -> Decision | None:
    """A task that needs thought goes to the better model, and may be long."""
    if intent.reasoning <= 0:
        return None
    return Decision("reasoning", TOOLS_ROLE, f"log odds {intent.reasoning:+.1f}", long_context=True)


def chat(question: RouteQuestion, intent: Intent) -> Decision:
    """Everything else is talk."""
    odds = intent.automation + home_evidence(question)
    return Decision("chat", CHAT_ROLE, f"log odds of automation {odds:+.1f}, of reasoning {intent.reasoning:+.1f}")


_RULES: Final[tuple[Rule, ...]] = (vision, tool_results, required_call, preparation, automation, reasoning, chat)
TALK: Final = frozenset({reasoning.__name__, chat.__name__})
"""The rules of what is neither an order nor a question to the home."""
RULE_NAMES: Final = tuple(rule.__name__ for rule in _RULES)


def decide(question: RouteQuestion, classifier: IntentClassifier) -> Decision:
    """Return what the first rule says that applies."""
    return _first(question, classifier.judge(question.text))


def _first(question: RouteQuestion, intent: Intent) -> Decision:
    decisions = (rule(question, intent) for rule in _RULES)
    return next(decision for decision in decisions if decision is not None)


def said(question: RouteQuestion, classifier: SaidClassifier) -> Said:
    """Return what kind of sentence was said, by the words, and by the names of this home among them."""
    heard = dataclasses.replace(question, text=spoken(question.text))
    return classifier.said(heard.text, home_evidence(heard))


def home_evidence(question: RouteQuestion) -> float:
    """Return what the names of this home add to the log odds of automation."""
    text = normalize(question.text)
    device = any(_is_named(name, text) for name in question.devices)
    place = any(_is_named(name, text) for name in question.places)
    asks = (device or place) and not _QUESTION_MARKS.isdisjoint(question.text)
    return DEVICE_ODDS * device + PLACE_ODDS * place + STATE_QUESTION_ODDS * asks


def names_in(text: str, names: Iterable[str]) -> list[str]:
    """Return those of `names` that `text` mentions."""
    normalized = normalize(text)
    return [name for name in names if _is_named(name, normalized)]


def _is_named(name: str, text: str) -> bool:
    """Return whether a normalized text mentions `name`; many languages put an ending behind it."""
    wanted, begins_word = _searched(name)
    return bool(wanted) and (f" {wanted}" in f" {text}" if begins_word else wanted in text)


@functools.lru_cache(maxsize=32_768)  # more than the names that one request may hold
def _searched(name: str) -> tuple[str, bool]:
    """Return `name` as it stands in a normalized text ("" if it is too short to tell), and whether it begins a word."""
    wanted = normalize(name)
    if any(first <= letter <= last for letter in wanted for first, last in _UNSPACED):
        return (wanted if len(wanted) > 1 else ""), False
    return (wanted if len(wanted) >= _MIN_NAME else ""), True
