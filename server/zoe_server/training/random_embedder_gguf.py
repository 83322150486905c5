"""Writes a BERT-architecture GGUF with random weights: a real embedding model for tests, in a moment.

Its vectors mean nothing, but everything around them is real: WordPiece tokeniser, attention to both sides, pooling.
Words of the vocabulary are one token each, other ASCII words as many as they have characters.
Source of the layout: llama.cpp, `conversion/bert.py`.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final

import gguf
import numpy as np

from zoe_server.training.random_gguf import whole_words

_SPECIAL: Final = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_CHARACTERS: Final = [char for char in map(chr, range(ord("!"), ord("~") + 1)) if not char.isupper()]
_BEGINS_WORD: Final = "\N{LOWER ONE EIGHTH BLOCK}"
_TOKEN_TYPES: Final = 2


def write_random_embedder_gguf(
    path: Path,
    *,
    layers: int = 2,
    width: int = 64,
    heads: int = 4,
    ffn: int = 128,
    context: int = 512,
    pooling: gguf.PoolingType | None = gguf.PoolingType.MEAN,
    seed: int = 0,
) -> Path:
    """Write a random model to `path` and return it; equal arguments give equal files.

    `context` is in tokens, the two special ones of every text included; without `pooling` the file does not say how a
    text's vector is made of those of its tokens.
    """
    tokens = _vocabulary()
    writer = gguf.GGUFWriter(path, "bert")
    writer.add_name(f"random-embedder-{layers}x{width}")
    writer.add_context_length(context)
    writer.add_embedding_length(width)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(ffn)
    writer.add_head_count(heads)
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(False)
    if pooling is not None:
        writer.add_pooling_type(pooling)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    _add_tokenizer(writer, tokens)
    _add_tensors(writer, len(tokens), layers, width, ffn, context, seed)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _vocabulary() -> list[str]:
    """Return the tokens as llama.cpp wants them: those that begin a word are marked, those that go on are not."""
    words = dict.fromkeys(word.lower() for word in whole_words())
    beginnings = dict.fromkeys([*_CHARACTERS, *words])
    return [*_SPECIAL, *(_BEGINS_WORD + text for text in beginnings), *_CHARACTERS]


def _add_tokenizer(writer: gguf.GGUFWriter, tokens: list[str]) -> None:
    control, normal = int(gguf.TokenType.CONTROL), int(gguf.TokenType.NORMAL)
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_type_count(_TOKEN_TYPES)
    writer.add_token_list(tokens)
    writer.add_token_types([control if token in _SPECIAL else normal for token in tokens])
    writer.add_pad_token_id(tokens.index("[PAD]"))
    writer.add_unk_token_id(tokens.index("[UNK]"))
    writer.add_bos_token_id(tokens.index("[CLS]"))
    writer.add_sep_token_id(tokens.index("[SEP]"))
    writer.add_mask_token_id(tokens.index("[MASK]"))


def _add_tensors(
    writer: gguf.GGUFWriter, n_tokens: int, layers: int, width: int, ffn: int, context: int, seed: int
) -> None:
    """Add weights whose scales keep attention selective and every layer of the same weight."""
    rng = np.random.default_rng(seed)

    def matrix(name: str, rows: int, columns: int, scale: float) -> None:
        writer.add_tensor(f"{name}.weight", rng.standard_normal((rows, columns), dtype=np.float32) * np.float32(scale))

    def bias(name: str, size: int) -> None:
        writer.add_tensor(f"{name}.bias", rng.standard_normal(size, dtype=np.float32) * np.float32(0.1))

    def norm(name: str) -> None:
        writer.add_tensor(f"{name}.weight", np.ones(width, dtype=np.float32))
        bias(name, width)

    unit = 1.0 / math.sqrt(width)
    matrix("token_embd", n_tokens, width, 1.0)
    matrix("token_types", _TOKEN_TYPES, width, 0.1)
    matrix("position_embd", context, width, 0.3)
    norm("token_embd_norm")
    for i in range(layers):
        for part, scale in (("q", 1.5), ("k", 1.5), ("v", 1.0), ("output", 1.0)):
            matrix(f"blk.{i}.attn_{part}", width, width, scale * unit)
            bias(f"blk.{i}.attn_{part}", width)
        norm(f"blk.{i}.attn_output_norm")
        matrix(f"blk.{i}.ffn_up", ffn, width, unit)
        bias(f"blk.{i}.ffn_up", ffn)
        matrix(f"blk.{i}.ffn_down", width, ffn, 1.0 / math.sqrt(ffn))
        bias(f"blk.{i}.ffn_down", width)
        norm(f"blk.{i}.layer_output_norm")
