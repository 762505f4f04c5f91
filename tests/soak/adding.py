"""Enrols a recording of so many windows: `python adding.py CONFIG MACHINE WINDOWS SEED`, as `enroll` does.

Vectors, pictures and figures are random and of a recording's size: hearing 24 hours of sound takes an hour, storing
them is what is tested.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from edge_monitor.node.wire import pack_bytes, pack_vector

from edge_monitor.api.client import last, open_node
from edge_monitor.config.file import load_settings
from edge_monitor.encode.bundle import find_bundle

WINDOW_S = 10.0
PICTURE_BYTES, ACOUSTICS_BYTES = 5000, 1900  # of a window of the simulated pump


def main() -> None:
    """Add them in one request, and print what became of them."""
    config, machine, windows, seed = sys.argv[1:]
    settings = load_settings(Path(config))
    bundle = find_bundle(settings.model.bundle, settings.node.state_dir)
    random = np.random.default_rng([int(seed), 1])  # other vectors than an imported file's: copies are left out
    acoustics = json.dumps({"made up": "." * ACOUSTICS_BYTES})
    recording = {
        "name": f"recording {seed}.wav",
        "sha256": f"{int(seed):064x}",
        "seconds": int(windows) * WINDOW_S,
        "windows": [
            {
                "start_s": number * WINDOW_S,
                "level_dbfs": -30.0,
                "quietest_dbfs": -35.0,
                "vector": pack_vector(random.normal(size=bundle.manifest.audio.dim).astype(np.float32)),
                "spectrogram": pack_bytes(random.bytes(PICTURE_BYTES)),
                "acoustics": acoustics,
            }
            for number in range(int(windows))
        ],
    }
    with open_node(settings) as ask:
        added = last(ask("normals.add", machine=machine, bundle_hash=bundle.bundle_hash, **recording))
    sys.stdout.write(json.dumps(added) + "\n")


if __name__ == "__main__":
    main()
