"""A private PulseAudio with a null sink for a microphone: what `paplay` plays, ALSA's default input hears.

Other microphones can be plugged in and out: ALSA's input `NAME` hears what is written to a pipe.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from ctypes.util import find_library
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PACKAGES = "libportaudio2 libasound2-plugins pulseaudio pulseaudio-utils"
_ALSA = """
pcm.!default { type pulse }
ctl.!default { type pulse }
"""
_SCRIPT = """
load-module module-null-sink sink_name=vmic rate=48000
load-module module-always-sink
load-module module-native-protocol-unix auth-anonymous=1
set-default-sink vmic
set-default-source vmic.monitor
"""


class SoundServer:
    """A running PulseAudio of one's own; `environment` holds what makes programs use it."""

    def __init__(self, folder: Path) -> None:
        home, runtime = folder / "home", folder / "run"
        home.mkdir()
        runtime.mkdir(mode=0o700)
        (home / ".asoundrc").write_text(_ALSA)
        (folder / "vmic.pa").write_text(_SCRIPT)
        self.folder = folder
        self.environment = {
            "HOME": str(home),
            "XDG_RUNTIME_DIR": str(runtime),
            "PULSE_SERVER": f"unix:{runtime}/pulse/native",
            "PULSE_COOKIE": str(home / "cookie"),
        }
        self._log = (folder / "pulse.log").open("wb")
        self.start()

    def start(self) -> None:
        """Start the server, again after `kill`; return when it answers."""
        options = ["-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "--disable-shm=yes"]
        self.process = subprocess.Popen(
            ["pulseaudio", *options, f"--file={self.folder / 'vmic.pa'}"],
            env={**os.environ, **self.environment},
            stdout=self._log,
            stderr=self._log,
        )
        for _ in range(100):
            asked = subprocess.run(["pactl", "info"], env=self._env(), capture_output=True, text=True, check=False)
            if "Default Source: vmic.monitor" in asked.stdout:
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        pytest.fail(f"PulseAudio did not start: {(self.folder / 'pulse.log').read_text()}")

    def kill(self) -> None:
        """SIGKILL it; what was plugged in is gone."""
        self.process.kill()
        self.process.wait(10)

    def name_inputs(self, *names: str) -> None:
        """Have ALSA list these inputs, in this order, before `pulse` and `default`; each hears the source it names."""
        inputs = "".join(f'pcm.{name} {{ type pulse device "{name}" }}\n' for name in names)
        (self.folder / "home/.asoundrc").write_text(inputs + _ALSA)

    def pactl(self, *arguments: str) -> str:
        """Tell the server something and return its answer."""
        done = subprocess.run(["pactl", *arguments], env=self._env(), capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def _env(self) -> Mapping[str, str]:
        return {**os.environ, **self.environment}

    def play(self, wav: Path) -> subprocess.Popen[bytes]:
        """Start playing a WAV file into the microphone; wait for the process to hear all of it."""
        return subprocess.Popen(["paplay", str(wav)], env=self._env())

    def stop(self) -> None:
        """End the server and what it plays."""
        self.process.terminate()
        self.process.wait(timeout=10)
        self._log.close()


def missing() -> str | None:
    """Return what a real sound server needs and this box lacks, or None."""
    lacking = [name for name in ("pulseaudio", "paplay", "pactl") if shutil.which(name) is None]
    if find_library("portaudio") is None:
        lacking.append("libportaudio")
    plugins = list(Path("/usr/lib").glob("**/alsa-lib/libasound_module_pcm_pulse.so"))
    return ", ".join(lacking + ([] if plugins else ["the ALSA pulse plugin"])) or None


@contextmanager
def sound_server() -> Iterator[SoundServer]:
    """Run a sound server that this process's environment points at; skip where it is not installed, fail in CI."""
    if lacking := missing():
        how = f"{lacking} not found: sudo apt-get install {PACKAGES}"
        if os.environ.get("CI") == "true":
            pytest.fail(how)
        pytest.skip(how)
    # A short path: a Unix socket's may have 107 characters.
    with tempfile.TemporaryDirectory(prefix="em-sound-") as folder, pytest.MonkeyPatch.context() as patch:
        server = SoundServer(Path(folder))
        for name, value in server.environment.items():
            patch.setenv(name, value)
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="module", name="microphone_server")
def microphone_server_fixture() -> Iterator[SoundServer]:
    """Provide a sound server for a module's tests."""
    with sound_server() as server:
        yield server
