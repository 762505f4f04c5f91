"""What the documents name exists: files, commands, options."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from edge_monitor.cli.main import group

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).parent.parent
PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")])
NAMES = [page.relative_to(REPOSITORY).as_posix() for page in PAGES]
PACKAGE = REPOSITORY / "edge_monitor"
FOLDERS = "edge_monitor|models|deploy|tests|bench|docs|scripts"


def commands(command: click.Command = group, name: str = "edge-monitor") -> Iterator[str]:
    """Yield every command as a user types it."""
    if not isinstance(command, click.Group):
        yield name
        return
    for word in command.list_commands(click.Context(command)):
        found = command.get_command(click.Context(command), word)
        assert found is not None
        yield from commands(found, f"{name} {word}")


def named_commands(text: str) -> Iterator[str]:
    """Yield the `edge-monitor …` lines of a page's code blocks, and what its prose sets as code."""
    for block in re.findall(r"^ *```(?:sh|console)\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            typed = line.strip().removeprefix("$ ").removeprefix("sudo ")
            if typed.startswith("edge-monitor "):
                yield typed
    yield from re.findall(r"`(?:sudo )?(edge-monitor [^`A-Z\n][^`\n]*)`", text)


def test_all_pages_are_looked_at() -> None:
    """The first pages, the guides and the contract are among them."""
    assert {"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/operations.md", "docs/mqtt/README.md"} <= set(NAMES)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_link_and_every_path_leads_somewhere(page: Path) -> None:
    """A reader is not sent to a file that is not there."""
    text = page.read_text("utf-8")
    links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text)
    assert [link for link in links if not (page.parent / link).exists()] == []
    paths = re.findall(rf"`((?:{FOLDERS})/[\w./-]+)`", text)
    assert [path for path in paths if not (REPOSITORY / path).exists()] == []


def test_every_file_that_contributing_names_is_there() -> None:
    """Whoever looks for the place of a change finds the file: below the package, or a folder beside it."""
    named = re.findall(r"`([a-z_]+/[\w./-]*)`", (REPOSITORY / "CONTRIBUTING.md").read_text("utf-8"))
    assert [path for path in named if not any((root / path).exists() for root in (REPOSITORY, PACKAGE))] == []


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_command_that_a_page_names_exists_with_its_options(page: Path) -> None:
    """What a user is told to type is understood."""
    for line in named_commands(page.read_text("utf-8")):
        command: click.Command = group
        words = shlex.split(line, comments=True)[1:]
        while words and isinstance(command, click.Group) and not words[0].startswith("-"):
            found = command.get_command(click.Context(command), words.pop(0))
            found = found or command.get_command(click.Context(command), getattr(command, "default", ""))
            assert found is not None, line
            command = found
        options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        given = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert given <= options | {"--help", "--version"}, line


def test_the_list_of_commands_is_whole() -> None:
    """docs/commands.md has each command once, and no other."""
    page = (REPOSITORY / "docs/commands.md").read_text("utf-8")
    assert sorted(re.findall(r"^\| `(edge-monitor [^`]+)` \|", page, re.MULTILINE)) == sorted(commands())
