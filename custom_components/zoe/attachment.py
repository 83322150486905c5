"""The pictures that go with what a user says, as data URLs."""

import base64
from collections.abc import Sequence
from pathlib import Path

from homeassistant.components import conversation
from homeassistant.core import HomeAssistant

from .errors import ZoeAttachmentError

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
