"""`explain` tells by hand how a sound differs, and `alarms show` what was told of an alarm."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.cli.explaining import FAULTY, alarm_id, refusal
from tests.encode import talking
from tests.product import Product

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.explaining import Make

PULL = "msclap-2023 does, once it is there: `edge-monitor models pull msclap-2023`"
TEXTS = [
    "Vibration",
    "High-frequency Squealing or Screeching",
    "Popping or Knocking Sounds",
    "Rhythmic Clicking or Tapping",
    "Grinding Sounds",
    "Irregular Patterns",
    "Low-frequency Humming",
    "Unexpected Silence",
]


def write(product: Product, statement: str) -> None:
    """Change its database behind its back."""
    with closing(sqlite3.connect(product.state / "edge-monitor.db")) as connection, connection:
        connection.execute(statement)


def test_a_recording_is_explained_in_figures_without_an_llm(node: Make) -> None:
    """The bearing's impulses, three to the turn of a pump, are told with their rate; each text has its counterpart."""
    product = node()
    told = product.answer("explain", str(product.folder / "faulty_000.wav"))
    assert told["ratio"] > 1
    assert "mpulses at " in told["text"]
    assert " per second" in told["text"]
    assert told["findings"][0]["unit"] == "1/s"
    assert list(told["counterparts"]) == TEXTS
    assert told["counterparts"]["Rhythmic Clicking or Tapping"] > 1
    assert (told["captions"], told["similarities"], told["worded"]) == (None, None, None)
    shown = product.command("explain", "faulty_000.wav", "--method", "measured")
    assert shown.returncode == 1  # a file that is not here
    shown = product.command("explain", str(product.folder / "faulty_000.wav"), "--method", "measured")
    assert shown.returncode == 0
    assert "faulty_000.wav at 0 s: ANOMALOUS" in shown.stdout
    assert told["text"] in shown.stdout
    assert "  Rhythmic Clicking or Tapping" in shown.stdout


def test_a_healthy_recording_has_nothing_to_tell(node: Make) -> None:
    """It says so, and prints no table of findings."""
    product = node()
    shown = product.command("explain", str(product.folder / "sound_000.wav"))
    assert shown.returncode == 0
    assert "sound_000.wav at 0 s: normal" in shown.stdout
    assert "Nothing stands out" in shown.stdout
    assert "deviation" not in shown.stdout


def test_an_alarm_shows_what_was_told_and_is_explained_again_without_its_sound(node: Make) -> None:
    """No file of the alarm is left; what was measured of its window still compares with the normals."""
    product = node()
    alarm = alarm_id(product)
    shown = product.command("alarms show", alarm[:8])
    assert "\n  measured (20" in shown.stdout
    assert "mpulses at " in shown.stdout
    [stored] = product.answer("alarms show", alarm)["explanations"]
    assert (stored["method"], stored["status"], stored["seq"]) == ("measured", "ok", 0)
    again = product.answer("explain", alarm, "--method", "measured")
    assert again["explanations"] == [stored]
    assert (again["text"], again["findings"]) == (stored["text"], stored["findings"])
    plain = product.command("explain", alarm[:8]).stdout
    assert plain.count(stored["text"]) == 1
    assert "  Grinding Sounds" in plain


def test_an_alarm_without_an_explanation_says_so(node: Make) -> None:
    """An alarm of a version that explained nothing, and one that still waits, are shown as what they are."""
    product = node()
    alarm = alarm_id(product)
    write(product, "UPDATE explanations SET finished_ms = NULL, text = NULL, acoustics = NULL")
    assert "\n  measured: not yet\n" in product.command("alarms show", alarm).stdout
    write(product, "UPDATE explanations SET finished_ms = 0, reason = 'the node stopped'")
    assert "unavailable: the node stopped\n" in product.command("alarms show", alarm).stdout
    write(product, "DELETE FROM explanations")
    shown = product.command("explain", alarm)
    assert shown.returncode == 0
    assert "it has no explanation" in shown.stdout
    assert refusal(product, alarm, "--method", "measured") == "edge-monitor: pump: the sound was not measured"


