"""Adapters over HTTP on the real llama.cpp: each request gets the answer of its own adapter, whoever asks beside it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conformance.conftest import Client, ZoeProcess

    Connect = Callable[[ZoeProcess], Client]
    Serve = Callable[..., Any]
    Configure = Callable[..., Path]

NAMES = ("random", "random:jokes", "random:rhymes")
HOME = " ".join(f"lamp{number}" for number in range(60))


@pytest.fixture(scope="module")
def tuned(serve: Serve, configure: Configure, random_model: Path) -> Iterator[ZoeProcess]:
    """A server whose model has two adapters."""
    from tests.fixtures.random_lora_gguf import write_random_lora_gguf  # noqa: PLC0415 - it loads numpy

    jokes, rhymes = (
        write_random_lora_gguf(random_model.with_name(f"{name}.gguf"), random_model, seed=seed)
        for seed, name in enumerate(("jokes", "rhymes"), 1)
    )
    tables = f"adapters.jokes = '{jokes}'\nadapters.rhymes = {{ path = '{rhymes}', scale = 0.7 }}"
    with serve(configure("random", model=tables)) as process:
        yield process


def said(answer: dict[str, Any]) -> str:
    text: str = answer["choices"][0]["message"]["content"]
    return text


async def ask(client: Client, model: str, question: str) -> dict[str, Any]:
    messages = [{"role": "system", "content": HOME}, {"role": "user", "content": question}]
    answer = await client.chat(messages=messages, model=model, max_tokens=24)
    assert answer["model"] == model
    return answer


async def test_answers_among_others_are_those_that_each_gets_alone(tuned: ZoeProcess, connect: Connect) -> None:
    client = connect(tuned)
    asked = [(model, f"{question}?") for question in range(3) for model in NAMES]
    together = await asyncio.gather(*(ask(client, model, question) for model, question in asked))
    for (model, question), answer in zip(asked, together, strict=True):
        assert said(answer) == said(await ask(client, model, question))
    for first in range(0, len(asked), len(NAMES)):
        assert len({said(answer) for answer in together[first : first + len(NAMES)]}) == len(NAMES)


async def test_the_same_prompt_is_computed_anew_for_each_adapter(tuned: ZoeProcess, connect: Connect) -> None:
    client = connect(tuned)
    words = {model: await client.chat("Something that nobody has said yet", model=model) for model in NAMES}
    common = {model: answer["usage"]["prompt_tokens_details"]["cached_tokens"] for model, answer in words.items()}
    n_prompt = words["random"]["usage"]["prompt_tokens"]
    assert max(common.values()) < n_prompt - 5
    again = await client.chat("Something that nobody has said yet", model="random:jokes")
    assert again["usage"]["prompt_tokens_details"]["cached_tokens"] == n_prompt - 1
    assert said(again) == said(words["random:jokes"])


async def test_a_broken_adapter_keeps_the_model_from_starting_and_says_why(
    serve: Serve, configure: Configure, connect: Connect, random_model: Path
) -> None:
    with serve(configure("random", model=f"adapters.jokes = '{random_model}'"), wait=False) as process:
        client = connect(process)
        await client.until(lambda status, body: status == 503 and body["models"]["random"]["status"] == "failed")
        response = await client.post({"messages": [{"role": "user", "content": "Hello"}], "model": "random:jokes"})
        message = (await response.json())["error"]["message"]
        assert response.status == 503
        assert "the adapter 'jokes'" in message
        assert "expect general.type to be 'adapter'" in message
