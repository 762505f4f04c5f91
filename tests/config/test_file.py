"""The configuration is either right, or every mistake in it is told with its line and remedy."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from edge_monitor.cli.config import command
from edge_monitor.config.file import load_settings
from edge_monitor.config.machine import RecordingSource
from edge_monitor.errors import ConfigError

GOOD = """\
[node]
site = "plant-7"
name = "edge-01"

[[machine]]
name = "pump-3"
source = { kind = "microphone", device = "USB Audio", channel = 1 }
"""


def refusal(folder: Path, text: str) -> list[str]:
    """Return the lines of the refusal of `text`, without the file's path."""
    path = folder / "edge-monitor.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigError) as caught:
        load_settings(path)
    return str(caught.value).replace(f"{path}:", "").splitlines()


def test_keys_left_out_have_their_defaults(tmp_path: Path) -> None:
    """The smallest configuration is enough."""
    path = tmp_path / "edge-monitor.toml"
    path.write_text(GOOD)
    loaded = load_settings(path)
    assert loaded.model.bundle == "spectral"
    assert loaded.mqtt is None
    assert loaded.machine[0].alarm.raise_ == (3, 5)


def test_relative_paths_mean_the_folder_of_the_file(tmp_path: Path) -> None:
    """A configuration can be moved with its files, and the current folder does not matter."""
    path = tmp_path / "edge-monitor.toml"
    path.write_text("""\
[node]
site = "s"
name = "n"
state_dir = "state"
[model]
bundle = "./models/own"
[mqtt]
host = "h"
username = "u"
password_file = "secret"
tls = { ca_file = "/etc/ca.pem" }
[[machine]]
name = "a"
source = { kind = "recording", path = "clips/" }
""")
    loaded = load_settings(path)
    assert loaded.node.state_dir == tmp_path / "state"
    assert loaded.model.bundle == str(tmp_path / "models/own")
    assert loaded.mqtt is not None
    assert loaded.mqtt.password_file == tmp_path / "secret"
    assert loaded.mqtt.tls is not None
    assert loaded.mqtt.tls.ca_file == Path("/etc/ca.pem")
    source = loaded.machine[0].source
    assert isinstance(source, RecordingSource)
    assert source.path == tmp_path / "clips"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "channel = 1",
            "channel = 0",
            "7: machine[1].source.channel: must be greater than or equal to 1, not 0 (counted from 1)",
        ),
        (
            "channel = 1",
            'channel = "1"',
            ("7: machine[1].source.channel: must be a whole number, not '1' (without unit or quotes; counted from 1)"),
        ),
        (
            'site = "plant-7"',
            'site = "plant 7"',
            "2: node.site: use 1 to 64 of A-Z a-z 0-9 _ - (it becomes a topic segment)",
        ),
        ('site = "plant-7"\n', "", "1: node.site: is missing (plant or site, the first own topic segment)"),
        ('name = "pump-3"\n', "", "5: machine[1].name: is missing (topic segment)"),
        (
            "[[machine]]",
            "[model]\nhop_ms = 1000\n[[machine]]",
            "6: model.hop_ms: unknown key (did you mean hop_s: seconds from one window to the next)",
        ),
        (
            "[[machine]]",
            '[model]\nhop_s = "1 s"\n[[machine]]',
            (
                "6: model.hop_s: must be a number, not '1 s'"
                " (without unit or quotes; seconds from one window to the next)"
            ),
        ),
        *(
            ("[[machine]]", f"[model]\nmax_normals = {given}\n[[machine]]", f"6: model.max_normals: must be {problem}")
            for given, problem in (
                ("4", "greater than or equal to 500, not 4 (a window is compared with so many normals at most)"),
                ("5e3", "a whole number, not 5000.0 (a window is compared with so many normals at most)"),
            )
        ),
        (
            'name = "pump-3"',
            'name = "pump-3"\nthreshold = 2.0',
            "7: machine[1].threshold: unknown key (it belongs in [machine.alarm])",
        ),
        *(
            (
                "[[machine]]",
                f"[mqtt]\nhost = '{host}'\n[[machine]]",
                (
                    "6: mqtt.host: give a host name or address alone, without user name, password, scheme, path or"
                    " blanks"
                ),
            )
            for host in ("user:secret@broker", "mqtt://broker", "broker/path", "bro ker")
        ),
        (
            "[[machine]]",
            "[machine]",
            "5: machine: must be a list [ … ] (describe each in a [[machine]] table, with two brackets)",
        ),
        (
            'kind = "microphone"',
            'kind = "mic"',
            ('7: machine[1].source: has an unknown kind (its kind: "microphone", "recording" or "simulator")'),
        ),
        (
            "channel = 1",
            'rate_hz = "44.1 kHz"',
            (
                "7: machine[1].source.rate_hz: must be a whole number, not '44.1 kHz'"
                " (without unit or quotes; default: the device's own rate)"
            ),
        ),
        (
            "channel = 1 }",
            "channel = 1 }\n[machine.alarm]\n\nraise = [6, 5]",
            "8: machine[1].alarm: raise = [m, n] needs 1 <= m <= n <= 100",
        ),
        (
            "channel = 1 }",
            "channel = 1 }\n[machine.alarm]\n\npriority = 9",
            "10: machine[1].alarm.priority: must be less than or equal to 4, not 9 (1 = critical … 4 = low)",
        ),
        (
            'name = "edge-01"',
            'name = "edge-01"\nstate_dir = "~/state"',
            "4: node.state_dir: ~ is not expanded: write the whole path",
        ),
        (
            'name = "edge-01"',
            'name = "edge-01"\nstate_dir = "a\\u0000b"',
            (
                "4: node.state_dir: has a character that cannot be printed:"
                " in TOML, \\ in double quotes starts an escape"
            ),
        ),
        (
            'name = "pump-3"',
            'name = "pump-3"\nwhere = [\n7\n]',
            "7: machine[1].where: unknown key (known here: name, display_name, kind, source, evidence, alarm, running)",
        ),
    ],
)
def test_a_mistake_is_one_line_with_line_key_and_remedy(tmp_path: Path, old: str, new: str, expected: str) -> None:
    """Every kind of mistake says where it is, what is wrong and what to do."""
    assert old in GOOD
    assert refusal(tmp_path, GOOD.replace(old, new)) == [expected]


