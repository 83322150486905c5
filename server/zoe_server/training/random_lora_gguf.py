"""Writes a LoRA adapter with random weights for a model file: a real adapter for tests and benchmarks, in no time.

It changes attention and feed-forward of every layer about as strongly as the layer works by itself, so that answers
differ from those of the model alone. Embedding and output stay as they are: a model of `random_gguf` goes on writing
text.
Source of the format: llama.cpp, `convert_lora_to_gguf.py` and `src/llama-adapter.cpp`.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import gguf
import numpy as np

_CHANGED: Final = ("attn_q.weight", "attn_v.weight", "ffn_down.weight")


def write_random_lora_gguf(
    path: Path, model: Path, *, rank: int = 4, strength: float = 1.0, seed: int = 1, invocation: Sequence[int] = ()
) -> Path:
    """Write a random adapter for the file `model` to `path` and return it.

    With `invocation`, tokens, it says of itself to be an activated LoRA that begins to work there. Equal arguments give
    equal files.
    """
    reader = gguf.GGUFReader(model)
    architecture = reader.fields[gguf.Keys.General.ARCHITECTURE].contents()
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, float(rank))
    if invocation:
        kinds = (gguf.GGUFValueType.ARRAY, gguf.GGUFValueType.UINT32)
        writer.add_key_value(gguf.Keys.Adapter.ALORA_INVOCATION_TOKENS, list(invocation), kinds[0], sub_type=kinds[1])
    rng = np.random.default_rng(seed)
    for tensor in reader.tensors:
        if tensor.name.endswith(_CHANGED):
            n_in, n_out = (int(size) for size in tensor.shape)
            down = rng.standard_normal((rank, n_in), dtype=np.float32) / np.float32(math.sqrt(n_in))
            up = rng.standard_normal((n_out, rank), dtype=np.float32) * np.float32(strength / math.sqrt(rank))
            writer.add_tensor(f"{tensor.name}.lora_a", down)
            writer.add_tensor(f"{tensor.name}.lora_b", up)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def main() -> None:
    """Write the adapter that the command line describes."""
    parser = argparse.ArgumentParser(description="Write a LoRA adapter with random weights.")
    parser.add_argument("path", type=Path, metavar="OUT.gguf")
    parser.add_argument("model", type=Path, metavar="MODEL.gguf", help="the model that it is for")
    parser.add_argument("--rank", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    write_random_lora_gguf(options.path, options.model, rank=options.rank, seed=options.seed)


if __name__ == "__main__":
    main()
