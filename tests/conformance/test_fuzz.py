"""Whatever is sent ends as an answer or as a refusal in the right form: never a 5xx, never a hang, never a crash.

The bodies come from two sources: the server's own description of itself, and valid bodies that were changed a little.
`ZOE_FUZZ_CASES=10000` makes many more of the latter, `ZOE_FUZZ_SEED` others.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
from typing import TYPE_CHECKING, Any

import aiohttp
import psutil  # type: ignore[import-untyped]  # it comes without type information
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.conformance.mutation import SMALL_ANSWER, Mutator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conformance.conftest import Client, ZoeProcess

N_CASES = int(os.environ.get("ZOE_FUZZ_CASES", "400"))
SEED = os.environ.get("ZOE_FUZZ_SEED", "1")
N_WORKERS = 6
N_EXAMPLES = 12
HANG_S = 60
MAX_GROWTH_BYTES = 256 << 20
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def fuzzed(serve: Callable[..., Any], configure: Callable[..., Path]) -> Iterator[ZoeProcess]:
    """A server of its own, with a context so small that every answer is short."""
    with serve(configure(n_ctx_tokens=512)) as process:
        yield process


def bounded(body: Any) -> Any:  # noqa: ANN401 - any JSON
    """Return `body` with a model that exists and a short answer, as far as it is an object at all."""
    if not isinstance(body, dict):
        return body
    if isinstance(body.get("options"), dict):
        body = {**body, "options": {**body["options"], "num_predict": SMALL_ANSWER}}
    return {**body, "model": "zoe", "max_tokens": SMALL_ANSWER}


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=lambda mode: mode.value)
def test_what_the_description_admits_and_what_it_does_not_are_answered_in_form(
    fuzzed: ZoeProcess, mode: GenerationMode
) -> None:
    found = schemathesis.openapi.from_url(f"{fuzzed.url}/openapi.json")
    operations = [result.ok() for result in found.get_all_operations()]
    with_bodies = [operation for operation in operations if operation.body]
    assert len(with_bodies) >= 7
    for operation in operations if mode is GenerationMode.POSITIVE else with_bodies:

        @settings(
            max_examples=N_EXAMPLES,
            deadline=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
        )
        @given(case=operation.as_strategy(mode))
        def answers(case: schemathesis.Case) -> None:
            case.body = bounded(case.body)
            case.call_and_validate(checks=CHECKS, timeout=HANG_S)

        answers()


async def test_bodies_that_are_nearly_right_are_answered_or_refused(
    fuzzed: ZoeProcess, connect: Callable[[ZoeProcess], Client]
) -> None:
    client = connect(fuzzed)
    cases = iter(range(N_CASES))

    async def work() -> None:
        for number in cases:
            path, raw = Mutator(f"{SEED}:{number}").body()
            problem = await problem_of(client, path, raw)
            assert problem is None, f"case {SEED}:{number}, {path} {raw[:2000]!r}: {problem}"

    before = await asyncio.to_thread(resident_bytes, fuzzed)
    async with asyncio.TaskGroup() as tasks:
        for _ in range(N_WORKERS):
            tasks.create_task(work())
    status, health = await client.health()
    assert (status, health["models"]["random"]["crashes"]) == (200, 0)
    await client.until_busy("random", open_requests=0, running=0, waiting=0)
    assert (await client.chat())["choices"][0]["finish_reason"] == "length"
    assert await asyncio.to_thread(resident_bytes, fuzzed) - before < MAX_GROWTH_BYTES


async def problem_of(client: Client, path: str, raw: bytes) -> str | None:
    """Send `raw` and return what is wrong with the answer, None if nothing is."""
    limit = aiohttp.ClientTimeout(total=HANG_S)
    try:
        async with client.http.post(client.url + path, data=io.BytesIO(raw), timeout=limit) as response:
            text = await response.text()
    except TimeoutError:
        return f"no answer for {HANG_S} s"
    if response.status == 200:
        return streamed_failure(text)
    if not 400 <= response.status < 500 or response.content_type != "application/json":
        return f"{response.status} {response.content_type} {text[:500]}"
    error = json.loads(text)["error"]
    in_form = isinstance(error, str) if path.startswith("/api/") else {"message", "type", "param", "code"} <= set(error)
    return None if in_form else f"not an error object: {text[:500]}"


def streamed_failure(text: str) -> str | None:
    """Return the last line of a stream that ended in an error; None if it did not, or if it is no stream."""
    last = next((line.removeprefix("data: ") for line in reversed(text.splitlines()) if line), "")
    ended_well = last == "[DONE]" or "error" not in json.loads(last)
    return None if ended_well else f"a stream that failed: {last[:500]}"


def resident_bytes(server: ZoeProcess) -> int:
    """Return what gateway and engines take of the memory together."""
    processes = [psutil.Process(server.process.pid), *server.engines()]
    return sum(int(process.memory_info().rss) for process in processes)
