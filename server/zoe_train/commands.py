"""What a command is: a sentence, the tool calls it means, and the words that answer the calls' results."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from zoe_train.phrases import phrase
from zoe_train.references import Home, Target, area_target, device_target

Results = Sequence[dict[str, Any]]
"""For each call its result, `{"data": ..., "error": bool}`."""

FAILED: Final = "Sorry, that did not work."
ON: Final = "intent__HassTurnOn"
OFF: Final = "intent__HassTurnOff"
_PLAIN: Final = 0.85


@dataclass(frozen=True)
class Command:
    """`text` is said, `calls` (tool name, arguments) are what it means, `answer` speaks about their results.

    `prepare` are actions (domain, action, entity id) that bring the home into a state where the command makes sense.
    """

    text: str
    calls: tuple[tuple[str, dict[str, Any]], ...]
    answer: Callable[[Results], str]
    prepare: tuple[tuple[str, str, str], ...] = ()

    @property
    def names(self) -> set[str]:
        """Names of the devices that the calls act on."""
        return {arguments["name"] for _, arguments in self.calls if "name" in arguments}


Maker = Callable[[random.Random, Home], Command | None]
"""Makes a command for a home, or nothing where the home lacks what the command is about."""


def action(text: str, tool: str, arguments: dict[str, Any], done: str) -> Command:
    """Return a command of one call that is answered with `done`, or an apology."""
    return Command(text, ((tool, arguments),), lambda results: FAILED if results[0]["error"] else done)


def joined(text: str, first: Command, second: Command) -> Command:
    """Return one command that does two things."""
    n_first = len(first.calls)

    def answer(results: Results) -> str:
        return f"{first.answer(results[:n_first])} {second.answer(results[n_first:])}"

    return Command(text, first.calls + second.calls, answer, first.prepare + second.prepare)


def order(rng: random.Random, *keys: str, x: str, **fields: object) -> str:
    """Return one way to say `keys` of `x`; sometimes the thing is mentioned first, and the command says "it"."""
    if rng.random() < _PLAIN:
        return phrase(rng, *keys, x=x, **fields)
    pronoun = "them" if x.endswith("s") and not x.endswith("ss") else "it"
    text = phrase(rng, *keys, x=pronoun, **fields)
    while text.startswith(pronoun):
        text = phrase(rng, *keys, x=pronoun, **fields)
    return phrase(rng, "mention", x=x, t=text)


def lead(rng: random.Random, text: str) -> str:
    """Return `text` with the courtesies and reasons that people put around a command."""
    return text if rng.random() < 0.6 else phrase(rng, "lead", t=text, w=phrase(rng, "why"))


def ask(rng: random.Random, text: str) -> str:
    """Return the question `text` as people begin or end it."""
    return text if rng.random() < 0.75 else phrase(rng, "ask", t=text, w=phrase(rng, "why"))


def pick(rng: random.Random, home: Home, domain: str, feature: str | None = None) -> dict[str, Any] | None:
    """Return a random device of a domain, one with `feature` if that is given."""
    devices = [d for d in home.by_domain.get(domain, ()) if feature is None or feature in d.get("features", ())]
    return rng.choice(devices) if devices else None


def device_or_area(rng: random.Random, home: Home, domain: str, feature: str | None = None) -> Target | None:
    """Return a device, or all lights or covers of a place if each of them has `feature`."""
    device = pick(rng, home, domain, feature)
    if device is None:
        return None
    if domain in ("light", "cover") and rng.random() < 0.33:
        target = area_target(rng, home, domain)
        if target and all(feature is None or feature in d.get("features", ()) for d in target.devices):
            return target
    return device_target(rng, home, device)
