"""The command line answers at once, and tells a user's mistake in one line."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge_monitor.cli import config as config_command
from edge_monitor.cli.main import COMMANDS
from edge_monitor.config.file import load_settings

REPOSITORY = Path(__file__).parent.parent.parent
HEAVY = {"numpy", "onnxruntime", "pydantic", "sounddevice", "soundfile", "PIL", "paho", "hnswlib", "sqlite3"}
MAIN = "from edge_monitor.cli.main import main; main()"


def edge_monitor(
    *arguments: str, folder: Path, code: str = MAIN, variables: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, in `folder`."""
    environment = {k: v for k, v in os.environ.items() if k != "EDGE_MONITOR_CONFIG"}
    environment |= {"PYTHONPATH": str(REPOSITORY), **(variables or {})}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_help_names_every_command_and_imports_nothing_heavy(tmp_path: Path) -> None:
    """`--help` answers without loading what the commands need."""
    code = (
        "import sys, atexit; from edge_monitor.cli.main import main;"
        f"atexit.register(lambda: print(sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)); main()"
    )
    answer = edge_monitor("--help", folder=tmp_path, code=code)
    assert answer.returncode == 0
    assert all(name in answer.stdout for name in COMMANDS)
    assert answer.stderr == "[]\n"


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_explains_itself_and_imports_nothing_heavy(tmp_path: Path, name: str) -> None:
    """A command's `--help` answers without loading what the command needs."""
    code = (
        "import sys, atexit; from edge_monitor.cli.main import main;"
        f"atexit.register(lambda: print(sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)); main()"
    )
    answer = edge_monitor(name, "--help", folder=tmp_path, code=code)
    assert answer.stderr == "[]\n"
    assert answer.returncode == 0
    assert answer.stdout.startswith(f"Usage: edge-monitor {name}")


def test_the_version_is_told(tmp_path: Path) -> None:
    """`--version` names the program and its version."""
    assert edge_monitor("--version", folder=tmp_path).stdout == "edge-monitor, version 0.1.0\n"


def test_an_error_is_one_line_and_debug_shows_the_traceback(tmp_path: Path) -> None:
    """A missing configuration is told without a traceback, with one only when asked for."""
    answer = edge_monitor("config", "check", "--config", "none.toml", folder=tmp_path)
    assert answer.stderr == "edge-monitor: none.toml: no such file (`edge-monitor config init` writes one)\n"
    assert answer.stdout == ""
    assert answer.returncode == 2
    assert "Traceback" in edge_monitor("--debug", "config", "check", "--config", "none.toml", folder=tmp_path).stderr


def test_an_unknown_command_is_refused(tmp_path: Path) -> None:
    """A typing error ends with exit code 2 and no traceback."""
    answer = edge_monitor("rum", folder=tmp_path)
    assert answer.returncode == 2
    assert "No such command 'rum'" in answer.stderr


def holds_a_pipe(descriptors: Path) -> bool:
    """Return whether a process has a pipe open beside its standard streams; files come and go meanwhile."""
    for descriptor in descriptors.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if int(descriptor.name) > 2 and "pipe" in str(descriptor.readlink()):
                return True
    return False


