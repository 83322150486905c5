"""Pictures of requests: what is read, what is refused, and what engines get."""

from __future__ import annotations

import base64
import contextlib
import io
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageChops

import zoe_server
from zoe_server import errors
from zoe_server.catalogue.spec import ModelSpec
from zoe_server.gateway import pictures
from zoe_server.protocol import ChatRequest

if TYPE_CHECKING:
    from tests.server.gateway.conftest import Start

PATH = "messages[0].content[0].image_url.url"
NOISE = Image.effect_noise((64, 64), 90)
RED, WHITE = (255, 0, 0), (255, 255, 255)


def encoded(picture: Image.Image, form: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, form, **options)
    return out.getvalue()


def request(*data: bytes | str) -> ChatRequest:
    texts = [one if isinstance(one, str) else base64.b64encode(one).decode() for one in data]
    parts = [pictures.from_base64(text, f"{PATH}{index}") for index, text in enumerate(texts)]
    return ChatRequest("r", "m", ({"role": "user", "content": [{"type": "text", "text": "What?"}, *parts]},))


async def loaded(*data: bytes | str) -> list[Image.Image]:
    (result,) = await pictures.load([request(*data)])
    first, *parts = result.messages[0]["content"]
    assert first == {"type": "text", "text": "What?"}
    found = [Image.open(io.BytesIO(base64.b64decode(part["data"]))) for part in parts]
    assert all((picture.format, picture.mode) == ("PNG", "RGB") for picture in found)
    return found


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
async def test_every_usual_form_becomes_a_png(form: str) -> None:
    (picture,) = await loaded(encoded(Image.new("RGB", (30, 20), RED), form))
    assert picture.size == (30, 20)
    red, green, blue = picture.getpixel((5, 5))
    assert red > 240
    assert max(green, blue) < 15


async def test_pictures_keep_their_order() -> None:
    sizes = [(10, 20), (30, 40), (50, 60)]
    assert [one.size for one in await loaded(*(encoded(Image.new("RGB", size)) for size in sizes))] == sizes


async def test_a_large_picture_is_made_smaller() -> None:
    (picture,) = await loaded(encoded(Image.new("RGB", (5000, 2500))))
    assert picture.size == (2048, 1024)


async def test_a_picture_stands_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned
    (picture,) = await loaded(encoded(Image.new("RGB", (30, 20)), "JPEG", exif=exif))
    assert picture.size == (20, 30)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
async def test_what_is_transparent_becomes_white(mode: str) -> None:
    clear = Image.new("RGBA", (8, 8), (10, 20, 30, 0)).convert(mode)
    options = {"transparency": 0} if mode == "P" else {}
    (picture,) = await loaded(encoded(clear, **options))
    assert picture.getpixel((4, 4)) == WHITE


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("!!!", "not valid base64"),
        (b"", "no picture"),
        (b"hello, world", "no picture"),
        (b"%PDF-1.7 ", "no picture"),
        (encoded(NOISE)[:900], "damaged"),
        (encoded(NOISE, "JPEG")[:900], "damaged"),
        (encoded(Image.new("RGB", (7_070, 7_070))), "7070 x 7070 pixels are too many, a PNG may have 25,000,000"),
        (encoded(Image.new("P", (5_001, 5_000)), "GIF"), "a GIF may have 25,000,000"),
        (encoded(Image.new("RGB", (4_001, 2_500)), "WEBP"), "a WEBP may have 10,000,000"),
        (encoded(Image.new("L", (5_001, 5_000)), "JPEG", progressive=True), "progressive JPEG may have 25,000,000"),
        (encoded(Image.new("L", (7_100, 7_100)), "JPEG"), "a JPEG may have 50,000,000"),
        (encoded(Image.new("1", (11_000, 11_000))), "too many|too large"),
    ],
    ids=[
        *("no base64", "nothing", "text", "a document", "half a PNG", "half a JPEG", "PNG", "GIF", "WEBP"),
        *("progressive", "JPEG", "a bomb"),
    ],
)
async def test_what_is_no_good_picture_is_refused(data: bytes | str, reason: str) -> None:
    with pytest.raises(errors.InvalidRequestError, match=reason) as caught:
        await loaded(data)
    assert caught.value.param == f"{PATH}0"


