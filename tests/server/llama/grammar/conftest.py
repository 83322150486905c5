"""Grammars are judged by llama.cpp itself: its parser must take them, and its matcher says which texts they admit."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random

import llama_cpp
import pytest

from zoe_server.training.random_gguf import write_random_gguf


class Judge:
    """Runs llama.cpp's grammar sampler byte by byte over a vocabulary that has a token for every byte."""

    def __init__(self, path: Path) -> None:
        params = llama_cpp.llama_model_default_params()
        params.vocab_only = True
        self._model = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
        self._vocab = llama_cpp.llama_model_get_vocab(self._model)
        self._end = llama_cpp.llama_vocab_eos(self._vocab)
        self._token_of = {self._bytes_of(token): token for token in range(llama_cpp.llama_vocab_n_tokens(self._vocab))}

    def _bytes_of(self, token: int) -> bytes:
        buffer = ctypes.create_string_buffer(64)
        length = llama_cpp.llama_token_to_piece(self._vocab, token, buffer, 64, 0, False)
        return buffer.raw[: max(length, 0)]

    def compile(self, gbnf: str) -> llama_cpp.llama_sampler_p:
        sampler: llama_cpp.llama_sampler_p = llama_cpp.llama_sampler_init_grammar(self._vocab, gbnf.encode(), b"root")
        assert sampler, f"llama.cpp refuses the grammar:\n{gbnf}"
        return sampler

    def accepts(self, sampler: llama_cpp.llama_sampler_p, text: str) -> bool:
        """Return whether the whole of `text` matches, and generation may end there."""
        run = llama_cpp.llama_sampler_clone(sampler)
        try:
            for byte in text.encode():
                token = self._token_of[bytes([byte])]
                if not self._allows(run, token):
                    return False
                llama_cpp.llama_sampler_accept(run, token)
            return self._allows(run, self._end)
        finally:
            llama_cpp.llama_sampler_free(run)

    def draw(self, gbnf: str, random: Random, most: int = 4000) -> str:
        """Return a text that the grammar admits, drawn byte by byte; what closes something is drawn more often."""
        run = self.compile(gbnf)
        every = [token for piece, token in self._token_of.items() if len(piece) == 1]
        printable = [self._token_of[bytes([byte])] for byte in range(0x20, 0x7F)]
        closing = {self._token_of[piece] for piece in (b'"', b"]", b"}")}
        piece_of = {token: piece for piece, token in self._token_of.items()}
        text = b""
        try:
            while len(text) < most:
                allowed = self._allowed(run, [*printable, self._end]) or self._allowed(run, every)
                likely = [token for token in allowed if token in closing or token == self._end]
                token = random.choice(likely if likely and random.random() < 0.4 else allowed)
                if token == self._end:
                    return text.decode()
                text += piece_of[token]
                llama_cpp.llama_sampler_accept(run, token)
            return pytest.fail(f"no end after {text!r}")
        finally:
            llama_cpp.llama_sampler_free(run)

    def _allowed(self, run: llama_cpp.llama_sampler_p, tokens: list[int]) -> list[int]:
        data = (llama_cpp.llama_token_data * len(tokens))(*(llama_cpp.llama_token_data(t, 1.0, 0.0) for t in tokens))
        array = llama_cpp.llama_token_data_array(data, len(tokens), -1, False)
        llama_cpp.llama_sampler_apply(run, ctypes.byref(array))
        return [item.id for item in data if not math.isinf(item.logit)]

    def _allows(self, run: llama_cpp.llama_sampler_p, token: int) -> bool:
        return bool(self._allowed(run, [token]))

    def check(self, gbnf: str, texts: Mapping[str, bool]) -> None:
        sampler = self.compile(gbnf)
        try:
            found = {text: self.accepts(sampler, text) for text in texts}
        finally:
            llama_cpp.llama_sampler_free(sampler)
        assert found == dict(texts)


@pytest.fixture(scope="session")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Judge:
    llama_cpp.llama_backend_init()
    return Judge(write_random_gguf(tmp_path_factory.mktemp("vocabulary") / "bytes.gguf", merges=1))


@pytest.fixture(scope="session")
def check(judge: Judge) -> Callable[[str, Mapping[str, bool]], None]:
    """Fail unless llama.cpp takes a grammar and admits exactly the texts marked True."""
    return judge.check


@pytest.fixture(scope="session")
def draw(judge: Judge) -> Callable[[str, Random], str]:
    """Return a text that a grammar admits, by chance."""
    return judge.draw
