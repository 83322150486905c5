"""The integration's files as a checker reads them: what the code names, and what the JSON beside it says."""

import ast
import importlib
import json
import re
from collections.abc import Iterator
from enum import EnumType
from functools import cache
from pathlib import Path
from string import Formatter
from typing import Any

import yaml

from custom_components import zoe

PACKAGE = Path(zoe.__file__).parent
MODULES = sorted(path.relative_to(PACKAGE).as_posix().removesuffix(".py") for path in PACKAGE.rglob("*.py"))
LANGUAGES = sorted(path.stem for path in (PACKAGE / "translations").glob("*.json"))

type Json = dict[str, Any]


@cache
def read_json(name: str) -> Json:
    """Return a JSON file of the package."""
    data: Json = json.loads((PACKAGE / name).read_text(encoding="utf-8"))
    return data


def translations(language: str) -> Json:
    return read_json(f"translations/{language}.json")


@cache
def actions() -> Json:
    """Return what `services.yaml` declares; a package without actions has no such file."""
    path = PACKAGE / "services.yaml"
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}


def flattened(tree: Json, path: str = "") -> dict[str, str]:
    """Return the texts of a tree by their dotted paths."""
    texts: dict[str, str] = {}
    for key, value in tree.items():
        texts |= flattened(value, f"{path}{key}.") if isinstance(value, dict) else {f"{path}{key}": value}
    return texts


def branches(tree: Json, pattern: str) -> dict[str, Json]:
    """Return the parts of a tree whose dotted path matches a pattern such as `config.step.*`."""
    found = {"": tree}
    for part in pattern.split("."):
        found = {
            f"{path}.{key}".lstrip("."): value
            for path, branch in found.items()
            for key, value in branch.items()
            if isinstance(branch, dict) and part in ("*", key)
        }
    return found


def placeholders(text: str) -> set[str]:
    """Return the names in braces."""
    return {name for _, name, _, _ in Formatter().parse(text) if name}


@cache
def syntax(module: str) -> ast.Module:
    return ast.parse((PACKAGE / f"{module}.py").read_text(encoding="utf-8"))


def calls(module: str, *names: str) -> Iterator[ast.Call]:
    """Yield the calls of functions, methods or classes of these names, or all calls."""
    for node in ast.walk(syntax(module)):
        if isinstance(node, ast.Call) and (not names or _called(node.func) in names):
            yield node


def _called(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def argument(call: ast.Call, name: str, module: str) -> str | None:
    """Return a keyword argument that is a constant or the name of one, else None."""
    value = next((keyword.value for keyword in call.keywords if keyword.arg == name), None)
    if isinstance(value, ast.Name):
        known = getattr(_imported(module), value.id, None)
        return known if isinstance(known, str) else None
    return value.value if isinstance(value, ast.Constant) else None


def attributes(module: str, name: str) -> set[str]:
    """Return the texts that classes of a module assign to an attribute."""
    return {
        node.value.value
        for node in ast.walk(syntax(module))
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Constant)
        and any(getattr(target, "id", None) == name for target in node.targets)
    }


def keywords() -> set[str]:
    """Return the names of all keyword arguments in calls."""
    return {word.arg for module in MODULES for call in calls(module) for word in call.keywords if word.arg}


def functions() -> set[str]:
    """Return the names of all functions and methods."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for module in MODULES for node in ast.walk(syntax(module)) if isinstance(node, kinds)}


class Vocabulary:
    """All texts that the code can say: constants, values of imported names, members of enums, and f-strings."""

    def __init__(self) -> None:
        self._words: set[str] = set()
        self._patterns: list[re.Pattern[str]] = []
        for module in MODULES:
            self._read(module)

    def __contains__(self, word: str) -> bool:
        return word in self._words or any(pattern.fullmatch(word) for pattern in self._patterns)

    def _read(self, module: str) -> None:
        for node in ast.walk(syntax(module)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                self._words.add(node.value)
            elif isinstance(node, ast.JoinedStr):
                self._add_pattern(node)
        for value in vars(_imported(module)).values():
            if isinstance(value, str):
                self._words.add(value)
            elif isinstance(value, EnumType):
                self._words |= {str(member.value) for member in value}

    def _add_pattern(self, node: ast.JoinedStr) -> None:
        parts = [re.escape(str(part.value)) if isinstance(part, ast.Constant) else "[a-z0-9_]+" for part in node.values]
        # One that begins or ends with a word says something about a key; a bare "{a} {b}" would say everything.
        if any(isinstance(part, ast.Constant) and re.fullmatch(r"[a-z0-9_]+", str(part.value)) for part in node.values):
            self._patterns.append(re.compile("".join(parts)))


def _imported(module: str) -> Any:  # noqa: ANN401 (any module)
    name = f"{zoe.__name__}/{module}".removesuffix("/__init__").replace("/", ".")
    return importlib.import_module(name)
