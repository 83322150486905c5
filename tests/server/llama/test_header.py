"""What llama.cpp says of a model file's header, with its numbers as numbers."""

import json
import math

from hypothesis import given, settings
from hypothesis import strategies as st

from zoe_server.llama.model_file import HeaderValue, typed


def typed_all(header: dict[str, str]) -> dict[str, HeaderValue]:
    return {key: typed(key, text) for key, text in header.items()}


def test_values_become_what_they_are() -> None:
    header = {
        "general.architecture": "llama",
        "general.name": "7",
        "general.version": "1.0",
        "general.file_type": "15",
        "general.base_model.count": "1",
        "general.sampling.temp": "0.700000",
        "llama.context_length": "4096",
        "llama.rope.freq_base": "10000.000000",
        "llama.rope.scaling.factor": "inf",
        "tokenizer.ggml.add_bos_token": "false",
        "tokenizer.ggml.pre": "smollm",
    }
    assert typed_all(header) == {
        "general.architecture": "llama",
        "general.name": "7",
        "general.version": "1.0",
        "general.file_type": 15,
        "general.base_model.count": 1,
        "general.sampling.temp": 0.7,
        "llama.context_length": 4096,
        "llama.rope.freq_base": 10000.0,
        "llama.rope.scaling.factor": "inf",
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.ggml.pre": "smollm",
    }


@settings(deadline=None)  # the machine may be busy
@given(st.dictionaries(st.sampled_from(["a.b", "general.file_type", "general.name"]), st.text()))
def test_whatever_stands_there_is_json(header: dict[str, str]) -> None:
    assert json.loads(json.dumps(typed_all(header), allow_nan=False)) == typed_all(header)


@settings(deadline=None)  # the machine may be busy
@given(st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False, allow_infinity=False))
def test_every_number_that_a_file_can_hold_arrives(whole: int, decimal: float) -> None:
    assert typed("a.whole", str(whole)) == whole
    found = typed("a.decimal", f"{decimal:f}")
    assert isinstance(found, float)
    assert math.isclose(found, decimal, abs_tol=1e-6)
