"""Enrols a recording of so many windows: `python adding.py CONFIG MACHINE WINDOWS SEED`, as `enroll` does.

Vectors, pictures and figures are random and of a recording's size: hearing 24 hours of sound takes an hour, storing
them is what is tested.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np

from edge_monitor.api.client import finish, open_node
from edge_monitor.config.file import load_settings
from edge_monitor.encode.bundle import find_bundle
from edge_monitor.memory.leaveout import block_of
from edge_monitor.memory.normal import Descriptors, NewNormal, NewRecording
from edge_monitor.memory.portable import write_recordings
from edge_monitor.node.normals import AddRecording
from edge_monitor.node.operations import ADD_RECORDING

WINDOW_S = 10.0
PICTURE_BYTES, ACOUSTICS_BYTES = 5000, 1900  # of a window of the simulated pump


def main() -> None:
    """Add them in one request, and print what became of them."""
    config, machine, windows, seed = sys.argv[1:]
    settings = load_settings(Path(config))
    bundle = find_bundle(settings.model.bundle, settings.node.state_dir)
    random = np.random.default_rng([int(seed), 1])  # other vectors than an imported file's: copies are left out
    acoustics = json.dumps({"made up": "." * ACOUSTICS_BYTES})
    recording = NewRecording(
        f"recording {seed}.wav",
        f"{int(seed):064x}",
        int(windows) * WINDOW_S,
        [
            NewNormal(
                block=block_of(number * WINDOW_S),
                start_s=number * WINDOW_S,
                level_dbfs=-30.0,
                vector=random.normal(size=bundle.manifest.audio.dim).astype(np.float32),
                spectrogram=random.bytes(PICTURE_BYTES),
                descriptors=Descriptors(-35.0, acoustics),
            )
            for number in range(int(windows))
        ],
    )
    with tempfile.TemporaryFile() as content, open_node(settings) as client:
        write_recordings(content, machine, [recording], bundle_hash=bundle.bundle_hash)
        content.seek(0)
        request = AddRecording(machine=machine, file=client.send(content), bundle_hash=bundle.bundle_hash)
        added = finish(client, ADD_RECORDING, request)
    sys.stdout.write(added.model_dump_json() + "\n")


if __name__ == "__main__":
    main()
