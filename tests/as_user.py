"""Run `edge-monitor` as another user: `python as_user.py UID GID GROUPS… -- ARGUMENTS`, as root.

The interpreter may lie where that user cannot read, so everything is imported first.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import pkgutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # wherever this checkout is seen
import edge_monitor
from edge_monitor.cli.main import main

if __name__ == "__main__":
    split = sys.argv.index("--")
    uid, gid, *groups = map(int, sys.argv[1:split])
    for codec in ("ascii", "idna", "latin_1", "utf_8_sig"):
        importlib.import_module(f"encodings.{codec}")
    for lazy in ("click._termui_impl", "httpx2", "httpx2._transports.default"):
        importlib.import_module(lazy)
    for module in pkgutil.walk_packages(edge_monitor.__path__, "edge_monitor."):
        if "__main__" not in module.name and "demo" not in module.name:
            with contextlib.suppress(ImportError):  # what is for an extra that is not installed
                importlib.import_module(module.name)
    os.setgroups(groups)
    os.setgid(gid)
    os.setuid(uid)
    main(sys.argv[split + 1 :])
