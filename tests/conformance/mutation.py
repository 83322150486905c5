"""Bodies that are nearly right: one that a server accepts, changed a little, the same way for the same seed."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

Json = Any
Parent = Any  # a list or an object
Key = Any  # its index or its name

USER = {"role": "user", "content": "Turn on the lamp in the kitchen"}
PARAMETERS = {
    "type": "object",
    "properties": {
        "area": {"type": "string", "enum": ["Kitchen", "Bathroom"]},
        "brightness": {"type": "integer", "minimum": 0, "maximum": 100},
        "colour": {"anyOf": [{"$ref": "#/$defs/colour"}, {"type": "null"}]},
        "names": {"type": "array", "items": {"type": "string", "pattern": "^[a-z]+$"}, "maxItems": 3},
    },
    "required": ["area"],
    "$defs": {"colour": {"type": "object", "properties": {"hue": {"type": "number"}}}},
}
TOOL = {
    "type": "function",
    "function": {"name": "turn_on", "description": "Turns it on", "parameters": PARAMETERS},
}
CALL = {"id": "c1", "type": "function", "function": {"name": "turn_on", "arguments": '{"area": "Kitchen"}'}}
HISTORY = [
    {"role": "system", "content": "You are a house"},
    {"role": "user", "content": [{"type": "text", "text": "Is it "}, {"type": "text", "text": "on?"}]},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": '{"success": true}'},
    USER,
]
SAMPLING = {"temperature": 0.7, "top_p": 0.9, "top_k": 40, "seed": 5, "presence_penalty": 0.5, "min_p": 0.1}
BODIES: list[tuple[str, dict[str, Any]]] = [
    ("/v1/chat/completions", {"messages": [USER], **SAMPLING, "stop": ["\n", "end"]}),
    ("/v1/chat/completions", {"messages": HISTORY, "tools": [TOOL], "n": 2, "stream": True}),
    (
        "/v1/chat/completions",
        {
            "model": "zoe",
            "messages": [USER],
            "tools": [TOOL],
            "tool_choice": "required",
            "parallel_tool_calls": False,
            "zoe": {"argument_values": {"area": ["Kitchen"], "turn_on.names": ["lamp"]}, "priority": "background"},
        },
    ),
    (
        "/v1/chat/completions",
        {
            "messages": HISTORY,
            "tools": [TOOL],
            "tool_choice": {"type": "function", "function": {"name": "turn_on"}},
            "stream": True,
            "stream_options": {"include_usage": True},
        },
    ),
    ("/v1/completions", {"prompt": "Once upon a time", **SAMPLING, "echo": True}),
    ("/v1/completions", {"prompt": ["Once", "Twice"], "n": 2, "best_of": 2, "stream": True}),
    ("/v1/completions", {"prompt": [[5, 6, 7], [8]], "stop": "x"}),
    ("/tokenize", {"content": "Turn on the lamp", "add_special": True, "parse_special": False}),
    ("/detokenize", {"tokens": [5, 6, 7, 300]}),
    ("/api/show", {"model": "zoe"}),
    ("/api/chat", {"model": "zoe", "messages": [USER], "options": {**SAMPLING, "num_predict": 3}, "think": True}),
    (
        "/api/chat",
        {
            "model": "zoe",
            "messages": [
                USER,
                {"role": "assistant", "tool_calls": [{"function": {"name": "turn_on", "arguments": {"area": "x"}}}]},
                {"role": "tool", "content": "done", "tool_name": "turn_on"},
            ],
            "tools": [TOOL],
            "stream": False,
            "options": {"num_predict": 3, "stop": ["a", "b"]},
            "keep_alive": "5m",
        },
    ),
    ("/api/generate", {"model": "zoe", "prompt": "Why?", "system": "You are a lamp", "options": {"num_predict": 3}}),
]
TEXTS = [
    "",
    " ",
    "\0",
    "a\0b",
    "\ud800",
    "\udfff\ud800",
    "\uffff\ufeff",
    "\U0010ffff",
    "e\u0301" * 50,
    "\u202eabc\u2066",
    "\N{FAMILY}\u200d\N{WOMAN}\u200d" * 20,
    "<|im_start|>system\n<|im_end|>",
    '<tool_call>\n{"name": "turn_on", "arguments": {"area": ',
    "<think></think><think>",
    "{{ 7 * 7 }}{% for %}",
    "\\" * 999,
    '"' * 999,
    "[" * 5000,
    "x" * 70_000,
    "\r\n\t\x7f\x80",
    "%s%n%x",
    "../../etc/passwd",
    "file:///etc/passwd",
    "-1",
    "NaN",
    "null",
]
NUMBERS = [
    0,
    -1,
    1,
    0.5,
    -0.0,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**32,
    2**63 - 1,
    2**63,
    -(2**63),
    2**64,
    10**30,
    10**400,
    1e308,
    -1e308,
    5e-324,
    float("inf"),
    float("nan"),
    float("-inf"),
]
OTHERS: list[Any] = [None, True, False, [], {}, [[]], [{}], [None], {"": ""}, {"type": "object"}, {"$ref": "#"}]
RAW = [
    b"\x00",
    b"\xff\xfe",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"{",
    b"}",
    b'"',
    b"\\u0000",
    b"\\ud83d",
    b"1e999",
    b",",
    b"",
]
SMALL_ANSWER = 4


class Mutator:
    """Makes one body; the same `seed` makes the same."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)

    def body(self) -> tuple[str, bytes]:
        """Return a path and what to send there."""
        path, valid = self._random.choice(BODIES)
        body: Json = copy.deepcopy(valid)
        for _ in range(self._random.choice((1, 1, 2, 3, 5))):
            body = self._mutated(body)
        if isinstance(body, dict) and path.startswith("/v1/"):
            body.setdefault("max_tokens", SMALL_ANSWER)
        raw = json.dumps(body, ensure_ascii=self._random.random() < 0.5).encode("utf-8", "surrogatepass")
        return path, self._nested(self._broken(raw))

    def _mutated(self, body: Json) -> Json:
        """Return `body` with one value, or one key, changed."""
        places = list(_places(body))
        if not places or self._random.random() < 0.01:
            return self._value()
        parent, key = self._random.choice(places)
        change = self._random.choice(
            (self._drop, self._duplicate, self._retype, self._retype, self._wrap, self._rename)
        )
        change(parent, key)
        return body

    def _drop(self, parent: Parent, key: Key) -> None:
        del parent[key]

    def _duplicate(self, parent: Parent, key: Key) -> None:
        if isinstance(parent, list):
            parent[key:key] = [parent[key]] * self._random.choice((1, 2, 40))
        else:
            parent[self._random.choice((f"{key} ", f"{key}2", key.upper()))] = parent[key]

    def _retype(self, parent: Parent, key: Key) -> None:
        parent[key] = self._value()

    def _wrap(self, parent: Parent, key: Key) -> None:
        for _ in range(self._random.choice((1, 1, 2, 10, 70, 150))):
            parent[key] = [parent[key]] if self._random.random() < 0.5 else {self._name(): parent[key]}

    def _rename(self, parent: Parent, key: Key) -> None:
        if isinstance(parent, dict):
            parent[self._name()] = parent.pop(key)
        else:
            self._random.shuffle(parent)

    def _name(self) -> str:
        return self._random.choice((*TEXTS, "type", "properties", "items", "anyOf", "$ref", "pattern", "maxItems"))

    def _value(self) -> Json:
        return copy.deepcopy(self._random.choice(self._random.choice((TEXTS, NUMBERS, OTHERS))))

    def _broken(self, raw: bytes) -> bytes:
        """Return `raw`, one time in five with its bytes damaged."""
        if self._random.random() > 0.2:
            return raw
        at = self._random.randrange(len(raw) + 1)
        return self._random.choice((raw[:at], raw[at:], raw[:at] + self._random.choice(RAW) + raw[at:], raw + raw))

    def _nested(self, raw: bytes) -> bytes:
        """Return `raw`, one time in twenty with a value that goes deeper than any program should follow."""
        if self._random.random() > 0.05 or b": " not in raw:
            return raw
        depth = self._random.choice((200, 400, 900, 5_000, 200_000))
        opened, closed = self._random.choice(((b"[", b"]"), (b'{"items": ', b"}"), (b'{"type": "object", "a": ', b"}")))
        places = [at for at in range(len(raw)) if raw.startswith(b": ", at)]
        at = self._random.choice(places) + 2
        return raw[:at] + opened * depth + b"1" + closed * depth + b", " + b'"x": ' + raw[at:]


def _places(value: Json) -> Iterator[tuple[Parent, Key]]:
    """Yield every container in it, with each key at which there is a value."""
    containers = [value] if isinstance(value, dict | list) else []
    for container in containers:
        for key in list(container) if isinstance(container, dict) else range(len(container)):
            yield container, key
            if isinstance(container[key], dict | list):
                containers.append(container[key])
