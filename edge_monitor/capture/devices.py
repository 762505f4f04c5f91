"""The audio inputs of this box, each with an identity that survives a reboot.

PortAudio freezes its device list when it is initialised, so every listing happens in a fresh process. Its names end in
the ALSA card's index, "USB Audio Device: - (hw:1,0)", and that moves from boot to boot: the identity is the name
without it, "USB Audio Device: -". Two alike cards are told apart by the port they are plugged into,
"USB Audio Device: - @usb-1-1.2", as the kernel names it, and never by their order. This module imports nothing heavy.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_monitor.errors import AudioError, ConfigError, PortAudioMissingError

if TYPE_CHECKING:
    from collections.abc import Sequence

_INDEX = re.compile(r"\s*\(hw:(\d+),(\d+)\)$")
_USB_INTERFACE = re.compile(r"(\d+-[\d.]+):[\d.]+")
_NO_LIBRARY = "microphones need the PortAudio library, which is not installed"
_INSTALL = "sudo apt-get install libportaudio2"
_TIMEOUT_S = 15.0  # a listing takes under a second; PortAudio may hang on a broken driver


@dataclass(frozen=True, slots=True)
class Device:
    """One audio input."""

    identity: str  # what `device` in edge-monitor.toml names; stable across reboots and replugging into the same port
    index: int  # PortAudio's, valid in the process that listed it only
    channels: int
    default_rate_hz: int
    is_default: bool
    port: str = ""  # where it is plugged in, e.g. `usb-1-1.2`; empty when the system does not say


def load_portaudio() -> Any:  # noqa: ANN401 - sounddevice ships no types
    """Return the sounddevice module; raises PortAudioMissingError. Loading it starts PortAudio: children only."""
    try:
        import sounddevice
    except (ImportError, OSError) as error:
        raise PortAudioMissingError(_NO_LIBRARY, hint=_INSTALL) from error
    return sounddevice


def query_devices(sounddevice: Any) -> list[Device]:  # noqa: ANN401 - sounddevice ships no types
    """Return the inputs as this process's PortAudio saw them when it was initialised."""
    apis = [api["name"] for api in sounddevice.query_hostapis()]
    default = sounddevice.default.device[0]
    found = [device for device in sounddevice.query_devices() if device["max_input_channels"] > 0]
    several_apis = len({device["hostapi"] for device in found}) > 1
    devices = []
    for device in found:
        match = _INDEX.search(device["name"])
        name = _INDEX.sub("", device["name"]).strip()
        devices.append(
            Device(
                identity=f"{name} [{apis[device['hostapi']]}]" if several_apis else name,
                index=device["index"],
                channels=device["max_input_channels"],
                default_rate_hz=round(device["default_samplerate"]),
                is_default=device["index"] == default,
                port=_port(int(match[1]), int(match[2])) if match else "",
            )
        )
    return tell_apart(devices)


def tell_apart(devices: Sequence[Device]) -> list[Device]:
    """Return the devices with ` @port` added to identities that occur more than once.

    Alike devices without a port stay alike: which of them is listed first may change from boot to boot.
    """
    count = Counter(device.identity for device in devices)
    return [
        replace(device, identity=f"{device.identity} @{device.port}")
        if count[device.identity] > 1 and device.port
        else device
        for device in devices
    ]


def _port(card: int, pcm: int) -> str:
    """Return where a card is plugged in, e.g. `usb-1-1.2`, or an empty string; with the PCM number unless it is 0."""
    try:
        path = Path(f"/sys/class/sound/card{card}/device").resolve(strict=True)
    except OSError:
        return ""
    # A USB card's device is an interface, 1-1.2:1.0, of the port 1-1.2; other cards are named by their bus address.
    usb = _USB_INTERFACE.fullmatch(path.name)
    place = f"usb-{usb[1]}" if usb else path.name
    return f"{place},{pcm}" if pcm else place


def resolve(devices: Sequence[Device], text: str) -> Device:
    """Return the input that `text` names: its identity, its port, a part of its name, or `default`.

    `name @port` names it whether or not another one alike is plugged in. Raises AudioError when no input matches and
    ConfigError when several do: guessing would listen to the wrong machine.
    """
    matches = [device for device in devices if text in {device.identity, f"{device.identity} @{device.port}"}]
    if not matches and text.casefold() == "default":
        matches = [device for device in devices if device.is_default]
    if not matches:
        matches = [device for device in devices if _is_part(text.casefold(), device)]
    if not matches:
        known = ", ".join(repr(device.identity) for device in devices) or "none"
        raise AudioError(f"no input device matches {text!r}", hint=f"inputs: {known}")
    if len(matches) > 1:
        found = [device.identity for device in matches]
        hint = "write one of them in full"
        if len(set(found)) < len(found):
            hint = "nothing tells them apart: leave one of them plugged in"
        raise ConfigError(f"device {text!r} is ambiguous: it matches {', '.join(map(repr, found))}", hint=hint)
    return matches[0]


def _is_part(wanted: str, device: Device) -> bool:
    """Return whether `wanted`, in lower case, is a part of the name, a whole port, or both as `part @port`."""
    port = device.port.casefold()
    name = device.identity.casefold().removesuffix(f" @{port}")
    part, at, place = wanted.rpartition(" @")
    if port and (wanted == port or (at and place == port)):
        return part in name
    return wanted in name


def list_devices() -> list[Device]:
    """Return the inputs that are there now, asked of a fresh process.

    Raises PortAudioMissingError when it is not installed, AudioError when it hangs or fails.
    """
    command = [sys.executable, "-m", "edge_monitor.capture.devices"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise AudioError(f"listing the audio inputs hung for {_TIMEOUT_S:.0f} s", hint="unplug and replug") from error
    lines = done.stdout.splitlines()
    if done.returncode != 0 or not lines:
        said = (done.stderr.splitlines() or ["no reason given"])[-1]
        raise AudioError("the audio inputs cannot be listed", hint=said)
    answer = json.loads(lines[-1])
    if "devices" not in answer:
        raise PortAudioMissingError(_NO_LIBRARY, hint=_INSTALL)
    return [Device(**fields) for fields in answer["devices"]]


def _main() -> None:
    try:
        answer: dict[str, Any] = {"devices": [asdict(device) for device in query_devices(load_portaudio())]}
    except PortAudioMissingError:
        answer = {}
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    _main()
