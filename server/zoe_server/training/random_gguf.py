"""Writes a Llama-architecture GGUF with random weights: a real model file for tests and benchmarks, in seconds.

The text such a model writes means nothing, but everything around it is real: tokeniser, chat template, KV cache,
sampling. Its special tokens and everything that is not text by itself have output rows of zero, so a greedy answer
never ends by itself and is always readable; only a grammar or a limit ends it. This module knows nothing of zoe-nano.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import math
from collections import Counter
from pathlib import Path
from typing import Any, Final, NamedTuple

import gguf
import numpy as np

SPECIAL_TOKENS: Final = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>")
"""`<|im_end|>` ends a turn; the two tool-call markers are text to a reader, as in Qwen's vocabulary."""

HERMES_TEMPLATE: Final = """\
{%- if tools %}
{{- '<|im_start|>system\\n' }}
{%- if messages[0]['role'] == 'system' %}{{- messages[0]['content'] + '\\n\\n' }}{%- endif %}
{{- '# Tools\\n\\nYou may call one or more functions.\\n<tools>' }}
{%- for tool in tools %}{{- '\\n' + (tool | tojson) }}{%- endfor %}
{{- '\\n</tools>\\n\\nFor each call return a json object within <tool_call></tool_call> XML tags:\\n<tool_call>\\n' }}
{{- '{"name": <function-name>, "arguments": <args-json-object>}\\n</tool_call><|im_end|>\\n' }}
{%- elif messages[0]['role'] == 'system' %}
{{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
{%- if message['role'] == 'assistant' and message.get('tool_calls') %}
{{- '<|im_start|>assistant\\n' + (message['content'] or '') }}
{%- for call in message['tool_calls'] %}
{{- '<tool_call>\\n{"name": "' + call['function']['name'] + '", "arguments": ' }}
{%- if call['function']['arguments'] is string %}{{- call['function']['arguments'] }}
{%- else %}{{- call['function']['arguments'] | tojson }}{%- endif %}
{{- '}\\n</tool_call>' }}
{%- endfor %}
{{- '<|im_end|>\\n' }}
{%- elif message['role'] == 'tool' %}
{{- '<|im_start|>user\\n<tool_response>\\n' + message['content'] + '\\n</tool_response><|im_end|>\\n' }}
{%- elif not (loop.first and message['role'] == 'system') %}
{{- '<|im_start|>' + message['role'] + '\\n' + (message['content'] or '') + '<|im_end|>\\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}
"""

_MERGE_CORPUS: Final = """
the turn on off light kitchen living room bedroom bathroom office garden hallway garage lamp switch cover blind
curtain open close lock door window set temperature brightness colour to degrees percent what is state of are there
which who when you a an and or in for with please system user assistant tool call tools name area floor domain device
class arguments function functions description parameters type object string number properties required array items
true false null return json within tags each one more may signatures provided HassTurnOn HassTurnOff HassLightSet
HassGetState GetLiveContext intent vacuum media player play pause next volume fan climate thermostat heating scene
script automation list shopping add item done timer start stop minutes hours home smart voice answer short question
word number one two three that this these from have has not all any can will would should could about into over under
after before again
"""


