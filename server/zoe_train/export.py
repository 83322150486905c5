"""Writes a trained zoe-nano as GGUF (Q8_0): `python -m zoe_train.export RUN OUT.gguf`.

The chat template travels in the file, so any llama.cpp program can use the model.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import gguf
import numpy as np
import torch
import typer
from numpy.typing import NDArray

from zoe_train.model import Config
from zoe_train.rendering import BOS, EOS, TEMPLATE_PATH
from zoe_train.scaffold import SCAFFOLD_TOKENS
from zoe_train.tokens import CONTROL_TOKENS, PRE_TOKENIZER

VERSION: Final = "1"
_BLOCK_NAMES: Final = {
    "attn_norm.weight": "attn_norm",
    "attn.q.weight": "attn_q",
    "attn.k.weight": "attn_k",
    "attn.v.weight": "attn_v",
    "attn.o.weight": "attn_output",
    "ffn_norm.weight": "ffn_norm",
    "gate.weight": "ffn_gate",
    "up.weight": "ffn_up",
    "down.weight": "ffn_down",
}


def tensor_name(name: str) -> str:
    """Return llama.cpp's name of one of the model's parameters.

    Raises:
        KeyError: the model has a parameter that Llama does not.
    """
    if not name.startswith("blocks."):
        return {"embedding.weight": "token_embd.weight", "norm.weight": "output_norm.weight"}[name]
    _, layer, rest = name.split(".", 2)
    return f"blk.{layer}.{_BLOCK_NAMES[rest]}.weight"


def export(run: Path, out: Path) -> None:
    """Write the newest checkpoint of `run` to `out`; the file appears only when it is whole."""
    state: dict[str, Any] = torch.load(run / "checkpoint.pt", weights_only=True, map_location="cpu")
    part = out.with_suffix(".part")
    writer = gguf.GGUFWriter(part, "llama")
    _add_hyperparameters(writer, Config(**state["config"]))
    _add_tokenizer(writer, json.loads((run / "tokenizer.json").read_text(encoding="utf-8")))
    for name, tensor in state["model"].items():
        _add_tensor(writer, tensor_name(name), tensor.float().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    part.replace(out)


def _add_hyperparameters(writer: gguf.GGUFWriter, config: Config) -> None:
    writer.add_name("zoe-nano")
    writer.add_version(VERSION)
    writer.add_description("Calls Home Assistant's tools; made from synthetic conversations")
    writer.add_license("apache-2.0")
    writer.add_context_length(config.context)
    writer.add_embedding_length(config.width)
    writer.add_block_count(config.layers)
    writer.add_feed_forward_length(config.ffn)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.heads)
    writer.add_layer_norm_rms_eps(config.norm_eps)
    writer.add_rope_dimension_count(config.head_size)
    writer.add_rope_freq_base(config.rope_base)
    writer.add_vocab_size(config.vocab)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)


def _add_tokenizer(writer: gguf.GGUFWriter, tokenizer: dict[str, Any]) -> None:
    vocab: dict[str, int] = tokenizer["model"]["vocab"]
    tokens = sorted(vocab, key=vocab.__getitem__)
    kinds = {
        **dict.fromkeys(CONTROL_TOKENS, gguf.TokenType.CONTROL),
        **dict.fromkeys(SCAFFOLD_TOKENS, gguf.TokenType.USER_DEFINED),
    }
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in tokenizer["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(PRE_TOKENIZER)
    writer.add_token_list(tokens)
    writer.add_token_types([int(kinds.get(token, gguf.TokenType.NORMAL)) for token in tokens])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(vocab[BOS])
    writer.add_eos_token_id(vocab[EOS])
    writer.add_pad_token_id(vocab[BOS])
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE_PATH.read_text(encoding="utf-8"))


def _add_tensor(writer: gguf.GGUFWriter, name: str, data: NDArray[np.float32]) -> None:
    if data.ndim == 1:
        writer.add_tensor(name, data)
        return
    kind = gguf.GGMLQuantizationType.Q8_0
    writer.add_tensor(name, gguf.quants.quantize(data, kind), raw_dtype=kind)


def main(run: Path, out: Path) -> None:
    """Write the newest checkpoint as GGUF."""
    export(run, out)
    typer.echo(f"{out}: {out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    typer.run(main)
