"""Pictures in a prompt: their tokens, their vectors, and their way into the KV cache, by llama.cpp's libmtmd.

`read` and `encode` run beside the engine loop; `decode` is one of its steps. The library takes pictures as files, which
here are PNGs that the gateway wrote itself.
"""

from __future__ import annotations

import ctypes
import hashlib
import secrets
import weakref
from collections import Counter, OrderedDict
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import llama_cpp
import numpy as np
from llama_cpp import mtmd_cpp

from zoe_server.errors import EngineError, InvalidRequestError
from zoe_server.llama import library_log
from zoe_server.llama.config import physical_cores
from zoe_server.llama.model_file import ModelLoadError
from zoe_server.llama.vision.layout import TEXT_ONLY, Layout, PictureSpan, picture_tokens

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from zoe_server.llama.config import EngineConfig

_TEXT: Final = 0  # of enum mtmd_input_chunk_type
_KEPT_BYTES: Final = 128 << 20


class _Chunk:
    """The library's account of a picture, which lives as long as this object."""

    def __init__(self, pointer: Any) -> None:  # noqa: ANN401 -- a pointer type that ctypes builds
        self.pointer = pointer
        weakref.finalize(self, mtmd_cpp.mtmd_input_chunk_free, pointer)


@dataclass(eq=False, slots=True)
class PromptPicture:
    """A picture at its place in a prompt; `key` is a digest of its content.

    `vectors`, of shape (tokens, width of the model), are there after `PictureEncoder.encode_all`.
    """

    span: PictureSpan
    key: bytes
    chunk: _Chunk
    vectors: NDArray[np.float32] | None = None


class PicturePrompt(NamedTuple):
    """The tokens of a prompt, and the pictures among them."""

    tokens: list[int]
    layout: Layout = TEXT_ONLY
    pictures: tuple[PromptPicture, ...] = ()