@functools.cache
def _byte_alphabet() -> tuple[str, ...]:
    """Return GPT-2's printable character of every byte, so that no token contains a space or a control character."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = iter(range(256, 512))
    return tuple(chr(byte) if byte in printable else chr(next(hidden)) for byte in range(256))


@functools.cache
def learn_merges(n_merges: int) -> tuple[tuple[str, str], ...]:
    """Return byte-pair merges learned from a small fixed corpus (Sennrich et al. 2016); fewer if it is used up."""
    alphabet = _byte_alphabet()
    counts = Counter(_MERGE_CORPUS.split())
    words = {
        tuple(alphabet[byte] for byte in form.encode()): count
        for word, count in counts.items()
        for form in (word, f" {word}")
    }
    merges: list[tuple[str, str]] = []
    while len(merges) < n_merges:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, count in words.items():
            for pair in itertools.pairwise(word):
                pairs[pair] += count
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        words = {_merged(word, best): count for word, count in words.items()}
    return tuple(merges)


def whole_words(merges: int = 600) -> list[str]:
    """Return words that are one token each when a space stands before them: text of an exact number of tokens."""
    space = _byte_alphabet()[ord(" ")]
    tokens = {"".join(pair) for pair in learn_merges(merges)}
    return [word for word in dict.fromkeys(_MERGE_CORPUS.split()) if space + word in tokens]


def _merged(word: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    out: list[str] = []
    for symbol in word:
        if out and (out[-1], symbol) == pair:
            out[-1] += symbol
        else:
            out.append(symbol)
    return tuple(out)


def vocabulary(n_merges: int, n_unused: int) -> tuple[list[str], list[int], list[str]]:
    """Return the tokens, their GGUF token types and the merges as GGUF writes them."""
    merges = learn_merges(n_merges)
    text = list(dict.fromkeys([*_byte_alphabet(), *("".join(pair) for pair in merges)]))
    unused = [f"[unused{i}]" for i in range(n_unused)]
    types = [gguf.TokenType.NORMAL] * len(text)
    types += [gguf.TokenType.CONTROL] * 3 + [gguf.TokenType.USER_DEFINED] * 2
    types += [gguf.TokenType.UNUSED] * n_unused
    return [*text, *SPECIAL_TOKENS, *unused], [int(kind) for kind in types], [" ".join(pair) for pair in merges]


def _is_text(token: str, byte_of: dict[str, int]) -> bool:
    if token in SPECIAL_TOKENS or not set(token) <= byte_of.keys():
        return False
    return all(chr(byte_of[char]).isascii() and chr(byte_of[char]).isprintable() for char in token)


def write_random_gguf(  # noqa: PLR0913 -- each argument is one independent property of the file, all but one named
    path: Path,
    *,
    layers: int = 2,
    width: int = 64,
    heads: int = 4,
    kv_heads: int | None = None,
    ffn: int = 128,
    context: int = 4096,
    merges: int = 600,
    unused_tokens: int = 0,
    seed: int = 0,
    chat_template: str = HERMES_TEMPLATE,
    q8: bool = False,
    architecture: str = "llama",
    pooling: gguf.PoolingType | None = None,
    rope_sections: tuple[int, int, int, int] | None = None,
) -> Path:
    """Write a random model to `path` and return it.

    `width` and `ffn` are multiples of 32 and `width / heads` is even. `context` is in tokens; an empty `chat_template`
    is left out. `q8` stores the matrices as Q8_0, else as F32. With `pooling` it is an embedding model that reads from
    left to right. `rope_sections`, whose sum is `width / heads / 2`, are for an architecture whose positions have
    several dimensions. Equal arguments give equal files.
    """
    tokens, types, merge_lines = vocabulary(merges, unused_tokens)
    writer = gguf.GGUFWriter(path, architecture)
    kv_heads = heads if kv_heads is None else kv_heads
    writer.add_name(f"random-{layers}x{width}")
    writer.add_context_length(context)
    writer.add_embedding_length(width)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(ffn)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(width // heads)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(len(tokens))
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0 if q8 else gguf.LlamaFileType.ALL_F32)
    if rope_sections is not None:
        writer.add_rope_dimension_sections(rope_sections)
    if pooling is not None:
        writer.add_pooling_type(pooling)
    add_tokenizer(writer, tokens, types, merge_lines, chat_template)
    _add_tensors(writer, tokens, layers, width, kv_heads * (width // heads), ffn, seed, q8)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def add_tokenizer(
    writer: gguf.GGUFWriter, tokens: list[str], types: list[int], merge_lines: list[str], template: str
) -> None:
    """Add the tokeniser that `vocabulary` describes, and the chat template unless it is empty."""
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merge_lines)
    writer.add_bos_token_id(tokens.index("<|endoftext|>"))
    writer.add_eos_token_id(tokens.index("<|im_end|>"))
    writer.add_pad_token_id(tokens.index("<|endoftext|>"))
    writer.add_add_bos_token(False)
    if template:
        writer.add_chat_template(template)


def _add_tensors(
    writer: gguf.GGUFWriter, tokens: list[str], layers: int, width: int, kv_width: int, ffn: int, seed: int, q8: bool
) -> None:
    """Add weights whose scales keep attention selective and logits spread (about 3 standard deviations of 1)."""
    rng = np.random.default_rng(seed)

    def matrix(name: str, rows: int, columns: int, scale: float) -> None:
        _add_matrix(writer, name, rng.standard_normal((rows, columns), dtype=np.float32) * np.float32(scale), q8)

    def norm(name: str) -> None:
        writer.add_tensor(name, np.ones(width, dtype=np.float32))

    unit = 1.0 / math.sqrt(width)
    matrix("token_embd.weight", len(tokens), width, 1.0)
    for i in range(layers):
        norm(f"blk.{i}.attn_norm.weight")
        matrix(f"blk.{i}.attn_q.weight", width, width, 1.5 * unit)
        matrix(f"blk.{i}.attn_k.weight", kv_width, width, 1.5 * unit)
        matrix(f"blk.{i}.attn_v.weight", kv_width, width, unit)
        matrix(f"blk.{i}.attn_output.weight", width, width, unit)
        norm(f"blk.{i}.ffn_norm.weight")
        matrix(f"blk.{i}.ffn_gate.weight", ffn, width, unit)
        matrix(f"blk.{i}.ffn_up.weight", ffn, width, unit)
        matrix(f"blk.{i}.ffn_down.weight", width, ffn, 1.0 / math.sqrt(ffn))
    norm("output_norm.weight")
    output = rng.standard_normal((len(tokens), width), dtype=np.float32) * np.float32(3.0 * unit)
    byte_of = {char: byte for byte, char in enumerate(_byte_alphabet())}
    output[[i for i, token in enumerate(tokens) if not _is_text(token, byte_of)]] = 0.0
    _add_matrix(writer, "output.weight", output, q8)


def _add_matrix(writer: gguf.GGUFWriter, name: str, data: np.ndarray[Any, np.dtype[np.float32]], q8: bool) -> None:
    if not q8:
        writer.add_tensor(name, data)
        return
    kind = gguf.GGMLQuantizationType.Q8_0
    writer.add_tensor(name, gguf.quants.quantize(data, kind), raw_dtype=kind)


class Dimensions(NamedTuple):
    """The shape arguments of `write_random_gguf`."""

    layers: int
    width: int
    heads: int
    kv_heads: int
    ffn: int


def dimensions_for(parameters: int) -> Dimensions:
    """Return the shape arguments of a 16-layer model with about `parameters` weights (grouped-query, 4 heads to 1)."""
    layers, per_width_squared = 16, 10.75
    width = max(64, round(math.sqrt(parameters / (layers * per_width_squared)) / 64) * 64)
    heads = max(4, width // 64)
    return Dimensions(layers, width, heads, max(1, heads // 4), round(2.75 * width / 32) * 32)


def main() -> None:
    """Write the model that the command line describes."""
    parser = argparse.ArgumentParser(description="Write a GGUF with random weights.")
    parser.add_argument("path", type=Path, metavar="OUT.gguf")
    parser.add_argument("--parameters", default="1M", help="about how many weights, such as 180M")
    parser.add_argument("--context", type=int, default=8192, metavar="TOKENS")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--q8", action="store_true", help="store the matrices as Q8_0 instead of F32")
    options = parser.parse_args()
    factor = {"K": 10**3, "M": 10**6, "B": 10**9}
    text = options.parameters.upper()
    parameters = int(float(text.rstrip("KMB")) * factor.get(text[-1], 1))
    shape = dimensions_for(parameters)
    write_random_gguf(options.path, **shape._asdict(), context=options.context, seed=options.seed, q8=options.q8)


if __name__ == "__main__":
    main()
