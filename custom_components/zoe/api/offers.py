"""Which models a server has, which it could download, and how far a download is.

Pure. What is not known is None; what has another shape than the server promises is an error.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from ..const import MODEL_AUTOMATIC
from .errors import ZoeServerError, ZoeStreamBrokenError

_VISION: Final = "vision"


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


def context_tokens(body: object) -> dict[str, int]:
    """Return from the body of `GET /v1/models` how many tokens each model can read, by its name and its aliases.

    Raises:
        ZoeStreamBrokenError: the body is not a list of a Zoe server's models.
    """
    try:
        models = body["data"]  # type: ignore[index]  # a wrong shape is what we catch
        return {str(name): int(one["context_tokens"]) for one in models for name in (one["id"], *one["aliases"])}
    except (KeyError, TypeError, ValueError, OverflowError) as err:
        raise ZoeStreamBrokenError("the answer to /v1/models does not tell what the models can read") from err


SUCCESS: Final = "success"

_PULLING: Final = "pulling "
_GIGABYTE: Final = 10**9


@dataclass(frozen=True, slots=True)
class OfferedModel:
    """A model of the server's catalogue; `download_bytes` are still to come."""

    name: str
    roles: tuple[str, ...]
    download_bytes: int | None
    memory_bytes: int | None
    fits: bool

    @property
    def placeholders(self) -> dict[str, str]:
        """Return what a text about it is filled with."""
        return {"model": self.name, "size": _size(self.download_bytes), "memory": _size(self.memory_bytes)}

    @property
    def label(self) -> str:
        """Return its name, what it needs to be downloaded, and the memory that it takes."""
        return f"{self.name} ({_size(self.download_bytes)} / {_size(self.memory_bytes)})"


@dataclass(frozen=True, slots=True)
class Offers:
    """The models that a server offers, and which of them it recommends for a role."""

    models: tuple[OfferedModel, ...]
    recommended: Mapping[str, str]

    @classmethod
    def from_body(cls, body: object) -> Self:
        """Read the body of `GET /admin/catalogue`.

        Raises:
            ZoeStreamBrokenError: it does not have the shape that the server promises.
        """
        try:
            models = tuple(_model(one) for one in body["models"])  # type: ignore[index]  # a wrong shape is what we catch
            best = {str(role): str(name) for role, name in body["recommended"].items() if name}  # type: ignore[index]
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as err:
            raise ZoeStreamBrokenError("the answer to /admin/catalogue does not list models") from err
        return cls(models, best)

    def for_role(self, role: str) -> list[OfferedModel]:
        """Return the models with `role` that fit in the server's memory, the recommended one first."""
        fitting = [model for model in self.models if role in model.roles and model.fits]
        return sorted(fitting, key=lambda model: model.name != self.recommended.get(role))


def _model(one: Mapping[str, Any]) -> OfferedModel:
    return OfferedModel(
        name=str(one["id"]),
        roles=tuple(str(role) for role in one["roles"]),
        download_bytes=_count(one["download_bytes"]),
        memory_bytes=_count(one["memory_bytes"]),
        fits=bool(one["fits"]),
    )


def _count(value: Any) -> int | None:  # noqa: ANN401 (JSON)
    return None if value is None else int(value)


def _size(n_bytes: int | None) -> str:
    if n_bytes is None:
        return "?"
    return f"{n_bytes / _GIGABYTE:.1f} GB" if n_bytes >= _GIGABYTE else f"{n_bytes / 10**6:.0f} MB"


@dataclass(frozen=True, slots=True)
class PullStep:
    """A record of `POST /api/pull`: what the server is doing, and how much of it is done."""

    status: str
    completed_bytes: int | None = None
    total_bytes: int | None = None

    @classmethod
    def from_record(cls, record: object) -> Self:
        """Read a record.

        Raises:
            ZoeServerError: it says that the server failed, and why.
            ZoeStreamBrokenError: it does not have the shape that the server promises.
        """
        if not isinstance(record, dict):
            raise ZoeStreamBrokenError("a record of the download is not a JSON object")
        if "error" in record:
            raise ZoeServerError(str(record["error"]))
        try:
            return cls(str(record["status"]), _count(record.get("completed")), _count(record.get("total")))
        except (KeyError, TypeError, ValueError, OverflowError) as err:
            raise ZoeStreamBrokenError("a record of the download is not what it should be") from err


class DownloadProgress:
    """How much of a download is done, over all its files; `expected_bytes` were to come, None if that is unknown.

    What an earlier download has left of a file counts as done.
    """

    def __init__(self, expected_bytes: int | None) -> None:
        self._expected_bytes = expected_bytes or 0
        self._files: dict[str, tuple[int, int]] = {}

    def share(self, step: PullStep) -> float | None:
        """Return the share after this step, 0 to 1; None if it says nothing of that."""
        done, total = step.completed_bytes, step.total_bytes
        if not step.status.startswith(_PULLING) or done is None or total is None or total <= 0:
            return None
        self._files[step.status] = (done, total)
        expected = max(self._expected_bytes, sum(size for _, size in self._files.values()))
        return min(1.0, max(0.0, sum(part for part, _ in self._files.values()) / expected))
