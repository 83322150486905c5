"""How well the classifier tells what is said to the home from talk: `python -m zoe_eval.intent FILE`.

The file holds sentences of each kind in each language, `{"en": {"automation": [...], "talk": [...], "reasoning":
[...]}}`; `zoe_train.intent_classifier --all-held-out FILE` writes those that training did not see. With
`--said` the file is one for `evaluation.said`, and the tables are its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from zoe_eval.said import tables
from zoe_server.routing.intent import IntentClassifier, bundled_classifier
from zoe_server.routing.said import bundled_said

Sentences = Mapping[str, Sequence[str]]
"""For each kind (`automation`, `talk`, `reasoning`) some sentences of it."""


@dataclass(frozen=True, slots=True)
class Confusion:
    """The sentences of one language: those to the home that were and were not taken for such, and the same of others.

    `reasoning` and `wrong_reasoning` are, of those that need thought and of talk, the shares taken for the former.
    """

    found: int
    missed: int
    wrong: int
    passed: int
    reasoning: float
    wrong_reasoning: float

    @property
    def accuracy(self) -> float:
        """The share of all sentences that were judged right."""
        return (self.found + self.passed) / self.n_sentences

    @property
    def n_sentences(self) -> int:
        """How many sentences there were."""
        return self.found + self.missed + self.wrong + self.passed


def confusion(classifier: IntentClassifier, sentences: Sentences) -> Confusion:
    """Return how `classifier` judges the `sentences` of one language; there must be some."""
    judged = {kind: [classifier.judge(text) for text in texts] for kind, texts in sentences.items()}
    home = [intent.automation > 0 for intent in judged["automation"]]
    others = [intent.automation > 0 for kind in ("talk", "reasoning") for intent in judged[kind]]
    return Confusion(
        found=sum(home),
        missed=len(home) - sum(home),
        wrong=sum(others),
        passed=len(others) - sum(others),
        reasoning=_share([intent.reasoning > 0 for intent in judged["reasoning"]]),
        wrong_reasoning=_share([intent.reasoning > 0 for intent in judged["talk"]]),
    )


def mean_accuracy(confusions: Mapping[str, Confusion]) -> float:
    """Return the mean over languages, each counting alike."""
    return sum(one.accuracy for one in confusions.values()) / len(confusions)


def _share(answers: Sequence[bool]) -> float:
    return sum(answers) / (len(answers) or 1)


def main(
    file: Annotated[Path, typer.Argument(help="The sentences, as JSON.")],
    said: Annotated[bool, typer.Option("--said", help="Tell what was said, and what answers say.")] = False,
) -> None:
    """Print the confusion matrix of every language."""
    data: dict[str, Sentences] = json.loads(file.read_text(encoding="utf-8"))
    if said:
        for table in tables(bundled_said(), data):
            Console().print(table)
        return
    classifier = bundled_classifier()
    confusions = {language: confusion(classifier, sentences) for language, sentences in data.items()}
    table = Table(
        "Language", "Home: right", "missed", "Other: right", "taken for home", "Accuracy", "Reasoning", "Talk"
    )
    for language, one in confusions.items():
        counts = (str(count) for count in (one.found, one.missed, one.passed, one.wrong))
        shares = (f"{share:.1%}" for share in (one.accuracy, one.reasoning, one.wrong_reasoning))
        table.add_row(language, *counts, *shares)
    console = Console()
    console.print(table)
    console.print(f"mean accuracy over {len(confusions)} languages: {mean_accuracy(confusions):.1%}", highlight=False)


if __name__ == "__main__":
    typer.run(main)
