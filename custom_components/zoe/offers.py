"""Which models a server could serve besides those that it serves, and how far one is that it downloads.

Pure. What is not known is None; what has another shape than the server promises is an error.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from .errors import ZoeServerError, ZoeStreamBrokenError

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
