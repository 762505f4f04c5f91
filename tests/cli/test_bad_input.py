"""What users get wrong: one clear line on standard error, an exit code, nothing lost."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from tests.product import Product
from tests.sound_server import SoundServer, microphone_server_fixture
from tests.sounds import pump, write_clips

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["microphone_server_fixture"]


@pytest.fixture
def product(tmp_path: Path) -> Product:
    """Return a node that knows nothing yet."""
    return Product(tmp_path, '{ kind = "simulator" }')


def refused(product: Product, *arguments: str) -> str:
    """Return the error of a command that must fail without a traceback."""
    done = product.command(*arguments)
    assert done.returncode in {1, 2}
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("edge-monitor: ")]
    assert errors, done.stderr
    return errors[0].removeprefix("edge-monitor: ")


def write(
    folder: Path,
    name: str,
    samples: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
    rate_hz: int = 16_000,
    subtype: str = "PCM_16",
) -> Path:
    """Write one file into a folder of its own and return the folder."""
    folder.mkdir(exist_ok=True)
    soundfile.write(folder / name, samples, rate_hz, subtype=subtype)
    return folder


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Path.exists, "no WAV or FLAC file in this folder"),
        (lambda folder: (folder / "a.wav").write_bytes(b""), "the file is empty"),
        (lambda folder: (folder / "a.wav").write_text("just text, renamed"), "not a sound file that can be read"),
        (lambda folder: write(folder, "a.wav", np.zeros(0, np.float32)), "the file holds no sound"),
        (lambda folder: write(folder, "a.wav", np.full(160_000, np.nan, np.float32), subtype="FLOAT"), "not finite"),
        (lambda folder: write(folder, "a.wav", np.zeros(160_000, np.float32)), "digital silence"),
        (lambda folder: write(folder, "a.wav", np.zeros(8_000, np.float32)), "0.5 s of sound are too short to judge"),
    ],
    ids=["empty folder", "zero bytes", "renamed text", "no samples", "NaN", "silence", "half a second"],
)
def test_files_that_hold_no_sound(
    product: Product, tmp_path: Path, make: Callable[[Path], object], message: str
) -> None:
    """A file without usable sound is named, with what is wrong with it."""
    folder = tmp_path / "clips"
    folder.mkdir()
    make(folder)
    line = refused(product, "enroll", str(folder))
    assert message in line
    assert str(folder) in line


def test_a_truncated_file(product: Product, tmp_path: Path) -> None:
    """A file that ends before its header says is refused, not half used."""
    folder = write(tmp_path / "clips", "a.wav", pump(10))
    whole = (folder / "a.wav").read_bytes()
    (folder / "a.wav").write_bytes(whole[: len(whole) // 2])
    assert "truncated" in refused(product, "enroll", str(folder))


@pytest.mark.parametrize(
    ("rate_hz", "subtype", "channels"),
    [(16_000, "PCM_U8", 1), (16_000, "PCM_24", 1), (16_000, "FLOAT", 2), (44_100, "PCM_16", 1), (96_000, "PCM_16", 1)],
)
def test_formats_that_are_fine(product: Product, tmp_path: Path, rate_hz: int, subtype: str, channels: int) -> None:
    """Any word length, rate and number of channels is enrolled."""
    clips = tmp_path / "clips"
    for number in range(6):
        noise = np.random.default_rng(number).normal(0.0, 0.1, (10 * rate_hz, channels)).astype(np.float32)
        write(clips, f"{number}.wav", noise, rate_hz, subtype)
    assert product.answer("enroll", str(clips))["normals"] == 6


def test_one_bad_file_among_good_ones(product: Product, tmp_path: Path) -> None:
    """The good files are enrolled, the bad one is named, and the exit code says that not all went well."""
    clips = tmp_path / "clips"
    write_clips(clips, "good", pump(60))
    (clips / "bad.wav").write_text("not sound")
    done = product.command("enroll", str(clips))
    assert done.returncode == 1
    assert "bad.wav: not a sound file" in done.stderr
    assert "1 of the files could not be enrolled" in done.stderr
    assert product.rows("SELECT count(*) FROM normals") == [(6,)]


def test_files_of_two_machines(product: Product, tmp_path: Path) -> None:
    """Two machines' files in one call are a mistake that the threshold would hide."""
    clips = tmp_path / "clips"
    write_clips(clips, "normal_id_00", pump(10))
    write_clips(clips, "normal_id_02", pump(10, take=1))
    assert "files of 2 machines in one call: id_00, id_02" in refused(product, "enroll", str(clips))


