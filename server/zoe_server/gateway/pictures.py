"""The pictures of a request: taken from data URLs, checked, and made what every engine can read.

Pictures come from anybody, so they are decoded here, by Pillow, and an engine gets nothing but PNGs that were written
here: upright, without transparency, and no larger than what models look at. Nothing is ever fetched.

A small file may be a large picture: each form has its bound of pixels, by what Pillow takes to decode one (up to some
240 MB), and one picture is decoded at a time, whatever is asked meanwhile.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import dataclasses
import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from zoe_server import errors, protocol

MAX_PICTURES: Final = 16
MAX_PIXELS: Final[Mapping[str, int]] = {
    "PNG": 25_000_000,
    "JPEG": 50_000_000,
    "WEBP": 10_000_000,
    "GIF": 25_000_000,
    "BMP": 25_000_000,
}
MAX_PROGRESSIVE_PIXELS: Final = 25_000_000  # all of such a JPEG is held, though it is reduced while it is decoded
MAX_SIDE_PIXELS: Final = 2048
_WHITE: Final = (255, 255, 255, 255)
_FAST: Final = 1  # zlib's level: it is read again on this very machine
_STRIP_ROWS: Final = 64
_DECODER: Final = ThreadPoolExecutor(1, thread_name_prefix="picture")


def from_url(url: str, path: str) -> dict[str, Any]:
    """Return the part of a message that is the picture behind `url`, which lies at `path` of the body.

    Its media type may be anything: what a picture is, its content says.

    Raises:
        errors.InvalidRequestError: it is no data URL.
    """
    head, _, data = url.partition(",")
    if not (head[:5].lower() == "data:" and head[-7:].lower() == ";base64"):
        raise _refusal(path, "only data URLs are read (data:image/jpeg;base64,...); the server fetches nothing")
    return from_base64(data, path)


def from_base64(data: str, path: str) -> dict[str, Any]:
    """Return the part of a message that is the picture in `data`, which lies at `path` of the body."""
    return {"type": "picture", "data": data, "path": path}


async def load(requests: Sequence[protocol.ChatRequest]) -> list[protocol.ChatRequest]:
    """Return the requests, which have the same messages, with their pictures as base64 of PNGs.

    Raises:
        errors.InvalidRequestError: a picture cannot be read or is too large, or there are too many.
    """
    found = list(_pictures(requests[0].messages))
    if not found:
        return list(requests)
    if len(found) > MAX_PICTURES:
        path = found[MAX_PICTURES]["path"]
        raise _refusal(path, f"a request may have {MAX_PICTURES} pictures at most, this one has {len(found)}")
    turn = asyncio.get_running_loop().run_in_executor
    loaded = {part["path"]: await turn(_DECODER, _png, part["data"], part["path"]) for part in found}
    messages = tuple(_with_pictures(message, loaded) for message in requests[0].messages)
    return [dataclasses.replace(request, messages=messages) for request in requests]


def _pictures(messages: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for message in messages:
        if isinstance(message["content"], list):
            yield from (part for part in message["content"] if part["type"] == "picture")


def _with_pictures(message: Mapping[str, Any], loaded: Mapping[str, str]) -> Mapping[str, Any]:
    if not isinstance(message["content"], list):
        return message
    parts = [part if part["type"] == "text" else {**part, "data": loaded[part["path"]]} for part in message["content"]]
    return {**message, "content": parts}


def _png(data: str, path: str) -> str:
    """Return the base64 form of the PNG that engines get."""
    try:
        raw = base64.b64decode("".join(data.split()), validate=True)  # some encoders break lines
    except (binascii.Error, ValueError) as error:
        raise _refusal(path, f"not valid base64: {error}") from error
    out = io.BytesIO()
    _decoded(raw, path).save(out, "PNG", compress_level=_FAST)
    return base64.b64encode(out.getvalue()).decode()


def _decoded(raw: bytes, path: str) -> Image.Image:
    """Return the picture, upright, in red, green and blue, at most `MAX_SIDE_PIXELS` long on its longer side."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture = Image.open(io.BytesIO(raw), formats=tuple(MAX_PIXELS))
            _check_size(picture, path)
            shrink = max(1.0, max(picture.size) / MAX_SIDE_PIXELS)
            picture.draft("RGB", (int(picture.width / shrink) or 1, int(picture.height / shrink) or 1))
            picture.load()
            return _plain(picture)
    except UnidentifiedImageError as error:
        raise _refusal(path, f"this is no picture that can be read; {', '.join(MAX_PIXELS)} can") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _refusal(path, f"the picture is too large: {error}") from error
    except (OSError, ValueError, SyntaxError, EOFError, TypeError, IndexError) as error:  # Pillow's ways to say so
        raise _refusal(path, f"the picture is damaged: {error}") from error


def _check_size(picture: Image.Image, path: str) -> None:
    form = picture.format or ""
    limit = MAX_PROGRESSIVE_PIXELS if "progressive" in picture.info else MAX_PIXELS[form]
    if picture.width * picture.height > limit:
        kind = f"progressive {form}" if "progressive" in picture.info else form
        size = f"{picture.width} x {picture.height}"
        raise _refusal(path, f"{size} pixels are too many, a {kind} may have {limit:,}; make the picture smaller")


def _plain(picture: Image.Image) -> Image.Image:
    """Return the picture on white, made smaller strip by strip, as a second one of its size would cost too much."""
    factor = max(1, max(picture.size) // MAX_SIDE_PIXELS)
    small = Image.new("RGB", (-(-picture.width // factor), -(-picture.height // factor)))
    for top in range(0, picture.height, _STRIP_ROWS * factor):
        bottom = min(picture.height, top + _STRIP_ROWS * factor)
        strip = _on_white(picture.crop((0, top, picture.width, bottom)))
        small.paste(strip.reduce(factor), (0, top // factor))
    small.getexif()[ExifTags.Base.Orientation] = picture.getexif().get(ExifTags.Base.Orientation, 1)
    upright = ImageOps.exif_transpose(small)
    upright.thumbnail((MAX_SIDE_PIXELS, MAX_SIDE_PIXELS))
    return upright


def _on_white(picture: Image.Image) -> Image.Image:
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    paper = Image.new("RGBA", picture.size, _WHITE)
    return Image.alpha_composite(paper, picture.convert("RGBA")).convert("RGB")


def _refusal(path: str, reason: str) -> errors.InvalidRequestError:
    return errors.InvalidRequestError(f"{path}: {reason}", param=path)
