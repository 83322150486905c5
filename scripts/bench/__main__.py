"""`./scripts/bench/run [NAME ...] [--json]`."""

from __future__ import annotations

import argparse
import asyncio

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from bench import restart, shared_prefix, tool_calls
from bench.figure import print_table

BENCHMARKS = {benchmark.NAME: benchmark for benchmark in (shared_prefix, tool_calls, restart)}


def main() -> None:
    """Run the benchmarks named on the command line, all of them if none is."""
    parser = argparse.ArgumentParser(prog="./scripts/bench/run", description="Measure Zoe on this machine.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"what to measure: {', '.join(BENCHMARKS)}")
    parser.add_argument("--json", action="store_true", help="print one JSON object per figure instead of a table")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    for name in options.names or BENCHMARKS:
        benchmark = BENCHMARKS[name]
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            bar = progress.add_task(name, total=benchmark.N_UNITS)
            measured = asyncio.run(benchmark.run(lambda n, bar=bar: progress.advance(bar, n)))
        if options.json:
            print("\n".join(figure.json() for figure in measured))
        else:
            print_table(f"{name}: {benchmark.TITLE}", measured)


if __name__ == "__main__":
    main()
