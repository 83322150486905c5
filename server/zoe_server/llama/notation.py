"""How values are written: as JSON, as Python's keyword arguments, or in the braces of Gemma.

    {"name": "Lamp", "on": true, "to": [1, 2]}                      JSON
    (name="Lamp", on=True, to=[1, 2])                               KEYWORDS, inside them as in JSON
    {name:<escape>Lamp<escape>,on:true,to:[1,2]}                    ESCAPED, of FunctionGemma; keys in alphabetic order
    {name:<|"|>Lamp<|"|>,on:true,to:[1,2]}                          QUOTED, of Gemma 4; likewise

A notation gives `schema_grammar` the texts and the names of the rules; `BASE_RULES` are the rules themselves.
Source of Gemma's braces: Gemma 4's chat template, `format_argument`; FunctionGemma's model card.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from zoe_server.llama.grammar import JSON_RULES, json_text, literal, sequence


@dataclass(frozen=True, slots=True)
class Notation:
    """The texts between values, and which rules are for any value.

    `stem` begins the names of the rules. Objects have braces, `colon` and `key_rule`; where the arguments as a whole
    are written otherwise, they have `brackets`, `assign` and `name_rule`. `quote` stands on both sides of a string, and
    of a key where keys are `quoted`. `words` are true, false and null. In `alphabetic` notations keys are sorted.
    """

    stem: str = "json"
    quote: str = '"'
    comma: str = ", "
    colon: str = ": "
    quoted: bool = True
    key_rule: str = "json-string"
    brackets: tuple[str, str] = ("", "")
    assign: str = ""
    name_rule: str = ""
    words: tuple[str, str, str] = ("true", "false", "null")
    alphabetic: bool = False

    def rule(self, kind: str) -> str:
        """Return the name of the rule for any `value`, `string`, `char` of a string, `object` or `array`."""
        return f"{self.stem}-{kind}"

    def text(self, value: object) -> str:
        """Return how a JSON value is written."""
        if value is None or isinstance(value, bool):
            return self.words[2 if value is None else int(not value)]
        if isinstance(value, str):
            return json_text(value) if self.quote == '"' else f"{self.quote}{value}{self.quote}"
        if isinstance(value, list | tuple):
            return f"[{self.comma.join(self.text(each) for each in value)}]"
        if isinstance(value, Mapping):
            return f"{{{self.comma.join(self.key(key) + self.text(each) for key, each in value.items())}}}"
        return json_text(value)

    def key(self, name: str, *, outermost: bool = False) -> str:
        """Return how a key is written, up to its value; `outermost` is the name of an argument."""
        if outermost:
            return name + self.assign
        return (json_text(name) if self.quoted else name) + self.colon


JSON: Final = Notation()
KEYWORDS: Final = Notation(
    "python", brackets=("(", ")"), assign="=", name_rule="python-name", words=("True", "False", "None")
)
ESCAPED: Final = Notation("escaped", "<escape>", ",", ":", quoted=False, key_rule="gemma-key", alphabetic=True)
QUOTED: Final = replace(ESCAPED, stem="quoted", quote='<|"|>')


def _value_rules(notation: Notation, string: str, char: str) -> dict[str, str]:
    """Return the rules for any value, given those for a string and one of its characters."""
    comma, value, word = literal(notation.comma), notation.rule("value"), map(literal, notation.words)
    member = sequence(notation.key_rule, literal(notation.colon), value)
    kinds = (notation.rule("object"), notation.rule("array"), notation.rule("string"), "json-number", *word)
    return {
        value: " | ".join(kinds),
        notation.rule("object"): f'"{{" ({notation.rule("member")} ({comma} {notation.rule("member")})*)? "}}"',
        notation.rule("member"): member,
        notation.rule("array"): f'"[" ({value} ({comma} {value})*)? "]"',
        notation.rule("string"): string,
        notation.rule("char"): char,
    }


# In Gemma's strings nothing is escaped, so that a `<` must not look like the beginning of the quote.
BASE_RULES: Final[Mapping[str, str]] = {
    **JSON_RULES,
    **_value_rules(KEYWORDS, "json-string", "json-char"),
    **_value_rules(ESCAPED, '"<escape>" escaped-char* "<escape>"', '[^<] | "<"+ [^e<]'),
    **_value_rules(QUOTED, '"<|\\"|>" quoted-char* "<|\\"|>"', '[^<] | "<"+ [^|<]'),
    "python-name": "[a-zA-Z_] [a-zA-Z0-9_]*",
    "gemma-key": "[a-zA-Z0-9_-]+",
}
