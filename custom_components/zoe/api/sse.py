"""The stream of an answer: server-sent events from bytes, and the chunks of a chat completion from their JSON."""

import json
from collections.abc import Mapping
from typing import Any

from .errors import ZoeStreamBrokenError, error_from_body


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


def decoded_chunk(event: str) -> dict[str, Any]:
    """Return the chunk, whose `choices` is surely a list of objects.

    Raises:
        ZoeStreamBrokenError: it is no chunk.
        ZoeError: it is an error that the server reports.
    """
    try:
        chunk = json.loads(event)
    except (ValueError, RecursionError) as err:
        raise ZoeStreamBrokenError("a part of the answer is not JSON") from err
    if not isinstance(chunk, dict):
        raise ZoeStreamBrokenError("a part of the answer is not a JSON object")
    if "error" in chunk:
        raise error_from_body(chunk, status=500)
    choices = chunk.setdefault("choices", [])
    if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
        raise ZoeStreamBrokenError("the choices of an answer are not a list of objects")
    if not (_is_account(chunk) and all(_is_choice(choice) for choice in choices)):
        raise ZoeStreamBrokenError("a part of the answer has not the shape that it should have")
    return chunk


def _is_account(chunk: Mapping[str, Any]) -> bool:
    """Return whether a chunk tells about the request as a whole what it should."""
    usage = chunk.get("usage") or {}
    if not (_are(str, chunk, "model") and _are(dict, chunk, "usage", "timings")):
        return False
    details = usage.get("prompt_tokens_details") or {}
    counted = _are(int, usage, "prompt_tokens", "completion_tokens") and _are(dict, usage, "prompt_tokens_details")
    return counted and _are(int, details, "cached_tokens")


def _is_choice(choice: Mapping[str, Any]) -> bool:
    delta = choice.get("delta") or {}
    if not (_are(dict, choice, "delta") and _are(list, delta, "tool_calls")):
        return False
    calls = delta.get("tool_calls") or ()
    return _are(str, delta, "content", "reasoning_content") and all(_is_call(call) for call in calls)


def _is_call(call: object) -> bool:
    if not (isinstance(call, dict) and _are(dict, call, "function")):
        return False
    named = isinstance(call.get("index", 0), int) and _are(str, call, "id")
    return named and _are(str, call.get("function") or {}, "name", "arguments")


def _are(kind: type, members: Mapping[str, Any], *names: str) -> bool:
    """Return whether each of these members is of a type, null, or not there."""
    return all(members.get(name) is None or isinstance(members[name], kind) for name in names)
