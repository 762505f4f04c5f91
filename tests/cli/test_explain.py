"""`explain` tells by hand how a sound differs, and `alarms show` what was told of an alarm."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from edge_monitor.config.file import load_settings
from edge_monitor.errors import ControlError
from edge_monitor.node.explaining import explain_alarm
from edge_monitor.node.explanations import ExplainAlarm
from edge_monitor.node.node import Node
from tests.encode import talking
from tests.llm_server import GOOD, LlmServer, refuses, says
from tests.product import Product
from tests.sounds import pump, write_clips

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Make = Callable[..., Product]

KEY = "sk-canary-4711"
FAULTY = '{ kind = "simulator", take = 1, fault = "bearing", fault_at_s = 1.0, pace = "max", seconds = 60 }'
LLM = """
[explain]
llm = "openai"
base_url = "{url}"
model = "played"
api_key_env = "CANARY"
requests_per_day = {per_day}
requests_per_alarm = 2
"""
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


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a faulty and a healthy clip, and a node that knows the pump and has had one alarm."""
    folder = tmp_path_factory.mktemp("known")
    write_clips(folder / "healthy", "healthy", pump(200))
    write_clips(folder, "faulty", pump(10, take=5, fault="bearing"))
    write_clips(folder, "sound", pump(10, take=5))
    product = Product(folder, FAULTY)
    for verb, *arguments in (("enroll", str(folder / "healthy")), ("run",)):
        done = product.command(verb, *arguments)
        assert done.returncode == 0, done.stderr
    shutil.rmtree(product.state / "evidence")
    return folder


@pytest.fixture
def node(known: Path, tmp_path: Path) -> Make:
    """Make a copy of that node; takes Product's fields."""

    def make(**fields: Any) -> Product:  # noqa: ANN401 - Product's own fields
        shutil.copytree(known, tmp_path / "node", dirs_exist_ok=True)
        return Product(tmp_path / "node", FAULTY, **fields)

    return make


@pytest.fixture
def llm() -> Iterator[LlmServer]:
    """Run a server that answers well."""
    with LlmServer(says(GOOD)) as server:
        yield server


def with_llm(llm: LlmServer, *, per_day: int = 100) -> dict[str, Any]:
    """Return Product's fields for a node that asks this server."""
    return {"extra": LLM.format(url=llm.base_url, per_day=per_day), "environment": {"CANARY": KEY}}


def alarm_id(product: Product) -> str:
    """Return the id of its one alarm."""
    [[found]] = product.rows("SELECT alarm_id FROM alarms")
    return str(found)


def write(product: Product, statement: str) -> None:
    """Change its database behind its back."""
    with closing(sqlite3.connect(product.state / "edge-monitor.db")) as connection, connection:
        connection.execute(statement)


def refusal(product: Product, *arguments: str) -> str:
    """Return the one line that refuses a call."""
    done = product.command("explain", *arguments)
    assert done.returncode == 1
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    return line


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


def test_the_llm_words_it_by_hand_and_nothing_is_published(node: Make, llm: LlmServer) -> None:
    """One request that counts for the day; no row of an explanation, no message, no key in what is printed."""
    product = node(**with_llm(llm))
    stored = product.rows("SELECT alarm_id, seq, method, finished_ms, text, reason FROM explanations")
    path = str(product.folder / "faulty_000.wav")
    prompt = product.command("explain", path, "--dry-run")
    assert (prompt.returncode, llm.requests) == (0, [])
    assert prompt.stdout.startswith('Begin your output sentence with "This sound is"')
    assert "of Cooling pump from its nearest normal sounds were measured: " in prompt.stdout
    shown = product.command("explain", path)
    assert shown.returncode == 0
    assert f"\nplayed, measured-worded: {GOOD}\n" in shown.stdout
    assert "asking played" in shown.stderr
    [request] = llm.requests
    assert "\r\n" in request.prompt
    assert prompt.stdout == request.prompt.replace("\r\n", "\n") + "\n"  # as a text stream is read
    assert product.answer("explain", path, "--dry-run")["prompt"] == request.prompt
    assert request.headers["authorization"] == f"Bearer {KEY}"
    alarm = product.answer("explain", alarm_id(product), "--method", "measured-worded")
    assert (alarm["worded"]["text"], alarm["worded"]["format_ok"]) == (GOOD, True)
    assert product.rows("SELECT requests FROM llm_days") == [(2,)]
    assert product.rows("SELECT alarm_id, seq, method, finished_ms, text, reason FROM explanations") == stored
    assert product.rows("SELECT count(*) FROM outbox") == [(0,)]
    assert KEY not in shown.stdout + shown.stderr + prompt.stdout + json.dumps(alarm)


