"""How much memory a model takes: weights, the KV cache of its context, and what computing needs besides.

An estimate before anybody has seen the model run; `memory_measurements` corrects it by what was measured. It is an
upper bound where attention has a window or layers share their cache, since the engine keeps whole prefixes. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from zoe_server.catalogue.entry import ENGINE_OVERHEAD_BYTES

if TYPE_CHECKING:
    from zoe_server.catalogue.gguf_file import GgufFacts, PictureEncoderFacts

GPU_OVERHEAD_BYTES: Final = 512 << 20
"""What a process takes in addition to use a GPU: the driver's context and the code of the kernels."""
VLLM_OVERHEAD_BYTES: Final = 2 << 30
"""What vLLM's processes take besides weights and cache where no GPU computes."""
ALL_LAYERS: Final = -1
_CONTEXT_STEP_TOKENS: Final = 256
_F32_BYTES: Final = 4
_PATCHES_PER_TOKEN: Final = 4


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What decides a model's size; with `n_layers` 0 it is unknown how many there are.

    Of a GPU with a memory of its own, the model takes what `n_gpu_layers` do and `overhead_bytes`; the other layers and
    `host_overhead_bytes` are in the memory of the machine. Where there is one memory, all layers are there.
    """

    weights_bytes: int
    kv_bytes_per_token: int
    n_ctx_tokens: int
    n_layers: int = 0
    n_gpu_layers: int = ALL_LAYERS
    overhead_bytes: int = ENGINE_OVERHEAD_BYTES
    host_overhead_bytes: int = 0


def facts_of(file: GgufFacts, n_ctx_tokens: int, *, on_gpu: bool) -> ModelFacts:
    """Return the facts of the model in `file` with a context of `n_ctx_tokens` in an engine of llama.cpp."""
    return ModelFacts(
        weights_bytes=file.size_bytes,
        kv_bytes_per_token=file.kv_bytes_per_token,
        n_ctx_tokens=n_ctx_tokens,
        n_layers=file.n_layers,
        overhead_bytes=ENGINE_OVERHEAD_BYTES + (GPU_OVERHEAD_BYTES if on_gpu else 0),
    )


def picture_compute_bytes(encoder: PictureEncoderFacts, max_picture_tokens: int) -> int:
    """Return how much memory a picture encoder computes in, for pictures of up to so many tokens."""
    n_largest = max_picture_tokens * _PATCHES_PER_TOKEN if encoder.scales else 0
    return max(encoder.n_patches, n_largest) * encoder.n_values * _F32_BYTES


def kv_bytes(facts: ModelFacts) -> int:
    """Return the size of the KV cache; llama.cpp rounds a context up."""
    n_cells = -(-facts.n_ctx_tokens // _CONTEXT_STEP_TOKENS) * _CONTEXT_STEP_TOKENS
    return n_cells * facts.kv_bytes_per_token


def model_bytes(facts: ModelFacts) -> int:
    """Return about how much the model takes while it runs, of the GPU's memory if that has one of its own."""
    return gpu_part(facts, facts.weights_bytes + kv_bytes(facts)) + facts.overhead_bytes


def host_bytes(facts: ModelFacts) -> int:
    """Return about how much it takes of the machine's memory, beside what it takes of the GPU's own."""
    layers_bytes = facts.weights_bytes + kv_bytes(facts)
    return layers_bytes - gpu_part(facts, layers_bytes) + facts.host_overhead_bytes


def gpu_part(facts: ModelFacts, layers_bytes: int) -> int:
    """Return how much of what all layers take is the GPU's; the output counts as one more layer, as in llama.cpp."""
    n_gpu_layers, n_layers = facts.n_gpu_layers, facts.n_layers + 1
    if n_gpu_layers == ALL_LAYERS or (n_gpu_layers and not facts.n_layers):
        return layers_bytes
    return -(-layers_bytes * min(n_gpu_layers, n_layers) // n_layers)


def gpu_layers(facts: ModelFacts, budget_bytes: int) -> int:
    """Return how many layers fit into a GPU's `budget_bytes`: `ALL_LAYERS`, or so many of them, or 0.

    Without a number of layers it is all or nothing.
    """
    if model_bytes(replace(facts, n_gpu_layers=ALL_LAYERS)) <= budget_bytes:
        return ALL_LAYERS
    if not facts.n_layers:
        return 0
    layer_bytes = -(-(facts.weights_bytes + kv_bytes(facts)) // (facts.n_layers + 1))
    return max(0, min((budget_bytes - facts.overhead_bytes) // max(1, layer_bytes), facts.n_layers))
