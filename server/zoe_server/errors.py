"""Every failure a caller can meet, with the HTTP status and the words it is reported in.

This module knows nothing of HTTP frameworks, engines or sockets: an error carries plain data, so that the same error
can be raised in the engine process, travel as a `Failure` event and be answered as an OpenAI error object.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

INTERNAL = "the server failed unexpectedly; its log has the details"


class ZoeError(Exception):
    """A failure with everything an OpenAI error object needs.

    `details` are extra members of the error object (for example `n_ctx`); `retry_after_s` becomes a `Retry-After`
    header.
    """

    status: int = 500
    type: str = "server_error"
    code: str | None = None

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        details: Mapping[str, Any] | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code if code is not None else type(self).code
        self.details: dict[str, Any] = dict(details or {})
        self.retry_after_s = retry_after_s


def in_one_line(text: str) -> str:
    """Return `text`, parts of which a client may have written, for a log: control characters as `\\n` and the like."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


class InvalidRequestError(ZoeError):
    """The request itself is wrong; `param` is the path of the offending value, such as `messages[0].role`."""

    status = 400
    type = "invalid_request_error"


class ModelKindError(InvalidRequestError):
    """The model is of a kind that cannot do this."""

    code = "unsupported_model"

    @classmethod
    def no_embeddings(cls) -> ModelKindError:
        """Return the error of a model that writes text, asked for embeddings."""
        return cls("this model makes no embeddings; name a model that is made for them", param="model")

    @classmethod
    def no_tokenizer(cls) -> ModelKindError:
        """Return the error of an engine that does not say how it cuts a text into tokens."""
        return cls("this model's engine tells no tokens; name another model", param="model")

    @classmethod
    def only_embeddings(cls) -> ModelKindError:
        """Return the error of an embedding model that is asked to write."""
        return cls("this model makes embeddings and cannot write; name a model that does", param="model")


class ContextSizeError(InvalidRequestError):
    """The prompt, or the text at the path `param`, has more tokens than the context holds.

    The number of a very long text's tokens is `estimated`: it is refused before they are counted.
    """

    type = "exceed_context_size_error"
    code = "context_length_exceeded"

    def __init__(self, n_prompt_tokens: int, n_ctx: int, param: str | None = None, *, estimated: bool = False) -> None:
        what, advice = "the request", "expose fewer devices, shorten the history, or give the model a larger context"
        if param is not None:
            what, advice = param, "split it into shorter texts"
        super().__init__(
            f"{what} has {'about ' * estimated}{n_prompt_tokens} prompt tokens and exceeds the available context size "
            f"({n_ctx} tokens); {advice}",
            param=param,
            details={"n_prompt_tokens": n_prompt_tokens, "n_ctx": n_ctx, **({"estimated": True} if estimated else {})},
        )


class AuthenticationError(ZoeError):
    """The API key is missing or wrong."""

    status = 401
    type = "authentication_error"
    code = "invalid_api_key"


class OriginError(ZoeError):
    """A web page asks that is not allowed by name."""

    status = 403
    type = "permission_error"
    code = "origin_not_allowed"


class HostError(ZoeError):
    """The server was called by a name that may be somebody else's."""

    status = 403
    type = "permission_error"
    code = "host_not_allowed"


class ModelNotFoundError(ZoeError):
    """The named model does not exist here; the message lists those that do."""

    status = 404
    type = "invalid_request_error"
    code = "model_not_found"


class BodyTooLargeError(ZoeError):
    """The request body is larger than the configured limit."""

    status = 413
    type = "invalid_request_error"
    code = "request_too_large"


class SlowClientError(ZoeError):
    """The client takes too long to send its request."""

    status = 408
    type = "invalid_request_error"
    code = "request_timeout"


class QueueFullError(ZoeError):
    """More requests wait than the configured bound."""

    status = 429
    type = "rate_limit_error"
    code = "queue_full"


class EngineError(ZoeError):
    """The engine failed while it worked on this request."""

    status = 500
    type = "server_error"
    code = "engine_error"


class EngineCrashedError(EngineError):
    """The engine process ended while it worked on this request; it is being restarted."""

    status = 503
    type = "unavailable_error"
    code = "engine_crashed"


class EngineUnavailableError(ZoeError):
    """No engine can take the request now: it is loading, restarting, or it cannot start at all."""

    status = 503
    type = "unavailable_error"
    code = "engine_unavailable"


class OutOfMemoryError(EngineUnavailableError):
    """There was too little memory to load the model."""

    code = "out_of_memory"

    @staticmethod
    def is_told_by(text: str) -> bool:
        """Whether a program that ended with these words did so for want of memory."""
        said = text.lower()
        return any(words in said for words in _NO_MEMORY)


class NotServedError(ZoeError):
    """The server has no such function, though the API has."""

    status = 501
    type = "invalid_request_error"
    code = "not_served"


class DownloadFailedError(ZoeError):
    """A model cannot be downloaded now; what has arrived is kept, unless it was damaged."""

    status = 503
    type = "unavailable_error"
    code = "download_failed"


class ModelBusyError(ZoeError):
    """The model answers requests right now, so it cannot be unloaded."""

    status = 409
    type = "conflict_error"
    code = "model_busy"


_NO_MEMORY = (
    *("failed to allocate", "unable to allocate", "cannot allocate memory", "out of memory", "bad_alloc"),
    "nvmapmemalloc",
)
"""Words of llama.cpp (`llama-model.cpp`, `llama-kv-cache.cpp`, `llama-context.cpp`, `ggml-alloc.c`, `ggml-cuda.cu`), of
the C++ library, of the C library, and of a Jetson's driver (`NvMapMemAllocInternalTagged: 1075072515 error 12`)."""

_BY_NAME: dict[str, type[ZoeError]] = {
    cls.__name__: cls
    for cls in (
        InvalidRequestError,
        ModelKindError,
        AuthenticationError,
        ModelNotFoundError,
        BodyTooLargeError,
        QueueFullError,
        EngineError,
        EngineCrashedError,
        EngineUnavailableError,
        OutOfMemoryError,
        ModelBusyError,
    )
}


def to_wire(error: ZoeError) -> dict[str, Any]:
    """Return `error` as plain JSON data that `from_wire` turns back into an equal error."""
    return {
        "class": type(error).__name__,
        "message": error.message,
        "param": error.param,
        "code": error.code,
        "details": error.details,
        "retry_after_s": error.retry_after_s,
    }


def from_wire(data: Mapping[str, Any]) -> ZoeError:
    """Return the error that `to_wire` described; an unknown class becomes an `EngineError`."""
    name = data.get("class", "")
    if name == ContextSizeError.__name__:
        sizes, estimated = data["details"], "estimated" in data["details"]
        n_prompt_tokens, n_ctx = int(sizes["n_prompt_tokens"]), int(sizes["n_ctx"])
        return ContextSizeError(n_prompt_tokens, n_ctx, data.get("param"), estimated=estimated)
    return _BY_NAME.get(name, EngineError)(
        str(data.get("message", "the engine failed without a message")),
        param=data.get("param"),
        code=data.get("code"),
        details=data.get("details"),
        retry_after_s=data.get("retry_after_s"),
    )
