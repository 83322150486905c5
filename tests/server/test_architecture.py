"""The laws of the architecture that a machine can check, over every module of the product."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import zoe_server

ROOT = Path(zoe_server.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))
APART = ("zoe_eval", "zoe_train")
"""Distributions of their own beside the server: they import it, never the other way round."""
ALL_MODULES = [
    *MODULES,
    *sorted(path for name in APART for path in ROOT.with_name(name).rglob("*.py") if "virtual_home" not in path.parts),
]
MAX_FILE_LINES = 350
MAX_FUNCTION_LINES = 80
MAX_MEDIAN_FUNCTION_LINES = 15
LLAMA_CPP_USERS = {
    f"llama/{name}.py"
    for name in (
        "adapters",
        "embedding/runner",
        "grammar_gate",
        "library_log",
        "model_file",
        "prompt/tokenizer",
        "runner",
        "sampler",
        "vision/picture_encoder",
    )
}
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "misc", "common", "stuff"}
LEAVES = {"__init__", "argument_values", "call_check", "codec", "protocol", "errors", "catalogue", "system"}
"""Everybody may import these; they import only each other."""
LEAVES_OF = {"argument_values": set(), "protocol": {"errors"}, "codec": {"errors", "protocol"}, "system": set()}
MAY_IMPORT = {
    "engines": {"engines"},
    "fleet": {"fleet", "engines"},
    "routing": {"routing", "fleet", "engines"},
    "gateway": {"gateway", "metrics", "routing", "fleet", "engines", "settings"},
    "metrics": {"metrics"},
    "settings": {"settings", "server_settings", "model_settings", "model_tables", "settings_file"},
    "server_settings": {"model_settings", "settings_file"},
    "model_settings": set(),
    "model_tables": {"model_settings"},
    "settings_file": set(),
    "doctor": {"doctor", "engines", "fleet", "settings"},
    "commands": {"commands", "engines", "fleet", "settings", "settings_file"},
    "cli": {"cli", "commands", "doctor", "gateway", "routing", "fleet", "engines", "settings"},
    "llama": {"llama"},
    "argument_values": set(),
    "call_check": set(),
    "protocol": set(),
    "codec": set(),
    "errors": set(),
    "catalogue": {"catalogue"},
    "system": {"system"},
    "__init__": set(),
}
"""Who may import whom besides the leaves."""


def relative(path: Path) -> str:
    return path.relative_to(ROOT if path.is_relative_to(ROOT) else ROOT.parent).as_posix()


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported_modules(path: Path) -> Iterator[str]:
    """Every module imported anywhere in the file, inside functions and type-checking blocks, too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{relative(path)}: a relative import"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported_rooms(path: Path) -> set[str]:
    rooms = set()
    for module in imported_modules(path):
        parts = module.split(".")
        if parts[0] == "zoe_server" and len(parts) > 1:
            is_room = (ROOT / parts[1]).is_dir() or (ROOT / f"{parts[1]}.py").exists()
            rooms.add(parts[1] if is_room else "__init__")
    return rooms


def functions(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield node.name, node.end_lineno - node.lineno + 1


def test_the_laws_see_the_product() -> None:
    assert {"cli", "gateway", "routing", "fleet", "engines", "protocol"} <= {room(path) for path in MODULES}


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_dependencies_point_one_way(path: Path) -> None:
    leaves = LEAVES_OF.get(room(path), LEAVES if room(path) not in LEAVES else {"__init__"})
    assert imported_rooms(path) <= MAY_IMPORT[room(path)] | leaves
    assert not {module.split(".")[0] for module in imported_modules(path)} & {*APART, "tests"}


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_only_these_files_import_llama_cpp(path: Path) -> None:
    uses = any(module.split(".")[0] == "llama_cpp" for module in imported_modules(path))
    assert not uses or relative(path) in LLAMA_CPP_USERS


def test_the_gateway_process_never_loads_the_c_library() -> None:
    llama = "any(part.startswith('llama') for part in module.split('.'))"  # not Ollama, whose API the gateway speaks
    code = f"import sys, zoe_server.cli; print(sorted(module for module in sys.modules if {llama}))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT.parent)}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert run.stdout.strip() == "[]"


def test_serving_waits_for_no_library_that_it_does_not_need() -> None:
    slow = "('gguf', 'huggingface_hub', 'numpy')"
    code = f"import sys, zoe_server.cli; print([name for name in {slow} if name in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": str(ROOT.parent)}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert run.stdout.strip() == "[]"


def test_pure_parts_do_no_input_or_output() -> None:
    pure = [f"routing/{noun}.py" for noun in ("router", "rules", "question", "intent", "said")]
    pure += ["fleet/restart.py", "llama/embedding/queue.py"]
    pure += ["gateway/body.py", "call_check.py", "gateway/ollama/body.py"]
    pure += [
        f"gateway/openai/{noun}.py" for noun in ("answer", "body", "messages", "responses_input", "responses_writer")
    ]
    pure += [f"metrics/{noun}.py" for noun in ("metrics", "outcome", "prometheus", "snapshot", "state")]
    pure += ["llama/cache/radix_tree.py"]
    pure += ["llama/scheduling/scheduler.py", "llama/scheduling/adapter_turns.py", "llama/scheduling/team_policy.py"]
    pure += [f"fleet/{noun}.py" for noun in ("description", "hardware_policy", "memory", "planner")]
    pure += ["catalogue/choice.py", "catalogue/entry.py", "catalogue/proposal.py"]
    doing = {"asyncio", "socket", "subprocess", "aiohttp", "threading", "time", "os"}
    for name in pure:
        assert not {module.split(".")[0] for module in imported_modules(ROOT / name)} & doing, name


def test_nobody_but_a_model_writes_its_state() -> None:
    for name in ("fleet", "reconciler"):
        tree = ast.parse((ROOT / "fleet" / f"{name}.py").read_text(encoding="utf-8"))
        written = [
            node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
        ]
        assert {ast.unparse(node.value) for node in written} == {"self"}, name


@pytest.mark.parametrize("path", ALL_MODULES, ids=relative)
def test_files_and_functions_stay_small(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_FILE_LINES
    assert [name for name, n_lines in functions(path) if n_lines > MAX_FUNCTION_LINES] == []


def test_the_median_function_is_short() -> None:
    lengths = sorted(n_lines for path in ALL_MODULES for _, n_lines in functions(path))
    assert lengths[len(lengths) // 2] < MAX_MEDIAN_FUNCTION_LINES


@pytest.mark.parametrize("path", ALL_MODULES, ids=relative)
def test_names_say_what_they_hold(path: Path) -> None:
    assert path.stem not in VAGUE_NAMES
    assert path.parent.name not in VAGUE_NAMES


@pytest.mark.parametrize("path", ALL_MODULES, ids=relative)
def test_every_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