def test_files_that_are_anomalous_by_name(product: Product, tmp_path: Path) -> None:
    """A test folder with anomalies in it is not enrolled by mistake."""
    write_clips(tmp_path / "clips", "anomaly_id_00", pump(10))
    assert "the name says that this sound is not normal" in refused(product, "enroll", str(tmp_path / "clips"))


def test_too_few_normals(product: Product, tmp_path: Path) -> None:
    """Four windows are kept, but make no generation."""
    write_clips(tmp_path / "clips", "normal", pump(40))
    assert "not enrolled: 4 normals, needs at least 5" in refused(product, "enroll", str(tmp_path / "clips"))
    assert product.rows("SELECT count(*) FROM normals") == [(4,)]


def test_nothing_to_enrol(product: Product) -> None:
    """Neither files nor --live is a question of usage."""
    done = product.command("enroll")
    assert done.returncode == 2
    assert "name recordings or folders of them, or give --live MINUTES" in done.stderr


def test_an_unknown_machine(product: Product) -> None:
    """A machine that is not configured is named with those that are."""
    assert "no machine is named 'fan'" in refused(product, "normals list", "--machine", "fan")


def test_scoring_before_enrolling(product: Product, tmp_path: Path) -> None:
    """Without normals there is no score, and the message says what to do first."""
    [clip] = write_clips(tmp_path / "clips", "normal", pump(10))
    line = refused(product, "score", str(clip))
    assert "not enrolled" in line
    assert "edge-monitor enroll" in line


def test_another_bundles_vectors(product: Product, tmp_path: Path) -> None:
    """Normals of one model are refused by another, and stay as they are."""
    write_clips(tmp_path / "healthy", "normal", pump(60))
    assert product.command("enroll", str(tmp_path / "healthy")).returncode == 0
    shipped = Path(__file__).parents[2] / "models/spectral"
    other = product.state / "models/spectral"
    shutil.copytree(shipped, other)
    manifest = other / "manifest.toml"
    manifest.write_text(manifest.read_text().replace("floor = 0.35", "floor = 0.5"))
    [clip] = write_clips(tmp_path / "clips", "normal", pump(10, take=1))
    assert "pump: enrolled with spectral" in refused(product, "enroll", str(clip))
    assert product.rows("SELECT count(*) FROM normals") == [(6,)]


def test_a_state_directory_that_cannot_be_written(product: Product, tmp_path: Path) -> None:
    """A state directory below a file is one line."""
    (tmp_path / "state").write_text("in the way")
    line = refused(product, "alarms list")
    assert "cannot make the state directory" in line
    assert "set node.state_dir" in line


@pytest.mark.parametrize(
    ("device", "message"),
    [("No Such Card", "no input device matches 'No Such Card'"), ("ul", "device 'ul' is ambiguous")],
    ids=["absent", "ambiguous"],
)
def test_a_device_that_cannot_be_told(
    tmp_path: Path, microphone_server: SoundServer, device: str, message: str
) -> None:
    """Who enrols live from a device that is not there, or from one of several, is told at once which there are."""
    product = Product(
        tmp_path, f'{{ kind = "microphone", device = "{device}" }}', environment=microphone_server.environment
    )
    line = refused(product, "enroll", "--live", "1")
    assert message in line
    assert "default" in line
