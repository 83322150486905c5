"""`ByteBudget`: bounds what open requests hold of something large; who finds too little left waits in line."""

from __future__ import annotations

import asyncio


class ByteBudget:
    """Lends `limit_bytes` in the order of asking. Who asks for more than that gets it while nobody else has any."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._lent: dict[str, int] = {}
        self._waiting: dict[str, tuple[int, asyncio.Future[bool]]] = {}

    async def take(self, owner: str, n_bytes: int) -> bool:
        """Return true once `owner` has `n_bytes`, which it gives back when it ends; false if it withdraws before."""
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting[owner] = (n_bytes, turn)
        self._serve()
        return await turn

    def withdraw(self, owner: str) -> None:
        """Take note that `owner` does not wait any more, if it does; what it has it keeps."""
        if owner in self._waiting:
            _, turn = self._waiting.pop(owner)
            turn.set_result(False)
            self._serve()

    def give_back(self, owner: str) -> None:
        """Take back what `owner` has, if it has anything."""
        if self._lent.pop(owner, None) is not None:
            self._serve()

    def _serve(self) -> None:
        for owner, (n_bytes, turn) in list(self._waiting.items()):
            if self._lent and sum(self._lent.values()) + n_bytes > self._limit_bytes:
                return
            del self._waiting[owner]
            self._lent[owner] = n_bytes
            turn.set_result(True)
