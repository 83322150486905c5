"""What there is to say about the models of the catalogue and the files in the models folder, as plain data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zoe_server.catalogue import gguf_file, projectors, proposal
from zoe_server.catalogue.entry import Entry
from zoe_server.catalogue.known import Catalogue
from zoe_server.catalogue.store import Store, model_name, parts_of
from zoe_server.settings import Settings

EXTRA = "extra"
BROKEN = "broken"


def rows(settings: Settings) -> Iterator[dict[str, Any]]:
    """Yield one row for each model, those of the catalogue first; `served` says why it is, None that it is not."""
    for row in _rows(Catalogue(settings.catalogue), settings.store):
        configured = "configured" if settings.serves(row["name"]) else None
        yield {**row, "served": "pulled" if row["name"] in settings.pulled else configured}


def _rows(catalogue: Catalogue, store: Store) -> Iterator[dict[str, Any]]:
    for entry in catalogue:
        yield _entry_row(entry, store)
    for path in store.extras(catalogue):
        row = _file_row(path, store)
        if row is not None:
            yield row


def facts(entry: Entry, catalogue: Catalogue, store: Store) -> dict[str, Any]:
    """Return everything that is known of a model of the catalogue."""
    return {
        **_entry_row(entry, store),
        "description": entry.description,
        "licence": entry.licence,
        "aliases": list(entry.aliases),
        "fallbacks": list(catalogue.fallbacks(entry.name)),
        "dialect": entry.dialect,
        "sampling": entry.sampling.model_dump(exclude_none=True),
        "kv_bytes_per_token": entry.kv_bytes_per_token,
        "memory_bytes": entry.memory_bytes,
        "awq": None if entry.awq is None else entry.awq.model_dump(),
        "files": _files(entry, store),
    }


def file_facts(path: Path, store: Store) -> dict[str, Any]:
    """Return what a file that no model of the catalogue names says of itself.

    Raises:
        GgufError: it cannot be read.
    """
    found = gguf_file.read(path)
    return {
        **_found_row(path, found, store),
        "kind": found.kind.value,
        "title": found.name,
        "architecture": found.architecture,
        "quantization": found.quantization,
        "trained_context_tokens": found.context_tokens,
        "kv_bytes_per_token": found.kv_bytes_per_token,
        "has_template": found.template is not None,
        "files": [{"path": str(part)} for part in parts_of(path)],
    }


def _entry_row(entry: Entry, store: Store) -> dict[str, Any]:
    return {
        "name": entry.name,
        "roles": list(entry.roles),
        "size_bytes": store.size_bytes(entry),
        "state": store.state(entry).value,
        "context_tokens": entry.context_tokens,
        "scores": entry.scores.model_dump(),
    }


def _file_row(path: Path, store: Store) -> dict[str, Any] | None:
    """Return the row of a file by itself, None if it is no model."""
    try:
        found = gguf_file.read(path)
    except gguf_file.GgufError as error:
        size_bytes = path.stat().st_size
        return {"name": model_name(path), "roles": [], "size_bytes": size_bytes, "state": BROKEN, "problem": str(error)}
    return _found_row(path, found, store) if proposal.is_model(found) else None


def _found_row(path: Path, found: gguf_file.GgufFacts, store: Store) -> dict[str, Any]:
    projector = projectors.projector_of(path, found, store)
    return {
        "name": model_name(path),
        "roles": list(proposal.roles(found, sees=projector is not None)),
        "size_bytes": sum(part.stat().st_size for part in parts_of(path)),
        "state": EXTRA,
        "context_tokens": proposal.context_tokens(found),
        "projector": None if projector is None else str(projector),
    }


def _files(entry: Entry, store: Store) -> list[dict[str, Any]]:
    if entry.bundled:
        return [{"path": str(store.weights_path(entry))}]
    files = []
    weights = entry.weights.parts if entry.weights else ()
    for file in entry.files:
        receipt = store.receipt(file.name)
        here = store.path(file) if store.path(file).is_file() else None
        files.append(
            {
                "kind": "weights" if file in weights else "projector",
                "repository": file.repository,
                "file": file.file,
                "revision": receipt.revision if receipt else file.revision,
                "sha256": receipt.sha256 if receipt else file.sha256,
                "path": None if here is None else str(here),
            }
        )
    return files
