"""A page written and synced again and again, until ended: `python bare_fsync.py FOLDER` prints seconds, one a line."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

PAGE = bytes(4096)
EVERY_S = 0.1


def main() -> None:
    """Write, sync, print."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    path = Path(sys.argv[1]) / "bare-fsync"
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    path.unlink()
    offset = 0
    while True:
        began_s = time.monotonic()
        os.pwrite(file, PAGE, offset)
        os.fsync(file)
        sys.stdout.write(f"{time.monotonic() - began_s:.6f}\n")
        sys.stdout.flush()
        offset += len(PAGE)
        time.sleep(EVERY_S)


if __name__ == "__main__":
    main()
