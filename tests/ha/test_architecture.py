"""Which module may know which: no circles, rooms that look one way, and one door to the network."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter

import pytest

from custom_components import zoe
from tests.ha.package_source import MODULES, PACKAGE, syntax

MOST_LINES = 350
# What Home Assistant itself loads, and nobody else: the platforms, and the dialogs.
PLATFORMS = {"__init__", "ai_task", "binary_sensor", "button", "config_flow", "conversation", "diagnostics", "llm"} | {
    *("repairs", "sensor", "system_health")
}
# What a room may know besides itself: other rooms, and modules.
ROOMS = {
    "api": {"const"},
    "home": {"const"},
    "speech": {"const", "home", "options"},
    "turn": {"api", "const", "home", "memory", "options", "pictures", "speech"},
}
NETWORK = ("aiohttp", "homeassistant.helpers.aiohttp_client", "urllib.request", "http.client", "socket", "requests")
DOOR = "api/client"


def imports(module: str) -> Iterator[tuple[str, str]]:
    """Yield all modules that a module imports, in functions and for types only as well, with the imported name."""
    package = [zoe.__name__, *module.split("/")[:-1]] if module != "__init__" else [zoe.__name__]
    for node in ast.walk(syntax(module)):
        if isinstance(node, ast.Import):
            yield from ((name.name, "") for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            source = ".".join(part for part in (above, node.module) if part)
            yield from ((source, name.name) for name in node.names)


def known(module: str) -> set[str]:
    """Return the modules of ours that a module imports."""
    found = set()
    for source, name in imports(module):
        if source != zoe.__name__ and not source.startswith(f"{zoe.__name__}."):
            continue
        path = source.removeprefix(zoe.__name__).lstrip(".").replace(".", "/")
        candidates = (f"{path}/{name}".lstrip("/"), path, f"{path}/__init__".lstrip("/"))
        found.add(next(one for one in candidates if one in MODULES))
    return found - {module}


def test_no_module_needs_itself() -> None:
    try:
        TopologicalSorter({module: known(module) for module in MODULES}).prepare()
    except CycleError as err:
        pytest.fail(f"a circle of imports: {' <- '.join(err.args[1])}")


@pytest.mark.parametrize("module", MODULES)
def test_a_module_can_be_read_in_one_go(module: str) -> None:
    assert len((PACKAGE / f"{module}.py").read_text(encoding="utf-8").splitlines()) <= MOST_LINES


@pytest.mark.parametrize("module", [module for module in MODULES if "/" in module])
def test_rooms_look_one_way(module: str) -> None:
    room = module.partition("/")[0]
    assert {one for one in known(module) if one.partition("/")[0] not in ROOMS[room] | {room}} == set()


@pytest.mark.parametrize("module", MODULES)
def test_nobody_needs_a_platform(module: str) -> None:
    assert known(module) & PLATFORMS == set()


@pytest.mark.parametrize("module", [module for module in MODULES if module != DOOR])
def test_there_is_one_door_to_the_network(module: str) -> None:
    used = {source for source, _ in imports(module)} | {f"{source}.{name}" for source, name in imports(module)}
    reached = {one for one in used if any(one == other or one.startswith(f"{other}.") for other in NETWORK)}
    assert reached == set()


def test_imports_are_found() -> None:
    assert {"issues", "const", "api/errors"} <= known("repairs")
    assert "api/sse" in known("api/client")
    assert "coordinator" in known("__init__")


def test_the_names_here_are_those_of_modules() -> None:
    assert PLATFORMS | {DOOR} <= set(MODULES)
    for one in {*ROOMS}.union(*ROOMS.values()):
        assert one in MODULES or (PACKAGE / one).is_dir()
