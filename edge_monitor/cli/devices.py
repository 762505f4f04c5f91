"""`edge-monitor devices`: the audio inputs, as the configuration names them."""

from __future__ import annotations

import click

from edge_monitor.cli.answers import tell
from edge_monitor.cli.options import json_option
from edge_monitor.counting import counted


@click.command("devices")
@json_option
def command(as_json: bool) -> None:
    """List the audio inputs: what to write as `device`, channels, sample rate; * marks the default."""
    from dataclasses import asdict

    from edge_monitor.capture.devices import list_devices

    devices = list_devices()
    # PortAudio's index is left out: it means nothing in another process.
    listed = [{key: value for key, value in asdict(device).items() if key != "index"} for device in devices]
    lines = [
        f"{'*' if device.is_default else ' '} {device.identity!r}  {counted(device.channels, 'channel')}"
        f"  {device.default_rate_hz} Hz"
        for device in devices
    ]
    nothing = ["no audio input; plug a microphone in, and see that this user is in the group audio"]
    tell(listed, lines or nothing, as_json=as_json, indent=2)
