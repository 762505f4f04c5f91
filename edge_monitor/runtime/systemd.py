"""What systemd is told by a service of `Type=notify`; without systemd, nothing is told and nothing fails.

Source: sd_notify(3). One datagram of `NAME=value` lines to the socket in NOTIFY_SOCKET.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress

_MICROSECONDS = 1_000_000


class Notifier:
    """Speaks to the service manager that started this process, as its environment says."""

    def __init__(self) -> None:
        address = os.environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        owner = os.environ.get("WATCHDOG_PID", "")
        watched = owner in {"", str(os.getpid())}
        interval = os.environ.get("WATCHDOG_USEC", "")
        self._every_s = int(interval) / _MICROSECONDS / 2 if watched and interval.isdecimal() else None
        self._pinged_s = float("-inf")
        self._status = ""

    def ready(self) -> None:
        """Say that the start, or a reload, is done."""
        self._tell("READY=1")

    def reloading(self) -> None:
        """Say that the configuration is being loaded again; `ready` ends that."""
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Say that the end has begun."""
        self._tell("STOPPING=1")

    def status(self, text: str) -> None:
        """Say in one line what `systemctl status` shows; the same line is told once."""
        if text != self._status:
            self._status = text
            self._tell("STATUS=" + text.replace("\n", " "))

    def ping(self, now_s: float) -> None:
        """Say that the service makes progress, when half the watchdog's time has passed (`now_s` monotonic)."""
        if self._every_s is not None and now_s - self._pinged_s >= self._every_s:
            self._pinged_s = now_s
            self._tell("WATCHDOG=1")

    def _tell(self, lines: str) -> None:
        if not self._address:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.setblocking(False)  # a manager that does not read must not stall the service
            channel.sendto(lines.encode(), self._address)
