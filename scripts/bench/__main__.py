"""`./scripts/bench/run [NAME ...] [--json]`."""

from __future__ import annotations

import argparse
import asyncio
import sys

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from bench import (
    concurrency,
    constraints,
    contention,
    guards,
    home,
    low_power,
    restart,
    shared_prefix,
    single_stream,
    swap,
    upstreams,
)
from bench.figure import Figure, print_table
from bench.report import commit, write

BENCHMARKS = {
    benchmark.NAME: benchmark
    for benchmark in (
        *(
            shared_prefix,
            single_stream,
            constraints,
            restart,
            swap,
            concurrency,
            contention,
            low_power,
            upstreams,
            home,
            guards,
        ),
    )
}


def measure(name: str) -> list[Figure]:
    """Run one benchmark with a bar."""
    benchmark = BENCHMARKS[name]
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task(name, total=benchmark.N_UNITS)
        return asyncio.run(benchmark.run(lambda n: progress.advance(bar, n)))


def parse_options() -> argparse.Namespace:
    """Return the command line's options; a name that is no benchmark ends the program."""
    parser = argparse.ArgumentParser(prog="./scripts/bench/run", description="Measure Zoe on this machine.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"what to measure: {', '.join(BENCHMARKS)}")
    parser.add_argument("--json", action="store_true", help="print one JSON object per figure instead of a table")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md, or only those tables")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    return options


def main() -> None:
    """Run the benchmarks named on the command line, all of them if none is."""
    options = parse_options()
    print(f"commit {commit()}", file=sys.stderr)
    for index, name in enumerate(options.names or BENCHMARKS):
        title = f"{name}: {BENCHMARKS[name].TITLE}"
        figures = measure(name)
        if options.json:
            print("\n".join(figure.json() for figure in figures))
        else:
            print_table(title, figures)
        if options.write:
            print(write(title, figures, anew=not options.names and index == 0))


if __name__ == "__main__":
    main()