def test_an_interrupt_ends_quietly(tmp_path: Path) -> None:
    """Ctrl-C is no error worth a traceback: exit code 130, as a shell expects."""
    (tmp_path / "edge-monitor.toml").symlink_to("/dev/stdin")  # reading it waits, as a long command does
    code = f"print('started', flush=True); {MAIN}"
    with subprocess.Popen(
        [sys.executable, "-c", code, "config", "check"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        waiting = Path(f"/proc/{process.pid}/fd")
        deadline = time.monotonic() + 30
        while not holds_a_pipe(waiting):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors.strip()) == (130, "")


def test_a_closed_pipe_ends_quietly(tmp_path: Path) -> None:
    """`| head` is no error worth a word."""
    with subprocess.Popen(
        [sys.executable, "-c", MAIN, "config", "schema"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        errors = process.stderr.read()
    assert (process.returncode, errors) == (1, "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_is_printed(tmp_path: Path, shell: str) -> None:
    """The script calls back with the variable click listens to."""
    assert "_EDGE_MONITOR_COMPLETE" in edge_monitor("completion", shell, folder=tmp_path).stdout


def test_completion_offers_the_commands(tmp_path: Path) -> None:
    """Pressing the tabulator after `con` completes `config`."""
    variables = {"_EDGE_MONITOR_COMPLETE": "bash_complete", "COMP_WORDS": "edge-monitor con", "COMP_CWORD": "1"}
    assert edge_monitor(folder=tmp_path, variables=variables).stdout == "plain,config\n"


def test_completion_offers_the_configuration_s_machines(tmp_path: Path) -> None:
    """Pressing the tabulator after `--machine p` completes a machine's name; without a configuration, nothing."""
    words = {"COMP_WORDS": "edge-monitor normals list --machine p", "COMP_CWORD": "4"}
    variables = {"_EDGE_MONITOR_COMPLETE": "bash_complete", **words}
    assert edge_monitor(folder=tmp_path, variables=variables).stdout == "\n"
    assert edge_monitor("config", "init", folder=tmp_path).returncode == 0
    assert edge_monitor(folder=tmp_path, variables=variables).stdout == "plain,pump-3\n"


def test_config_init_writes_what_config_check_accepts_and_never_overwrites(tmp_path: Path) -> None:
    """A first configuration is sound, and an existing one is safe."""
    assert edge_monitor("config", "init", folder=tmp_path).returncode == 0
    answer = edge_monitor("config", "check", folder=tmp_path)
    assert answer.stdout == "edge-monitor.toml: ok: plant-7/edge-01 hears pump-3; MQTT to localhost:1883\n"
    (tmp_path / "edge-monitor.toml").write_text("mine")
    answer = edge_monitor("config", "init", folder=tmp_path)
    assert answer.returncode == 2
    assert answer.stderr.startswith("edge-monitor: edge-monitor.toml: exists already (--force replaces it")
    assert (tmp_path / "edge-monitor.toml").read_text() == "mine"
    assert edge_monitor("config", "init", "--force", folder=tmp_path).returncode == 0
    assert (tmp_path / "edge-monitor.toml").read_text().startswith("# edge-monitor")


def test_config_init_names_a_state_directory_that_its_user_may_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who may not write to /var/lib keeps the state beside the configuration."""
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    config_command.init.main(["--path", str(tmp_path / "own.toml")], standalone_mode=False)
    assert load_settings(tmp_path / "own.toml").node.state_dir == tmp_path / "state"


def test_config_init_into_a_missing_folder_is_refused(tmp_path: Path) -> None:
    """A path that cannot be written is one line."""
    answer = edge_monitor("config", "init", "--path", "no/such/edge-monitor.toml", folder=tmp_path)
    assert answer.returncode == 2
    assert answer.stderr.count("\n") == 1


def test_the_configuration_is_found_where_the_variable_says(tmp_path: Path) -> None:
    """$EDGE_MONITOR_CONFIG stands in for --config."""
    edge_monitor("config", "init", "--path", "here.toml", folder=tmp_path)
    answer = edge_monitor("config", "check", folder=tmp_path, variables={"EDGE_MONITOR_CONFIG": "here.toml"})
    assert answer.stdout.startswith("here.toml: ok")


def test_config_show_masks_the_password(tmp_path: Path) -> None:
    """The settings in effect can be shown to others."""
    edge_monitor("config", "init", folder=tmp_path)
    path = tmp_path / "edge-monitor.toml"
    path.write_text(path.read_text().replace('# username = "edge-01"', 'username = "u"\npassword = "geheim"'))
    lines = edge_monitor("config", "show", folder=tmp_path).stdout
    values = json.loads(edge_monitor("config", "show", "--json", folder=tmp_path).stdout)
    assert 'mqtt.password = "**********"' in lines
    assert values["mqtt"]["password"] == "**********"  # noqa: S105 - the mask
    assert "geheim" not in lines + str(values)
    assert values["machine"][0]["alarm"]["raise"] == [3, 5]


@pytest.mark.parametrize("arguments", [("--help",), ("config", "schema"), ("config", "reference")])
def test_an_output_that_cannot_be_written_is_one_line(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """A full disk behind `>`: no traceback, exit code 1."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "edge_monitor", *arguments],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, "edge-monitor: cannot write: No space left on device\n")


def test_config_schema_is_the_schema_of_the_settings(tmp_path: Path) -> None:
    """An editor can check the file with it."""
    schema = json.loads(edge_monitor("config", "schema", folder=tmp_path).stdout)
    assert schema["required"] == ["node", "machine"]