def test_a_failing_llm_costs_no_figures(node: Make) -> None:
    """What was measured is printed; why there are no words is one line on standard error, with the exit code."""
    with LlmServer(refuses(401)) as llm:
        product = node(**with_llm(llm))
        done = product.command("explain", str(product.folder / "faulty_000.wav"))
    assert done.returncode == 1
    assert "mpulses at " in done.stdout
    assert "edge-monitor: " in done.stderr.splitlines()[-1]
    assert KEY not in done.stdout + done.stderr


def test_the_days_budget_holds_by_hand_too(node: Make, llm: LlmServer) -> None:
    """The second request of a day with one is not sent."""
    product = node(**with_llm(llm, per_day=1))
    path = str(product.folder / "faulty_000.wav")
    assert product.command("explain", path).returncode == 0
    done = product.command("explain", path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "edge-monitor: the day's 1 requests to the LLM are spent (explain.requests_per_day sets how many there are)"
    )
    assert len(llm.requests) == 1


def test_the_alarms_budget_holds_by_hand_too(node: Make, llm: LlmServer) -> None:
    """The third request for an alarm with two is not sent; another sound may still be asked about."""
    product = node(**with_llm(llm))
    alarm = alarm_id(product)
    for _ in range(2):
        assert product.command("explain", alarm, "--method", "auto").returncode == 0
    done = product.command("explain", alarm, "--method", "auto")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "edge-monitor: the alarm's 2 requests to the LLM are spent (explain.requests_per_alarm sets how many there are)"
    )
    assert len(llm.requests) == 2
    assert product.command("explain", str(product.folder / "faulty_000.wav")).returncode == 0


def test_a_server_that_cannot_be_reached_costs_nothing_of_the_budgets(node: Make) -> None:
    """Neither the day nor the alarm is charged for requests that nobody received."""
    fields = {"extra": LLM.format(url="http://127.0.0.1:9/v1", per_day=4), "environment": {"CANARY": KEY}}
    product = node(**fields)
    done = product.command("explain", alarm_id(product), "--method", "auto")
    assert done.returncode == 1
    assert "the LLM's server cannot be reached: Connection refused" in done.stderr.splitlines()[-1]
    assert product.rows("SELECT requests FROM llm_days") == [(0,)]
    assert product.rows("SELECT sum(requests) FROM explanations") == [(0,)]


def test_the_llm_is_not_asked_again_for_somebody_who_has_gone(node: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its server is down for a moment; nobody waits for the second try, which is not made."""
    monkeypatch.setenv("CANARY", KEY)
    with LlmServer(refuses(503)) as llm:
        product = node(**with_llm(llm))
        request = ExplainAlarm(alarm_id=alarm_id(product), method="auto")
        steps = explain_alarm(Node(load_settings(product.config)), request, lambda: True)
        assert next(steps).text == "asking played"
        with pytest.raises(ControlError, match="nobody waits"):
            next(steps)
    assert len(llm.requests) == 1


def test_a_running_daemon_is_asked_and_asks_the_llm(node: Make, llm: LlmServer) -> None:
    """The command knows no key; the daemon has it."""
    fields = with_llm(llm)
    product = node(**fields)
    product.source = '{ kind = "simulator", take = 1, pace = "realtime" }'
    path = str(product.folder / "faulty_000.wav")
    with product.daemon():
        product.environment = {}
        told = product.answer("explain", path)
        assert told["worded"]["text"] == GOOD
        again = product.answer("explain", alarm_id(product), "--method", "measured")
        assert "mpulses at " in again["text"]
        assert ("worded" in again, "prompt" in again) == (True, False)
        assert refusal(product, "0000") == "edge-monitor: 0000: no such alarm (`edge-monitor alarms list` shows them)"


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


def test_a_missing_package_is_one_line_with_the_way_to_it(node: Make, llm: LlmServer, tmp_path: Path) -> None:
    """Without the extra [llm] the figures are there, and how to get the rest."""
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden/openai.py").write_text("raise ImportError")
    product = node(**with_llm(llm))
    path = f"{tmp_path / 'hidden'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    product.environment = {**product.environment, "PYTHONPATH": path}
    done = product.command("explain", str(product.folder / "faulty_000.wav"))
    assert done.returncode == 1
    assert "mpulses at " in done.stdout
    assert done.stderr.splitlines()[-1] == (
        "edge-monitor: the openai package is not installed (pip install 'edge-monitor[llm]')"
    )


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