def test_a_bundle_that_talks_adds_captions_and_similarities(tmp_path: Path, known: Path) -> None:
    """Its windows are too short to measure, which is said; the prompt is made of its captions."""
    talking.write(tmp_path / "state/models/talking")
    product = Product(tmp_path, FAULTY, bundle="talking")
    assert product.command("enroll", str(known / "healthy")).returncode == 0
    path = str(known / "faulty_000.wav")
    done = product.command("explain", path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == [
        f"edge-monitor: {path}: 1.5 s of sound are too short to measure (2 s at least)",
        "decoding the captions of 5 sounds",
    ]
    told = product.answer("explain", path)
    assert told["text"] is None
    assert told["captions"]["anomaly"].startswith("Sounds like")
    assert len(told["captions"]["normals"]) == 4
    assert list(told["similarities"]) == ["Vibration", "Grinding"]
    assert all(-1 <= value <= 1 for value in told["similarities"]["Grinding"]["normals"])
    for line in ("  this sound: Sounds like", "  normal 4:   Sounds like", "  Grinding"):
        assert line in done.stdout
    only = product.answer("explain", path, "--method", "text-decoder", "--dry-run")
    assert only["similarities"] is None
    assert "The caption of the anomalous sound of Cooling pump is given as: Sounds like" in only["prompt"]
    both = product.answer("explain", path, "--dry-run")
    assert "caption,Vibration,Grinding\r\n" in both["prompt"]
    assert refusal(product, path, "--method", "measured").endswith("too short to measure (2 s at least)")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([""], "neither an alarm nor a file is named"),
        (["feed"], "feed: no such alarm (`edge-monitor alarms list` shows them)"),
        (["absent.wav"], "absent.wav: no such file"),
        (["absent.mp3", "--machine", "pump"], "absent.mp3: no such file"),
        (["{folder}/note.wav"], "{folder}/note.wav: not a sound file that can be read (use WAV or FLAC)"),
        (["{folder}/healthy"], "{folder}/healthy: is a folder; explain one file of it"),
        (
            ["{folder}/faulty_000.wav", "--method", "text-decoder"],
            f"spectral: the bundle does not write captions ({PULL})",
        ),
        (
            ["{folder}/faulty_000.wav", "--method", "zero-shot", "--dry-run"],
            f"spectral: the bundle does not compare sound with texts ({PULL})",
        ),
        (
            ["{folder}/faulty_000.wav", "--method", "auto"],
            "explain.llm: no LLM is configured (docs/explanations.md says how; --dry-run prints the prompt)",
        ),
    ],
    ids=[
        "no name",
        "unknown alarm",
        "no file",
        "no file of a machine",
        "no sound",
        "folder",
        "no captions",
        "no texts",
        "no LLM",
    ],
)
def test_what_cannot_be_explained_is_one_line(node: Make, arguments: list[str], message: str) -> None:
    """It names what is wrong, and where there is a way, the way."""
    product = node()
    (product.folder / "note.wav").write_text("no sound")
    given = [each.format(folder=product.folder) for each in arguments]
    assert refusal(product, *given) == f"edge-monitor: {message.format(folder=product.folder)}"


def test_what_asks_nobody_has_no_prompt_to_print(node: Make) -> None:
    """`--dry-run --method measured` is a question of usage, and so is a file of one of two machines."""
    done = node().command("explain", "x", "--method", "measured", "--dry-run")
    assert done.returncode == 2
    assert "measured asks no LLM" in done.stderr
    other = '\n[[machine]]\nname = "fan"\nsource = { kind = "simulator", machine = "fan" }\n'
    product = node(extra=other)
    done = product.command("explain", str(product.folder / "faulty_000.wav"))
    assert done.returncode == 2
    assert "a FILE needs --machine: the configuration has pump, fan" in done.stderr
