"""What a server says about itself: who it is, where its models stand, what it has counted and measured.

Pure. What is not known is None; what has another shape than the server promises is an error.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, Self

from ..const import REQUIRED_API_VERSION
from .errors import ZoeLoadingError, ZoeNotZoeError, ZoeOutdatedError, ZoeStreamBrokenError

_PASSING: Final = ("loading", "stopping")


@dataclass(frozen=True, slots=True)
class Health:
    """The answer of `GET /health`: who the server is, whether it can answer, and if not, why.

    `will_change` says that a server which is not ready is only on its way to it. `api_version` is 0 for a server that
    does not tell it, which is older than all that do.
    """

    ready: bool
    problem: str | None = None
    server_id: str | None = None
    version: str | None = None
    api_version: int = 0
    will_change: bool = False

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
        api_version = body.get("api_version")
        return cls(
            ready=status == HTTPStatus.OK,
            problem=problem,
            server_id=_text(body, "id"),
            version=_text(body, "version"),
            api_version=api_version if isinstance(api_version, int) else 0,
            will_change=status != HTTPStatus.OK and body.get("status") in _PASSING,
        )

    def raise_if_outdated(self) -> None:
        """Raise `ZoeOutdatedError` if the server does not know what it will be asked."""
        if self.api_version < REQUIRED_API_VERSION:
            raise ZoeOutdatedError(f"version {self.version or 'unknown'}")

    def raise_if_not_ready(self) -> None:
        """Raise `ZoeLoadingError` with the server's reason, unless it can answer."""
        if not self.ready:
            raise ZoeLoadingError(self.problem or "it is loading a model")


def _text(body: dict[str, Any], key: str) -> str | None:
    value = body.get(key)
    return value if isinstance(value, str) and value else None


READY: Final = "ready"
QUARANTINED: Final = "quarantined"


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model: its `state` in the server's words, and why it is in that (`reason`, maybe empty)."""

    name: str
    state: str
    reason: str
    roles: tuple[str, ...]


def served_models(body: object) -> list[ServedModel]:
    """Return the models in the body of `GET /admin/status`, in the server's order of preference.

    Raises:
        ZoeStreamBrokenError: the body does not have this shape.
    """
    try:
        return [_served_model(one) for one in body["models"]]  # type: ignore[index]  # a wrong shape is what we catch
    except (KeyError, TypeError) as err:
        raise ZoeStreamBrokenError("the answer to /admin/status does not list the models") from err


