"""Writes the training data of zoe-nano: `python -m zoe_train.data --homes 5000 FOLDER`.

Each process runs a Home Assistant core and writes shards of gzipped JSON lines, one home a line. A shard is renamed
into place when it is complete, so an interrupted run goes on where it stopped. Needs Home Assistant (Python 3.14).
"""

from __future__ import annotations

import asyncio
import gzip
import logging
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.progress import Progress, TimeElapsedColumn, TimeRemainingColumn

HOMES_PER_SHARD: Final = 100


async def write_shard(path: Path, seeds: range, n_exchanges: int) -> None:
    """Write the dialogues of `seeds`; the file appears only when it is whole."""
    # Imported here: each process of the pool needs Home Assistant, the command line's parent does not.
    from zoe_eval.core import home_assistant  # noqa: PLC0415
    from zoe_train.conversations import as_json, make_dialogue  # noqa: PLC0415

    logging.disable(logging.WARNING)
    part = path.with_suffix(".part")
    async with home_assistant() as hass:
        with gzip.open(part, "wt", compresslevel=3, encoding="utf-8") as file:
            for seed in seeds:
                file.write(as_json(await make_dialogue(hass, seed, n_exchanges)) + "\n")
    part.replace(path)


def _run_shard(path: Path, seeds: range, n_exchanges: int) -> None:
    os.nice(5)
    asyncio.run(write_shard(path, seeds, n_exchanges))


def main(
    folder: Path,
    homes: Annotated[int, typer.Option(help="Number of random homes.")] = 5000,
    exchanges: Annotated[int, typer.Option(help="Sentences said to each home.")] = 40,
    first_seed: Annotated[int, typer.Option(help="Seed of the first home; evaluation uses others.")] = 1,
    processes: Annotated[int, typer.Option(help="Cores to use.")] = os.cpu_count() or 1,
) -> None:
    """Generate dialogues with random homes."""
    folder.mkdir(parents=True, exist_ok=True)
    last = first_seed + homes
    starts = range(first_seed, last, HOMES_PER_SHARD)
    todo = {start: folder / f"{start:07d}-{exchanges}.jsonl.gz" for start in starts}
    todo = {start: path for start, path in todo.items() if not path.exists()}
    with (
        Progress(*Progress.get_default_columns()[:-1], TimeElapsedColumn(), TimeRemainingColumn()) as progress,
        # A process for each shard: Home Assistant's component cache does not survive a second core.
        ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn"), max_tasks_per_child=1) as pool,
    ):
        bar = progress.add_task("Homes", total=homes, completed=homes - len(todo) * HOMES_PER_SHARD)
        futures = [
            pool.submit(_run_shard, path, range(start, min(start + HOMES_PER_SHARD, last)), exchanges)
            for start, path in todo.items()
        ]
        for future in as_completed(futures):
            future.result()
            progress.advance(bar, HOMES_PER_SHARD)


if __name__ == "__main__":
    typer.run(main)
