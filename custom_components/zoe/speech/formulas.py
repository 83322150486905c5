r"""LaTeX as plain text with the signs of Unicode, which are said by their words later.

    $E=mc^2$  ->  E = mc²        \frac{1}{2}  ->  1/2        \(20^\circ\text{C}\)  ->  20°C

A dollar before a number is money, unless the number goes on as a formula. Between dollars is a formula only if no
word of four letters is there.
"""

import re
from typing import Final

from .units import TIMES

_SIGNS: Final = {"quad": " "} | dict(
    re.findall(
        r"(\w+)=(\S*)",
        f"times={TIMES} cdot={TIMES} ast={TIMES} div=÷ pm=± approx=≈ sim=≈ neq=≠ ne=≠ leq=≤ le=≤ geq=≥ ge=≥ to=→ "
        "rightarrow=→ Rightarrow=→ implies=→ circ=° degree=° celsius=°C percent=% pi=π mu=µ Omega=Ω Delta=Δ infty=∞ "
        "ldots=… dots=… left= right= displaystyle=",
    )
)
_GROUP: Final = r"\s*\{([^{}]*)\}"
_TEXTS: Final = r"(?:text|mathrm|mathbf|textbf|textit|operatorname|boxed)"
_FRACTION: Final = re.compile(rf"\\[dt]?frac{_GROUP}{_GROUP}")
_ROOT: Final = re.compile(rf"\\sqrt{_GROUP}")
_TEXT: Final = re.compile(rf"\\{_TEXTS}{_GROUP}")
_RAISED: Final = re.compile(r"\^\s*\{([^{}]*)\}")
_LOWERED: Final = re.compile(r"_\s*\{([^{}]*)\}|_(?=\w)")
_SIGN: Final = re.compile(r"\\([A-Za-z]+)\s*|\\(.)", re.DOTALL)
_NUMBER: Final = re.compile(r"\s*\d+\s*")
_OPERATOR: Final = re.compile(r"([=≈≠≤≥±\u00d7÷→])")
_SPACES: Final = re.compile(r"\s{1,200}")
_DEEPEST: Final = 10

_NESTED: Final = r"\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\}"
_COMMAND: Final = re.compile(rf"\\(?:[dt]?frac{_NESTED}{_NESTED}|(?:sqrt|{_TEXTS}){_NESTED})")
_COMMAND_SO_FAR: Final = re.compile(rf"\\[A-Za-z]{{0,14}}|\\[dt]?frac{_NESTED}")
_GROUP_BEGINS: Final = re.compile(rf"\\(?:[dt]?frac(?:{_NESTED})?|sqrt|{_TEXTS})\{{")
_ESCAPED: Final = re.compile(r"\\[%$_#&*~`{}\])!.+\-|>\\]")
_ENDS: Final = {"$": "$", "$$": "$$", r"\(": r"\)", r"\[": r"\]"}
_AMOUNT: Final = re.compile(r"\d[\d.,]*")
_MONEY: Final = re.compile(r"\s|\d[\d.,]*[^\d.,^\\=+*_]")
_LONG_WORD: Final = re.compile(r"(?<![^\W\d_])(?<![\\{])[^\W\d_]{4}")
_NEVER: Final = re.compile('[<"]')  # something else to be left out may begin there
_LONGEST: Final = 200


def formula(held: str) -> tuple[int, str] | bool:
    """Read `held`, which begins with a dollar or a backslash.

    Return how many characters are a formula and how it is written plainly, otherwise whether it may become one.
    """
    if len(held) > _LONGEST or _NEVER.search(held):
        return False
    opener = next((mark for mark in ("$$", *_ENDS) if held.startswith(mark)), "")
    if opener:
        return _between(held.removeprefix(opener), opener)
    if _ESCAPED.fullmatch(held):
        return len(held), held[1]
    if _COMMAND.fullmatch(held):
        return len(held), plain_formula(held)
    if _COMMAND_SO_FAR.fullmatch(held) or (_GROUP_BEGINS.match(held) and held.count("{") > held.count("}")):
        return True
    name = held[1:-1]
    return (len(held) - 1, _SIGNS[name]) if name in _SIGNS else False


def _between(rest: str, opener: str) -> tuple[int, str] | bool:
    """Read what is behind the opener of a formula."""
    end = _ENDS[opener]
    is_inline = opener == "$"
    if is_inline and (not rest or _AMOUNT.fullmatch(rest)):
        return True
    if is_inline and ("\n" in rest or _MONEY.match(rest)):
        return False
    if "$" in opener and _LONG_WORD.search(rest):
        return False
    tex = rest.removesuffix(end)
    if not tex or tex == rest:
        return True
    return False if is_inline and tex[-1].isspace() else (len(opener + rest), plain_formula(tex))


def plain_formula(tex: str) -> str:
    """Return what the LaTeX says, in signs."""
    for _ in range(_DEEPEST):
        before = tex
        tex = _TEXT.sub(r" \1", _ROOT.sub(r"√\1", _FRACTION.sub(_quotient, tex)))
        tex = _LOWERED.sub(r"\1", _RAISED.sub(r"^\1", tex))
        if tex == before:
            break
    tex = _SIGN.sub(_sign, tex).replace("{", "").replace("}", "").replace("&", " ")
    tex = tex.replace("^°", "°").replace("^2", "²").replace("^3", "³")
    tex = _OPERATOR.sub(r" \1 ", tex)
    return _SPACES.sub(" ", re.sub(r"° ?(?=[CF]\b)", "°", tex)).strip()


def _quotient(fraction: re.Match[str]) -> str:
    above, below = fraction[1], fraction[2]
    if _NUMBER.fullmatch(above) and _NUMBER.fullmatch(below):
        return f"{above.strip()}/{below.strip()}"
    return f"{above} ÷ {below}"


def _sign(command: re.Match[str]) -> str:
    name, sign = command[1], command[2]
    if sign is not None:
        return sign if sign in "%$&#_" else " "
    return _SIGNS.get(name, f" {name} ")
