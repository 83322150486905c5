"""The vocabulary wrapper on a real model file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import gguf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fixtures.random_gguf import whole_words

if TYPE_CHECKING:
    from conftest import Engine


def test_special_tokens_are_recognised_and_written_out(engine: Engine) -> None:
    vocab = engine.runner.vocab
    tokens = vocab.tokenize_raw("<|im_start|>user\nhi<|im_end|>\n<tool_call>")
    assert tokens[0] == vocab.tokenize(b"<|im_start|>")[0]
    assert len(vocab.tokenize(b"<tool_call>")) == 1
    assert vocab.detokenize(tokens) == b"<|im_start|>user\nhi<|im_end|>\n<tool_call>"


def test_end_of_turn_is_the_only_end(engine: Engine) -> None:
    vocab = engine.runner.vocab
    assert vocab.tokenize(b"<|im_end|>")[0] in vocab.eog_tokens
    assert vocab.tokenize(b"</tool_call>")[0] not in vocab.eog_tokens
    assert vocab.eos_text == "<|im_end|>"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(text=st.text(max_size=40))
def test_round_trip(engine: Engine, text: str) -> None:
    vocab = engine.runner.vocab
    assert vocab.detokenize(vocab.tokenize_raw(text)) == text.encode()


def test_lone_surrogate_and_nul_do_not_break_anything(engine: Engine) -> None:
    vocab = engine.runner.vocab
    assert vocab.detokenize(vocab.tokenize_raw("a\ud800b\0c")) == b"a?b\0c"


def test_whole_words_are_one_token_each(engine: Engine) -> None:
    vocab = engine.runner.vocab
    assert len(whole_words()) > 100
    assert all(len(vocab.tokenize(f" {word}".encode())) == 1 for word in whole_words())


def test_file_says_what_it_is(tiny_gguf: Path) -> None:
    fields = gguf.GGUFReader(tiny_gguf).fields
    assert fields["general.architecture"].contents() == "llama"
    assert "<tool_call>" in fields["tokenizer.chat_template"].contents()
