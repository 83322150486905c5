"""What NVML told of some cards: stands in for the module `pynvml`, with a driver or without one."""
# ruff: noqa: N802 -- the names are the library's

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import TypeVar

T = TypeVar("T")


class NVMLError(Exception):
    def __init__(self, value: int, text: str) -> None:
        super().__init__(text)
        self.value = value


NOT_SUPPORTED = NVMLError(3, "Not Supported")
DRIVER_MISMATCH = NVMLError(18, "RM has detected an NVML/RM version mismatch.")


@dataclass
class Card:
    """An answer that is an error is raised."""

    name: str | bytes | Exception
    memory: tuple[int, int] | Exception
    load: int | Exception = 3
    temperature: int | Exception = 36


RTX_3060 = Card("NVIDIA GeForce RTX 3060", (12_884_901_888, 12_201_951_232))
RTX_A400 = Card(b"NVIDIA RTX A400", (4_294_967_296, 4_009_754_624), load=NOT_SUPPORTED, temperature=NOT_SUPPORTED)
GB10 = Card("NVIDIA GB10", NOT_SUPPORTED, load=0, temperature=41)
LOST = Card("NVIDIA GeForce RTX 3060", NVMLError(15, "GPU is lost"), load=NOT_SUPPORTED, temperature=NOT_SUPPORTED)


class RecordedNvml:
    """The functions of `pynvml` over recorded cards; `refusal` is raised by `nvmlInit`."""

    NVMLError: type[Exception] = NVMLError

    def __init__(self, *cards: Card, refusal: Exception | None = None) -> None:
        self.cards = cards
        self.refusal = refusal
        self.n_open = 0

    def nvmlInit(self) -> None:
        if self.refusal:
            raise self.refusal
        self.n_open += 1

    def nvmlShutdown(self) -> None:
        self.n_open -= 1

    def nvmlDeviceGetCount(self) -> int:
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Card:
        assert self.n_open == 1
        return self.cards[index]

    def nvmlDeviceGetName(self, handle: Card) -> str | bytes:
        return told(handle.name)

    def nvmlDeviceGetMemoryInfo(self, handle: Card) -> SimpleNamespace:
        total, free = told(handle.memory)
        return SimpleNamespace(total=total, free=free, used=total - free)

    def nvmlDeviceGetTemperature(self, handle: Card, sensor: int) -> int:
        assert sensor == 0
        return told(handle.temperature)

    def nvmlDeviceGetUtilizationRates(self, handle: Card) -> SimpleNamespace:
        return SimpleNamespace(gpu=told(handle.load), memory=0)


def told(answer: T | Exception) -> T:
    if isinstance(answer, Exception):
        raise answer
    return answer
