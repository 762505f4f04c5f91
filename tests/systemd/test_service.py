"""What a person does with the service, on a real Debian from its first installation to its removal, in this order."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.broker import Subscriber, wait_until
from tests.systemd.debian import Debian, asleep, booted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.broker import Broker

pytestmark = [pytest.mark.systemd, pytest.mark.timeout(900)]  # the first one makes the system

SETTINGS = """\
[node]
site = "plant"
name = "edge"
state_dir = "/var/lib/edge-monitor"
runtime_dir = "/run/edge-monitor"
[model]
bundle = "{bundle}"
[mqtt]
host = "127.0.0.1"
port = {port}
score_interval_s = 0.0
[[machine]]
name = "{machine}"
source = {{ kind = "simulator", machine = "pump", pace = 20{fault} }}
"""
FAULT = ', fault = "bearing", fault_at_s = 0'
BASE = "edge-monitor/v1/plant/edge"
HEALTHY_S = 60.0  # until a service that was ended runs again: systemd's 5 s, a start, and a window
ACCOUNTS = {  # what systemd-sysusers leaves beside the accounts that it makes
    "etc/.pwd.lock",
    "etc/passwd-",
    "etc/group-",
    "etc/shadow-",
    "etc/gshadow-",
}
INSTALL = ("/release/deploy/install.sh", "--wheels", "/wheels")
PURGE = ("/release/deploy/install.sh", "--uninstall", "--purge")


@pytest.fixture(scope="module")
def untouched(base: Path) -> set[str]:
    """Return what lies on the system's disk before anything is installed, once it has booted."""
    with booted(base) as debian:
        debian.do("useradd", "--create-home", "alice")
        return debian.files()


@pytest.fixture(scope="module")
def debian(base: Path, untouched: set[str]) -> Iterator[Debian]:
    """Return the running system that the tests follow one another on."""
    assert "var/lib/edge-monitor" not in untouched
    with booted(base) as system:
        yield system


def write_settings(
    debian: Debian, broker: Broker, *, machine: str = "pump", bundle: str = "spectral", fault: str = ""
) -> None:
    """Write the settings as an editor does that keeps owner and mode."""
    text = SETTINGS.format(port=broker.port, machine=machine, bundle=bundle, fault=fault)
    (debian.root / "etc/edge-monitor/edge-monitor.toml").write_text(text)


def left(debian: Debian, untouched: set[str]) -> list[str]:
    """Return what lies on the disk beyond what was there before, but the journal and the accounts."""
    return sorted(
        path for path in debian.files() - untouched - ACCOUNTS if not path.startswith(("var/log/journal", "home/alice"))
    )


def test_without_a_running_systemd_files_come_and_go(base: Path, untouched: set[str]) -> None:
    """In a container both end well and say what they did not do; the program works meanwhile."""
    debian = asleep(base)
    done = debian.do(*INSTALL)
    assert "No systemd runs in here: the service starts when one boots" in done
    assert debian.do("edge-monitor", "--version") == "edge-monitor, version 0.1.0\n"
    assert debian.do("edge-monitor", "config", "check").startswith("/etc/edge-monitor/edge-monitor.toml: ok")
    done = debian.do(*PURGE)
    assert "no systemd runs in here: only files were removed" in done
    assert left(debian, untouched) == []


def test_a_dry_run_says_what_it_would_do_and_does_nothing(debian: Debian) -> None:
    """The user before what belongs to it, the unit after that, systemd last."""
    before = debian.files()
    told = [line.removeprefix("would: ") for line in debian.do(*INSTALL, "--dry-run").splitlines() if "system" in line]
    assert [line for line in told if line.startswith("system")] == [
        "systemd-sysusers /usr/lib/sysusers.d/edge-monitor.conf",
        "systemd-tmpfiles --create /usr/lib/tmpfiles.d/edge-monitor.conf",
        "systemctl daemon-reload",
    ]
    assert told.index("systemctl daemon-reload") > next(i for i, line in enumerate(told) if "multi-user" in line)
    assert debian.files() - before == set()


def test_it_is_installed(debian: Debian) -> None:
    """It waits for its settings, and starts with the next boot."""
    done = debian.do(*INSTALL)
    assert "settings to fill in: /etc/edge-monitor/edge-monitor.toml" in done
    assert debian.do("systemctl", "is-enabled", "edge-monitor") == "enabled\n"
    assert debian.run("systemctl", "is-active", "edge-monitor").stdout == "inactive\n"
    folder = debian.root / "etc/edge-monitor"
    assert [path.stat().st_mode & 0o777 for path in (folder, folder / "edge-monitor.toml", folder / "credentials")] == [
        0o750,
        0o640,
        0o700,
    ]
    assert [str(path) for path in (debian.root / "opt").rglob("*") if not path.lstat().st_mode & 0o004] == []


