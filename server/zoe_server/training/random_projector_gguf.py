"""Writes a picture encoder with random weights, the `mmproj` file beside a model: real files for tests, in a moment.

Two kinds, for what models do with a picture's tokens: "gemma3" gives every picture the same number of tokens, which see
each other in both directions; "qwen2vl_merger" gives them by the picture's size, with positions in two dimensions.
Names and shapes are those that llama.cpp's `tools/mtmd/clip.cpp` reads. Different pictures get different vectors, of
about the length that the vectors of tokens have.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Final, Literal

import gguf
import numpy as np

PATCH_PIXELS: Final = 14
PICTURE_PIXELS: Final = 112
_WIDTH: Final = 64
_HEADS: Final = 4
_FFN: Final = 128
_LAYERS: Final = 1
_MERGED: Final = 2  # patches along each side that make one token

Kind = Literal["gemma3", "qwen2vl_merger"]


class _Weights:
    """Adds random tensors to a file."""

    def __init__(self, writer: gguf.GGUFWriter, seed: int) -> None:
        self._writer = writer
        self._rng = np.random.default_rng(seed)

    def matrix(self, name: str, *shape: int) -> None:
        """Add normal numbers, scaled so that a product keeps the length of what goes in."""
        n_inputs = math.prod(shape[1:])
        self._add(name, self._rng.standard_normal(shape, dtype=np.float32) / np.float32(math.sqrt(n_inputs)))

    def ones(self, name: str, n: int) -> None:
        self._add(name, np.ones(n, dtype=np.float32))

    def zeros(self, name: str, n: int) -> None:
        self._add(name, np.zeros(n, dtype=np.float32))

    def norm(self, name: str) -> None:
        self.ones(f"{name}.weight", _WIDTH)
        self.zeros(f"{name}.bias", _WIDTH)

    def _add(self, name: str, data: np.ndarray[Any, np.dtype[np.float32]]) -> None:
        self._writer.add_tensor(name, data)


def write_random_projector(
    path: Path, *, kind: Kind = "gemma3", width: int = 64, picture_pixels: int = PICTURE_PIXELS, seed: int = 0
) -> Path:
    """Write a picture encoder for a model whose embeddings have `width` numbers, and return its path.

    "gemma3" scales every picture to a square with `picture_pixels` on a side, a multiple of 28.
    """
    writer = gguf.GGUFWriter(path, "clip")
    _add_facts(writer, kind, width, picture_pixels)
    weights = _Weights(writer, seed)
    for layer in range(_LAYERS):
        _add_layer(weights, f"v.blk.{layer}")
    weights.norm("v.post_ln")
    if kind == "gemma3":
        _add_gemma3(weights, width, (picture_pixels // PATCH_PIXELS) ** 2)
    else:
        _add_qwen2vl(weights, width)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_facts(writer: gguf.GGUFWriter, kind: Kind, width: int, picture_pixels: int) -> None:
    writer.add_type("mmproj")
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_string("clip.projector_type", kind)
    writer.add_bool("clip.use_gelu", True)
    for name, number in {
        "embedding_length": _WIDTH,
        "feed_forward_length": _FFN,
        "block_count": _LAYERS,
        "projection_dim": width,
        "attention.head_count": _HEADS,
        "image_size": picture_pixels,
        "patch_size": PATCH_PIXELS,
        "projector.scale_factor": _MERGED,
    }.items():
        writer.add_uint32(f"clip.vision.{name}", number)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-6)
    writer.add_array("clip.vision.image_mean", [0.5, 0.5, 0.5])
    writer.add_array("clip.vision.image_std", [0.5, 0.5, 0.5])


def _add_layer(weights: _Weights, name: str) -> None:
    for part in ("attn_q", "attn_k", "attn_v", "attn_out"):
        weights.matrix(f"{name}.{part}.weight", _WIDTH, _WIDTH)
        weights.zeros(f"{name}.{part}.bias", _WIDTH)
    weights.matrix(f"{name}.ffn_up.weight", _FFN, _WIDTH)
    weights.zeros(f"{name}.ffn_up.bias", _FFN)
    weights.matrix(f"{name}.ffn_down.weight", _WIDTH, _FFN)
    weights.zeros(f"{name}.ffn_down.bias", _WIDTH)
    weights.norm(f"{name}.ln1")
    weights.norm(f"{name}.ln2")


def _add_gemma3(weights: _Weights, width: int, n_patches: int) -> None:
    weights.matrix("v.patch_embd.weight", _WIDTH, 3, PATCH_PIXELS, PATCH_PIXELS)
    weights.zeros("v.patch_embd.bias", _WIDTH)
    weights.matrix("v.position_embd.weight", n_patches, _WIDTH)
    weights.ones("mm.soft_emb_norm.weight", _WIDTH)
    weights.matrix("mm.input_projection.weight", _WIDTH, width)


def _add_qwen2vl(weights: _Weights, width: int) -> None:
    for name in ("v.patch_embd.weight", "v.patch_embd.weight.1"):  # of a picture, and of the frame after it
        weights.matrix(name, _WIDTH, 3, PATCH_PIXELS, PATCH_PIXELS)
    merged = _WIDTH * _MERGED**2
    weights.matrix("mm.0.weight", merged, merged)
    weights.zeros("mm.0.bias", merged)
    weights.matrix("mm.2.weight", width, merged)
    weights.zeros("mm.2.bias", width)
