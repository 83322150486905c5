"""What llama.cpp says of a model file's header, with its numbers as numbers."""

import json
import math

from hypothesis import given, settings
from hypothesis import strategies as st

from zoe_server.llama.header import typed


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
        "tokenizer.chat_template": "{{ messages }}",
        "tokenizer.chat_template.tool_use": "{{ tools }}",
    }
    assert typed(header) == {
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
    assert json.loads(json.dumps(typed(header), allow_nan=False)) == typed(header)


@settings(deadline=None)  # the machine may be busy
@given(st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False, allow_infinity=False))
def test_every_number_that_a_file_can_hold_arrives(whole: int, decimal: float) -> None:
    found = typed({"a.whole": str(whole), "a.decimal": f"{decimal:f}"})
    assert found["a.whole"] == whole
    assert isinstance(found["a.decimal"], float)
    assert math.isclose(found["a.decimal"], decimal, abs_tol=1e-6)
