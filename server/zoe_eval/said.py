"""How well it is told what was said and what an answer says, for `python -m zoe_eval.intent --said FILE`.

The file holds texts of each label in each language, `{"en": {"order": [...], "state_question": [...], ...}}`, as
`zoe_train.said_classifier --all-held-out FILE` writes those that training did not see.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rich.table import Table

from zoe_server.routing.said import KINDS, Said, SaidClassifier

SURE: Final = 0.9
"""From this probability on, a client may take a sentence surely for a question."""
_QUESTIONS: Final = {"state_question": True, "other_question": False, "question": None}
_ANSWERS: Final = {"denies": True, "claims": False}
_EVEN: Final = 0.5
_N_BINS: Final = 10

Texts = Mapping[str, Sequence[str]]
"""Texts of each label: `KINDS` (questions as `state_question` and `other_question`, too), `denies`, `claims`."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One sentence, its kind, whether present states answer it (None if that is not known), and what was found."""

    kind: str
    state: bool | None
    said: Said

    @property
    def found(self) -> str:
        """The kind that is most likely."""
        return max(KINDS, key=lambda kind: float(getattr(self.said, kind)))

    @property
    def is_surely_question(self) -> bool:
        """Whether it would be taken surely for a question."""
        return self.said.question >= SURE


def judged(classifier: SaidClassifier, texts: Texts) -> list[Judged]:
    """Return what is found of the sentences among `texts`."""
    return [
        Judged("question" if label in _QUESTIONS else label, _QUESTIONS.get(label), classifier.said(text))
        for label, sentences in texts.items()
        if label not in _ANSWERS
        for text in sentences
    ]


def accuracy(sentences: Sequence[Judged], kind: str | None = None) -> float:
    """Return the share of the sentences, or of those of one kind, whose kind is most likely; 1 if there are none."""
    return share(one.found == one.kind for one in sentences if kind in (None, one.kind))


def surely_questions(sentences: Sequence[Judged], kind: str) -> float:
    """Return the share of the sentences of a kind that would be taken surely for questions."""
    return sum(one.is_surely_question for one in sentences if one.kind == kind) / (
        sum(one.kind == kind for one in sentences) or 1
    )


def state_accuracy(sentences: Sequence[Judged]) -> float:
    """Return the share of questions of which it is found whether present states answer them."""
    return share((one.said.state >= _EVEN) is one.state for one in sentences if one.state is not None)


def answer_accuracy(classifier: SaidClassifier, texts: Texts, label: str | None = None) -> float:
    """Return the share of the answers, or of those with one label, of which it is found whether they deny."""
    labels = _ANSWERS if label is None else {label: _ANSWERS[label]}
    return share(
        (classifier.denies(text) >= _EVEN) is denies for name, denies in labels.items() for text in texts.get(name, ())
    )


def share(answers: Iterable[bool]) -> float:
    """Return the share that is true, 1 if there are none."""
    known = list(answers)
    return sum(known) / len(known) if known else 1.0


def reliability(sentences: Sequence[Judged], kind: str) -> list[tuple[float, float, int]]:
    """Return, for each tenth of the probability of `kind`, its mean, the true share, and how many there were."""
    bins: list[list[Judged]] = [[] for _ in range(_N_BINS)]
    for one in sentences:
        bins[min(int(_N_BINS * getattr(one.said, kind)), _N_BINS - 1)].append(one)
    return [
        (sum(getattr(one.said, kind) for one in some) / len(some), share(one.kind == kind for one in some), len(some))
        for some in bins
        if some
    ]


def calibration_error(sentences: Sequence[Judged], kind: str) -> float:
    """Return the mean distance of the probability of `kind` from the true share (expected calibration error)."""
    rows = reliability(sentences, kind)
    return sum(count * abs(told - true) for told, true, count in rows) / (sum(count for _, _, count in rows) or 1)


def tables(classifier: SaidClassifier, data: Mapping[str, Texts]) -> list[Table]:
    """Return the table of all languages, and one that shows whether a probability means what it says."""
    heads = ("Language", *(kind.capitalize() for kind in KINDS), "Orders surely questions", "Questions surely so")
    table = Table(*heads, "State", "Claims", "Denials")
    every: list[Judged] = []
    for language, texts in data.items():
        sentences = judged(classifier, texts)
        every += sentences
        shares = [accuracy(sentences, kind) if any(one.kind == kind for one in sentences) else None for kind in KINDS]
        shares += [surely_questions(sentences, kind) for kind in ("order", "question")]
        shares += [state_accuracy(sentences)]
        shares += [
            answer_accuracy(classifier, texts, label) if label in texts else None for label in ("claims", "denies")
        ]
        table.add_row(language, *("-" if one is None else f"{one:.0%}" for one in shares))
    calibration = Table("Kind", "Said to be", "Is", "Sentences")
    for kind in KINDS:
        for said, true, count in reliability(every, kind):
            calibration.add_row(kind, f"{said:.2f}", f"{true:.2f}", str(count))
    return [table, calibration]
