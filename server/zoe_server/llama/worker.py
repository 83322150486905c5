"""What an engine process does with its model, whatever kind of model that is: the interface behind the socket."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from zoe_server.errors import ZoeError
from zoe_server.llama import model_file
from zoe_server.llama.embedding.embedder import Embedder
from zoe_server.llama.generator import Generator
from zoe_server.llama.model_file import ModelLoadError
from zoe_server.llama.prompt.text_intake import TextIntake
from zoe_server.protocol import Event, Finish

if TYPE_CHECKING:
    from zoe_server.llama.config import EngineConfig
    from zoe_server.llama.model_file import HeaderValue
    from zoe_server.llama.work_loop import WorkLoop

Emit = Callable[[str, Sequence[Event]], None]
"""Called with a request's id and its next events, from the worker's thread; it must not block."""
Progress = Callable[[dict[str, Any]], None]
"""Called with `WorkLoop.stats` at least every second, from the worker's thread; it must not block."""
SlowPart = tuple[Callable[[], None], int]
"""What takes long about a request, and how many bytes it holds from then on until its end."""
JobT = TypeVar("JobT")


class Worker(Protocol[JobT]):
    """Works on jobs in a thread that runs its `loop`; everything else may be called from any thread.

    `op` is the kind of request it takes, as the transcript in `zoe_server.protocol` names it.
    """

    op: str

    @property
    def loop(self) -> WorkLoop[JobT]:
        """Where jobs are submitted and cancelled, and what works on them."""
        ...

    @property
    def intake(self) -> TextIntake:
        """Who answers questions about tokens."""
        ...

    def info(self) -> dict[str, Any]:
        """Return what is told of the model."""
        ...

    def header(self) -> dict[str, HeaderValue]:
        """Return the values of the model file's header."""
        ...

    def refusal(self) -> ZoeError:
        """Return the error of a request that is not of the kind `op`."""
        ...

    def warm_up(self) -> None:
        """Compute something for real, so that a broken build fails now, and get everything ready for the loop."""
        ...

    def prepare(self, data: Mapping[str, Any], arrived_s: float) -> JobT:
        """Return the job of a request that came at `arrived_s`; called from several threads.

        Raises:
            ZoeError: it is refused.
        """
        ...

    def slow_part(self, job: JobT) -> SlowPart | None:
        """Return what else has to be done before a job runs, if it takes long; it is run by one thread at a time.

        It raises a `ZoeError` if it cannot be done; the job is then to be given up.
        """
        ...

    def give_up(self, job: JobT) -> Finish:
        """Return the end of a job that was cancelled before it was submitted; it holds nothing any more."""
        ...

    def close(self) -> None:
        """Finish what is still being written, after the loop has returned."""
        ...


def open_worker(
    config: EngineConfig, emit: Emit, progress: Progress, loaded: Callable[[float], None] | None = None
) -> Worker[Any]:
    """Load the model and return what works with it: its file says of which kind it is.

    `loaded` is called, now and then, with how much of the file is loaded, 0 to 1.

    Raises:
        ModelLoadError: the model cannot be loaded.
        ZoeError: its configuration cannot be used.
    """
    model = model_file.load(config.model_path, config.n_gpu_layers, loaded)
    if model_file.pooling(model) is None:
        return Generator(config, model, emit, progress)
    if config.adapters:
        raise ModelLoadError(f"{config.model_path.name} makes embeddings, and such a model takes no adapters")
    return Embedder(config, model, emit, progress)
