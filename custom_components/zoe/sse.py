"""Server-sent events: bytes in, the data of whole events out. Knows nothing of HTTP or of what the data means."""


class EventDecoder:
    """Splits a byte stream, cut anywhere, into events (https://html.spec.whatwg.org/multipage/server-sent-events.html).

    Only `data` fields are kept; comments, which keep idle connections alive, and other fields are dropped.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[str] = []

    def feed(self, piece: bytes) -> list[str]:
        """Return the data of the events that `piece` completes.

        Raises:
            UnicodeDecodeError: an event is not UTF-8.
        """
        *lines, self._rest = (self._rest + piece).split(b"\n")
        events = (self._take_line(line.removesuffix(b"\r").decode()) for line in lines)
        return [event for event in events if event is not None]

    def _take_line(self, line: str) -> str | None:
        """Return the data of the event that this line ends, if it ends one."""
        if line:
            name, _, value = line.partition(":")
            if name == "data":
                self._data.append(value.removeprefix(" "))
            return None
        event = "\n".join(self._data) if self._data else None
        self._data = []
        return event
