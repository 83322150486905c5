"""Which file of the models folder lets a model see? For models that the catalogue does not know.

It reads the headers of files that are called mmproj, as llama.cpp's tools and the hub's repositories call them.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from zoe_server.catalogue import gguf_file, proposal
from zoe_server.catalogue.gguf_file import GgufFacts, Kind
from zoe_server.catalogue.store import Store, model_name

_LOGGER: Final = logging.getLogger(__name__)


def projector_of(path: Path, facts: GgufFacts, store: Store) -> Path | None:
    """Return the projector of the model at `path`, the smallest of several, None where none is surely its own."""
    if facts.kind is not Kind.TEXT:
        return None
    found = []
    for candidate in store.projectors():
        try:
            projector = gguf_file.read(candidate)
        except gguf_file.GgufError as error:
            _LOGGER.debug("no projector for %s: %s", path, error)
            continue
        if proposal.sees_with(model_name(path), facts, model_name(candidate), projector):
            found.append((projector.size_bytes, candidate))
    return min(found)[1] if found else None
