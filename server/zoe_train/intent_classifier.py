"""Trains the intent classifier: `python -m zoe_train.intent_classifier`, a few minutes on two cores.

Two logistic regressions over the same hashed features, by Adagrad in mini-batches; the weights are then rounded to one
byte. Needs the packages of the development environment: hassil, home-assistant-intents, home-assistant-frontend, numpy.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import numpy.typing as npt
import typer
from rich.progress import track

from zoe_server.routing import intent
from zoe_train.intent_corpus import Example, make_corpus

_FILE: Final = Path(intent.__file__).with_name("intent.bin")
_BATCH: Final = 512
_EPOCHS: Final = 10
_RATE: Final = 0.1
_FIRST_STEP: Final = 1e-8
_DECAY: Final = 2e-7
_ENGLISH_COUNTS: Final = 10.0
_THOUGHT_COUNTS: Final = 6.0
_CAUTION: Final = 0.2
"""Taken off the log odds of automation: the names of a home, which are not known here, add to them later."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Features:
    """The buckets of all sentences in one row; those of sentence i are between `ends[i - 1]` and `ends[i]`."""

    buckets: npt.NDArray[np.int32]
    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]

    @classmethod
    def of(cls, texts: Sequence[str]) -> Features:
        """Count what the classifier will count in each of `texts`."""
        rows = [np.asarray(intent.buckets(intent.normalize(text)) or [0], dtype=np.int32) for text in texts]
        ends = np.cumsum([len(row) for row in rows])
        return cls(np.concatenate(rows), np.concatenate(([0], ends[:-1])), ends)

    def batch(self, rows: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """Return the buckets of `rows` one after the other, and how many each has."""
        parts = [self.buckets[self.starts[row] : self.ends[row]] for row in rows]
        return np.concatenate(parts), np.asarray([len(part) for part in parts])


def train(features: Features, answers: Floats, importance: Floats, seed: int) -> tuple[Floats, float]:
    """Return the weight of each bucket and the bias of a logistic regression with weighted examples."""
    weights = np.zeros(intent.N_BUCKETS)
    steps = np.full(intent.N_BUCKETS, _FIRST_STEP)
    bias = 0.0
    for rows in _batches(len(answers), seed):
        found, lengths = features.batch(rows)
        owner = np.repeat(np.arange(len(rows)), lengths)
        scale = 1 / np.sqrt(lengths)
        odds = bias + scale * np.bincount(owner, weights[found], len(rows))
        error = importance[rows] * (1 / (1 + np.exp(-odds)) - answers[rows])
        gradient = np.bincount(found, (error * scale)[owner], intent.N_BUCKETS) / len(rows) + _DECAY * weights
        steps += gradient * gradient
        weights -= _RATE * gradient / np.sqrt(steps)
        bias -= 0.05 * float(error.mean())
    return weights, bias


def _batches(n_rows: int, seed: int) -> Iterator[npt.NDArray[np.int64]]:
    generator = np.random.default_rng(seed)
    for _ in track(range(_EPOCHS), "Epochs"):
        order = generator.permutation(n_rows)
        for start in range(0, n_rows, _BATCH):
            yield order[start : start + _BATCH]


def pack(questions: Sequence[tuple[Floats, float]]) -> bytes:
    """Return the file of the trained `questions`: weights rounded to one byte, each with the scale of its question."""
    scales = [float(np.quantile(np.abs(weights[weights != 0]), 0.9995)) / 127 for weights, _ in questions]
    tables = [
        np.clip(np.rint(weights / scale), -127, 127).astype(np.int8)
        for (weights, _), scale in zip(questions, scales, strict=True)
    ]
    figures = [figure for (_, bias), scale in zip(questions, scales, strict=True) for figure in (scale, bias)]
    return intent.HEADER.pack(intent.MAGIC, intent.N_BUCKETS, *figures) + b"".join(table.tobytes() for table in tables)


def train_on(examples: Sequence[Example], seed: int) -> bytes:
    """Return the file of a classifier trained on `examples`."""
    features = Features.of([example.text for example in examples])
    importance = np.asarray([e.weight * (_ENGLISH_COUNTS if e.language == "en" else 1.0) for e in examples])
    importance /= importance.mean()
    about_home, needs_thought = (
        np.asarray([float(example.kind == kind) for example in examples]) for kind in ("automation", "reasoning")
    )
    weights, bias = train(features, about_home, importance, seed)
    return pack(
        [
            (weights, bias - _CAUTION),
            train(features, needs_thought, importance * (1 + (_THOUGHT_COUNTS - 1) * needs_thought), seed),
        ]
    )


def stored(examples: Sequence[Example], most: int, seed: int) -> dict[str, Any]:
    """Return up to `most` held-out examples of each kind and language, ten times as many in English, as JSON data."""
    rng = random.Random(seed)
    chosen: dict[str, Any] = {}
    for language in dict.fromkeys(example.language for example in examples):
        kinds = chosen.setdefault(language, {})
        for kind in ("automation", "talk", "reasoning"):
            texts = [example.text for example in examples if (example.language, example.kind) == (language, kind)]
            kinds[kind] = rng.sample(texts, min(len(texts), most * (10 if language == "en" else 1)))
    return chosen


def main(
    file: Annotated[Path, typer.Option(help="Where the weights go.")] = _FILE,
    held_out: Annotated[Path | None, typer.Option(help="Where some held-out sentences go, as JSON.")] = None,
    all_held_out: Annotated[Path | None, typer.Option(help="Where all held-out sentences go, as JSON.")] = None,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn at random.")] = 1,
) -> None:
    """Make the sentences, train on one part of them, and keep some of the other."""
    corpus = make_corpus(seed)
    typer.echo(f"{len(corpus.training)} sentences to train on, {len(corpus.held_out)} held out")
    file.write_bytes(train_on(corpus.training, seed))
    for path, most in ((held_out, 14), (all_held_out, 1_000)):
        if path is not None:
            text = json.dumps(stored(corpus.held_out, most, seed), ensure_ascii=False, indent=0)
            path.write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
