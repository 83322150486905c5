"""Pictures for a request, as data URLs: attachments of a chat log, cameras, image entities, files of media sources."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from homeassistant.components import conversation, media_source
from homeassistant.core import HomeAssistant
from homeassistant.exceptions import HomeAssistantError

from .api.errors import ZoeAttachmentError

type Pictures = dict[Path, str]


async def async_load_pictures(hass: HomeAssistant, content: Sequence[conversation.Content]) -> Pictures:
    """Return the attachments of a chat log by their paths.

    Raises:
        ZoeAttachmentError: one is not a picture, or cannot be read.
    """
    attachments = [
        attachment
        for item in content
        if isinstance(item, conversation.UserContent)
        for attachment in item.attachments or ()
    ]
    if not attachments:
        return {}
    return await hass.async_add_executor_job(_load, attachments)


def _load(attachments: Sequence[conversation.Attachment]) -> Pictures:
    return {attachment.path: _data_url(attachment) for attachment in attachments}


def _data_url(attachment: conversation.Attachment) -> str:
    if not attachment.mime_type.startswith("image/"):
        raise ZoeAttachmentError(f"{attachment.media_content_id} is {attachment.mime_type}, not a picture")
    try:
        data = attachment.path.read_bytes()
    except OSError as err:
        raise ZoeAttachmentError(f"{attachment.media_content_id}: {err.strerror}") from err
    return f"data:{attachment.mime_type};base64,{base64.b64encode(data).decode('ascii')}"


_MOST_BYTES: Final = 5 * 1024 * 1024
"""A third more in base64, which is what the server takes in one request unless it is configured otherwise."""


async def async_data_url(hass: HomeAssistant, media: Mapping[str, Any]) -> str:
    """Return a picture that was chosen with a media selector.

    Raises:
        ZoeAttachmentError: it is none, too large, or cannot be read.
    """
    content_id: str = media["media_content_id"]
    try:
        mime_type, content = await _async_content(hass, content_id, media.get("media_content_type"))
    except (HomeAssistantError, OSError) as err:
        raise ZoeAttachmentError(f"{content_id}: {err}") from err
    if not mime_type.startswith("image/"):
        raise ZoeAttachmentError(f"{content_id} is no picture but {mime_type}")
    if len(content) > _MOST_BYTES:
        raise ZoeAttachmentError(f"{content_id} has more than {_MOST_BYTES // 1024**2} MiB")
    return f"data:{mime_type};base64,{base64.b64encode(content).decode('ascii')}"


async def _async_content(hass: HomeAssistant, content_id: str, mime_type: str | None) -> tuple[str, bytes]:
    """Return type and bytes of what `content_id` names."""
    integration = content_id.removeprefix("media-source://").partition("/")[0]
    if integration in ("camera", "image") and integration not in hass.config.components:
        raise ZoeAttachmentError(f"{content_id}: there is no {integration} in this home")
    if content_id.startswith("media-source://camera/"):
        from homeassistant.components import camera  # noqa: PLC0415 -- its requirements are there only with cameras

        shot = await camera.async_get_image(hass, content_id.removeprefix("media-source://camera/"))
        return shot.content_type, shot.content
    if content_id.startswith("media-source://image/"):
        from homeassistant.components import image  # noqa: PLC0415 -- as above

        picture = await image.async_get_image(hass, content_id.removeprefix("media-source://image/"))
        return picture.content_type, picture.content
    media = await media_source.async_resolve_media(hass, content_id, None)
    if media.path is None:
        raise ZoeAttachmentError(f"{content_id} is not on this machine")
    return mime_type or media.mime_type, await hass.async_add_executor_job(_read, media.path)


def _read(path: Path) -> bytes:
    """Return the file, or so much of it that it is surely too large."""
    with path.open("rb") as file:
        return file.read(_MOST_BYTES + 1)
