"""What a GGUF file says of itself: its header and the table of its tensors, read without loading any weights.

The file is mapped into memory and only its first part is touched. Lists of strings (a vocabulary has some 150,000) are
stepped over. Whether llama.cpp can run the model is for llama.cpp to say.
Source of the keys: ggml, `docs/gguf.md`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final

import gguf
import numpy as np

_MAX_TENSORS: Final = 1 << 17
_MAX_LIST: Final = 1 << 24
_MAX_KEPT_LIST: Final = 4096
_KV_VALUE_BYTES: Final = 2
_PROJECTOR_ARCHITECTURE: Final = "clip"
_PROJECTED_SIZE: Final = "clip.vision.projection_dim"
_SCALING_ENCODERS: Final = ("qwen", "pixtral", "kimivl", "lfm2", "glm4v", "lightonocr", "dots", "youtuvl")
"""The beginnings of the types whose pictures have as many tokens as their size asks for."""
_WARM_UP_PATCHES: Final = 92**2
"""Of the picture that llama.cpp makes the first buffer of such an encoder for."""
_KEPT_WIDTHS: Final = 3  # measured: 2.05 for SigLIP and CLIP, 2.8 for Qwen2-VL
_POOLING_NONE: Final = 0
_POOLING_RANK: Final = 4
_TEMPLATE: Final = "tokenizer.chat_template"


class GgufError(Exception):
    """The file is no GGUF file, or only a part of one; the message names it and says what to do."""


class Kind(Enum):
    """What a GGUF file is for."""

    TEXT = "text"
    EMBEDDINGS = "embeddings"
    PROJECTOR = "projector"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class PictureEncoderFacts:
    """How a picture encoder computes: `n_patches` of a picture at once, more of a larger one if it `scales`.

    `n_values` is how many numbers it keeps of each patch meanwhile.
    """

    n_patches: int
    n_values: int
    scales: bool


@dataclass(frozen=True, slots=True)
class GgufFacts:
    """What a file says of itself. `context_tokens` is what the model was trained for.

    `vector_size` is how many numbers stand for a token in the model, and a projector makes such vectors of a picture.
    Where the file is silent, that is None, and `n_layers` and `kv_bytes_per_token` are 0.
    """

    kind: Kind
    architecture: str
    name: str | None
    size_bytes: int
    quantization: str | None
    context_tokens: int | None
    kv_bytes_per_token: int
    template: str | None
    n_layers: int = 0
    vector_size: int | None = None
    picture_encoder: PictureEncoderFacts | None = None


def read(path: Path) -> GgufFacts:
    """Return what the file at `path` says of itself.

    Raises:
        GgufError: the file cannot be read, is no GGUF file, or ends too early.
    """
    try:
        header = _Header(path)
        return _facts(header, path)
    except OSError as error:
        raise GgufError(f"{path} cannot be read: {error.strerror or error}") from error
    except _TruncatedError as error:
        raise GgufError(f"{path} is not whole: {error}; download it again") from error
    except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
        raise GgufError(f"{path} is not a readable GGUF file ({error}); download it again") from error


class _TruncatedError(Exception):
    """The file ends before the weights do."""


class _Header(gguf.GGUFReader):
    """The package's reader, which steps over long lists and leaves the weights alone."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)

    def value(self, key: str) -> Any:  # noqa: ANN401 -- whatever the file has
        """Return the value of `key`, None if the file has none."""
        field = self.get_field(key)
        return None if field is None or not field.data else field.contents()

    def _get_field_parts(
        self, orig_offs: int, raw_type: int
    ) -> tuple[int, list[np.ndarray[Any, Any]], list[int], list[gguf.GGUFValueType]]:
        if gguf.GGUFValueType(raw_type) != gguf.GGUFValueType.ARRAY:
            return super()._get_field_parts(orig_offs, raw_type)
        item = gguf.GGUFValueType(int(self._get(orig_offs, np.uint32)[0]))
        length = int(self._get(orig_offs + 4, np.uint64)[0])
        if item == gguf.GGUFValueType.ARRAY or length > _MAX_LIST:
            raise ValueError("a list in its header makes no sense")
        if item == gguf.GGUFValueType.STRING:
            size = self._strings_size(orig_offs + 12, length)
        elif length <= _MAX_KEPT_LIST:
            return super()._get_field_parts(orig_offs, raw_type)
        else:
            size = length * np.dtype(self.gguf_scalar_to_np[item]).itemsize
        return 12 + size, [], [], [gguf.GGUFValueType.ARRAY, item]

    def _strings_size(self, offset: int, length: int) -> int:
        view = memoryview(self.data)
        swapped = {"little": "big", "big": "little"}[sys.byteorder]
        order: Any = sys.byteorder if self.byte_order == "I" else swapped
        end = offset
        for _ in range(length):
            if end + 8 > len(view):
                raise _TruncatedError("it ends within its header")
            end += 8 + int.from_bytes(view[end : end + 8], order)
        return end - offset

    def _build_tensor_info(self, offs: int, count: int) -> tuple[int, list[gguf.ReaderField]]:
        if count > _MAX_TENSORS:
            raise ValueError("the number of tensors in its header makes no sense")
        return super()._build_tensor_info(offs, count)

    def _build_tensors(self, start_offs: int, fields: list[gguf.ReaderField]) -> None:
        """Only see that the last weight is there; views of all tensors are of no use here."""
        self.has_tensors = bool(fields)
        end = max((start_offs + _tensor_end(field) for field in fields), default=0)
        if end > len(self.data):
            raise _TruncatedError(f"it has {len(self.data):,} of {end:,} bytes")


