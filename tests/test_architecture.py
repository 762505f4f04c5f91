"""The house keeps its walls: who may import whom, and how long a file may be."""

from __future__ import annotations

import ast
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).parent.parent
PACKAGE = REPOSITORY / "edge_monitor"
MODULES = sorted(PACKAGE.rglob("*.py"))
ROOMS = ("capture", "encode", "memory", "alarm", "explain", "deliver")
SHARED = {"records", "errors", "clock", "config", "durable", "credentials", "store"}
OWN = {"config_file", "config_mistakes", "config_reference"}  # the configuration's own files, at the top level
MOST_LINES = 350
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


def named(path: Path) -> str:
    """Return a file's name for the report."""
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_rooms_share_and_itself(room: str) -> None:
    """Values pass between rooms through `service/`, never by an import."""
    allowed = SHARED | {room}
    for path in (PACKAGE / room).rglob("*.py"):
        for name in imports(path):
            if name.startswith("edge_monitor."):
                assert name.split(".")[1] in allowed, f"{named(path)} imports {name}"


def test_what_rooms_share_imports_no_room() -> None:
    """Records, errors, clock, config and the store know nothing of the rooms above them."""
    for path in (*PACKAGE.glob("*.py"), *(PACKAGE / "store").rglob("*.py")):
        for name in imports(path):
            if name.startswith("edge_monitor.") and path.name != "__main__.py":
                assert name.split(".")[1] in SHARED | OWN, f"{named(path)} imports {name}"


def test_the_service_does_not_know_the_commands() -> None:
    """Commands call the service, not the other way round."""
    for path in (PACKAGE / "service").rglob("*.py"):
        assert not [name for name in imports(path) if name.startswith("edge_monitor.cli")], named(path)


def test_the_node_does_not_know_what_measures_it() -> None:
    """`evaluate/` may import every room, like `service/`; only commands import it, and it imports no command."""
    for path in MODULES:
        room = path.relative_to(PACKAGE).parts[0]
        names = [name for name in imports(path) if name.startswith("edge_monitor.")]
        if room == "evaluate":
            assert not [name for name in names if name.startswith("edge_monitor.cli")], named(path)
        elif room != "cli":
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
