"""Line 39 and the life of the processes: crashes, restarts, several models, orderly and disorderly ends."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Any

import psutil  # type: ignore[import-untyped]  # it comes without type information
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import aiohttp

    from tests.conformance.conftest import Client, ZoeProcess

    Connect = Callable[[ZoeProcess], Client]
    Serve = Callable[..., Any]
    Configure = Callable[..., Path]

ENDLESS = {"messages": [{"role": "user", "content": "Tell me everything"}], "stream": True}


async def begun(client: Client, body: dict[str, Any]) -> aiohttp.ClientResponse:
    """Return a stream that has said something."""
    response = await client.post(body)
    assert response.status == 200
    assert (await response.content.readline()).startswith(b"data: ")
    return response


async def gone(processes: list[psutil.Process]) -> bool:
    _, alive = await asyncio.to_thread(psutil.wait_procs, processes, 20)
    return not alive


async def test_a_killed_engine_fails_its_requests_once_and_is_restarted(
    serve: Serve, configure: Configure, connect: Connect
) -> None:
    with serve(configure()) as process:
        client = connect(process)
        streaming = [await begun(client, ENDLESS) for _ in range(2)]
        whole = asyncio.create_task(client.post({**ENDLESS, "stream": False}))
        await client.until_busy("random", open_requests=3)
        (engine,) = process.engines()
        engine.send_signal(signal.SIGKILL)
        for response in streaming:
            found, broken_off = await client.events(response)
            assert broken_off
            assert [event for event in found if "error" in event] == [found[-1]]
            assert found[-1]["error"]["code"] == "engine_crashed"
        assert (await (await whole).json())["error"]["code"] == "engine_crashed"
        assert (await client.chat())["choices"][0]["finish_reason"] == "length"  # it waits for the restart
        _, health = await client.health()
        assert (health["status"], health["models"]["random"]["crashes"]) == ("ok", 1)
        assert process.engines() != [engine]


async def test_a_killed_gateway_leaves_no_orphan(serve: Serve, configure: Configure, connect: Connect) -> None:
    with serve(configure()) as process:
        response = await begun(connect(process), ENDLESS)
        engines = process.engines()
        assert len(engines) == 1
        process.process.kill()
        assert await gone(engines)
        response.close()


async def test_39_running_requests_finish_and_new_ones_are_refused(
    serve: Serve, configure: Configure, connect: Connect
) -> None:
    with serve(configure(server="shutdown_grace_s = 120")) as process:
        client = connect(process)
        running = await begun(client, {**ENDLESS, "max_tokens": 600})
        engines = process.engines()
        process.terminate()
        await client.until(lambda status, body: (status, body["status"]) == (503, "stopping"))
        status, error = await client.refusal({**ENDLESS, "stream": False})
        assert (status, error["code"]) == (503, "stopping")
        found, _ = await client.events(running)
        assert found[-1]["choices"][0]["finish_reason"] == "length"
        assert await asyncio.to_thread(process.process.wait, 20) == 0
        assert await gone(engines)


@pytest.mark.parametrize("impatient", [False, True])
async def test_39_an_endless_request_does_not_hold_up_the_end(
    serve: Serve, configure: Configure, connect: Connect, impatient: bool
) -> None:
    grace_s = 600 if impatient else 0.3
    with serve(configure(server=f"shutdown_grace_s = {grace_s}")) as process:
        client = connect(process)
        running = await begun(client, ENDLESS)
        engines = process.engines()
        process.terminate()
        if impatient:
            await client.until(lambda status, _: status == 503)
            process.terminate()
        found, _ = await client.events(running)
        assert found[-1]["error"]["type"] == "unavailable_error"
        assert await asyncio.to_thread(process.process.wait, 20) == 0
        assert await gone(engines)


async def test_several_models_run_in_processes_of_their_own(
    serve: Serve, configure: Configure, connect: Connect
) -> None:
    with serve(configure("one", "two")) as process:
        client = connect(process)
        assert len(process.engines()) == 2
        answers = await asyncio.gather(client.chat(model="one"), client.chat(model="two"), client.chat())
        assert [answer["model"] for answer in answers] == ["one", "two", "one"]
        assert len({answer["choices"][0]["message"]["content"] for answer in answers}) == 1
        process.engines()[0].send_signal(signal.SIGKILL)
        assert (await client.chat(model="two"))["model"] == "two"


async def test_a_model_that_cannot_be_loaded_is_said_everywhere(serve: Serve, connect: Connect, tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"this is no model")
    config = tmp_path / "zoe.toml"
    config.write_text("[models.broken]\npath = 'broken.gguf'", encoding="utf-8")
    with serve(config, wait=False) as process:
        client = connect(process)
        status, error = await client.refusal({**ENDLESS, "stream": False})
        assert (status, error["type"], "broken" in error["message"]) == (503, "unavailable_error", True)
        status, health = await client.health()
        assert (status, health["error"]["code"]) == (503, "failed")
        assert process.process.poll() is None
