"""What a Zoe server says about itself, as typed data."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self

from homeassistant.config_entries import ConfigEntry

from .errors import ZoeLoadingError, ZoeNotZoeError, ZoeStreamBrokenError

if TYPE_CHECKING:
    from .client import ZoeClient


@dataclass(frozen=True, slots=True)
class Health:
    """The answer of `GET /health`: who the server is, whether it can answer, and if not, why."""

    ready: bool
    problem: str | None = None
    server_id: str | None = None
    version: str | None = None

    @classmethod
    def from_response(cls, body: object, status: int) -> Self:
        """Read the body of `GET /health`.

        Raises:
            ZoeNotZoeError: the body is not the one of a Zoe server.
        """
        if not isinstance(body, dict) or body.get("server") != "zoe":
            raise ZoeNotZoeError(f"the answer to /health (HTTP status {status}) is not one of a Zoe server")
        error = body.get("error")
        problem = _text(error, "message") if isinstance(error, dict) else None
        server_id, version = _text(body, "id"), _text(body, "version")
        return cls(ready=status == HTTPStatus.OK, problem=problem, server_id=server_id, version=version)

    def raise_if_not_ready(self) -> None:
        """Raise `ZoeLoadingError` with the server's reason, unless it can answer."""
        if not self.ready:
            raise ZoeLoadingError(self.problem or "it is loading a model")


def _text(body: dict[str, Any], key: str) -> str | None:
    value = body.get(key)
    return value if isinstance(value, str) and value else None


def model_ids(body: object) -> list[str]:
    """Return the ids in the body of `GET /v1/models`, in the server's order.

    Raises:
        ZoeStreamBrokenError: the body is not an OpenAI model list.
    """
    try:
        return [str(model["id"]) for model in body["data"]]  # type: ignore[index]  # a wrong shape is what we catch
    except (KeyError, TypeError) as err:
        raise ZoeStreamBrokenError("the answer to /v1/models is not a list of models") from err


@dataclass(slots=True)
class ZoeData:
    """What a loaded config entry keeps: the door to its server, and what the server said at the start."""

    client: ZoeClient
    health: Health
    models: list[str]


type ZoeConfigEntry = ConfigEntry[ZoeData]
