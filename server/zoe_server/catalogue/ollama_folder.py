"""The models of an Ollama installation, as its folder has them: a manifest for each, and the files that it names.

    manifests/registry.ollama.ai/library/llama3.2/3b    JSON: layers with a kind and a digest
    blobs/sha256-dde5aa3fc5ff...                        a layer: weights, projector, adapter, parameters, ...

Source: Ollama, `docs/import.md`, `manifest/manifest.go` and `types/model/name.go`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

_HOST: Final = "registry.ollama.ai"
_NAMESPACE: Final = "library"
_KIND: Final = "application/vnd.ollama.image."
_N_PARTS: Final = 4  # of a manifest's path: host, namespace, model, tag
_MAX_JSON_BYTES: Final = 4 << 20


@dataclass(frozen=True, slots=True)
class OllamaModel:
    """A model as Ollama calls it, its files, and what its Modelfile sets; `weights` None: it runs in their cloud.

    `parameters` are as in a Modelfile, such as `num_ctx`; `sets` are the other kinds of layers, such as `system`.
    """

    name: str
    weights: Path | None
    projector: Path | None = None
    adapters: tuple[Path, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    sets: frozenset[str] = frozenset()


class BrokenManifestError(Exception):
    """A manifest, or a file that it names, cannot be read; the message says which."""


def usual_folders() -> tuple[Path, ...]:
    """Return where Ollama's models may be on this machine."""
    own = os.environ.get("OLLAMA_MODELS")
    return (
        *((Path(own),) if own else ()),
        Path.home() / ".ollama" / "models",
        Path("/usr/share/ollama/.ollama/models"),
        Path("/var/lib/ollama/models"),
    )


def manifests(folder: Path) -> list[Path]:
    """Return the manifests of all models in `folder`, in the order of their names."""
    root = folder / "manifests"
    found = (path for path in root.rglob("*") if path.is_file()) if root.is_dir() else iter(())
    return sorted(path for path in found if len(path.relative_to(root).parts) == _N_PARTS)


def read(folder: Path, manifest: Path) -> OllamaModel:
    """Return the model of a manifest.

    Raises:
        BrokenManifestError: it cannot be read, or a file that it names is not there.
    """
    name = _name(manifest.relative_to(folder / "manifests").parts)
    layers = list(_layers(folder, manifest))
    weights = [path for kind, path in layers if kind == "model"]
    parameters: dict[str, Any] = {}
    for kind, path in layers:
        if kind == "params":
            parameters |= _object(path)
    return OllamaModel(
        name,
        weights[0] if weights else None,
        projector=next((path for kind, path in layers if kind == "projector"), None),
        adapters=tuple(path for kind, path in layers if kind == "adapter"),
        parameters=parameters,
        sets=frozenset(kind for kind, _ in layers if kind in ("system", "template", "messages")),
    )


def _layers(folder: Path, manifest: Path) -> Iterator[tuple[str, Path]]:
    listed = _object(manifest).get("layers")
    for layer in listed if isinstance(listed, list) else ():
        if not isinstance(layer, dict):
            raise BrokenManifestError(f"{manifest} lists something that is no layer")
        kind, digest = str(layer.get("mediaType")), str(layer.get("digest"))
        if not kind.startswith(_KIND) or not digest.startswith("sha256:"):
            continue
        path = folder / "blobs" / digest.replace(":", "-")
        if path.parent != folder / "blobs" or not path.is_file():
            raise BrokenManifestError(f"{manifest} names a file that is not there: {path}")
        yield kind.removeprefix(_KIND), path


def _object(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MAX_JSON_BYTES:
            raise BrokenManifestError(f"{path} is too long to be what it should be")
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BrokenManifestError(f"{path} cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise BrokenManifestError(f"{path} holds no JSON object")
    return value


def _name(parts: tuple[str, ...]) -> str:
    """Return the name as Ollama prints it, which leaves out what is usual."""
    host, namespace, model, tag = parts
    prefix = "" if host == _HOST else f"{host}/"
    if prefix or namespace != _NAMESPACE:
        prefix += f"{namespace}/"
    return f"{prefix}{model}:{tag}"