def test_it_starts(debian: Debian, broker: Broker) -> None:
    """`systemctl start` ends when it runs; it runs as its own user, who alone sees its state."""
    write_settings(debian, broker)
    debian.do("edge-monitor", "config", "check")
    debian.do("systemctl", "start", "edge-monitor")
    assert debian.do("systemctl", "is-active", "edge-monitor") == "active\n"
    assert debian.do("stat", "--format=%U %G %a", "/var/lib/edge-monitor", "/run/edge-monitor") == (
        "edge-monitor edge-monitor 700\nedge-monitor edge-monitor 750\n"
    )
    assert debian.wait_for_state("not-enrolled")["machine"] == "pump"


def test_root_and_members_of_its_group_enrol_live_and_nobody_else(debian: Debian) -> None:
    """The control socket is the group's."""
    debian.do("edge-monitor", "enroll", "--live", "3")
    refused = debian.run("edge-monitor", "enroll", "--live", "3", user="alice")
    assert refused.returncode != 0
    assert len(refused.stderr.splitlines()) == 1
    debian.do("usermod", "--append", "--groups", "edge-monitor", "alice")
    debian.do("edge-monitor", "enroll", "--live", "2", user="alice")
    generations = debian.answer("generations", "list")
    assert {each["generation"]: each["active"] for each in generations} == {1: False, 2: True}


def test_it_monitors(debian: Debian, broker: Broker) -> None:
    """The machine is normal, and its score flows to the broker."""
    assert debian.wait_for_state("normal")["generation"] == 2
    with Subscriber(broker.port, f"{BASE}/#") as scada:
        scores = [json.loads(each.payload) for each in scada.wait_for(f"{BASE}/pump/score", 3)]
        [state] = scada.wait_for(f"{BASE}/pump/state")
    assert all(0 < each["score"] < each["threshold"] for each in scores)
    assert json.loads(state.payload)["state"] == "normal"
    shown = debian.do("systemctl", "status", "edge-monitor", "--no-pager")
    assert 'Status: "pump normal; broker connected"' in shown


def test_a_right_reload_is_in_force_when_it_ends(debian: Debian, broker: Broker) -> None:
    """The same process hears the source that fails now, and alerts."""
    before = debian.pid()
    with Subscriber(broker.port, f"{BASE}/#") as scada:
        write_settings(debian, broker, fault=FAULT)
        debian.do("systemctl", "reload", "edge-monitor")
        assert "in force: machine.pump.source.fault, machine.pump.source.fault_at_s" in debian.journal()
        [alert] = scada.wait_for(f"{BASE}/pump/alert", 1, seconds=30.0)
    assert debian.wait_for_state("alarm")["alarm_id"] == json.loads(alert.payload)["alarm_id"]
    assert debian.pid() == before
    assert debian.do("systemctl", "is-active", "edge-monitor") == "active\n"


@pytest.mark.parametrize(
    ("machine", "bundle", "reason"),
    [("pump 3", "spectral", "use 1 to 64 of A-Z"), ("pump", "no-such", "no bundle named 'no-such'")],
    ids=["a mistake in the file", "a bundle that is missing"],
)
def test_a_wrong_reload_fails_and_says_why(
    debian: Debian, broker: Broker, machine: str, bundle: str, reason: str
) -> None:
    """`systemctl reload` ends with an error, the journal has the line, and the daemon goes on as before."""
    before = (debian.pid(), debian.machine()["alarm_id"])
    write_settings(debian, broker, machine=machine, bundle=bundle, fault=FAULT)
    assert debian.run("systemctl", "reload", "edge-monitor").returncode != 0
    assert reason in debian.run("systemctl", "status", "edge-monitor", "--no-pager", "--lines=20").stdout
    write_settings(debian, broker, fault=FAULT)
    assert debian.do("systemctl", "is-active", "edge-monitor") == "active\n"
    assert (debian.pid(), debian.machine()["alarm_id"]) == before
    debian.do("systemctl", "reload", "edge-monitor")


