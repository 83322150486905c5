"""Literals, alternations and the book of rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hypothesis import given, settings
from hypothesis import strategies as st

from zoe_server.llama import grammar

Check = Callable[[str, Mapping[str, bool]], None]
"""Fails unless llama.cpp takes the grammar and admits exactly the texts marked True."""


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_choice_admits_exactly_its_options(check: Check, options: list[str]) -> None:
    gbnf = grammar.Rules().render(grammar.choice(dict.fromkeys(options, "")))
    near = [option[:-1] for option in options] + [option + "a" for option in options]
    check(gbnf, {text: text in options for text in [*options, *near]})


def test_choice_survives_a_thousand_options_that_begin_alike(check: Check) -> None:
    options = ["a" * n for n in range(1, 1000)]
    gbnf = grammar.Rules().render(grammar.choice(dict.fromkeys(options, "")))
    check(gbnf, {"a": True, "a" * 999: True, "a" * 1000: False, "": False})


def test_equal_rules_are_written_once() -> None:
    rules = grammar.Rules()
    assert rules.add("x", '"a"') == rules.add("y", '"a"')
    assert rules.render("json-string").count("json-char ::=") == 1
    assert "json-number ::=" not in rules.render('json-string "json-number"')
