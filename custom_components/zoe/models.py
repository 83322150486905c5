"""What a Zoe server says about itself, as typed data."""

from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Self

from homeassistant.config_entries import ConfigEntry

from .const import MODEL_AUTOMATIC
from .errors import ZoeLoadingError, ZoeNotZoeError, ZoeStreamBrokenError

if TYPE_CHECKING:
    from .client import ZoeClient

_VISION: Final = "vision"


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


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What a server says about one of its models.

    `roles` is what it is configured for. `abilities` is what it can do, known only while it is loaded. Both are None if
    the server does not tell.
    """

    names: frozenset[str]
    roles: frozenset[str] | None
    abilities: frozenset[str] | None

    @property
    def sees(self) -> bool:
        """Whether it surely reads pictures."""
        return _VISION in (self.roles or ()) or _VISION in (self.abilities or ())

    @property
    def may_see(self) -> bool:
        """Whether it reads pictures, or nobody can tell before it is loaded."""
        return self.sees or not self.abilities


def model_facts(body: object) -> list[ModelFacts]:
    """Return what the body of `GET /v1/models` says about each model.

    Raises:
        ZoeStreamBrokenError: the body is not an OpenAI model list.
    """
    ids = model_ids(body)
    models: list[dict[str, Any]] = body["data"]  # type: ignore[index]  # `model_ids` has looked
    return [
        ModelFacts(
            frozenset({name, *(_texts(model, "aliases") or ())}), _texts(model, "roles"), _texts(model, "abilities")
        )
        for name, model in zip(ids, models, strict=True)
    ]


def _texts(model: dict[str, Any], key: str) -> frozenset[str] | None:
    value = model.get(key)
    return frozenset(map(str, value)) if isinstance(value, list) else None


def sees_pictures(facts: Iterable[ModelFacts], wanted: str) -> bool:
    """Return whether the model `wanted`, or the one that the server chooses, may read pictures."""
    others = [fact for fact in facts if MODEL_AUTOMATIC not in fact.names]
    if wanted == MODEL_AUTOMATIC:
        return any(fact.sees or fact.roles is None for fact in others)
    return all(fact.may_see for fact in others if wanted in fact.names)


@dataclass(slots=True)
class ZoeData:
    """What a loaded config entry keeps: the door to its server, and what the server said at the start."""

    client: ZoeClient
    health: Health
    models: list[str]


type ZoeConfigEntry = ConfigEntry[ZoeData]
