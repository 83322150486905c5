"""Trains the classifier of what was said: `python -m zoe_train.said_classifier`, some minutes on two cores.

Multinomial logistic regression for the kinds, binary ones for the other heads, all by Adagrad (Duchi et al. 2011) in
mini-batches, with a part of the features left out at random in each (dropout), and one temperature for the kinds, one
for `state` and one for `denies` (Guo et al. 2017, "On Calibration of Modern Neural Networks"). Needs the packages of
the development environment, as `intent_classifier`.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import numpy.typing as npt
import typer
from rich.progress import track

from zoe_server.routing import said
from zoe_server.routing.intent import N_BUCKETS, normalize
from zoe_train.answer_corpus import AnswerExample, answer_corpus
from zoe_train.said_corpus import Part, SaidExample, said_corpus

_FILE: Final = Path(said.__file__).with_name("said.bin")
_BATCH: Final = 1024
_EPOCHS: Final = 10
_RATE: Final = 0.12
_FIRST_STEP: Final = 1e-8
_DECAY: Final = 3e-7
_DROPOUT: Final = 0.15
_MAIN: Final = ("en", "de", "fr", "es", "nl", "it")
_MAIN_SENTENCES: Final = 30000
_SENTENCES: Final = 1500
_ANSWERS: Final = 600
_EVALUATED: Final = 300
_TEMPERATURES: Final = np.geomspace(0.2, 5, 60)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Features:
    """The buckets of all texts in one row, with what each counts; those of text i are from `starts[i]` to `ends[i]`."""

    buckets: npt.NDArray[np.int32]
    values: npt.NDArray[np.float32]
    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]

    @classmethod
    def of(cls, texts: Sequence[str]) -> Features:
        """Count what the classifier will count in each of `texts`."""
        rows, values = [], []
        for text in track(texts, "Features"):
            views = said.views(text)
            rows.append(np.asarray([bucket for view in views for bucket in view], dtype=np.int32))
            values.append(np.repeat([len(view) ** -0.5 for view in views if view], [len(v) for v in views if v]))
        ends = np.cumsum([len(row) for row in rows])
        starts = np.concatenate(([0], ends[:-1]))
        return cls(np.concatenate(rows), np.concatenate(values).astype(np.float32), starts, ends)

    def batch(self, rows: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int32], Floats, npt.NDArray[np.int64]]:
        """Return the buckets of `rows` one after the other, what each counts, and which of `rows` it belongs to."""
        lengths = self.ends[rows] - self.starts[rows]
        owner = np.repeat(np.arange(len(rows)), lengths)
        at = np.arange(len(owner)) + np.repeat(self.starts[rows] - np.cumsum(lengths) + lengths, lengths)
        return self.buckets[at], self.values[at].astype(np.float64), owner

    def odds(self, weights: Floats, bias: Floats) -> Floats:
        """Return the log odds of all texts for each column of `weights`, texts x heads."""
        parts = []
        for start in range(0, len(self.ends), 4096):
            found, values, owner = self.batch(np.arange(start, min(start + 4096, len(self.ends))))
            columns = [np.bincount(owner, values * w[found], owner[-1] + 1 if len(owner) else 0) for w in weights]
            parts.append(np.stack(columns, axis=1) + bias)
        return np.concatenate(parts)


def train(features: Features, answers: Floats, importance: Floats, seed: int) -> tuple[Floats, Floats]:
    """Return the weights, heads x buckets, and the bias of each head.

    `answers`, texts x heads, sum to 1 for each text if there are several heads: then these exclude each other.
    """
    n_heads = answers.shape[1]
    weights = np.zeros((n_heads, N_BUCKETS))
    steps = np.full((n_heads, N_BUCKETS), _FIRST_STEP)
    bias = np.zeros(n_heads)
    generator = np.random.default_rng(seed)
    for rows in _batches(len(answers), generator):
        found, values, owner = features.batch(rows)
        values = values * (generator.random(len(values)) >= _DROPOUT) / (1 - _DROPOUT)
        odds = np.stack([np.bincount(owner, values * w[found], len(rows)) for w in weights], axis=1) + bias
        error = importance[rows, None] * (probabilities(odds) - answers[rows])
        for head in range(n_heads):
            gradient = np.bincount(found, values * error[owner, head], N_BUCKETS) / len(rows) + _DECAY * weights[head]
            steps[head] += gradient * gradient
            weights[head] -= _RATE * gradient / np.sqrt(steps[head])
        bias -= 0.05 * error.mean(axis=0)
    return weights, bias


def probabilities(odds: Floats) -> Floats:
    """Return softmax over several heads, or the logistic function of one."""
    if odds.shape[1] == 1:
        return np.asarray(1 / (1 + np.exp(-np.clip(odds, -50, 50))))
    shares = np.exp(odds - odds.max(axis=1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def temperature(odds: Floats, answers: Floats, importance: Floats) -> float:
    """Return by what the log odds are to be divided so that `answers` are least surprising."""

    def surprise(divisor: float) -> float:
        shares = np.clip(probabilities(odds / divisor), 1e-9, 1 - 1e-9)
        per_head = answers * np.log(shares)
        if odds.shape[1] == 1:
            per_head = per_head + (1 - answers) * np.log(1 - shares)
        return -float((importance * per_head.sum(axis=1)).sum())

    return float(min(_TEMPERATURES, key=surprise))


def _batches(n_rows: int, generator: np.random.Generator) -> Iterator[npt.NDArray[np.int64]]:
    for _ in track(range(_EPOCHS), "Epochs"):
        order = generator.permutation(n_rows)
        for start in range(0, n_rows, _BATCH):
            yield order[start : start + _BATCH]


def pack(weights: Floats, bias: Floats) -> bytes:
    """Return the file of the trained heads, heads x buckets: weights rounded to bytes, with a scale for each head."""
    scales = [float(np.quantile(np.abs(row[row != 0]), 0.9995)) / 127 for row in weights]
    tables = [np.clip(np.rint(row / s), -127, 127).astype(np.int8) for row, s in zip(weights, scales, strict=True)]
    figures = [figure for pair in zip(scales, bias.tolist(), strict=True) for figure in pair]
    return said.HEADER.pack(said.MAGIC, N_BUCKETS, *figures) + b"".join(table.tobytes() for table in tables)


@dataclass(frozen=True, slots=True)
class _Group:
    """Texts and what is right for them, for heads that are trained together."""

    texts: list[str]
    answers: Floats
    importance: Floats

    @classmethod
    def kinds(cls, examples: Sequence[SaidExample]) -> _Group:
        answers = np.asarray([[float(e.kind == kind) for kind in said.KINDS] for e in examples])
        importance = np.asarray([e.weight for e in examples])
        return cls([e.text for e in examples], answers, importance / importance.mean())

    @classmethod
    def states(cls, examples: Sequence[SaidExample]) -> _Group:
        known = [e for e in examples if e.kind == "question" and e.state is not None]
        return cls([e.text for e in known], np.asarray([[float(bool(e.state))] for e in known]), np.ones(len(known)))

    @classmethod
    def denials(cls, examples: Sequence[AnswerExample]) -> _Group:
        answers = np.asarray([[float(e.denies)] for e in examples])
        return cls([e.text for e in examples], answers, np.ones(len(examples)))


def groups(seed: int, part: Part, divisor: int = 1, without: frozenset[str] = frozenset()) -> list[_Group]:
    """Return the texts of a part for the kinds, for `state` and for `denies`, a `divisor`th of the usual number.

    Those whose normalized text is in `without` are left out.
    """
    sentences = said_corpus(seed, part, lambda language: _sentences(language) // divisor)
    sentences = [one for one in sentences if normalize(one.text) not in without]
    answers = [one for one in answer_corpus(seed, part, _ANSWERS // divisor) if normalize(one.text) not in without]
    return [_Group.kinds(sentences), _Group.states(sentences), _Group.denials(answers)]


def kept_out(files: Sequence[Path]) -> frozenset[str]:
    """Return the normalized texts of files: the lines of a text, every string of a JSON file."""
    texts: list[str] = []
    for file in files:
        raw = file.read_text(encoding="utf-8")
        texts += _strings(json.loads(raw)) if file.suffix == ".json" else raw.splitlines()
    return frozenset(map(normalize, texts))


def _strings(data: object) -> Iterator[str]:
    if isinstance(data, str):
        yield data
    elif isinstance(data, dict | list):
        for one in data.values() if isinstance(data, dict) else data:
            yield from _strings(one)


def temperatures(seed: int) -> list[float]:
    """Return the temperature of each group, by a classifier that never saw the patterns it is calibrated with."""
    found = []
    for fitting, calibration in zip(groups(seed, "fitting"), groups(seed, "calibration", 5), strict=True):
        weights, bias = train(Features.of(fitting.texts), fitting.answers, fitting.importance, seed)
        odds = Features.of(calibration.texts).odds(weights, bias)
        found.append(temperature(odds, calibration.answers, calibration.importance))
    return found


def main(
    file: Annotated[Path, typer.Option(help="Where the weights go.")] = _FILE,
    held_out: Annotated[Path | None, typer.Option(help="Where some held-out texts go, as JSON.")] = None,
    all_held_out: Annotated[Path | None, typer.Option(help="Where all held-out texts go, as JSON.")] = None,
    divisors: Annotated[str, typer.Option(help="Temperatures that are known already, with commas between.")] = "",
    without: Annotated[list[Path] | None, typer.Option(help="Texts that are never trained on.")] = None,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn at random.")] = 1,
) -> None:
    """Make the texts, calibrate, train, and keep some texts that nothing was trained on."""
    by = [float(one) for one in divisors.split(",")] if divisors else temperatures(seed)
    typer.echo(f"temperatures of kinds, state and denies: {', '.join(f'{one:.2f}' for one in by)}")
    fitted = []
    for group, divisor in zip(groups(seed, "training", without=kept_out(without or ())), by, strict=True):
        weights, bias = train(Features.of(group.texts), group.answers, group.importance, seed)
        fitted.append((weights / divisor, bias / divisor))
    file.write_bytes(pack(np.concatenate([w for w, _ in fitted]), np.concatenate([bias for _, bias in fitted])))
    for path, most in ((held_out, 8), (all_held_out, 10_000)):
        if path is not None:
            text = json.dumps(stored(most, seed), ensure_ascii=False, indent=0)
            path.write_text(f"{text}\n", encoding="utf-8")


def stored(most: int, seed: int) -> dict[str, dict[str, list[str]]]:
    """Return up to `most` held-out texts of each kind and language, as JSON data."""
    rng = random.Random(seed)
    labelled = [(e.language, _label(e), e.text) for e in said_corpus(seed, "evaluation", lambda _: _EVALUATED)]
    answers = answer_corpus(seed, "evaluation", _EVALUATED // 4)
    labelled += [(e.language, "denies" if e.denies else "claims", e.text) for e in answers]
    chosen: dict[str, dict[str, list[str]]] = {}
    for language, label, text in labelled:
        chosen.setdefault(language, {}).setdefault(label, []).append(text)
    return {
        language: {label: rng.sample(texts, min(most, len(texts))) for label, texts in kinds.items()}
        for language, kinds in chosen.items()
    }


def _label(example: SaidExample) -> str:
    if example.kind != "question" or example.state is None:
        return example.kind
    return "state_question" if example.state else "other_question"


def _sentences(language: str) -> int:
    return _MAIN_SENTENCES if language in _MAIN else _SENTENCES


if __name__ == "__main__":
    typer.run(main)
