"""Lines and a progress bar on one stream: a terminal shows both whole, anything else has no control character."""

from __future__ import annotations

import io
import os
import threading
from contextlib import suppress

import pytest

from edge_monitor.console import Console, JsonConsole, Progress, QuietConsole, drawn
from tests.terminal import Terminal

HALF = Progress("Listening", 300.0, 600.0, "learning the normal sound")


def test_lines_of_several_threads_never_share_one_with_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line stands by itself, and of the bar there is one, below those that came meanwhile."""
    monkeypatch.setenv("TERM", "vt100")
    with Terminal(60) as terminal, os.fdopen(terminal.slave, "w") as stream:
        console = Console.on(stream)
        console.say("before")

        def tell(name: str) -> None:
            for number in range(20):
                console.say(f"{name}{number}", fg="cyan")

        with console.progress() as show:
            threads = [threading.Thread(target=tell, args=(name,)) for name in "ab"]
            for thread in threads:
                thread.start()
            for done in range(100):
                show(Progress("Enrolling", done, 100))
            for thread in threads:
                thread.join()
            terminal.read()
            assert terminal.lines[-1].startswith("Enrolling  [")
            show(Progress("Enrolling", 100, 100))
        console.say("after")
        terminal.read()
    *lines, bar, after, rest = terminal.lines
    assert sorted(lines) == sorted(["before", *(f"{name}{number}" for name in "ab" for number in range(20))])
    assert bar == "Enrolling  [#####################################]  100 %"
    assert (after, rest) == ("after", "")
    assert "\x1b[36m" in terminal.text


def test_a_bar_that_is_given_up_stays_and_what_follows_begins_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C and an error leave the terminal at a line's start."""
    monkeypatch.setenv("TERM", "vt100")
    monkeypatch.setenv("NO_COLOR", "1")
    with Terminal(40) as terminal, os.fdopen(terminal.slave, "w") as stream:
        console = Console.on(stream)
        with suppress(KeyboardInterrupt), console.progress() as show:
            show(Progress("Enrolling", 0, 2))
            raise KeyboardInterrupt
        console.say("interrupted", fg="red", bold=True)
        terminal.read()
    assert terminal.lines == ["Enrolling  [-----------------]    0 %", "interrupted", ""]
    assert "m" not in terminal.text.replace("interrupted", "")  # no colour


@pytest.mark.parametrize(
    ("columns", "bar"),
    [
        (79, "Listening (learning the normal sound)  [##########----------]   50 %, 30 s left"),
        (60, "Listening  [##############---------------]   50 %, 30 s left"),
        (30, "Listening  [#####-----]   50 %"),
        (20, "Listening  50 %"),
        (5, " 50 %"),
    ],
)
def test_a_narrow_terminal_has_fewer_words_and_never_a_broken_bar(columns: int, bar: str) -> None:
    """The bar fits its line at any width."""
    assert drawn(HALF, 30.0, columns) == bar
    assert len(bar) <= columns


def test_hours_are_told_in_minutes() -> None:
    """A long enrolment says how many minutes are left; before anything is done, nothing is known."""
    assert drawn(HALF, 2000.0, 60).endswith("50 %, 33 min left")
    assert drawn(Progress("Listening", 0, 600), None, 60).endswith("0 %")


@pytest.mark.parametrize("terminal", ["dumb", None, "a file"])
def test_without_a_terminal_that_can_there_is_a_plain_line_now_and_then(
    terminal: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log has one line for each fifth of the work, without colour, escape or carriage return."""
    monkeypatch.delenv("TERM", raising=False)
    if terminal == "dumb":
        monkeypatch.setenv("TERM", terminal)
    stream = io.StringIO()
    stream.isatty = lambda: terminal != "a file"  # type: ignore[method-assign]  # a terminal that only pretends
    console = Console.on(stream)
    for of in (600, 2, 0):
        with console.progress() as show:
            for done in range(of + 1):
                show(Progress("Listening", done, of))
        console.say("told", fg="cyan")
    steps = ["Listening: 20 %", "Listening: 40 %", "Listening: 60 %", "Listening: 80 %", "Listening: 100 %"]
    assert stream.getvalue().splitlines() == [
        *steps,
        "told",
        "Listening: 50 %",
        "Listening: 100 %",
        "told",
        "Listening: 100 %",
        "told",
    ]


def test_a_program_reads_progress_as_json_or_not_at_all() -> None:
    """What one process writes another reads back; other lines are no progress."""
    stream = io.StringIO()
    for console in (JsonConsole(stream), QuietConsole(stream)):
        with console.progress() as show:
            show(HALF)
        console.say("pump: left out")
    line, *others = stream.getvalue().splitlines()
    assert Progress.from_json(line) == HALF
    assert others == ["pump: left out", "pump: left out"]
    assert Progress.from_json(others[0]) is None
