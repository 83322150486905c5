"""Makes a folder that vLLM can serve of one with a GGUF file: weights in bfloat16, tokenizer, chat template.

Runs in the environment that vLLM is in.
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer


def main(source: Path, target: Path) -> None:
    """Read the only GGUF file in `source`, and write `target`; its weights come last, so that it is whole with them."""
    (file,) = source.glob("*.gguf")
    model = AutoModelForCausalLM.from_pretrained(source, gguf_file=file.name, dtype=torch.bfloat16)
    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=file.name)
    target.mkdir(parents=True, exist_ok=True)
    model.config.__dict__.pop("quantization_config", None)  # the weights are none any more
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(target)
    tokenizer.save_pretrained(target)
    is_tied = model.config.tie_word_embeddings
    weights = {name: one.contiguous() for name, one in model.state_dict().items()}
    if is_tied:
        weights.pop("lm_head.weight", None)
    save_file(weights, target / "model.part", metadata={"format": "pt"})
    (target / "model.part").replace(target / "model.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
