"""Lines 33 and 34 with real processes: models that come when they are asked for, and go when another needs the room."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conformance.conftest import Client, ZoeProcess

    Connect = Callable[[ZoeProcess], Client]
    Serve = Callable[..., Any]
    Configure = Callable[..., Path]

ROOM_FOR_ONE = "memory_budget_bytes = 330_000_000\nready_wait_s = 50"


async def test_models_are_loaded_on_demand_and_make_room_for_each_other(
    serve: Serve, configure: Configure, connect: Connect
) -> None:
    config = configure("one", "two", server=ROOM_FOR_ONE, model="load = 'demand'")
    with serve(config, wait=False) as process:
        client = connect(process)
        status, health = await client.health()
        listed = await (await client.get("/v1/models")).json()
        metrics = await client.get("/metrics")
        metrics.release()
        assert (status, process.engines()) == (200, [])
        assert {model["status"] for model in listed["data"]} == {"unloaded"}
        assert {model["status"] for model in health["models"].values()} == {"unloaded"}

        answers = await asyncio.gather(*(client.chat(model="one") for _ in range(3)))
        assert {answer["model"] for answer in answers} == {"one"}
        (first,) = process.engines()

        assert (await client.chat(model="two"))["model"] == "two"
        (second,) = process.engines()
        assert (first.is_running(), first.pid == second.pid) == (False, False)
        _, health = await client.health()
        assert [health["models"][name]["status"] for name in ("one", "two")] == ["unloaded", "ready"]
        assert "two needed its memory" in health["models"]["one"]["reason"]


async def test_a_model_that_never_fits_says_so_and_another_answers_in_its_place(
    serve: Serve, configure: Configure, connect: Connect
) -> None:
    config = configure("one", server="memory_budget_bytes = 330_000_000")
    table = config.read_text(encoding="utf-8")
    large = table[table.index("[models.one]") :].replace("[models.one]", "[models.large]")
    large = large.replace("context_tokens = 2048", "context_tokens = 1048576")
    config.write_text(f"{table}\n{large}\nload = 'demand'\nfallback = 'one'\n", encoding="utf-8")
    with serve(config) as process:
        client = connect(process)
        assert (await client.chat(model="large"))["model"] == "one"
        _, health = await client.health()
        assert health["models"]["large"]["status"] == "failed"
        assert "memory_budget_bytes" in health["models"]["large"]["reason"]