SEVERAL_AT_ONCE = """
import asyncio, base64, io, sys
from PIL import Image
from zoe_server.gateway import pictures
from zoe_server.protocol import ChatRequest

def peak_bytes():
    (line,) = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024

def request(data):
    part = pictures.from_base64(base64.b64encode(data).decode(), "path")
    return ChatRequest("r", "m", ({"role": "user", "content": [part]},))

async def main():
    small = io.BytesIO()
    Image.new("RGB", (9, 9)).save(small, sys.argv[1])
    await pictures.load([request(small.getvalue())])
    before = peak_bytes()
    large = request(sys.stdin.buffer.read())
    await asyncio.gather(*(pictures.load([large]) for _ in range(3)))
    print(peak_bytes() - before)

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("form", "size", "options"),
    [
        ("PNG", (5_000, 5_000), {}),
        ("WEBP", (4_000, 2_500), {}),
        ("JPEG", (5_000, 5_000), {"progressive": True}),
        ("JPEG", (7_000, 7_000), {}),
        ("JPEG", (50_000, 1_000), {}),
    ],
)
def test_the_largest_three_at_once_take_no_more_than_one(
    form: str, size: tuple[int, int], options: dict[str, object]
) -> None:
    """Each alone takes up to some 240 MB; in a process of its own, as its memory at the highest counts."""
    data = encoded(Image.new("RGBA" if form == "PNG" else "RGB", size), form, **options)
    run = subprocess.run(
        [sys.executable, "-c", SEVERAL_AT_ONCE, form],
        input=data,
        capture_output=True,
        check=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(Path(zoe_server.__file__).parents[1])},
    )
    assert int(run.stdout) < 260_000_000


async def test_thin_lines_of_a_large_picture_stay_what_they_are() -> None:
    """It is made smaller in strips, and nothing of that is to be seen."""
    large = Image.linear_gradient("L").resize((4_100, 4_300)).convert("RGB")
    (picture,) = await loaded(encoded(large))
    expected = large.resize(picture.size)
    difference = ImageChops.difference(picture, expected)
    assert max(high for _, high in difference.getextrema()) <= 2


@pytest.mark.parametrize(
    "head",
    [
        *("data:image/png;charset=utf-8;base64,", "data:application/octet-stream;base64,", "data:;base64,"),
        *("DATA:IMAGE/PNG;BASE64,", "data:image/jpeg;base64,", "data:text/plain;name=a.png;base64,"),
    ],
)
async def test_the_content_says_what_a_picture_is(head: str) -> None:
    data = base64.encodebytes(encoded(NOISE)).decode()
    assert data.count("\n") > 1
    part = pictures.from_url(head + data, PATH)
    (result,) = await pictures.load([ChatRequest("r", "m", ({"role": "user", "content": [part]},))])
    (found,) = result.messages[0]["content"]
    assert Image.open(io.BytesIO(base64.b64decode(found["data"]))).size == NOISE.size


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "/etc/passwd",
        "https://example.com/a.png",
        "http://127.0.0.1/a",
        "",
        "data:text/html,x",
        "data:base64,x",
    ],
)
def test_nothing_is_fetched(url: str) -> None:
    with pytest.raises(errors.InvalidRequestError, match="data URLs") as caught:
        pictures.from_url(url, PATH)
    assert caught.value.param == PATH


async def test_too_many_are_refused() -> None:
    dot = encoded(Image.new("RGB", (1, 1)))
    assert len(await loaded(*[dot] * pictures.MAX_PICTURES)) == pictures.MAX_PICTURES
    with pytest.raises(errors.InvalidRequestError, match="17"):
        await loaded(*[dot] * (pictures.MAX_PICTURES + 1))


async def test_text_alone_is_left_as_it_is() -> None:
    asked = ChatRequest("r", "m", ({"role": "user", "content": "Hello"},))
    assert await pictures.load([asked, asked]) == [asked, asked]


@given(data=st.data())
async def test_damage_is_never_a_failure_of_the_server(data: st.DataObject) -> None:
    """Whatever bytes of a picture are changed, it is read or refused."""
    form = data.draw(st.sampled_from(["PNG", "JPEG", "GIF", "WEBP", "BMP"]))
    raw = bytearray(encoded(Image.linear_gradient("L").resize((16, 16)).convert("RGB"), form))
    for _ in range(data.draw(st.integers(1, 8))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(errors.InvalidRequestError):
        await loaded(bytes(raw))


DATA = base64.b64encode(encoded(Image.new("RGB", (20, 20), RED))).decode()
URL = f"data:image/png;base64,{DATA}"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (
            "/v1/chat/completions",
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": URL}}]}]},
        ),
        ("/v1/responses", {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": URL}]}]}),
        ("/api/chat", {"messages": [{"role": "user", "content": "hi", "images": [DATA]}], "stream": False}),
        ("/api/generate", {"prompt": "hi", "images": [DATA], "stream": False}),
    ],
)
async def test_a_picture_goes_to_the_model_that_sees(
    start: Start, spec: ModelSpec, path: str, body: dict[str, Any]
) -> None:
    gateway = await start(specs=(spec, replace(spec, name="eyes", aliases=(), roles=("vision",))))
    response = await gateway.client.post(path, json={"model": "zoe", **body})
    assert response.status == 200
    assert response.headers["X-Zoe-Route"] == "rule=vision; model=eyes; candidates=eyes,m"