def test_killed_it_comes_back_with_what_it_knew(debian: Debian) -> None:
    """After SIGKILL systemd starts it again; its alarm and its generation are those from before."""
    before, known = debian.pid(), debian.machine()
    debian.do("systemctl", "kill", "--signal=KILL", "edge-monitor")
    wait_until(lambda: debian.pid() not in {0, before}, HEALTHY_S, "another process")
    again = debian.wait_for_state("alarm", HEALTHY_S)
    assert [again[key] for key in ("alarm_id", "generation")] == [known[key] for key in ("alarm_id", "generation")]


def test_a_hang_ends_in_a_restart(debian: Debian) -> None:
    """Stopped in its tracks it does not ping the watchdog, and systemd starts it again; here after 4 s, not 60."""
    drop_in = debian.root / "etc/systemd/system/edge-monitor.service.d/watchdog.conf"
    drop_in.parent.mkdir()
    drop_in.write_text("[Service]\nWatchdogSec=4\n")
    debian.do("systemctl", "daemon-reload")
    debian.do("systemctl", "restart", "edge-monitor")
    before, known = debian.pid(), debian.wait_for_state("alarm")
    debian.do("systemctl", "kill", "--signal=STOP", "edge-monitor")
    wait_until(lambda: debian.pid() not in {0, before}, HEALTHY_S, "another process")
    assert "Watchdog timeout" in debian.journal()
    assert debian.wait_for_state("alarm", HEALTHY_S)["alarm_id"] == known["alarm_id"]


def test_it_stops(debian: Debian, broker: Broker) -> None:
    """In order and in time; the plant is told, and nothing of it runs on."""
    with Subscriber(broker.port, f"{BASE}/status") as scada:
        debian.do("systemctl", "stop", "edge-monitor")
        wait_until(lambda: json.loads(scada.messages[-1].payload)["state"] == "stopped", 10.0, "its farewell")
    assert debian.do("systemctl", "show", "--property=Result", "--value", "edge-monitor") == "success\n"
    assert debian.pid() == 0
    assert debian.run("test", "-e", "/run/edge-monitor").returncode == 1


def test_uninstalled_and_purged_nothing_is_left_that_was_not_named(debian: Debian, untouched: set[str]) -> None:
    """What goes beside the program, and what stays, is named; nothing else was there before the installation."""
    done = debian.do(*PURGE)
    assert done.splitlines()[-1] == (
        "install: removed, with /etc/edge-monitor /var/lib/edge-monitor /etc/systemd/system/edge-monitor.service.d;"
        " the user and group edge-monitor and the journal stay"
    )
    assert left(debian, untouched) == []
    assert debian.run("systemctl", "status", "edge-monitor").returncode == 4  # no such unit
    assert "edge-monitor" in debian.do("id", "edge-monitor")


def test_an_upgrade_carries_over_what_was_learnt(debian: Debian, broker: Broker) -> None:
    """Over the running older release: normals, generation and the active alarm go on, and the new unit is in force."""
    debian.do("/older/deploy/install.sh", "--wheels", "/wheels-older")
    assert debian.do("edge-monitor", "--version") == "edge-monitor, version 0.0.1\n"
    write_settings(debian, broker)
    debian.do("systemctl", "start", "edge-monitor")
    debian.do("edge-monitor", "enroll", "--live", "3")
    write_settings(debian, broker, fault=FAULT)
    debian.do("systemctl", "restart", "edge-monitor")
    before, known, normals = debian.pid(), debian.wait_for_state("alarm"), debian.answer("normals", "list")
    done = debian.do(*INSTALL)
    assert "the settings stay as they are" in done
    assert "the service was running, so it is restarted" in done
    assert debian.do("edge-monitor", "--version") == "edge-monitor, version 0.1.0\n"
    assert debian.pid() not in {0, before}
    now = debian.wait_for_state("alarm")
    assert [now[key] for key in ("alarm_id", "generation")] == [known[key] for key in ("alarm_id", "generation")]
    assert debian.answer("normals", "list") == normals
    debian.do("systemctl", "reload", "edge-monitor")


def test_uninstalled_what_a_person_made_stays_and_is_named(debian: Debian, untouched: set[str]) -> None:
    """While it runs: it is stopped; settings, secrets and what was learnt stay."""
    done = debian.do("/release/deploy/install.sh", "--uninstall")
    assert "removed; /etc/edge-monitor /var/lib/edge-monitor stay (--purge removes them)" in done
    stays = ("etc/edge-monitor", "var/lib/edge-monitor")
    assert [path for path in left(debian, untouched) if not path.startswith(stays)] == []
    assert (debian.root / "var/lib/edge-monitor/edge-monitor.db").is_file()
