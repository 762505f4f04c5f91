"""docs/reliability.md and the README's promises, kept honest: every fault and every promise names tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.faults.drill import WAYS

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs/reliability.md"
FEWEST_FAULTS = 30
AT_RANDOM = "test_deafened_at_random_no_machine_is_called_normal_and_no_alert_is_lost"
_TEST = re.compile(r"\btest_\w+")
_PROMISES = ("P1", "P2", "P3", "P4", "P5", "P6")


def existing_tests() -> set[str]:
    """Return the names of all test functions."""
    return {
        node.name
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def faults() -> list[tuple[str, str, list[str]]]:
    """Return the rows of the guide's tables: the fault, what is seen of it, its tests."""
    rows = []
    for line in GUIDE.read_text("utf-8").replace(drill(), "").splitlines():
        if not line.startswith("|"):
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert len(cells) == 3, f"a row of three cells: {line}"
        if set(cells[0]) <= set("-: ") or cells[0].lower() == "fault":
            continue
        rows.append((cells[0], cells[1], _test_names(cells[2])))
    return rows


def drill() -> str:
    """Return the guide's section on the deaf drill, whose table has columns of its own."""
    found = re.search(r"^## The deaf drill\n.*?(?=^## )", GUIDE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[0]


def _test_names(cell: str) -> list[str]:
    """Return the test functions a cell names; `test_disk.py` is a file, not a test."""
    return [match[0] for match in _TEST.finditer(cell) if not cell[match.end() :].startswith(".py")]


def test_every_fault_names_what_is_seen_and_a_test_that_exists() -> None:
    """Each fault is listed once, says what a person will see, and names tests of this repository."""
    names = existing_tests()
    listed = faults()
    assert len({fault for fault, _, _ in listed}) == len(listed)
    for fault, seen, tests in listed:
        assert seen, f"{fault}: what will be seen?"
        assert tests, f"{fault}: no test is named"
        assert set(tests) <= names, f"{fault}: no such test: {', '.join(sorted(set(tests) - names))}"


def test_the_deaf_drill_is_the_one_that_is_held() -> None:
    """The rows are those of tests/faults/drill.py, and their test exists."""
    rows = [line for line in drill().splitlines() if line.startswith("|")]
    assert rows[2:] == [way.row for way in WAYS]
    assert set(_test_names(drill())) == {"test_the_deaf_drill", AT_RANDOM} <= existing_tests()


def test_the_guide_lists_at_least_thirty_faults() -> None:
    """Thirty faults and more have a row."""
    assert len(faults()) >= FEWEST_FAULTS


def test_every_promise_of_the_readme_names_tests_that_exist() -> None:
    """P1 to P6 are printed in the README, each with tests of this repository."""
    readme = (ROOT / "README.md").read_text("utf-8")
    items = re.finditer(r"^- \*\*(P\d)\*\* (.*?)(?=^- |\n\n)", readme, re.MULTILINE | re.DOTALL)
    promises = {match[1]: match[2] for match in items}
    assert tuple(promises) == _PROMISES
    names = existing_tests()
    for promise, text in promises.items():
        files = re.findall(r"\]\((tests/[\w/]+\.py)\)", text)
        assert files, f"{promise} is linked to no tests"
        assert [file for file in files if not (ROOT / file).is_file()] == []
        tests = _test_names(re.sub(r"\]\([^)]*\)", "]", text))
        assert set(tests) <= names, f"{promise}: no such test: {', '.join(sorted(set(tests) - names))}"
