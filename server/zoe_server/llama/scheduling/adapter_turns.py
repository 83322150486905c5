"""Whose step is next, where sequences run with different adapters: policy only, no model, no clock.

A step of llama.cpp applies one adapter to all its tokens, so sequences of different adapters cannot share one. After a
change the library plans its graphs anew, which takes longer than a step of a small model. Adapters therefore take turns
of a few steps: long enough that the changes are spread, short enough that no stream stalls. A prompt's chunk takes as
long as many steps without one, so it ends a turn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

TURN_STEPS: Final = 4


class AdapterTurns:
    """Goes round among the adapters that have work; None is the model without one."""

    def __init__(self) -> None:
        self._current: str | None = None
        self._left = 0
        self._n_turns = 1
        self._served: dict[str | None, int] = {}  # adapter -> number of its last turn

    def choose(self, working: Mapping[str | None, bool]) -> str | None:
        """Return the adapter of the next step.

        `working` has at least one adapter, those of older sequences first, and says whether its work is urgent; such
        work goes before all other. Nothing changes until `took`.
        """
        candidates = [adapter for adapter, urgent in working.items() if urgent] or list(working)
        if self._left > 0 and self._current in candidates:
            return self._current
        return min(candidates, key=lambda adapter: self._served.get(adapter, 0))

    def took(self, adapter: str | None, *, has_prompts: bool) -> None:
        """Record that a step was computed with `adapter`, and whether a piece of a prompt was in it."""
        if adapter != self._current:
            self._current, self._left = adapter, TURN_STEPS
            self._n_turns += 1
        self._served[adapter] = self._n_turns
        self._left = 0 if has_prompts else self._left - 1
