"""Lines 28 and 30 of the behaviours: nothing is computed twice, and nothing for nobody."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conformance.conftest import Client

N_SLOTS = 4


async def test_28_the_same_request_again_is_cached_but_for_one_token(client: Client) -> None:
    said = "Is the window in the bedroom open, and who opened it?"
    await client.chat(said)
    usage = (await client.chat(said))["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] == usage["prompt_tokens"] - 1


async def test_28_a_longer_prompt_shares_what_is_equal(client: Client) -> None:
    system = {"role": "system", "content": "You control a house with many lamps. " * 10}
    await client.chat(messages=[system, {"role": "user", "content": "Turn on the first"}])
    usage = (await client.chat(messages=[system, {"role": "user", "content": "Turn on the second"}]))["usage"]
    assert usage["prompt_tokens"] > usage["prompt_tokens_details"]["cached_tokens"] > usage["prompt_tokens"] * 0.8


@pytest.mark.parametrize("stream", [False, True])
async def test_30_clients_that_leave_free_their_slots_and_places(own: Client, stream: bool) -> None:
    body = {"messages": [{"role": "user", "content": "Tell me everything"}], "stream": stream}
    leaving = [asyncio.create_task(own.post(body)) for _ in range(N_SLOTS + 3)]
    await own.until_busy("random", open_requests=N_SLOTS + 3)
    for one in leaving:
        if stream:
            one.add_done_callback(lambda done: None if done.cancelled() else done.result().close())
        one.cancel()
    await asyncio.wait(leaving)
    await own.until_busy("random", open_requests=0, running=0, waiting=0)
    assert (await own.chat())["choices"][0]["finish_reason"] == "length"


async def test_30_others_are_not_disturbed(own: Client) -> None:
    said = {"messages": [{"role": "user", "content": "Count the lamps"}], "max_tokens": 60, "stream": True}
    alone = _text((await own.events(await own.post(said)))[0])
    body = {"messages": [{"role": "user", "content": "Tell me everything"}]}
    leaving = [asyncio.create_task(own.post(body)) for _ in range(3)]
    await own.until_busy("random", open_requests=3)
    staying = await own.post(said)  # its first words are here, the others are on their way
    for one in leaving:
        one.cancel()
    assert _text((await own.events(staying))[0]) == alone
    await own.until_busy("random", open_requests=0)


def _text(chunks: list[dict[str, Any]]) -> str:
    return "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"])


async def test_a_restarted_server_still_has_what_requests_begin_with(
    serve: Callable[..., Any], configure: Callable[..., Path], connect: Callable[..., Client], tmp_path: Path
) -> None:
    home = "The kitchen has a light, a lamp and a fan. " * 30
    environment = {"XDG_CACHE_HOME": str(tmp_path), "ZOE_SERVER__SAVED_PREFIX_BYTES": str(1 << 30)}
    config = configure("random")
    with serve(config, **environment) as process:
        client = connect(process)
        await client.chat(f"{home} Turn on the light.")
        usage = (await client.chat(f"{home} Is the fan on?"))["usage"]
        async with asyncio.timeout(30):
            while not list((tmp_path / "zoe" / "prefixes").glob("*.npz")):  # noqa: ASYNC110 -- another process writes it
                await asyncio.sleep(0.02)
    with serve(config, **environment) as process:
        again = (await connect(process).chat(f"{home} Open the blinds."))["usage"]
    assert again["prompt_tokens_details"]["cached_tokens"] >= usage["prompt_tokens_details"]["cached_tokens"] > 200
