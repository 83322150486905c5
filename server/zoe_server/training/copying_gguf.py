"""Writes a Llama-architecture GGUF that can only copy: its answer is the text from so many tokens before, word by word.

What a random model says does not tell what it has read from its KV cache; this one says that aloud. Its only layer has
one head, whose query and key are constants, so that the rotary position embedding alone decides where it looks: exactly
`delay` tokens back. The value there is the code of the token, and the output knows codes. A prompt of `delay + 1`
tokens is repeated from its first token on, each with a probability of nearly 1, and a cell of the cache that holds
anything else is seen as another word.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import gguf
import numpy as np

from zoe_server.training.random_gguf import HERMES_TEMPLATE, add_tokenizer, vocabulary

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Matrix = NDArray[np.float32]

_WIDTH: Final = 256  # of the model and of its head
_CODE: Final = 96  # of a token: the first numbers of the residual stream; what is copied comes behind them
_CONSTANT_AT: Final = 2 * _CODE
_CONSTANT: Final = 4.0
_FFN: Final = 32
_ROPE_BASE: Final = 100.0
_SHARPNESS: Final = 16.0  # the place next to the right one gets e^-100 of its attention
_OUTPUT_SCALE: Final = 0.4


def write_copying_gguf(path: Path, *, delay: int, context: int = 4096) -> Path:
    """Write the model that looks `delay` tokens back and return its path; `context` is in tokens."""
    tokens, types, merge_lines = vocabulary(600, 0)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(f"copying-{delay}")
    writer.add_context_length(context)
    writer.add_embedding_length(_WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(_FFN)
    writer.add_head_count(1)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(_WIDTH)
    writer.add_rope_freq_base(_ROPE_BASE)
    writer.add_vocab_size(len(tokens))
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    add_tokenizer(writer, tokens, types, merge_lines, HERMES_TEMPLATE)
    is_text = np.array([kind == gguf.TokenType.NORMAL for kind in types])
    for name, tensor in _tensors(is_text, delay).items():
        writer.add_tensor(f"{name}.weight", tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _tensors(is_text: NDArray[np.bool_], delay: int) -> dict[str, Matrix]:
    """Return the weights; a token that is no text is never said."""
    codes = np.random.default_rng(0).choice((-1.0, 1.0), (len(is_text), _CODE)).astype(np.float32)
    embedding, output = _zeros(len(is_text), _WIDTH), _zeros(len(is_text), _WIDTH)
    embedding[:, :_CODE] = codes
    embedding[:, _CONSTANT_AT] = _CONSTANT
    output[:, _CODE:_CONSTANT_AT] = _OUTPUT_SCALE * codes * is_text[:, None]
    query, key = _zeros(_WIDTH, _WIDTH), _zeros(_WIDTH, _WIDTH)
    angles = delay * _ROPE_BASE ** (-np.arange(0, _WIDTH, 2) / _WIDTH)
    unit = _SHARPNESS / (_CONSTANT / np.sqrt((_CODE + _CONSTANT**2) / _WIDTH))  # the norm before the head divides
    query[0::2, _CONSTANT_AT] = unit
    key[0::2, _CONSTANT_AT], key[1::2, _CONSTANT_AT] = unit * np.cos(angles), unit * np.sin(angles)
    value, attended = _zeros(_WIDTH, _WIDTH), _zeros(_WIDTH, _WIDTH)
    value[:_CODE, :_CODE] = np.eye(_CODE)
    attended[_CODE:_CONSTANT_AT, :_CODE] = np.eye(_CODE)
    ones = np.ones(_WIDTH, dtype=np.float32)
    return {
        "token_embd": embedding,
        "blk.0.attn_norm": ones,
        "blk.0.attn_q": query,
        "blk.0.attn_k": key,
        "blk.0.attn_v": value,
        "blk.0.attn_output": attended,
        "blk.0.ffn_norm": ones,
        "blk.0.ffn_gate": _zeros(_FFN, _WIDTH),
        "blk.0.ffn_up": _zeros(_FFN, _WIDTH),
        "blk.0.ffn_down": _zeros(_WIDTH, _FFN),
        "output_norm": ones,
        "output": output,
    }


def _zeros(rows: int, columns: int) -> Matrix:
    return np.zeros((rows, columns), dtype=np.float32)
