"""The models we know: what is shipped, what a user may add, and what is refused."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from zoe_server.catalogue import known
from zoe_server.catalogue.entry import Entry, HubFile
from zoe_server.catalogue.known import Catalogue

WEIGHTS = {"repository": "me/Model-GGUF", "file": "model.gguf", "size_bytes": 1_000}


def entry(name: str, **fields: object) -> Entry:
    weights = {**WEIGHTS, "file": f"{name}.gguf"}
    return Entry(**{"name": name, "weights": weights, "roles": ["chat"], **fields})


def catalogue(*entries: Entry) -> Catalogue:
    return Catalogue({entry.name: entry for entry in entries})


def test_the_models_that_everybody_has() -> None:
    shipped = Catalogue(known.shipped())
    assert shipped.names[0] == "zoe-nano"
    assert {"llama-3.2-3b", "qwen2.5-coder-7b", "qwen2-vl-7b"} <= set(shipped.names)
    facts = {e.name: (e.roles, e.context_tokens, e.scores.tools, e.scores.speed) for e in shipped}
    assert facts["llama-3.2-3b"] == (("chat",), 4096, 70, 95)
    assert facts["qwen2.5-coder-7b"] == (("tools",), 8192, 98, 85)
    assert facts["qwen2-vl-7b"] == (("vision",), 4096, 75, 80)
    assert all(e.size_bytes and e.memory_bytes and e.memory_bytes > e.size_bytes for e in shipped)
    assert [e.name for e in shipped if e.bundled] == ["zoe-nano"]
    vision = shipped.find("qwen2-vl-7b")
    assert vision is not None
    assert [file.name.startswith("mmproj") for file in vision.files] == [False, True]


@pytest.mark.parametrize(
    ("old", "name"),
    [
        ("phi3:mini", "llama-3.2-3b"),
        ("llama3.2", "llama-3.2-3b"),
        ("llama3.2:latest", "llama-3.2-3b"),
        ("hermes3:8b", "qwen2.5-coder-7b"),
        ("qwen2.5:7b", "qwen2.5-coder-7b"),
        ("gemma3n-e2b", "qwen2-vl-7b"),
    ],
)
def test_old_names_keep_working(old: str, name: str) -> None:
    found = Catalogue(known.shipped()).find(old)
    assert found is not None
    assert found.name == name


def test_fallbacks_end_with_an_error() -> None:
    shipped = Catalogue(known.shipped())
    assert shipped.fallbacks("qwen2.5-coder-7b") == ("llama-3.2-3b",)
    assert shipped.fallbacks("qwen2-vl-7b") == ("llama-3.2-3b",)
    assert shipped.fallbacks("llama-3.2-3b") == ()


def test_a_user_changes_single_keys_and_adds_models() -> None:
    tables = known.overlaid({"llama-3.2-3b": {"context_tokens": 8192}, "mine": {"roles": ["chat"], "weights": WEIGHTS}})
    changed = Entry(**tables["llama-3.2-3b"])
    assert (changed.context_tokens, changed.aliases) == (8192, known.shipped()["llama-3.2-3b"].aliases)
    assert Entry(**tables["mine"]).files[0].name == "model.gguf"
    assert known.shipped()["llama-3.2-3b"].context_tokens == 4096


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ((entry("a", aliases=["x"]), entry("b", aliases=["x"])), "b.aliases: the name 'x' is already used by 'a'"),
        ((entry("a"), entry("b", aliases=["a"])), "b.aliases: the name 'a' is already used by 'a'"),
        ((entry("a", fallback="nobody"),), "a.fallback: no model is called 'nobody'"),
        ((entry("a", fallback="b"), entry("b", fallback="a")), "falls back on 'a' itself"),
        ((entry("a"), entry("b", weights={**WEIGHTS, "repository": "you/It", "file": "a.gguf"})), "b: the file name"),
    ],
)
def test_a_catalogue_that_does_not_fit_together(entries: tuple[Entry, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        catalogue(*entries)


@pytest.mark.parametrize(
    "fields",
    [
        {"weights": None},
        {"roles": []},
        {"roles": ["embeddings", "chat"]},
        {"roles": ["cook"]},
        {"dialect": "klingon"},
        {"scores": {"tools": 101}},
        {"colour": "red"},
        {"weights": {**WEIGHTS, "file": "../outside.gguf"}},
        {"weights": {**WEIGHTS, "file": "model.bin"}},
        {"weights": {**WEIGHTS, "file": "/etc/model.gguf"}},
        {"weights": {**WEIGHTS, "repository": "no-owner"}},
        {"weights": {**WEIGHTS, "repository": "../.."}},
        {"weights": {**WEIGHTS, "sha256": "abc"}},
        {"weights": {**WEIGHTS, "revision": "../main"}},
        {"weights": {**WEIGHTS, "file": "m-00001-of-00002.gguf", "sha256": "0" * 64}},
    ],
)
def test_an_entry_that_cannot_be(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        entry("a", **fields)


def test_a_split_file_is_all_its_parts() -> None:
    split = HubFile(repository="me/Big", file="q4/big-00001-of-00003.gguf", size_bytes=3)
    assert [part.name for part in split.parts] == [f"big-0000{n}-of-00003.gguf" for n in (1, 2, 3)]
    assert [part.size_bytes for part in split.parts] == [None] * 3


def test_what_a_model_needs_in_memory() -> None:
    assert entry("a", weights=WEIGHTS | {"size_bytes": None}).memory_bytes is None
    small, large = entry("a", kv_bytes_per_token=10, context_tokens=256), entry("a", kv_bytes_per_token=10)
    assert small.memory_bytes is not None
    assert large.memory_bytes is not None
    assert large.memory_bytes - small.memory_bytes == 10 * (4096 - 256)
