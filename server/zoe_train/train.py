"""Trains zoe-nano: `python -m zoe_train.train DATA RUN`, in an environment with PyTorch (`train` extra).

DATA holds shards of dialogues, RUN keeps vocabulary, encoded data and checkpoints; the same command goes on where an
interrupted one stopped. Hidden matrices learn with Muon (Jordan et al. 2024), the rest with AdamW; the learning rate
rises over the first 2 % and falls linearly to zero.
"""

from __future__ import annotations

import dataclasses
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import torch
import typer
from rich.console import Console
from rich.progress import Progress, TaskID, TextColumn, TimeRemainingColumn
from tokenizers import Tokenizer
from torch.nn import functional as F  # noqa: N812 -- the name PyTorch users know

from zoe_train import tokens
from zoe_train.batches import conversations, make_batch
from zoe_train.model import Batch, Config, Model
from zoe_train.rendering import read_homes

N_HELD_OUT_HOMES: Final = 12
CHECKPOINT_EVERY: Final = 150
WARM_UP: Final = 0.02
console = Console()


def prepare(data: Path, run: Path, vocab: int) -> tuple[Tokenizer, list[tokens.HomeTokens]]:
    """Return vocabulary and encoded homes, made at the first call."""
    tokenizer_path, encoded_path = run / "tokenizer.json", run / "homes.npz"
    if not tokenizer_path.exists():
        with console.status("Learning the vocabulary"):
            sample = (
                text for i, home in enumerate(read_homes(data)) if i % 8 == 0 for text in (home.prefix, *home.exchanges)
            )
            tokens.train_tokenizer(sample, vocab).save(str(tokenizer_path))
    tokenizer = Tokenizer.from_file(str(tokenizer_path))
    if not encoded_path.exists():
        with console.status("Encoding the data"):
            tokens.save(encoded_path, (tokens.encode(tokenizer, home) for home in read_homes(data)))
    return tokenizer, tokens.load(encoded_path)


