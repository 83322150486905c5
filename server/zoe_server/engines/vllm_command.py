"""The command line of `vllm serve` for a model, and what its last words mean. Pure: it starts nothing.

Source: vLLM 0.32, `vllm serve --help=all`, and its pages on tool calling and reasoning outputs for the parsers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from zoe_server.catalogue.engine_options import VllmOptions
from zoe_server.catalogue.spec import EMBEDDINGS_ROLE, ModelSpec
from zoe_server.errors import OutOfMemoryError

_TOOL_PARSERS: Final = (
    ("qwen3[-_.]?(?:coder|5|6|next)", "qwen3_coder"),
    ("qwen", "hermes"),
    ("hermes", "hermes"),
    ("llama[-_]?4", "llama4_pythonic"),
    ("llama", "llama3_json"),
    ("mistral|ministral|magistral|devstral", "mistral"),
    ("granite", "granite"),
    ("gpt[-_]?oss", "openai"),
    ("glm[-_]?4[-_.]?7", "glm47"),
    ("glm", "glm45"),
    ("deepseek[-_]?v3[-_.]?1", "deepseek_v31"),
    ("deepseek", "deepseek_v3"),
    ("kimi", "kimi_k2"),
    ("minimax", "minimax_m2"),
    ("gemma[-_]?4", "gemma4"),
    ("phi[-_]?4[-_]?mini", "phi4_mini_json"),
)
_REASONING_PARSERS: Final = (
    ("qwen3", "qwen3"),
    ("deepseek[-_]?(?:r1|v3)", "deepseek_r1"),
    ("gpt[-_]?oss", "openai_gptoss"),
    ("glm", "glm45"),
    ("granite", "granite"),
    ("kimi", "kimi_k2"),
    ("minimax", "minimax_m2"),
    ("magistral", "mistral"),
    ("gemma[-_]?4", "gemma4"),
)
"""Patterns of names of families, in lower case, the first that fits counts."""
_NO_MEMORY: Final = (
    "no available memory for the cache blocks",
    "is less than desired gpu memory utilization",
    "larger than the available kv cache memory",
    "not enough memory",
)
_PROGRESS: Final = re.compile(r"(?:Loading|Capturing)[^:]*:\s*(\d+)%")
_ADVICE: Final = re.compile(r"(?:Value error,|Error:) (.+)")
PARSER_NAMES: Final = (
    frozenset(parser for _, parser in _TOOL_PARSERS),
    frozenset(parser for _, parser in _REASONING_PARSERS),
)
"""Those for calls and those for thoughts; the real vLLM has to know them."""


def command(spec: ModelSpec, options: VllmOptions, port: int, config: Mapping[str, Any]) -> list[str]:
    """Return the command that serves the model on `port` of the loopback; `config` is its config.json, {} if unknown.

    The key for its API is not in it, since others can read command lines: vLLM reads `environment`.
    """
    return [options.program, "serve", options.model or str(spec.path), *_arguments(spec, options, port, config)]


def environment(options: VllmOptions, key: str) -> dict[str, str]:
    """Return what the process finds in its environment, besides what is there."""
    gib = max(1, round(options.cache_bytes / 2**30))
    return {"VLLM_API_KEY": key, "VLLM_CPU_KVCACHE_SPACE": str(gib), "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}


def _arguments(spec: ModelSpec, options: VllmOptions, port: int, config: Mapping[str, Any]) -> Iterator[str]:
    valued: dict[str, object | None] = {
        "host": "127.0.0.1",
        "port": port,
        "served-model-name": spec.name,
        "max-model-len": options.n_ctx_tokens,
        "max-num-seqs": options.n_slots,
        "max-num-batched-tokens": options.n_batch_tokens,
        "gpu-memory-utilization": options.memory_share,
        "quantization": options.quantization,
        "dtype": options.dtype,
        "kv-cache-dtype": options.kv_cache_dtype,
        "chat-template": options.chat_template,
        "tensor-parallel-size": options.tensor_parallel if options.tensor_parallel > 1 else None,
        "pipeline-parallel-size": options.pipeline_parallel if options.pipeline_parallel > 1 else None,
        "distributed-executor-backend": options.distributed_executor,
    }
    switches = {
        "enable-prefix-caching": options.prefix_cache,
        "enable-chunked-prefill": options.chunked_prefill,
        "enforce-eager": options.eager,
    }
    if EMBEDDINGS_ROLE in spec.roles:
        valued["runner"] = "pooling"
        switches = {"enforce-eager": options.eager}
    else:
        valued["tool-call-parser"] = tool_parser(spec, options, config)
        valued["reasoning-parser"] = options.reasoning_parser or _parser(_REASONING_PARSERS, spec, options, config)
        switches["enable-prompt-tokens-details"] = options.prefix_cache
        switches["enable-auto-tool-choice"] = valued["tool-call-parser"] is not None
    for name, value in valued.items():
        if value is not None:
            yield from (f"--{name}", str(value))
    for name, is_on in switches.items():
        if is_on or name in ("enable-prefix-caching", "enable-chunked-prefill"):
            yield f"--{name}" if is_on else f"--no-{name}"
    yield from options.arguments


def tool_parser(spec: ModelSpec, options: VllmOptions, config: Mapping[str, Any]) -> str | None:
    """Return what reads the model's calls, None if nothing is known to."""
    return options.tool_parser or _parser(_TOOL_PARSERS, spec, options, config)


def _parser(
    parsers: tuple[tuple[str, str], ...], spec: ModelSpec, options: VllmOptions, config: Mapping[str, Any]
) -> str | None:
    """Return the parser of the model's family, which its configuration tells, or else its name."""
    for text in (str(options.model or spec.path.name), str(config.get("model_type") or "")):
        found = next((parser for pattern, parser in parsers if re.search(pattern, text.lower())), None)
        if found is not None:
            return found
    return None


def read_config(folder: Path) -> dict[str, Any]:
    """Return the model's config.json, {} if it is on the hub or cannot be read: vLLM says then what is wrong."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}


def progress(line: str) -> float | None:
    """Return how far a load is by a line that was written, 0 to 1."""
    found = _PROGRESS.search(line)
    return None if found is None else int(found[1]) / 100


def lacks_memory(line: str) -> bool:
    """Whether a line that was written tells that there is too little memory."""
    return OutOfMemoryError.is_told_by(line) or any(words in line.lower() for words in _NO_MEMORY)


def cause(lines: list[str]) -> str | None:
    """Return what was wrong, by the lines that were written: the last error that is none of the ways it took."""
    told = [found[1] for line in lines if (found := _ADVICE.search(line)) and "Engine core" not in line]
    causes = (one for one in reversed(told) if "See root cause" not in one and "validation error" not in one)
    return next(causes, None)
