"""A real terminal (a pty) that a command runs on, and the screen that a person sees of it."""

from __future__ import annotations

import fcntl
import os
import re
import select
import struct
import subprocess
import termios
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

_SEQUENCE = re.compile(r"\x1b\[([0-9;]*)([mK])|\r|\n|[^\x00-\x1f\x7f]")


def screen(text: str, columns: int) -> list[str]:
    """Return the lines, scrolled away or not, that a VT100 shows; fail for any other control character or sequence."""
    lines, column, position = [""], 0, 0
    while position < len(text):
        found = _SEQUENCE.match(text, position)
        assert found, f"not for a plain VT100: {text[position : position + 20]!r}"
        position = found.end()
        if found[0] == "\r":
            column = 0
        elif found[0] == "\n":
            lines.append(" " * column)
        elif found[2] == "K":
            assert not found[1]
            lines[-1] = lines[-1][:column]
        elif found[2] is None:
            if column == columns:
                lines.append("")
                column = 0
            lines[-1] = lines[-1][:column] + found[0] + lines[-1][column + 1 :]
            column += 1
    return [line.rstrip() for line in lines]


@dataclass
class Terminal:
    """A terminal so wide, with one command on it."""

    columns: int
    text: str = ""  # all that was written to it
    _ends: tuple[int, int] = field(init=False)

    def __enter__(self) -> Self:
        """Open it."""
        self._ends = os.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, self.columns, 0, 0))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        os.close(self._ends[0])

    @property
    def slave(self) -> int:
        """Return the side a program writes to."""
        return self._ends[1]

    @property
    def lines(self) -> list[str]:
        """Return what the screen shows."""
        return screen(self.text, self.columns)

    def run(self, argv: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start a command as a shell on this terminal would."""
        return subprocess.Popen(
            ["setsid", "--ctty", *argv], stdin=self.slave, stdout=self.slave, stderr=self.slave, env=environment
        )

    def press(self, keys: bytes) -> None:
        """Type."""
        os.write(self._ends[0], keys)

    def read_until(self, condition: Callable[[], object], seconds: float) -> None:
        """Read until `condition` holds; fail after `seconds`."""
        deadline_s = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline_s, "\n".join(self.lines)
            if select.select([self._ends[0]], [], [], 0.1)[0]:
                self.text += os.read(self._ends[0], 65536).decode()

    def read(self) -> None:
        """Read what is there."""
        while select.select([self._ends[0]], [], [], 0.0)[0]:
            self.text += os.read(self._ends[0], 65536).decode()
