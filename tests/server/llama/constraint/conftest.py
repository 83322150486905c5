"""Grammars are judged by llguidance itself: it must take them, and its matcher says which texts they admit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

import pytest
from llguidance import LLMatcher, LLTokenizer

END = 256
"""The token that ends an answer in llguidance's own vocabulary of bytes."""


class Judge:
    """Runs the matcher byte by byte."""

    def __init__(self) -> None:
        self._bytes = LLTokenizer("byte")
        assert self._bytes.eos_token >= END

    def compile(self, lark: str) -> LLMatcher:
        matcher = LLMatcher(self._bytes, lark, log_level=0)
        assert not matcher.is_error(), f"llguidance refuses the grammar: {matcher.get_error()}\n{lark}"
        return matcher

    def accepts(self, matcher: LLMatcher, text: str) -> bool:
        """Return whether the whole of `text` matches, and generation may end there."""
        run, tokens = matcher.deep_copy(), list(text.encode())
        return run.try_consume_tokens(tokens) == len(tokens) and run.is_accepting()

    def draw(self, lark: str, random: Random, most: int = 4000) -> str:
        """Return a text that the grammar admits, drawn byte by byte; what closes something is drawn more often."""
        run, text = self.compile(lark), b""
        while len(text) < most:
            bits = int.from_bytes(run.compute_bitmask(), "little")
            allowed = [token for token in range(END) if bits >> token & 1]
            may_end = bool(bits >> self._bytes.eos_token & 1)
            printable = [token for token in allowed if 0x20 <= token < 0x7F] or allowed
            if may_end and (not printable or random.random() < 0.4):
                return text.decode()
            closing = [token for token in printable if bytes([token]) in b'"]}']
            token = random.choice(closing if closing and random.random() < 0.4 else printable)
            text += bytes([token])
            assert run.consume_token(token)
        return pytest.fail(f"no end after {text!r}")

    def check(self, lark: str, texts: Mapping[str, bool]) -> None:
        matcher = self.compile(lark)
        assert {text: self.accepts(matcher, text) for text in texts} == dict(texts)


@pytest.fixture(scope="session")
def judge() -> Judge:
    return Judge()


@pytest.fixture(scope="session")
def check(judge: Judge) -> Callable[[str, Mapping[str, bool]], None]:
    """Fail unless llguidance takes a grammar and admits exactly the texts marked True."""
    return judge.check


@pytest.fixture(scope="session")
def draw(judge: Judge) -> Callable[[str, Random], str]:
    """Return a text that a grammar admits, by chance."""
    return judge.draw
