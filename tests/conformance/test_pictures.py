"""Line 38 of the behaviours: pictures come in the request itself, are seen, and are refused where they are no good."""

from __future__ import annotations

import base64
import io
import random
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import aiohttp

    from tests.conformance.conftest import Client, ZoeProcess

    Connect = Callable[[ZoeProcess], Client]
    Serve = Callable[..., Any]
    Configure = Callable[..., Path]

QUESTION = {"type": "text", "text": "What is this?"}


@pytest.fixture(scope="module")
def seeing(serve: Serve, configure: Configure, random_model: Path) -> Iterator[ZoeProcess]:
    """A server whose model has a picture encoder."""
    from tests.fixtures.random_projector_gguf import write_random_projector  # noqa: PLC0415 - it loads numpy

    projector = write_random_projector(random_model.with_name("mmproj.gguf"))
    with serve(configure("random", model=f"projector = '{projector}'")) as process:
        yield process


def encoded(seed: int, form: str = "PNG", side: int = 40) -> str:
    pixels = random.Random(seed).randbytes(3 * side * side)
    out = io.BytesIO()
    Image.frombytes("RGB", (side, side), pixels).save(out, form)
    return base64.b64encode(out.getvalue()).decode()


def shown(url: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [QUESTION, {"type": "image_url", "image_url": {"url": url}}]}]


def data_url(seed: int, form: str = "PNG") -> str:
    return f"data:image/{form.lower()};base64,{encoded(seed, form)}"


async def answered(client: Client, url: str) -> dict[str, Any]:
    return await client.chat(messages=shown(url), max_tokens=16, temperature=0)


def said(answer: dict[str, Any]) -> str:
    text: str = answer["choices"][0]["message"]["content"]
    return text


async def test_38_what_is_shown_is_seen(seeing: ZoeProcess, connect: Connect) -> None:
    client = connect(seeing)
    one, other = [await answered(client, data_url(seed)) for seed in (1, 2)]
    assert said(one) != said(other)
    again = await answered(client, data_url(1))
    assert said(again) == said(one)
    usage = again["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] == usage["prompt_tokens"] - 1
    chunks = await client.stream(messages=shown(data_url(1)), max_tokens=16, temperature=0)
    streamed = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"])
    assert streamed == said(one)


async def test_38_a_conversation_about_a_picture_computes_it_once(seeing: ZoeProcess, connect: Connect) -> None:
    client = connect(seeing)
    first = await answered(client, data_url(3))
    history = [*shown(data_url(3)), {"role": "assistant", "content": said(first)}, {"role": "user", "content": "Why?"}]
    second = await client.chat(messages=history, max_tokens=4)
    assert second["usage"]["prompt_tokens_details"]["cached_tokens"] >= first["usage"]["prompt_tokens"] - 1


async def test_38_every_api_takes_them(seeing: ZoeProcess, connect: Connect, http: aiohttp.ClientSession) -> None:
    client = connect(seeing)
    expected = said(await client.chat(messages=[{"role": "user", "content": [_image(4), QUESTION]}], max_tokens=16))
    parts = [{"type": "input_image", "image_url": data_url(4)}, {"type": "input_text", "text": QUESTION["text"]}]
    body = {"model": "random", "input": [{"role": "user", "content": parts}], "max_output_tokens": 16}
    async with http.post(f"{client.url}/v1/responses", json=body) as response:
        (item,) = (await response.json())["output"]
        assert item["content"][0]["text"] == expected
    message = {"role": "user", "content": QUESTION["text"], "images": [encoded(4)]}
    options = {"num_predict": 16, "temperature": 0}
    body = {"model": "random", "messages": [message], "stream": False, "options": options}
    async with http.post(f"{client.url}/api/chat", json=body) as response:
        assert (await response.json())["message"]["content"] == expected


def _image(seed: int) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": data_url(seed)}}


async def test_38_a_model_that_sees_says_so(seeing: ZoeProcess, connect: Connect, http: aiohttp.ClientSession) -> None:
    client = connect(seeing)
    async with http.get(f"{client.url}/v1/models/random") as response:
        assert "vision" in (await response.json())["abilities"]
    async with http.post(f"{client.url}/api/show", json={"model": "random"}) as response:
        assert "vision" in (await response.json())["capabilities"]


@pytest.mark.parametrize(
    "source",
    [
        "file:///etc/hostname",
        "/etc/hostname",
        "http://127.0.0.1:1/picture.png",
        "data:image/png;base64,!!!",
        f"data:image/png;base64,{encoded(1)[:800]}",
        f"data:image/jpeg;base64,{encoded(1, 'JPEG')[:800]}",
        "data:image/png;base64,",
    ],
    ids=["a file URL", "a path", "a remote URL", "no base64", "half a PNG", "half a JPEG", "nothing"],
)
async def test_38_what_is_no_picture_is_refused(client: Client, source: str) -> None:
    status, error = await client.refusal({"messages": shown(source)})
    assert status == 400
    assert error["param"] == "messages[0].content[1].image_url.url"
    assert error["param"] in error["message"]


async def test_38_a_huge_picture_is_refused(client: Client) -> None:
    out = io.BytesIO()
    Image.new("1", (9_000, 9_000)).save(out, "PNG")
    url = f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"
    status, error = await client.refusal({"messages": shown(url)})
    assert (status, error["param"]) == (400, "messages[0].content[1].image_url.url")


async def test_38_a_model_that_sees_nothing_says_so(own: Client) -> None:
    status, error = await own.refusal({"messages": shown(data_url(1))})
    assert (status, error["param"]) == (400, "messages[0].content[1].image_url.url")
    assert "does not see pictures" in error["message"]
