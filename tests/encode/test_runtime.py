"""What ONNX Runtime must not do."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_ENCODE = """
import numpy
from edge_monitor.encode.bundle import find_bundle
from edge_monitor.encode.encoder import Encoder
Encoder(find_bundle("spectral")).embed(numpy.full((1, 160_000), 0.1, dtype=numpy.float32))
"""


def test_encoding_leaves_no_telemetry(tmp_path: Path) -> None:
    """The runtime's telemetry, which is on by default outside CI and keeps an id and a queue at home, stays off."""
    environment = {
        name: text for name, text in os.environ.items() if name not in {"CI", "ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME"}
    }
    subprocess.run([sys.executable, "-c", _ENCODE], env={**environment, "HOME": str(tmp_path)}, check=True)
    assert list(tmp_path.rglob("*")) == []
