"""Compiled grammars are remembered as far as there is room for them. On the real library."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from zoe_server.llama.constraint import constraint
from zoe_server.llama.constraint.constraint import Compiler
from zoe_server.llama.constraint.grammar import Grammar, alternatives, literal

if TYPE_CHECKING:
    from conftest import Engine


def names(home: int, n_names: int) -> Grammar:
    return Grammar("start: " + alternatives(literal(f"Lamp {number} of home {home}") for number in range(n_names)))


@pytest.mark.parametrize(("n_names", "n_kept"), [(10, 40), (8_000, 3)])
def test_many_small_grammars_are_remembered_and_few_large_ones(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, n_names: int, n_kept: int
) -> None:
    compiled: list[str] = []
    compile_ = constraint.LLMatcher

    def counted(tokenizer: object, lark: str, **options: object) -> object:
        compiled.append(lark)
        return compile_(tokenizer, lark, **options)  # type: ignore[call-overload]  # as it was called

    monkeypatch.setattr(constraint, "LLMatcher", counted)
    compiler = Compiler(engine.runner.vocab)
    homes = [names(home, n_names) for home in range(n_kept)]
    for grammar in homes:
        compiler.constraint(grammar)
        compiler.constraint(grammar)
    for grammar in homes:
        compiler.constraint(grammar)
    assert len(compiled) == n_kept
    for home in range(n_kept, n_kept + 4):
        compiler.constraint(names(home, 8_000))
    compiler.constraint(homes[0])
    assert len(compiled) == n_kept + 5
