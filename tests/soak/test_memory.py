"""What thousands of requests of every kind leave behind in gateway and engine: nothing."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import aiohttp
import psutil  # type: ignore[import-untyped]  # it comes without type information
import pytest

from tests.conformance.conftest import Client, ZoeProcess, running
from tests.soak.traffic import HANG_S, Traffic

BRIEF_TEMPLATE = """\
{%- if tools %}
{{- '<|im_start|>system\\n' }}
{%- for tool in tools %}{{- tool['function']['name'] + ' ' }}{%- endfor %}
{{- '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}
{%- endfor %}
{{- '<|im_start|>assistant\\n' }}
"""
N_REQUESTS = 2000
N_WARM_UP = 2000
"""A heap grows until the largest requests have met in every way; what is in use by then stays the same."""
LEAST_WARM_UP = 150
N_WORKERS = 6
N_MEASURED = 5
MAX_GROWTH = 1.05


@pytest.fixture
def server(random_model: Path, tmp_path: Path) -> Iterator[ZoeProcess]:
    """A server whose cache is full after a few requests; its template tells the tools, which may be 330 KB, by name."""
    config = tmp_path / "zoe.toml"
    config.write_text(
        "[server]\nhost = '127.0.0.1'\n"
        f"[models.random]\npath = '{random_model}'\ncontext_tokens = 1536\nslots = 4\nthreads = 1\n"
        f"dialect = 'hermes'\nchat_template = {json.dumps(BRIEF_TEMPLATE)}\n",
        encoding="utf-8",
    )
    with running(config) as process:
        yield process


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=HANG_S)) as session:
        yield session


class Load:
    """Many clients at once, and what the two processes take of the memory when all is quiet again."""

    def __init__(self, server: ZoeProcess, http: aiohttp.ClientSession) -> None:
        self._server = server
        self._http = http
        self.sent: Counter[str] = Counter()

    async def send(self, n_requests: int) -> None:
        """Send so many requests, each client one after the other."""
        numbers = iter(range(sum(self.sent.values()), sum(self.sent.values()) + n_requests))

        async def work() -> None:
            for number in numbers:
                self.sent[await Traffic(self._http, self._server.url, random.Random(number)).one()] += 1

        async with asyncio.TaskGroup() as tasks:
            for _ in range(N_WORKERS):
                tasks.create_task(work())
        await Client(self._server.url, self._http).until_busy("random", open_requests=0, running=0, waiting=0)

    def resident_bytes(self) -> dict[str, int]:
        """Return what each of the two processes takes."""
        (engine,) = self._server.engines()
        gateway = psutil.Process(self._server.process.pid)
        return {"gateway": gateway.memory_info().rss, "engine": engine.memory_info().rss}


async def test_memory_stays_as_it_is(
    server: ZoeProcess, http: aiohttp.ClientSession, sized: Callable[..., int]
) -> None:
    load = Load(server, http)
    await load.send(sized(N_WARM_UP, least=LEAST_WARM_UP))
    measured = [load.resident_bytes()]
    for _ in range(N_MEASURED):
        await load.send(sized(N_REQUESTS) // N_MEASURED)
        measured.append(load.resident_bytes())
    grown = {name: measured[-1][name] / before for name, before in measured[0].items()}
    print(dict(load.sent), [{name: n >> 10 for name, n in now.items()} for now in measured], grown)  # noqa: T201
    assert all(growth <= MAX_GROWTH for growth in grown.values()), (grown, measured)
    _, health = await Client(server.url, http).health()
    assert health["models"]["random"]["crashes"] == 0
