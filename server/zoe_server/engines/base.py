"""The door that every kind of engine has: start it, ask it, know when it is gone, stop it.

It knows no HTTP and no model; an implementation says where the model runs (a child process, this process, elsewhere).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Protocol

from zoe_server import errors, protocol
from zoe_server.catalogue.model_info import ModelInfo
from zoe_server.engines.engine_log import LogLine


@dataclass(frozen=True, slots=True)
class Health:
    """What the engine last said about itself; `step` grows as long as its loop makes progress.

    `reported_at` is when it said so, in seconds since 1970.
    `reports` counts how often the loop said so, at least once a second; None: this engine does not say so.
    """

    alive: bool
    step: int = 0
    running: int = 0
    waiting: int = 0
    reported_at: float | None = None
    reports: int | None = None


@dataclass(frozen=True, slots=True)
class Loading:
    """How far an engine is that gets ready: what it does, and how much of that is done, 0 to 1, where it knows."""

    phase: str
    progress: float | None = None


class Engine(Protocol):
    """One model that answers. An engine is started once and never again; a restart is a new engine."""

    @property
    def info(self) -> ModelInfo:
        """What the engine told about its model when it became ready; nothing is known before."""
        ...

    @property
    def health(self) -> Health:
        """Its own account of itself, without asking it again."""
        ...

    @property
    def loading(self) -> Loading | None:
        """How far it is, None while it does not load or says nothing about it."""
        ...

    @property
    def log(self) -> tuple[LogLine, ...]:
        """The last lines that it wrote, the oldest first; none of an engine without a process."""
        ...

    @property
    def pid(self) -> int | None:
        """The process of this machine that holds the model, None if there is none."""
        ...

    async def start(self) -> None:
        """Return when the model is loaded and warm. Cancelling this gives the load up, and nothing is left running.

        Raises:
            errors.OutOfMemoryError: there is too little memory for it.
            errors.EngineUnavailableError: it cannot be loaded; the message says why and what to do. Nothing is left
                running, unless it `lingers`.
        """
        ...

    def chat(self, request: protocol.ChatRequest) -> AsyncGenerator[protocol.ChatEvent, None]:
        """Answer `request` with events, the last of which is the only terminal one.

        Closing the generator before (`aclose`) cancels the request. Errors of the engine are not raised, they are
        `Failure`s.
        """
        ...

    async def tokenize(self, text: str, *, add_special: bool = False, parse_special: bool = True) -> list[int]:
        """Return the model's tokens of `text`; of an engine with the capability `tokenizer`.

        `add_special` adds those that the vocabulary wants at the ends of a text; `parse_special` recognises the texts
        of special tokens.

        Raises:
            errors.ModelKindError: the engine has no tokenizer to ask.
            errors.EngineUnavailableError: the engine is not running.
        """
        ...

    async def detokenize(self, tokens: Sequence[int]) -> str:
        """Return the text of `tokens`, with the same capability; bytes that are no character are replaced by one.

        Raises:
            errors.InvalidRequestError: one of them is not in the vocabulary.
            errors.ModelKindError: the engine has no tokenizer to ask.
            errors.EngineUnavailableError: the engine is not running.
        """
        ...

    async def embed(self, request: protocol.EmbedRequest) -> protocol.Embeddings:
        """Return the vectors of the request's inputs, each of length 1; of an engine with the capability `embeddings`.

        Cancelling the call cancels the request.

        Raises:
            errors.ModelKindError: the model makes no embeddings; `chat` fails with it where the model makes only those.
            errors.ContextSizeError: an input is longer than the context.
            errors.ZoeError: the request is refused or fails for another reason.
        """
        ...

    async def wait_closed(self) -> str:
        """Return, once the started engine is gone, why it went."""
        ...

    async def kill(self, reason: str) -> None:
        """End it at once, because it is not well; open requests fail as after a crash, and it went for `reason`."""
        ...

    async def stop(self) -> None:
        """End it and everything it started; open requests get their `Failure`. Stopping twice is harmless.

        It returns within some seconds. Where a process could not be ended in this time, the engine `lingers`.
        """
        ...

    @property
    def lingers(self) -> bool:
        """Whether it was stopped, or failed to start, and holds memory all the same: its process does not end."""
        ...

    async def wait_ended(self) -> None:
        """Return once nothing is left of an engine that was stopped."""
        ...


class WithoutProcess:
    """What an engine promises that has nothing of its own on this machine."""

    @property
    def loading(self) -> Loading | None:
        """None: a server tells nothing of how far it is."""
        return None

    @property
    def log(self) -> tuple[LogLine, ...]:
        """Nothing: what a server writes is there."""
        return ()

    @property
    def pid(self) -> int | None:
        """None: it takes no memory of this machine that we know of."""
        return None

    @property
    def lingers(self) -> bool:
        """Never: nothing of it is here."""
        return False

    async def wait_ended(self) -> None:
        """Return at once: nothing of it is here."""

    async def tokenize(self, text: str, *, add_special: bool = False, parse_special: bool = True) -> list[int]:
        """The APIs of servers have no tokenizer in common."""
        raise errors.ModelKindError.no_tokenizer()

    async def detokenize(self, tokens: Sequence[int]) -> str:
        """The APIs of servers have no tokenizer in common."""
        raise errors.ModelKindError.no_tokenizer()
