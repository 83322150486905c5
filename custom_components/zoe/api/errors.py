"""Every way in which talking to a Zoe server can fail, and the one place where such a failure becomes Home Assistant's.

Each error has two texts in the translations: the message for somebody who looks after the server (`exceptions`, with
what was observed), and the sentence that is spoken to whoever asked (`common`, without).
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, ClassVar, Final, override

from homeassistant.exceptions import HomeAssistantError

from ..const import DOMAIN


class ZoeError(Exception):
    """A failure of the server or of the way to it; `message` says in English what was observed.

    One that is `retryable` may be over a moment later: the same request can be sent once more.
    """

    translation_key: ClassVar[str]
    spoken_key: ClassVar[str] = "failed_server"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    @property
    def placeholders(self) -> dict[str, str]:
        """Return what the translated message is filled with."""
        return {"message": self.message}


class ZoeInvalidUrlError(ZoeError):
    """The configured address is not an http or https URL."""

    translation_key = "invalid_url"
    spoken_key = "failed_settings"


class ZoeCannotConnectError(ZoeError):
    """Nothing answers at the address."""

    translation_key = "cannot_connect"
    spoken_key = "failed_unreachable"
    retryable = True


class ZoeTimeoutError(ZoeCannotConnectError):
    """The answer was not complete in the time that there was for it."""

    translation_key = "timeout"
    spoken_key = "failed_slow"
    retryable = False


class ZoeUnauthorizedError(ZoeError):
    """The API key is missing or wrong."""

    translation_key = "invalid_auth"
    spoken_key = "failed_key"


class ZoeNotZoeError(ZoeError):
    """Something answers at the address, but it is not a Zoe server."""

    translation_key = "not_zoe"
    spoken_key = "failed_unreachable"


class ZoeOtherServerError(ZoeError):
    """A Zoe server answers, but another one than before."""

    translation_key = "other_server"
    spoken_key = "failed_settings"


class ZoeOutdatedError(ZoeError):
    """The server is older than what is asked of it here."""

    translation_key = "server_too_old"
    spoken_key = "failed_settings"


class ZoeInstructionsError(ZoeError):
    """The instructions of an agent are no template, or an API that it may use is gone."""

    translation_key = "instructions"
    spoken_key = "failed_settings"


class ZoeLoadingError(ZoeError):
    """The server runs, but it is not ready: it loads a model, or could not load it."""

    translation_key = "loading"
    spoken_key = "failed_loading"


class ZoeUnavailableError(ZoeError):
    """The server cannot take a request now: it loads a model, restarts an engine, or its queue is full."""

    translation_key = "unavailable"
    spoken_key = "failed_busy"
    retryable = True


class ZoeRequestRefusedError(ZoeError):
    """The server understood the request and refused it, such as an unknown model."""

    translation_key = "request_refused"
    spoken_key = "failed_settings"


class ZoeServerError(ZoeError):
    """The server failed while it worked on the request."""

    translation_key = "server_error"


class ZoeStreamBrokenError(ZoeError):
    """The answer ended before it was complete, or is not what the protocol promises."""

    translation_key = "stream_broken"
    spoken_key = "failed_interrupted"
    retryable = True


class ZoeEmptyAnswerError(ZoeError):
    """The model said nothing, not even when it was asked for words only."""

    translation_key = "empty_answer"
    spoken_key = "failed_empty"


class ZoeAttachmentError(ZoeError):
    """An attachment is not a picture, or cannot be read."""

    translation_key = "attachment"
    spoken_key = "failed_picture"


class ZoeNoVisionError(ZoeError):
    """There are pictures, and no model that sees."""

    translation_key = "no_vision_model"
    spoken_key = "failed_picture"


class ZoeStructureError(ZoeError):
    """The model did not write data of the structure that was asked for, not even when it was told what was wrong."""

    translation_key = "bad_structure"


class ZoeContextExceededError(ZoeError):
    """The prompt has more tokens than the model's context holds."""

    translation_key = "context_exceeded"
    spoken_key = "failed_too_long"

    def __init__(self, message: str, prompt_tokens: int, context_tokens: int) -> None:
        super().__init__(f"{message} ({prompt_tokens} tokens, where {context_tokens} can be read)")
        self.prompt_tokens = prompt_tokens
        self.context_tokens = context_tokens

    @property
    @override
    def placeholders(self) -> dict[str, str]:
        """Return what the translated message is filled with."""
        return {"prompt_tokens": str(self.prompt_tokens), "context_tokens": str(self.context_tokens)}


_BY_TYPE: Mapping[str, type[ZoeError]] = {
    "authentication_error": ZoeUnauthorizedError,
    "unavailable_error": ZoeUnavailableError,
    "rate_limit_error": ZoeUnavailableError,
    "invalid_request_error": ZoeRequestRefusedError,
    "server_error": ZoeServerError,
}
_BY_STATUS: Mapping[int, type[ZoeError]] = {
    HTTPStatus.UNAUTHORIZED: ZoeUnauthorizedError,
    HTTPStatus.FORBIDDEN: ZoeUnauthorizedError,
    HTTPStatus.TOO_MANY_REQUESTS: ZoeUnavailableError,
    HTTPStatus.SERVICE_UNAVAILABLE: ZoeUnavailableError,
}


# How servers that are not Zoe's say it, in words only.
_OTHERS_CONTEXT: Final = re.compile(r"(?:maximum context length (?:is|of)|context size \()\D*(\d+)")
_OTHERS_PROMPT: Final = re.compile(r"(?:prompt contains (?:at least )?|request \(|resulted in |has )(\d+)")


def error_from_body(body: object, status: int) -> ZoeError:
    """Return the error that an OpenAI error body (`{"error": {"message", "type", ...}}`) reports, or one of Ollama's.

    In that, `error` is the message. Anything else in `body` counts as an unexplained HTTP `status`.
    """
    error = body.get("error") if isinstance(body, dict) else None
    if isinstance(error, str) and error:
        return _status_class(status)(error)
    if not isinstance(error, dict):
        return _status_class(status)(f"HTTP status {status}")
    message = str(error.get("message") or f"HTTP status {status}")
    if error.get("type") == "exceed_context_size_error":
        return ZoeContextExceededError(message, _count(error, "n_prompt_tokens"), _count(error, "n_ctx"))
    if status == HTTPStatus.BAD_REQUEST and (found := _OTHERS_CONTEXT.search(message)):
        prompt = _OTHERS_PROMPT.search(message)
        return ZoeContextExceededError(message, int(prompt[1]) if prompt else 0, int(found[1]))
    return _BY_TYPE.get(str(error.get("type")), _status_class(status))(message)


def _count(error: Mapping[str, Any], key: str) -> int:
    value = error.get(key)
    return value if isinstance(value, int) else 0


def _status_class(status: int) -> type[ZoeError]:
    return _BY_STATUS.get(
        status, ZoeServerError if status >= HTTPStatus.INTERNAL_SERVER_ERROR else ZoeRequestRefusedError
    )


@contextmanager
def translated_errors() -> Iterator[None]:
    """Turn every `ZoeError` raised inside into a `HomeAssistantError` in the user's language."""
    try:
        yield
    except ZoeError as err:
        raise HomeAssistantError(
            translation_domain=DOMAIN,
            translation_key=err.translation_key,
            translation_placeholders=err.placeholders,
        ) from err