class PictureEncoder:
    """One picture encoder for one loaded model.

    Raises:
        ModelLoadError: the file is missing, broken, or not for this model.
    """

    def __init__(self, config: EngineConfig, model: int) -> None:
        self._n_batch_tokens = config.n_batch_tokens
        self._width: int = llama_cpp.llama_model_n_embd_inp(model)
        self.marker = f"<picture-{secrets.token_hex(8)}>"
        self._context = self._load(config, model)
        self._non_causal = mtmd_cpp.mtmd_decode_use_non_causal(self._context, None)
        self._kept: OrderedDict[bytes, NDArray[np.float32]] = OrderedDict()

    def read(self, texts: Sequence[Sequence[int]], pictures: Sequence[bytes]) -> PicturePrompt:
        """Return the prompt that has one of `pictures` between each two of `texts`, which are tokens.

        Raises:
            InvalidRequestError: the template has left a picture out, or one needs more tokens than a step can have.
            EngineError: the library cannot read a picture.
        """
        if len(texts) != len(pictures) + 1:
            raise InvalidRequestError("the model's chat template leaves out a picture", param="messages")
        tokens = list(texts[0])
        found: list[PromptPicture] = []
        parts: Counter[bytes] = Counter()
        for picture, text in zip(pictures, texts[1:], strict=True):
            with self._chunks(picture) as chunks:
                for chunk in chunks:
                    self._add(chunk, tokens, found, parts)
            tokens += text
        return PicturePrompt(tokens, Layout([picture.span for picture in found]), tuple(found))

    def _add(self, chunk: Any, tokens: list[int], found: list[PromptPicture], parts: Counter[bytes]) -> None:  # noqa: ANN401
        """Add a chunk to a prompt; `parts` counts the chunks of each picture, of which some models get several."""
        if mtmd_cpp.mtmd_input_chunk_get_type(chunk) == _TEXT:
            tokens += _text_tokens(chunk)
            return
        name = mtmd_cpp.mtmd_input_chunk_get_id(chunk) or b""
        key = hashlib.sha256(b"%b/%d" % (name, parts[name])).digest()
        parts[name] += 1
        span = self._span(chunk, len(tokens), Layout([picture.span for picture in found]))
        found.append(PromptPicture(span, key, _copy(chunk)))
        tokens += picture_tokens(key, span.n_tokens)

    def n_bytes(self, pictures: Sequence[PromptPicture]) -> int:
        """Return what the vectors of `pictures` take, as if no two were equal."""
        return sum(picture.span.n_tokens for picture in pictures) * self._width * np.dtype(np.float32).itemsize

    def encode_all(self, pictures: Sequence[PromptPicture]) -> None:
        """Compute the vectors of `pictures`, or remember those of equal ones; called from one thread at a time.

        Raises:
            EngineError: the library cannot.
        """
        for picture in pictures:
            self._encode(picture)

    def _encode(self, picture: PromptPicture) -> None:
        known = self._kept.pop(picture.key, None)
        picture.vectors = self._computed(picture) if known is None else known
        self._kept[picture.key] = picture.vectors
        while sum(vectors.nbytes for vectors in self._kept.values()) > _KEPT_BYTES:
            self._kept.popitem(last=False)

    def decode(self, context: int, picture: PromptPicture, position: int, slot: int) -> int:
        """Compute the KV cells of an encoded `picture` from `position` on in `slot`; return the library's code."""
        if picture.vectors is None:
            raise ValueError("the picture is not encoded")
        end = llama_cpp.llama_pos()
        code: int = mtmd_cpp.mtmd_helper_decode_image_chunk(
            self._context,
            context,
            picture.chunk.pointer,
            picture.vectors.ctypes.data_as(ctypes.POINTER(ctypes.c_float)),
            position,
            slot,
            self._n_batch_tokens,
            ctypes.byref(end),
            mtmd_cpp.mtmd_helper_post_decode_callback(),
            None,
        )
        return code

    def close(self) -> None:
        """Give the encoder back."""
        mtmd_cpp.mtmd_free(self._context)

    def _load(self, config: EngineConfig, model: int) -> Any:  # noqa: ANN401 -- a pointer type that ctypes builds
        path = config.projector_path
        if path is None or not path.is_file():
            raise ModelLoadError(f"the picture encoder {path} does not exist")
        library_log.install()
        mtmd_cpp.mtmd_helper_log_set(library_log.callback(), ctypes.c_void_p(0))
        params = mtmd_cpp.mtmd_context_params_default()
        params.use_gpu = config.encodes_on_gpu
        params.print_timings = False
        params.n_threads = config.n_threads or physical_cores()
        params.media_marker = self.marker.encode()
        params.image_max_tokens = config.max_picture_tokens
        context = mtmd_cpp.mtmd_init_from_file(bytes(path), model, params)
        if not context:
            raise ModelLoadError(f"{path.name} is no picture encoder for this model: {library_log.reasons()}")
        if not mtmd_cpp.mtmd_support_vision(context):
            mtmd_cpp.mtmd_free(context)
            raise ModelLoadError(f"{path.name} encodes no pictures")
        return context

    @contextmanager
    def _chunks(self, picture: bytes) -> Iterator[Iterator[Any]]:
        """Lend the library's pieces of a picture: its parts, and the tokens that this model has around them."""
        text = self.marker.encode()
        wanted = mtmd_cpp.mtmd_input_text(text=text, text_len=len(text), add_special=False, parse_special=True)
        chunks = mtmd_cpp.mtmd_input_chunks_init()
        bitmap = None
        try:
            bitmap = self._bitmap(picture)
            array = (mtmd_cpp.mtmd_bitmap_p_ctypes * 1)(bitmap)
            if mtmd_cpp.mtmd_tokenize(self._context, chunks, ctypes.byref(wanted), array, 1):
                raise EngineError(f"the picture cannot be read: {library_log.reasons()}")
            count = mtmd_cpp.mtmd_input_chunks_size(chunks)
            yield (mtmd_cpp.mtmd_input_chunks_get(chunks, index) for index in range(count))
        finally:
            if bitmap is not None:
                mtmd_cpp.mtmd_bitmap_free(bitmap)
            mtmd_cpp.mtmd_input_chunks_free(chunks)

    def _bitmap(self, picture: bytes) -> Any:  # noqa: ANN401
        data = (ctypes.c_uint8 * len(picture)).from_buffer_copy(picture)
        bitmap = mtmd_cpp.mtmd_helper_bitmap_init_from_buf(self._context, data, len(picture), False)
        if not bitmap:
            raise EngineError(f"a picture cannot be read: {library_log.reasons()}")
        return bitmap

    def _span(self, chunk: Any, start: int, before: Layout) -> PictureSpan:  # noqa: ANN401
        n_tokens: int = mtmd_cpp.mtmd_input_chunk_get_n_tokens(chunk)
        if self._non_causal and n_tokens > self._n_batch_tokens:
            raise InvalidRequestError(
                f"a picture has {n_tokens} tokens, which this model needs in one step; "
                f"give it batch_tokens = {n_tokens} or more in zoe.toml",
                param="messages",
            )
        n_positions: int = mtmd_cpp.mtmd_input_chunk_get_n_pos(chunk)
        return PictureSpan(start, n_tokens, n_positions, self._n_top(chunk, n_tokens, before.position(start)))

    def _n_top(self, chunk: Any, n_tokens: int, position: int) -> int:  # noqa: ANN401
        """Return by how many positions the picture's cells reach in the dimension that the library cuts by."""
        if not mtmd_cpp.mtmd_decode_use_mrope(self._context):
            return n_tokens
        image = mtmd_cpp.mtmd_input_chunk_get_tokens_image(chunk)
        places: list[int] = [mtmd_cpp.mtmd_image_tokens_get_decoder_pos(image, position, i).t for i in range(n_tokens)]
        return max(places) - position + 1

    def _computed(self, picture: PromptPicture) -> NDArray[np.float32]:
        if mtmd_cpp.mtmd_encode_chunk(self._context, picture.chunk.pointer):
            raise EngineError(f"a picture cannot be encoded: {library_log.reasons()}")
        out = mtmd_cpp.mtmd_get_output_embd(self._context)
        if not out:
            raise EngineError("a picture cannot be encoded")
        return np.ctypeslib.as_array(out, (picture.span.n_tokens, self._width)).copy()


def _text_tokens(chunk: Any) -> list[int]:  # noqa: ANN401
    count = ctypes.c_size_t()
    tokens = mtmd_cpp.mtmd_input_chunk_get_tokens_text(chunk, ctypes.byref(count))
    return list(tokens[: count.value])


def _copy(chunk: Any) -> _Chunk:  # noqa: ANN401
    return _Chunk(mtmd_cpp.mtmd_input_chunk_copy(chunk))