class Trainer:
    """Model, optimizers and the count of steps; all of it is in a checkpoint."""

    def __init__(self, config: Config, lr: float) -> None:
        self.config = config
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = Model(config).to(self.device)
        matrices = [p for n, p in self.model.named_parameters() if p.dim() == 2 and "embedding" not in n]
        others = [p for n, p in self.model.named_parameters() if p.dim() != 2 or "embedding" in n]
        self.optimizers: list[torch.optim.Optimizer] = [
            torch.optim.Muon(matrices, lr=lr, weight_decay=0.05, momentum=0.95, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(others, lr=lr, betas=(0.9, 0.95), weight_decay=0.0),
        ]
        self.lr = lr
        self.step = 0
        self.elapsed_s = 0.0

    def save(self, path: Path) -> None:
        """Write a checkpoint; it appears only when it is whole."""
        state = {
            "config": dataclasses.asdict(self.config),
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "step": self.step,
            "elapsed_s": self.elapsed_s,
        }
        torch.save(state, path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)

    def load(self, path: Path) -> None:
        """Go on from a checkpoint."""
        state: dict[str, Any] = torch.load(path, weights_only=True, map_location=self.device)
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.step, self.elapsed_s = state["step"], state["elapsed_s"]

    def update(self, batches: list[Batch], done: float) -> float:
        """Take one step over several homes, `done` of the training behind us; return the mean loss of the answers."""
        scale = min(1.0, done / WARM_UP + 0.02) * (1.0 - done)
        total_weight = sum(float((batch.weights == 1.0).sum()) for batch in batches)
        total = 0.0
        for batch in batches:
            batch = batch.to(self.device)  # noqa: PLW2901 -- the same batch, where the model is
            with torch.autocast(self.device.type, torch.bfloat16):
                logits = self.model(batch)
            losses = F.cross_entropy(logits.float(), batch.targets, reduction="none") / total_weight
            (losses * batch.weights).sum().backward()
            total += losses[batch.weights == 1.0].sum().item()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.lr * scale
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.step += 1
        return total


@torch.no_grad()
def exact_fraction(model: Model, homes: list[tokens.HomeTokens], device: torch.device) -> tuple[float, float]:
    """Return the fraction of first assistant turns, and of whole exchanges, that a greedy model writes exactly."""
    first, whole, n = 0, 0, 0
    for home in homes:
        batch = make_batch(home.prefix, list(zip(home.exchanges, home.learned, strict=True)), only_answers=True)
        batch = batch.to(device)
        with torch.autocast(device.type, torch.bfloat16):
            right = model(batch).argmax(-1) == batch.targets
        owner = torch.bucketize(batch.rows, batch.starts, right=True)
        for exchange in owner.unique():
            rows, correct = batch.rows[owner == exchange], right[owner == exchange]
            turn_ends = torch.nonzero(torch.diff(rows) > 1)
            first += bool(correct[: int(turn_ends[0]) + 1 if len(turn_ends) else None].all())
            whole += bool(correct.all())
            n += 1
    return first / n, whole / n


def endless(homes: list[tokens.HomeTokens], step: int, per_step: int) -> Iterator[list[Batch]]:
    """Yield the batches of each step from `step` on; the same seed gives the same order, whenever it is resumed."""
    per_epoch = len(homes) // per_step
    while True:
        epoch, at = divmod(step, per_epoch)
        order = random.Random(epoch).sample(range(len(homes)), len(homes))
        rng = random.Random(step)
        chosen = order[at * per_step : (at + 1) * per_step]
        yield [make_batch(homes[i].prefix, conversations(homes[i], rng)) for i in chosen]
        step += 1


def run_training(
    trainer: Trainer, homes: list[tokens.HomeTokens], run: Path, steps: int, minutes: float, per_step: int
) -> None:
    """Train until `steps` are done or `minutes` are over, whichever comes first, with checkpoints and a bar."""
    held_out, homes = homes[:N_HELD_OUT_HOMES], homes[N_HELD_OUT_HOMES:]
    batches = endless(homes, trainer.step, per_step)
    columns = (*Progress.get_default_columns()[:-1], TimeRemainingColumn(), TextColumn("{task.fields[note]}"))
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("Training", total=1.0, note="")
        while (done := max(trainer.step / steps, trainer.elapsed_s / 60 / minutes)) < 1.0:
            began = time.perf_counter()
            loss = trainer.update(next(batches), done)
            trainer.elapsed_s += time.perf_counter() - began
            progress.update(bar, completed=done, note=f"step {trainer.step} loss {loss:.4f}")
            if trainer.step % CHECKPOINT_EVERY == 0:
                _checkpoint(trainer, held_out, run, loss, progress, bar)
    _checkpoint(trainer, held_out, run, 0.0, progress, bar)


def _checkpoint(
    trainer: Trainer, held_out: list[tokens.HomeTokens], run: Path, loss: float, progress: Progress, bar: TaskID
) -> None:
    trainer.save(run / "checkpoint.pt")
    first, whole = exact_fraction(trainer.model, held_out, trainer.device)
    line = {
        "step": trainer.step,
        "minutes": round(trainer.elapsed_s / 60, 1),
        "loss": round(loss, 4),
        "exact_calls": first,
        "exact": whole,
    }
    with (run / "log.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps(line) + "\n")
    progress.console.print(line)
    progress.update(bar)


def main(
    data: Path,
    run: Path,
    steps: Annotated[int, typer.Option(help="Optimizer steps.")] = 4000,
    minutes: Annotated[float, typer.Option(help="Time limit; the learning rate falls with it.")] = 1e9,
    lr: Annotated[float, typer.Option(help="Highest learning rate.")] = 4e-3,
    homes_per_step: Annotated[int, typer.Option(help="Homes in one step.")] = 3,
    max_prompt_tokens: Annotated[int, typer.Option(help="Leave out homes with longer prompts.")] = 4096,
    weights: Annotated[Path | None, typer.Option(help="A checkpoint whose weights to begin with.")] = None,
) -> None:
    """Train zoe-nano, or go on training it."""
    torch.manual_seed(0)
    run.mkdir(parents=True, exist_ok=True)
    tokenizer, homes = prepare(data, run, Config().vocab)
    homes = [home for home in homes if len(home.prefix) <= max_prompt_tokens]
    trainer = Trainer(Config(vocab=tokenizer.get_vocab_size()), lr)
    n_parameters = sum(p.numel() for p in trainer.model.parameters())
    console.print(
        f"{n_parameters / 1e6:.1f} M parameters, {len(homes)} homes, {sum(len(h.exchanges) for h in homes)} exchanges"
    )
    if (run / "checkpoint.pt").exists():
        trainer.load(run / "checkpoint.pt")
        console.print(f"Going on at step {trainer.step}")
    elif weights is not None:
        trainer.model.load_state_dict(torch.load(weights, weights_only=True, map_location=trainer.device)["model"])
    run_training(trainer, homes, run, steps, minutes, homes_per_step)


if __name__ == "__main__":
    typer.run(main)
