"""The pictures of a request: taken from data URLs, checked, and made what every engine can read.

Pictures come from anybody, so they are decoded here, by Pillow, and an engine gets nothing but PNGs that were written
here: upright, without transparency, and no larger than what models look at. Nothing is ever fetched.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import dataclasses
import io
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from PIL import Image, ImageOps, UnidentifiedImageError

from zoe_server import errors, protocol

MAX_PICTURES: Final = 16
MAX_PIXELS: Final = 50_000_000
MAX_SIDE_PIXELS: Final = 2048
_FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
_DATA_URL: Final = re.compile(r"data:image/[a-z0-9.+-]{1,40};base64,", re.IGNORECASE)
_WHITE: Final = (255, 255, 255, 255)
_FAST: Final = 1  # zlib's level: it is read again on this very machine


def from_url(url: str, path: str) -> dict[str, Any]:
    """Return the part of a message that is the picture behind `url`, which lies at `path` of the body.

    Raises:
        errors.InvalidRequestError: it is no data URL.
    """
    head = _DATA_URL.match(url)
    if head is None:
        raise _refusal(path, "only data URLs are read (data:image/jpeg;base64,...); the server fetches nothing")
    return from_base64(url[head.end() :], path)


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
    loaded = {part["path"]: await asyncio.to_thread(_png, part["data"], part["path"]) for part in found}
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
        raw = base64.b64decode(data, validate=True)
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
            picture = Image.open(io.BytesIO(raw), formats=_FORMATS)
            if picture.width * picture.height > MAX_PIXELS:
                raise _refusal(path, f"{picture.width} x {picture.height} pixels are too many, {MAX_PIXELS:,} may be")
            picture.draft("RGB", (MAX_SIDE_PIXELS, MAX_SIDE_PIXELS))
            picture.load()
            return _plain(picture)
    except UnidentifiedImageError as error:
        raise _refusal(path, f"this is no picture that can be read; {', '.join(_FORMATS)} can") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _refusal(path, f"the picture is too large: {error}") from error
    except (OSError, ValueError, SyntaxError, EOFError, TypeError, IndexError) as error:  # Pillow's ways to say so
        raise _refusal(path, f"the picture is damaged: {error}") from error


def _plain(picture: Image.Image) -> Image.Image:
    upright = ImageOps.exif_transpose(picture)
    upright.thumbnail((MAX_SIDE_PIXELS, MAX_SIDE_PIXELS))
    if not upright.has_transparency_data:
        return upright.convert("RGB")
    paper = Image.new("RGBA", upright.size, _WHITE)
    return Image.alpha_composite(paper, upright.convert("RGBA")).convert("RGB")


def _refusal(path: str, reason: str) -> errors.InvalidRequestError:
    return errors.InvalidRequestError(f"{path}: {reason}", param=path)
