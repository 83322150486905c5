"""What is known of a model that is to be served: its file, and how to run it, from the catalogue or the file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from zoe_server.catalogue.engine_options import DEFAULT_CONTEXT_TOKENS
from zoe_server.catalogue.entry import Entry
from zoe_server.catalogue.known import Catalogue
from zoe_server.catalogue.store import Store


class ModelMissingError(Exception):
    """The configuration names a model whose file is not here, or broken; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Served:
    """What holds for a model where the configuration says nothing else. `aliases` yield to names that are taken.

    `lacks` says what to do where the catalogue's model sees and its projector is not here.
    """

    path: Path
    projector: Path | None = None
    lacks: str | None = None
    roles: tuple[str, ...] = ()
    context_tokens: int = DEFAULT_CONTEXT_TOKENS
    dialect: str | None = None
    sampling: Mapping[str, float | int] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    converses: bool = True


ELSEWHERE: Final = Served(Path(os.devnull))
"""What is known of a model on another server, which has no file here."""


def locate(name: str, catalogue: Catalogue, store: Store) -> Path:
    """Return the file of the model `name`: that of the catalogue's model, or the one of this name in the folder.

    Raises:
        ModelMissingError: it is not here.
    """
    entry = catalogue.find(name)
    if entry is not None:
        if not store.has_weights(entry):
            raise ModelMissingError(f"its file is not here; get it with `zoe models pull {entry.name}`")
        return store.weights_path(entry)
    path = store.named(name)
    if path is None:
        raise ModelMissingError(
            f"missing; say where the model's file is (the catalogue has no {name!r}, and {store.folder} no {name}.gguf)"
        )
    return path


def describe(name: str, path: Path | None, catalogue: Catalogue, store: Store) -> Served:
    """Return what is known of the model `name`, whose file is at `path`; None looks for it with `locate`.

    Raises:
        ModelMissingError: the file is not here, or it is and its header, the only source of what to know, is broken.
    """
    entry = entry_of(name, path, catalogue)
    if entry is not None:
        return _of_entry(name, entry, path or locate(name, catalogue, store), store)
    return Served(path) if path is not None else _of_header(locate(name, catalogue, store), store)


def entry_of(name: str, path: Path | None, catalogue: Catalogue) -> Entry | None:
    """Return the catalogue's model that the model `name` is; one with a file of its own goes by its whole name only."""
    entry = catalogue.find(name)
    return entry if entry is None or path is None or entry.name == name else None


def _of_entry(name: str, entry: Entry, path: Path, store: Store) -> Served:
    projector = store.projector_path(entry)
    lacks = None
    if entry.projector is not None and projector is None:
        lacks = f"its projector {entry.projector.name} is not here; get it with `zoe models pull {entry.name}`"
    return Served(
        path=path,
        projector=projector,
        lacks=lacks,
        roles=entry.roles,
        context_tokens=entry.context_tokens,
        dialect=entry.dialect,
        sampling=entry.sampling.model_dump(exclude_none=True),
        aliases=tuple(alias for alias in (entry.name, *entry.aliases) if alias != name),
        converses=entry.converses,
    )


def _of_header(path: Path, store: Store) -> Served:
    # numpy costs time that few servers need
    from zoe_server.catalogue import gguf_file, projectors, proposal  # noqa: PLC0415

    try:
        facts = gguf_file.read(path)
    except gguf_file.GgufError as error:
        raise ModelMissingError(str(error)) from error
    if facts.kind is gguf_file.Kind.PROJECTOR:
        raise ModelMissingError(
            f"{path} is no model but lets one see; name it as the `projector` of that model, and leave this table out"
        )
    projector = projectors.projector_of(path, facts, store)
    return Served(
        path=path,
        projector=projector,
        roles=proposal.roles(facts, sees=projector is not None),
        context_tokens=proposal.context_tokens(facts),
    )