def _tensor_end(field: gguf.ReaderField) -> int:
    """Return where the tensor ends, in bytes from the beginning of the weights."""
    _, _, _, dims, raw_type, offset = field.parts
    block_size, type_size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType(int(raw_type[0]))]
    n_values = 1
    for dim in dims.tolist():
        n_values *= int(dim)
    return int(offset[0]) + n_values // block_size * type_size


def _facts(header: _Header, path: Path) -> GgufFacts:
    architecture = str(header.value("general.architecture") or "unknown")
    context = header.value(f"{architecture}.context_length")
    template = header.value(f"{_TEMPLATE}.tool_use") or header.value(_TEMPLATE)
    return GgufFacts(
        kind=_kind(header, architecture),
        architecture=architecture,
        name=header.value("general.name"),
        size_bytes=path.stat().st_size,
        quantization=_quantization(header.value("general.file_type")),
        context_tokens=int(context) if context else None,
        kv_bytes_per_token=_kv_bytes_per_token(header, architecture),
        template=str(template) if template else None,
        n_layers=int(header.value(f"{architecture}.block_count") or 0),
        vector_size=_vector_size(header, architecture),
        picture_encoder=_picture_encoder(header) if architecture == _PROJECTOR_ARCHITECTURE else None,
    )


def _picture_encoder(header: _Header) -> PictureEncoderFacts | None:
    """Return what decides the size of its compute buffer, None if the file does not tell."""

    def number(key: str) -> int:
        return int(header.value(f"clip.vision.{key}") or 0)

    patch_pixels, width = number("patch_size"), number("embedding_length")
    if not patch_pixels or not width:
        return None
    scales = str(header.value("clip.projector_type") or "").startswith(_SCALING_ENCODERS)
    n_patches = max((number("image_size") // patch_pixels) ** 2, _WARM_UP_PATCHES if scales else 0)
    return PictureEncoderFacts(n_patches, _KEPT_WIDTHS * width + number("feed_forward_length"), scales)


def _kind(header: _Header, architecture: str) -> Kind:
    if architecture == _PROJECTOR_ARCHITECTURE or header.value("general.type") == "mmproj":
        return Kind.PROJECTOR
    if not header.has_tensors or header.value("general.type") not in (None, "model"):
        return Kind.OTHER
    pooling = header.value(f"{architecture}.pooling_type")
    if pooling == _POOLING_RANK:
        return Kind.OTHER
    if pooling not in (None, _POOLING_NONE):
        return Kind.EMBEDDINGS
    return Kind.OTHER if header.value(f"{architecture}.attention.causal") is False else Kind.TEXT


def _vector_size(header: _Header, architecture: str) -> int | None:
    is_projector = architecture == _PROJECTOR_ARCHITECTURE
    size = header.value(_PROJECTED_SIZE if is_projector else f"{architecture}.embedding_length")
    return int(size) if size else None


def _quantization(file_type: int | None) -> str | None:
    known = {int(member): member.name.split("_", 1)[-1] for member in gguf.LlamaFileType}
    return None if file_type is None else known.get(file_type)


def _kv_bytes_per_token(header: _Header, architecture: str) -> int:
    """Return what one token takes in the KV cache at 2 bytes a value; 0 where the file does not tell."""
    layers = header.value(f"{architecture}.block_count")
    heads = header.value(f"{architecture}.attention.head_count")
    if not layers or not heads:
        return 0
    kv_heads = header.value(f"{architecture}.attention.head_count_kv") or heads
    size = int(header.value(f"{architecture}.embedding_length") or 0) // max(1, _total(heads, 1))
    key = int(header.value(f"{architecture}.attention.key_length") or size)
    value = int(header.value(f"{architecture}.attention.value_length") or size)
    return _total(kv_heads, int(layers)) * (key + value) * _KV_VALUE_BYTES


def _total(heads: int | Sequence[int], layers: int) -> int:
    """Return the heads of all layers; a file gives one number for every layer, or a list with one for each."""
    return sum(heads) if isinstance(heads, list) else int(heads) * layers  # type: ignore[arg-type]
