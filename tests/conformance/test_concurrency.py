"""Lines 29 and 31 to 34 of the behaviours: many at once, each gets its own answer, and nothing is done twice."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import aiohttp

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conformance.conftest import Client, ZoeProcess

    Connect = Callable[[ZoeProcess], Client]
    Serve = Callable[..., Any]
    Configure = Callable[..., Path]

N_COLD = 8
N_OWN_TOKENS = 40
N_LEAVING = 200
WORDS = ("kitchen", "lamp", "window", "heating", "garden", "music", "alarm", "cellar", "blue", "quietly", "never")
N_TELLING_CHARS = 40
N_TURNS = 3
N_CONVERSATIONS = 16
"""With `N_TURNS` requests each, and once more alone; the behaviour is promised for 1,000 requests."""


async def test_29_a_cold_burst_computes_what_it_shares_once(client: Client) -> None:
    home = " ".join(f"lamp{number}" for number in random.SystemRandom().sample(range(10**6), 120))
    system = {"role": "system", "content": home}  # nobody has said it before, to a server that runs already either
    asked = [client.chat(messages=[system, {"role": "user", "content": f"{n}?"}]) for n in range(N_COLD)]
    answers = await asyncio.gather(*asked)
    n_prompt_tokens = [answer["usage"]["prompt_tokens"] for answer in answers]
    n_computed = [
        answer["usage"]["prompt_tokens"] - answer["usage"]["prompt_tokens_details"]["cached_tokens"]
        for answer in answers
    ]
    assert min(n_prompt_tokens) > 500
    assert sum(n_computed) <= max(n_prompt_tokens) + N_COLD * N_OWN_TOKENS


async def test_31_requests_that_give_up_leave_nothing_behind(
    serve: Serve, configure: Configure, connect: Connect
) -> None:
    with serve(configure(server=f"queue_limit = {N_LEAVING}")) as process:
        client = connect(process)
        gave_up = await asyncio.gather(*(gives_up(client, stream=number % 2 == 1) for number in range(N_LEAVING)))
        assert sum(gave_up) > N_LEAVING / 2
        await client.until_busy("random", open_requests=0, running=0, waiting=0)
        assert (await client.chat())["choices"][0]["finish_reason"] == "length"
        assert (await client.health())[1]["models"]["random"]["crashes"] == 0


async def gives_up(client: Client, *, stream: bool) -> bool:
    """Ask for an endless answer, leave after half a second, and return whether that was before its end."""
    body = {"messages": [{"role": "user", "content": "Tell me everything"}], "stream": stream}
    limit = aiohttp.ClientTimeout(total=0.5)
    try:
        async with client.http.post(f"{client.url}/v1/chat/completions", json=body, timeout=limit) as response:
            assert response.status == 200
            await response.read()
    except TimeoutError:
        return True
    return False


async def converse(client: Client, number: int) -> list[str]:
    """Return the answers to conversation `number`, of which every request carries those before."""
    words = random.Random(number)
    subject = " ".join(words.choices(WORDS, k=12))
    history = [{"role": "system", "content": f"{subject} is the secret of canary{number:06d}. Tell nobody."}]
    answers = []
    for _ in range(N_TURNS):
        history.append({"role": "user", "content": " ".join(words.choices(WORDS, k=6))})
        answer = await client.chat(messages=history, max_tokens=12)
        answers.append(answer["choices"][0]["message"]["content"])
        history.append({"role": "assistant", "content": answers[-1]})
    return answers


async def test_32_a_conversation_among_others_is_what_it_is_alone(own: Client) -> None:
    """Batches of other sizes round differently, and random weights are sometimes undecided between two tokens: then
    an answer may go another way, but not the way of somebody else's.
    """
    numbers = range(N_CONVERSATIONS)
    alone = [await converse(own, number) for number in numbers]
    begins = [{answer[:N_TELLING_CHARS] for answer in answers} for answers in alone]
    assert len(set.union(*begins)) > 0.9 * N_CONVERSATIONS * N_TURNS  # else a mix-up could not be seen
    among_others = await asyncio.gather(*(converse(own, number) for number in numbers))
    others_begins = [set.union(*begins[:number], *begins[number + 1 :]) - begins[number] for number in numbers]
    assert not any(
        answer[:N_TELLING_CHARS] in others_begins[number] for number in numbers for answer in among_others[number]
    )
    n_changed = sum(now != before for now, before in zip(among_others, alone, strict=True))
    assert n_changed <= N_CONVERSATIONS / 4, (alone, among_others)


async def test_33_simultaneous_requests_for_a_model_that_is_not_loaded_load_it_once(
    serve: Serve, configure: Configure, connect: Connect
) -> None:
    with serve(configure(server="ready_wait_s = 120"), wait=False) as process:
        client = connect(process)
        answers = await asyncio.gather(*(client.chat() for _ in range(3)))
        assert [answer["choices"][0]["finish_reason"] for answer in answers] == ["length"] * 3
        assert len(process.engines()) == 1
        assert (await client.health())[1]["models"]["random"]["crashes"] == 0


async def test_34_asking_how_it_is_loads_no_model(serve: Serve, connect: Connect, tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"this is no model")
    config = tmp_path / "zoe.toml"
    config.write_text("[models.broken]\npath = 'broken.gguf'", encoding="utf-8")
    with serve(config, wait=False) as process:
        client = connect(process)
        await client.until(lambda _, body: body["status"] == "failed")
        for path in ("/health", "/v1/models", "/v1/models/broken", "/api/tags", "/api/ps", "/openapi.json"):
            await (await client.get(path)).read()
            assert process.engines() == []
        assert (await client.health())[1]["status"] == "failed"
