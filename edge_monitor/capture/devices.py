"""The audio inputs of this box, each with an identity that survives a reboot.

PortAudio freezes its device list when it is initialised, so every listing happens in a fresh process. Its names end in
the ALSA card's index, "USB Audio Device: - (hw:1,0)", and that moves from boot to boot: the identity is the name
without it, "USB Audio Device: -". Two alike cards are told apart by the port they are plugged into,
"USB Audio Device: - @usb-1-1.2", as the kernel names it. This module imports nothing heavy.
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
    devices, ports = [], []
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
            )
        )
        ports.append(_port(int(match[1]), int(match[2])) if match else "")
    return tell_apart(devices, ports)


def tell_apart(devices: Sequence[Device], ports: Sequence[str]) -> list[Device]:
    """Return the devices with ` @port` added to identities that occur more than once, ` #2` if that is not enough."""
    count = Counter(device.identity for device in devices)
    seen: Counter[str] = Counter()
    distinct = []
    for device, port in zip(devices, ports, strict=True):
        identity = device.identity
        if count[identity] > 1 and port:
            identity = f"{identity} @{port}"
        seen[identity] += 1
        if seen[identity] > 1:
            identity = f"{identity} #{seen[identity]}"
        distinct.append(replace(device, identity=identity))
    return distinct


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
    """Return the input that `text` names: its identity, `default`, or a part of one identity (case does not matter).

    Raises AudioError when no input matches and ConfigError when several do.
    """
    exact = [device for device in devices if device.identity == text]
    if len(exact) == 1:
        return exact[0]
    wanted = text.casefold()
    matches = [device for device in devices if wanted in device.identity.casefold()]
    if wanted == "default":
        matches = [device for device in devices if device.is_default] or matches
    if not matches:
        known = ", ".join(repr(device.identity) for device in devices) or "none"
        raise AudioError(f"no input device matches {text!r}", hint=f"inputs: {known}")
    if len(matches) > 1:
        names = ", ".join(repr(device.identity) for device in matches)
        raise ConfigError(f"device {text!r} is ambiguous: it matches {names}", hint="write one of them in full")
    return matches[0]


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
