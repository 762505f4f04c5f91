"""What a command tells while it works: lines, and below them at most one progress bar, which is always whole."""

from __future__ import annotations

import json
import os
import threading
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, TextIO

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Show = Callable[["Progress"], None]

_TOLD_PERCENT = 20  # between two lines where there is no bar
_DRAWN_S = 0.25  # between two drawings of the bar: 4 lines a second leave room on a serial line of 9600 baud
_FEWEST_CELLS = 10  # of a bar; below, words are left out
_MOST_CELLS = 40
_KEPT_COLUMNS = 3  # right of the bar: for the ^C that a terminal echoes, and the last one, which may begin a new line
_USUAL_COLUMNS = 80  # where a terminal does not say how wide it is: a serial line


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a piece of work has come."""

    label: str  # what is done
    done: float  # of `of`, in the work's own unit
    of: float
    text: str = ""  # how it goes, in a few words

    @property
    def fraction(self) -> float:
        """Return how much is done, 0 to 1."""
        return min(1.0, max(0.0, self.done / self.of)) if self.of > 0 else 1.0

    @property
    def percent(self) -> int:
        """Return how much is done, rounded down."""
        return int(100 * self.fraction)

    def to_json(self) -> str:
        """Return one line for a program."""
        return json.dumps({"progress": asdict(self)})

    @classmethod
    def from_json(cls, line: str) -> Progress | None:
        """Return what `to_json` wrote; None for any other line."""
        if not line.startswith('{"progress":'):
            return None
        return cls(**json.loads(line)["progress"])


class Console:
    """Tells lines and progress on one stream; threads may share it.

    This one is for a pipe, a file or a dumb terminal: no control character, and of a long work a line now and then.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._told_percent = 0

    @classmethod
    def on(cls, stream: TextIO) -> Console:
        """Return a console with a bar where the stream is a terminal that can draw one, and a plain one elsewhere.

        The environment's TERM=dumb means no bar, NO_COLOR no colour.
        """
        if stream.isatty() and os.environ.get("TERM", "dumb") != "dumb":
            return _Terminal(stream, colour=not os.environ.get("NO_COLOR"))
        return cls(stream)

    def say(self, text: str, *, fg: str | None = None, bold: bool | None = None) -> None:
        """Tell a line (or several), so coloured where colour is wanted."""
        del fg, bold
        with self._lock:
            self._write(f"{text}\n")

    @contextmanager
    def progress(self) -> Iterator[Show]:
        """Yield what shows the progress of the body's work; at the latest at its end a bar is left behind."""
        self._begin()
        try:
            yield self._show
        finally:
            self._end()

    def _begin(self) -> None:
        self._told_percent = 0

    def _show(self, progress: Progress) -> None:
        if progress.percent >= self._told_percent + _TOLD_PERCENT:
            self._told_percent = progress.percent - progress.percent % _TOLD_PERCENT
            self.say(f"{progress.label}: {progress.percent} %")

    def _end(self) -> None:
        pass

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


class _Terminal(Console):
    """A terminal that goes back to its line's start for CR and clears the line for EL, as a VT100 does."""

    def __init__(self, stream: TextIO, *, colour: bool) -> None:
        super().__init__(stream)
        self._colour = colour
        self._bar = ""  # what stands on the last line
        self._latest: Progress | None = None
        self._whole = False  # all is done, and the bar left behind
        self._begun_s = self._drawn_s = 0.0  # monotonic

    def say(self, text: str, *, fg: str | None = None, bold: bool | None = None) -> None:
        styled = click.style(text, fg=fg, bold=bold) if self._colour and (fg or bold) else text
        with self._lock:
            if self._bar:
                self._write(f"\r\x1b[K{styled}\n{self._bar}")
            else:
                self._write(f"{styled}\n")

    def _begin(self) -> None:
        self._begun_s = time.monotonic()
        self._whole = False

    def _show(self, progress: Progress) -> None:
        now_s = time.monotonic()
        with self._lock:
            if self._whole:
                return
            self._latest = progress
            self._whole = progress.fraction == 1.0
            if self._whole:
                self._leave()
            elif not self._bar or now_s >= self._drawn_s + _DRAWN_S:
                self._draw(progress, now_s)

    def _end(self) -> None:
        with self._lock:
            self._leave()

    def _leave(self) -> None:
        """Leave the bar behind as it stands."""
        if self._latest:
            self._draw(self._latest, time.monotonic())
            self._write("\n")
        self._bar, self._latest = "", None

    def _draw(self, progress: Progress, now_s: float) -> None:
        left_s = (now_s - self._begun_s) * (1 / progress.fraction - 1) if progress.fraction else None
        bar = drawn(progress, left_s, self._columns() - _KEPT_COLUMNS)
        self._drawn_s = now_s
        if bar != self._bar:
            self._bar = bar
            self._write(f"\r\x1b[K{bar}")

    def _columns(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or _USUAL_COLUMNS
        except OSError:
            return _USUAL_COLUMNS


class JsonConsole(Console):
    """For a program that draws by itself: progress as JSON, a line each; everything else as it is."""

    def _show(self, progress: Progress) -> None:
        self.say(progress.to_json())


class QuietConsole(Console):
    """For a program that only reads the answer: no progress, only what there is to say."""

    def _show(self, progress: Progress) -> None:
        del progress


def drawn(progress: Progress, left_s: float | None, columns: int) -> str:
    """Return a bar of at most so many columns; where they are few, without the words, then without the time left."""
    percent = f"{progress.percent:3d} %"
    time_left = percent if left_s is None or progress.fraction == 1.0 else f"{percent}, {_duration(left_s)} left"
    worded = f"{progress.label} ({progress.text})" if progress.text else progress.label
    for before, after in ((worded, time_left), (progress.label, time_left), (progress.label, percent)):
        cells = min(_MOST_CELLS, columns - len(f"{before}  []  {after}"))
        if cells >= _FEWEST_CELLS:
            filled = int(cells * progress.fraction)
            return f"{before}  [{'#' * filled}{'-' * (cells - filled)}]  {after}"
    return f"{progress.label} {percent}"[-columns:]


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"  # noqa: PLR2004 - up to here seconds read better