def _served_model(one: Mapping[str, Any]) -> ServedModel:
    return ServedModel(
        name=str(one["id"]),
        state=str(one["status"]),
        reason=str(one.get("reason") or ""),
        roles=tuple(str(role) for role in one["roles"]),
    )


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU; `utilization` is 0 to 1."""

    index: int
    memory_used_bytes: int | None
    utilization: float | None
    temperature_c: float | None


@dataclass(frozen=True, slots=True)
class Mean:
    """Of something that was measured `count` times, the `total`."""

    count: float = 0
    total: float = 0

    def __add__(self, other: Mean) -> Mean:
        """Return the mean of both."""
        return Mean(self.count + other.count, self.total + other.total)

    def __bool__(self) -> bool:
        """Whether anything was measured."""
        return bool(self.count)

    def since(self, before: Mean) -> Mean:
        """Return what was added; all of it, if the server was started anew."""
        return self if self.count < before.count else Mean(self.count - before.count, self.total - before.total)


@dataclass(frozen=True, slots=True)
class Metrics:
    """The figures of `GET /metrics/json`: counted since the start of the server, over all models.

    Requests and failures are those that came to a model: a key that is refused, for one, is none of them.
    `first_token_s` and `per_token_s` are in seconds; `reused_tokens` counts the tokens of prompts, and its total is how
    many of them were known already.
    """

    memory_used_bytes: int | None
    gpus: tuple[Gpu, ...]
    requests: int
    failures: int
    first_token_s: Mean
    per_token_s: Mean
    reused_tokens: Mean

    @classmethod
    def from_body(cls, body: object) -> Self:
        """Read the body.

        Raises:
            ZoeStreamBrokenError: it does not have the shape that the server promises.
        """
        try:
            return cls._from_object(body)  # type: ignore[arg-type]  # a wrong shape is what we catch
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as err:
            raise ZoeStreamBrokenError("the answer to /metrics/json is not what it should be") from err

    @classmethod
    def unknown(cls) -> Self:
        """Return the figures of a server that tells none."""
        return cls(None, (), 0, 0, Mean(), Mean(), Mean())

    @classmethod
    def _from_object(cls, body: Mapping[str, Any]) -> Self:
        models = [dict(model) for model in body["models"].values()]
        return cls(
            memory_used_bytes=sum(int(held) for held in body["memory"]["process_bytes"].values()),
            gpus=tuple(_gpu(gpu) for gpu in body["gpus"]),
            requests=sum(int(model["requests"]) for model in models),
            failures=sum(int(model["failures"]) for model in models),
            first_token_s=_sum(_histogram(model["first_token_s"]) for model in models),
            per_token_s=_sum(_histogram(model["per_token_s"]) for model in models),
            reused_tokens=_sum(_reuse(model["prompt_tokens"]) for model in models),
        )


def _gpu(gpu: Mapping[str, Any]) -> Gpu:
    used, utilization, temperature_c = gpu["memory_used_bytes"], gpu["utilization"], gpu["temperature_c"]
    return Gpu(
        index=int(gpu["gpu"]),
        memory_used_bytes=None if used is None else int(used),
        utilization=None if utilization is None else float(utilization),
        temperature_c=None if temperature_c is None else float(temperature_c),
    )


def _histogram(histogram: Mapping[str, Any]) -> Mean:
    return Mean(int(histogram["count"]), float(histogram["sum"]))


def _reuse(prompt_tokens: Mapping[str, Any]) -> Mean:
    reused = int(prompt_tokens.get("reused", 0))
    return Mean(reused + int(prompt_tokens.get("computed", 0)), reused)


def _sum(means: Iterable[Mean]) -> Mean:
    return sum(means, start=Mean())


@dataclass(frozen=True, slots=True)
class Speed:
    """How the latest answers went: what was measured between the last two polls between which there was something."""

    first_token_s: Mean = Mean()
    per_token_s: Mean = Mean()
    reused_tokens: Mean = Mean()

    @classmethod
    def until(cls, now: Metrics) -> Self:
        """Return the speed since the start of the server."""
        return cls(now.first_token_s, now.per_token_s, now.reused_tokens)

    def after(self, before: Metrics, now: Metrics) -> Speed:
        """Return the speed at the poll `now`, if this was that at the poll `before`."""
        return Speed(
            now.first_token_s.since(before.first_token_s) or self.first_token_s,
            now.per_token_s.since(before.per_token_s) or self.per_token_s,
            now.reused_tokens.since(before.reused_tokens) or self.reused_tokens,
        )

    @property
    def first_token_ms(self) -> float | None:
        """The mean time to the first token, in milliseconds."""
        mean = self.first_token_s
        return 1000 * mean.total / mean.count if mean.count else None

    @property
    def tokens_per_s(self) -> float | None:
        """Of an answer, how many tokens are written in a second."""
        mean = self.per_token_s
        return mean.count / mean.total if mean.total else None

    @property
    def reuse_percent(self) -> float | None:
        """Of the tokens of prompts, how many were known already."""
        mean = self.reused_tokens
        return 100 * mean.total / mean.count if mean.count else None


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """One poll."""

    health: Health
    models: tuple[ServedModel, ...]
    metrics: Metrics
    speed: Speed

    def model_for(self, role: str) -> str | None:
        """Return the model with `role` that is in memory, the preferred one if there are several."""
        return next((model.name for model in self.models if role in model.roles and model.state == READY), None)

    @property
    def roles(self) -> frozenset[str]:
        """Return the roles that there are models for, loaded or not."""
        return frozenset(role for model in self.models for role in model.roles)