def test_every_mistake_is_told_in_the_order_of_the_file(tmp_path: Path) -> None:
    """A person can repair a file in one go."""
    text = GOOD.replace("plant-7", "").replace("channel = 1", "channel = 999").replace('name = "edge-01"', "name = 1")
    assert [line.partition(":")[0] for line in refusal(tmp_path, text)] == ["2", "3", "7"]


def test_a_thousand_mistakes_are_told_in_a_moment_by_the_first_of_them(tmp_path: Path) -> None:
    """A large file that is wrong throughout gives a list one can read."""
    machine = GOOD.partition("\n\n")[2].replace("channel = 1", "channel = 0")
    machines = "".join(machine.replace("pump-3", f"pump-{number}") for number in range(200))
    lines = refusal(tmp_path, GOOD.partition("\n\n")[0] + "\n\n" + machines)
    assert len(lines) == 26
    assert lines[24].startswith("79: machine[25].source.channel: must be greater than or equal to 1, not 0")
    assert lines[25].endswith(" and 175 more")


def test_two_machines_of_one_name_are_refused_at_the_second(tmp_path: Path) -> None:
    """Two machines cannot share a topic."""
    twice = GOOD + GOOD.partition("\n\n")[2]
    assert refusal(tmp_path, twice) == ["9: machine[2].name: two machines are named 'pump-3'"]


def test_a_value_over_several_lines_is_found_at_its_first(tmp_path: Path) -> None:
    """The line of a list over several lines is that of its key."""
    text = GOOD + "[machine.alarm]\n# m of n\nraise = [\n  1,\n  'two',\n]\n"
    assert refusal(tmp_path, text)[0].startswith("10: machine[1].alarm.raise[2]: must be a whole number")


def test_a_line_of_blanks_takes_no_time(tmp_path: Path) -> None:
    """However long a line is, the lines of mistakes are found."""
    text = GOOD.replace("channel = 1", "channel = 0").replace("[[machine]]", " " * 500_000 + "\n[[machine]]")
    began_s = time.process_time()
    assert refusal(tmp_path, text)[0].startswith("8: machine[1].source.channel: ")
    assert time.process_time() - began_s < 5.0


def test_a_secret_is_never_repeated(tmp_path: Path) -> None:
    """Neither a refusal nor the settings in effect show a password."""
    text = GOOD.replace("[[machine]]", "[mqtt]\nhost = 'h'\npassword = 4711\nusername = 'u'\n[[machine]]")
    assert refusal(tmp_path, text) == ["7: mqtt.password: must be text in quotes (better: password_file)"]
    path = tmp_path / "edge-monitor.toml"
    path.write_text(text.replace("4711", "'4711'"))
    loaded = load_settings(path)
    assert "4711" not in repr(loaded) + str(loaded) + loaded.model_dump_json()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"[node]\nsite = plant-7\n", "2: not TOML: Invalid value (text needs quotes, and {"),
        (b"[node]\nsite = 'Werk K\xf6ln'\n", "2: is not UTF-8 (save the file as UTF-8)"),
        (b"a = " + b"[" * 5000, " is nested too deeply"),
        (b"a = " + b"9" * 5000, " not TOML: Exceeds the limit"),
        (b"#" * 2_000_000, " is larger than 1 MB (is it a configuration?)"),
        (b"", "1: machine: is missing (describe each in a [[machine]] table, with two brackets)"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(tmp_path: Path, content: bytes, expected: str) -> None:
    """Whatever lies at the path, the refusal is one clear line."""
    path = tmp_path / "edge-monitor.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_settings(path)
    assert str(caught.value).startswith(f"{path}:{expected}")


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path: Path) -> None:
    """The remedy fits what lies at the path."""
    with pytest.raises(ConfigError, match="no such file \\(`edge-monitor config init` writes one\\)"):
        load_settings(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="is a folder, not a file"):
        load_settings(tmp_path)


def test_a_windows_file_is_read_and_its_lines_counted(tmp_path: Path) -> None:
    """A byte order mark and CRLF line ends change nothing."""
    path = tmp_path / "edge-monitor.toml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert load_settings(path).node.site == "plant-7"
    path.write_bytes(GOOD.replace("channel = 1", "channel = 0").replace("\n", "\r\n").encode())
    with pytest.raises(ConfigError, match="toml:7: machine"):
        load_settings(path)


def test_check_finds_what_would_stop_the_daemon(tmp_path: Path) -> None:
    """A recording that is no sound, and a state directory that is a file, are told before anything runs."""
    text = tmp_path / "sound.wav"
    text.write_text("just text, renamed")
    config = tmp_path / "edge-monitor.toml"
    config.write_text(GOOD.replace('"microphone", device = "USB Audio", channel = 1', f'"recording", path = "{text}"'))
    result = CliRunner().invoke(command, ["check", "--config", str(config)])
    assert str(result.exception) == f"{text}: not a sound file that can be read (use WAV or FLAC)"
    config.write_text(GOOD.replace('name = "edge-01"', f'name = "edge-01"\nstate_dir = "{text}"'))
    result = CliRunner().invoke(command, ["check", "--config", str(config)])
    assert str(result.exception) == f"{text}: is not a folder (node.state_dir names one)"
