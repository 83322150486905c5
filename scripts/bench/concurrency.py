"""First tokens of 1, 2, 4 and 8 simultaneous requests of a home that nobody has seen, on both servers; and a plot."""

from __future__ import annotations

import statistics
from pathlib import Path

from bench.client import Advance
from bench.figure import Figure
from bench.models import cache_folder, random_model
from bench.servers import LlamaServer, Load, Server, ZoeServer, build_peer, running
from bench.shared_prefix import N_CTX_TOKENS, OUTPUT_TOKENS, OWN_TOKENS, PARAMETERS, SHARED_TOKENS, burst, warm_up
from zoe_server.llama.config import physical_cores

NAME = "concurrency"
TITLE = f"first token of simultaneous requests, {SHARED_TOKENS:,} shared + {OWN_TOKENS} own prompt tokens, 180 M Q8_0"
CONCURRENCIES = (1, 2, 4, 8)
N_UNITS = 2 * sum(CONCURRENCIES) * OUTPUT_TOKENS


async def last_first_tokens_s(server: Server, advance: Advance) -> list[tuple[float, float]]:
    """Return for each concurrency when the first token came: the median of the requests, and the last of them."""
    found = []
    async with running(server) as client:
        await warm_up(client)
        for n_requests in CONCURRENCIES:
            times = (await burst(client, 10 + n_requests, n_requests, advance)).first_tokens_s
            found.append((statistics.median(times), max(times)))
    return found


def plot_path() -> Path:
    """Return where the plot of the last run is."""
    return cache_folder() / "first-token.svg"


def plot(ours: list[tuple[float, float]], theirs: list[tuple[float, float]], path: Path) -> None:
    """Draw the last first token over the concurrency into the file at `path`."""
    from matplotlib.figure import Figure as Picture  # noqa: PLC0415 -- it takes a second to import

    picture = Picture(figsize=(6.4, 4.0), layout="constrained")
    axes = picture.subplots()
    for label, times, colour in (("llama-server", theirs, "#9aa5b1"), ("Zoe", ours, "#1f77b4")):
        axes.plot(CONCURRENCIES, [last for _, last in times], marker="o", label=label, color=colour)
        axes.annotate(f"{times[-1][1]:.1f} s", (CONCURRENCIES[-1], times[-1][1]), (0, 6), textcoords="offset points",
                      ha="right", color=colour)  # fmt: skip
    axes.set_xlabel("simultaneous requests of one home")
    axes.set_ylabel("seconds until everybody has a first token")
    axes.set_xticks(CONCURRENCIES)
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    picture.savefig(path)


async def run(advance: Advance) -> list[Figure]:
    """Measure; `advance` is called with the number of answer pieces that have just come."""
    load = Load(random_model(PARAMETERS, 8192), N_CTX_TOKENS, CONCURRENCIES[-1], physical_cores())
    program = build_peer()
    ours = await last_first_tokens_s(ZoeServer(load), advance)
    theirs = await last_first_tokens_s(LlamaServer(load, program), advance)
    plot(ours, theirs, plot_path())
    return [
        Figure(f"{n} requests: first token, {name}", mine[index], "s", peer=other[index])
        for n, mine, other in zip(CONCURRENCIES, ours, theirs, strict=True)
        for index, name in enumerate(("median", "last"))
    ]
