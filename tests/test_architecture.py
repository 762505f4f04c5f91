"""The house keeps its walls: who may import whom, and how long a file may be."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).parent.parent
PACKAGE = REPOSITORY / "edge_monitor"
MODULES = sorted(PACKAGE.rglob("*.py"))
LAYERS = (
    ("records", "errors", "clock", "durable", "counting"),
    ("config",),
    ("store",),
    ("capture", "encode", "memory", "alarm", "explain", "deliver"),
    ("pipeline",),
    ("node",),
    ("api",),
    ("runtime", "doctor"),
    ("cli",),
)
LEVELS = {each: level for level, layer in enumerate(LAYERS) for each in layer}
MOST_LINES = 350
MOST_PARTS = 8
COPIED_METHOD = r"self\.(\w+) = self\.\w+\.\1"
IMPORT_NAMES = {"paho-mqtt": "paho", "pillow": "PIL", "prometheus-client": "prometheus_client"}
TORCH_SIDE = {"torch", "msclap", "transformers"}
BASELINE = PACKAGE / "evaluate/autoencoder.py"  # imports torch when a baseline is made, not at its own import


def imports(path: Path) -> Iterator[str]:
    """Yield the full dotted name of everything a file imports, wherever in the file."""
    package = path.relative_to(REPOSITORY).parent.parts
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = (
                ".".join([*package[: len(package) - node.level + 1], node.module or ""]) if node.level else node.module
            )
            yield from (f"{base}.{alias.name}" for alias in node.names)


def room(path: Path) -> str:
    """Return the name of the folder, or of the file at the top level."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def named(path: Path) -> str:
    """Return a file's name for the report."""
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("path", [each for each in MODULES if room(each) in LEVELS], ids=named)
def test_imports_go_downwards_only(path: Path) -> None:
    """A room imports the shared ground and its own files; what stands above imports what is below it."""
    own = room(path)
    for name in imports(path):
        other = name.split(".")[1] if name.startswith("edge_monitor.") else own
        if other == own or other not in LEVELS:
            continue
        assert LEVELS[other] < LEVELS[own], f"{named(path)} imports {name}"


def test_only_the_command_that_starts_the_daemon_knows_it() -> None:
    """Whatever else wants something of it asks through the API."""
    for path in MODULES:
        if room(path) != "runtime" and named(path) != "cli/run.py":
            assert not [name for name in imports(path) if name.startswith("edge_monitor.runtime")], named(path)


def test_no_circle_of_imports() -> None:
    """No module imports itself by way of others: imports for types and inside functions count as well."""
    modules = {".".join(("edge_monitor", *each.relative_to(PACKAGE).with_suffix("").parts)): each for each in MODULES}
    graph = {
        name: {found for each in imports(path) for found in (each, each.rpartition(".")[0]) if found in modules}
        for name, path in modules.items()
    }
    TopologicalSorter(graph).prepare()


def test_the_formatter_decides_the_layout() -> None:
    """No line is kept from it."""
    for path in MODULES:
        assert "fmt: " + "skip" not in path.read_text("utf-8"), named(path)


def test_the_node_does_not_know_what_measures_it() -> None:
    """`evaluate/` may import every room; only commands import it, and it imports no command."""
    for path in MODULES:
        names = [name for name in imports(path) if name.startswith("edge_monitor.")]
        if room(path) == "evaluate":
            assert not [name for name in names if name.startswith("edge_monitor.cli")], named(path)
        elif room(path) != "cli":
            assert not [name for name in names if name.startswith("edge_monitor.evaluate")], named(path)


def test_torch_lives_in_export_and_in_the_baseline() -> None:
    """The runtime needs neither torch nor the packages around it; `evaluate` trains a baseline with it if asked."""
    for path in MODULES:
        if path.is_relative_to(PACKAGE / "export") or path == BASELINE:
            continue
        assert not {name.partition(".")[0] for name in imports(path)} & TORCH_SIDE, named(path)


def test_every_package_that_is_imported_is_declared() -> None:
    """An installed wheel finds all it imports."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    names = [*project["dependencies"], *extras["llm"], *extras["export"], *extras["demo"], *extras["baseline"]]
    packages = [name.partition(">=")[0] for name in names]
    declared = {IMPORT_NAMES.get(package, package) for package in packages} | {"edge_monitor", "pydantic_core"}
    for path in MODULES:
        if path.is_relative_to(PACKAGE / "export"):
            continue
        for name in imports(path):
            top = name.partition(".")[0]
            assert top in declared or top in sys.stdlib_module_names, f"{named(path)} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_a_file_is_short_says_what_it_owns_and_prints_nothing(path: Path) -> None:
    """One noun per file; what a user reads goes through click.echo, everything else through the log."""
    text = path.read_text("utf-8")
    tree = ast.parse(text)
    assert text.count("\n") <= MOST_LINES
    assert ast.get_docstring(tree)
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert not [call.lineno for call in calls if isinstance(call, ast.Name) and call.id == "print"]


def parameters(kind: ast.ClassDef) -> list[ast.AnnAssign | ast.arg]:
    """Return what a class is made from: its `__init__`'s parameters, or a dataclass's fields."""
    for node in kind.body:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            return [*node.args.posonlyargs, *node.args.args[1:], *node.args.kwonlyargs]
    if not any("dataclass" in ast.unparse(each) for each in kind.decorator_list):
        return []
    fields = [node for node in kind.body if isinstance(node, ast.AnnAssign)]
    return [each for each in fields if each.value is None or "init=False" not in ast.unparse(each.value)]


def has_behaviour(kind: ast.ClassDef) -> bool:
    """Return whether a class does something; a value may have as many fields as it has figures."""
    return any(isinstance(node, ast.FunctionDef) for node in kind.body)


RUNTIME = [path for path in MODULES if room(path) == "runtime"]
ROOT = ("runtime/composition.py", "runtime/daemon.py")  # builds the parts and runs them


def test_a_part_of_the_daemon_is_made_from_at_most_eight_things() -> None:
    """Whatever takes more does too much."""
    for path in RUNTIME:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef) and has_behaviour(node):
                assert len(parameters(node)) <= MOST_PARTS, f"{named(path)}: {node.name}"


def test_no_part_of_the_daemon_is_handed_the_whole_of_it() -> None:
    """Outside the root nothing takes a Daemon, its Parts, or all Settings; only what starts it knows the daemon."""
    for path in RUNTIME:
        if named(path) in ROOT:
            continue
        tree = ast.parse(path.read_text("utf-8"))
        if named(path) != "runtime/runner.py":
            assert not {"edge_monitor.runtime.daemon.Daemon", "edge_monitor.runtime.composition.Parts"} & {
                *imports(path)
            }, named(path)
        taken = [
            *(each for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for each in parameters(node)),
            *(each for node in ast.walk(tree) if isinstance(node, ast.arguments) for each in node.args),
        ]
        kinds = {ast.unparse(each.annotation) for each in taken if each.annotation is not None}
        whole = {"Daemon", "Parts"} if path.name in {"runner.py", "reload.py"} else {"Daemon", "Parts", "Settings"}
        assert not kinds & whole, named(path)


def test_a_part_s_methods_are_its_own() -> None:
    """No method is copied from another object when a part is made: what has a thread says so."""
    for path in RUNTIME:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name in {"__init__", "__post_init__"}:
                copied = [
                    ast.unparse(each)
                    for each in node.body
                    if isinstance(each, ast.Assign) and re.fullmatch(COPIED_METHOD, ast.unparse(each))
                ]
                assert not copied, named(path)
