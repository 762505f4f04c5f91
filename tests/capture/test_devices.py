"""A device is found by what does not move, and never guessed."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_monitor.capture.devices import Device, list_devices, query_devices, resolve, tell_apart
from edge_monitor.errors import AudioError, ConfigError, PortAudioMissingError


def device(identity: str, index: int = 0, *, is_default: bool = False, port: str = "") -> Device:
    """Return a mono input."""
    return Device(identity, index, 1, 48_000, is_default, port)


DEVICES = [
    device("USB Audio Device: - @usb-1-1.2", 1, port="usb-1-1.2"),
    device("USB Audio Device: - @usb-1-1.21", 2, port="usb-1-1.21"),
    device("UMC404HD 192k: USB Audio", 3, port="usb-2-1"),
    device("UMC404HD 192k: USB Audio Aux", 4, port="usb-2-1,1"),
    device("pulse", 5, is_default=True),
]


class ListedPortAudio:
    """What PortAudio says on a box with two alike USB cards, a playback-only card and a sound server."""

    class default:  # noqa: N801 - sounddevice's own spelling
        """PortAudio's default devices: input, output."""

        device = (3, 2)

    @staticmethod
    def query_hostapis() -> list[dict[str, str]]:
        """Return the one host API."""
        return [{"name": "ALSA"}]

    @staticmethod
    def query_devices() -> list[dict[str, object]]:
        """Return the devices in PortAudio's own form."""
        names = [
            ("USB Audio Device: - (hw:1,0)", 1),
            ("USB Audio Device: - (hw:2,0)", 1),
            ("HDMI: 0 (hw:0,3)", 0),
            ("pulse", 32),
        ]
        return [
            {"name": name, "index": index, "hostapi": 0, "max_input_channels": inputs, "default_samplerate": 48_000.0}
            for index, (name, inputs) in enumerate(names)
        ]


def test_the_card_index_is_no_part_of_the_identity() -> None:
    """`(hw:1,0)` moves from boot to boot and is left out; playback-only cards are not inputs."""
    devices = query_devices(ListedPortAudio)
    assert [device.identity for device in devices] == ["USB Audio Device: -", "USB Audio Device: -", "pulse"]
    assert [device.index for device in devices] == [0, 1, 3]
    assert [device.is_default for device in devices] == [False, False, True]


def test_alike_cards_are_told_apart_by_their_port() -> None:
    """The port is part of the identity only where it is needed; the order of the cards never is."""
    alike = [device("Mic", port="usb-1-1.2"), device("Mic", port="usb-1-1.3"), device("Other", port="usb-1-1.4")]
    assert [device.identity for device in tell_apart(alike)] == ["Mic @usb-1-1.2", "Mic @usb-1-1.3", "Other"]


def test_swapped_cards_keep_their_machines() -> None:
    """Two alike cards listed in the other order, under the other's index: each name still finds its port."""
    boots = (
        [device("Mic", 1, port="usb-1-1.2"), device("Mic", 2, port="usb-1-1.3")],
        [device("Mic", 1, port="usb-1-1.3"), device("Mic", 2, port="usb-1-1.2")],
    )
    found = [[resolve(tell_apart(boot), f"Mic @usb-1-1.{port}").port for port in (2, 3)] for boot in boots]
    assert found == [["usb-1-1.2", "usb-1-1.3"]] * 2


def test_a_card_is_found_by_its_port_when_its_twin_is_unplugged() -> None:
    """What is left answers to its own `name @port` alone, though its name would be enough now."""
    left = tell_apart([device("Mic", port="usb-1-1.2")])
    assert left[0].identity == "Mic"
    assert resolve(left, "Mic @usb-1-1.2").port == "usb-1-1.2"
    assert resolve(left, "mic @USB-1-1.2").port == "usb-1-1.2"
    for twin in ("Mic @usb-1-1.3", "usb-1-1.3", "usb-1-1", "Mic @usb-1-1"):
        with pytest.raises(AudioError, match="no input device matches"):
            resolve(left, twin)


def test_alike_cards_without_a_port_are_never_guessed() -> None:
    """Where the system does not say where they are plugged in, only one of them can be used."""
    with pytest.raises(ConfigError, match=r"ambiguous: it matches 'Mic', 'Mic' \(nothing tells them apart: leave one"):
        resolve(tell_apart([device("Mic", 1), device("Mic", 2)]), "Mic")


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("USB Audio Device: - @usb-1-1.21", 2),
        ("usb-1-1.2", 1),
        ("UMC404HD 192k: USB Audio", 3),
        ("PULSE", 5),
        ("default", 5),
    ],
)
def test_an_identity_or_a_unique_part_finds_its_device(text: str, index: int) -> None:
    """The whole identity or port wins over longer ones that contain it; case does not matter in a part."""
    assert resolve(DEVICES, text).index == index


def test_an_ambiguous_device_is_an_error_that_lists_the_candidates() -> None:
    """Guessing would listen to the wrong machine."""
    with pytest.raises(ConfigError) as caught:
        resolve(DEVICES, "usb audio device")
    assert str(caught.value) == (
        "device 'usb audio device' is ambiguous: it matches 'USB Audio Device: - @usb-1-1.2', "
        "'USB Audio Device: - @usb-1-1.21' (write one of them in full)"
    )
    assert caught.value.exit_code == 2


def test_a_device_that_is_not_there_is_an_error_that_lists_the_others() -> None:
    """The user sees what could have been meant."""
    with pytest.raises(AudioError, match=r"no input device matches 'Zoom' \(inputs: 'pulse'\)"):
        resolve([device("pulse")], "Zoom")
    with pytest.raises(AudioError, match=r"no input device matches 'default' \(inputs: none\)"):
        resolve([], "default")


def test_a_box_without_portaudio_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The listing process finds no library, and the user reads the line to type, once per command."""
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(__file__).parent.parent.parent}")
    with pytest.raises(PortAudioMissingError) as caught:
        list_devices()
    assert str(caught.value) == (
        "microphones need the PortAudio library, which is not installed (sudo apt-get install libportaudio2)"
    )
