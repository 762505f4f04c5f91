"""The doctor's rounds: every check in its order, each finding as it comes."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

from edge_monitor.config.file import load_settings
from edge_monitor.counting import counted
from edge_monitor.doctor.computer import look_at_clock, look_at_libraries, look_at_memory, look_at_unit
from edge_monitor.doctor.finding import Finding, carefully, fail, ok, skip, warn
from edge_monitor.doctor.running import ask_status, judge_status
from edge_monitor.doctor.storage import look_at_database, look_at_disk, look_at_permissions, may_enter
from edge_monitor.errors import ConfigError
from edge_monitor.store.state_dir import StateDir

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_monitor.config.settings import Settings
    from edge_monitor.encode.bundle import Bundle
    from edge_monitor.node.status import NodeStatus

_DEFAULT_WINDOW_S = 10.0


def examine(config_path: Path) -> Iterator[Finding]:
    """Yield a finding for everything a node needs, the configuration first.

    Changes nothing: it writes a temporary file, opens inputs while no daemon runs, and sends probes to the broker.
    """
    settings = None
    try:
        settings = load_settings(config_path)
    except ConfigError as error:
        for line in str(error).splitlines():
            yield fail(line, "correct it; `edge-monitor config check` tells whether it is", check="config")
    else:
        names = ", ".join(machine.name for machine in settings.machine)
        yield ok(f"{config_path}: machines {names}", check="config")
    broken = False
    for finding in carefully("libraries", look_at_libraries()):
        broken = broken or finding.result == "fail"
        yield finding
    yield from carefully("clock", look_at_clock())
    yield from carefully("memory", look_at_memory())
    yield from carefully("unit", look_at_unit())
    if settings is None:
        yield skip("state, machines, broker and LLM: they need a configuration", check="node")
        return
    yield from _examine_node(settings, config_path, broken=broken)


def _examine_node(settings: Settings, config_path: Path, *, broken: bool) -> Iterator[Finding]:
    state_dir = StateDir.of(settings.node)
    bundles: list[Bundle] = []
    yield from carefully("bundle", _look_at_bundle(settings, bundles))
    bundle = bundles[0] if bundles else None
    open_to_us = state_dir.path.is_dir() and may_enter(state_dir)
    if not state_dir.path.is_dir():
        yield warn(f"{state_dir.path}: there is none yet", "`edge-monitor enroll` or `run` makes it", check="state")
    elif not open_to_us:
        yield skip(
            f"{state_dir.path}: this user may not look into it", "run doctor as its owner or as root", check="state"
        )
    else:
        for check, findings in (
            ("disk", look_at_disk(settings, state_dir)),
            ("database", look_at_database(state_dir)),
            ("permissions", look_at_permissions(settings, state_dir, config_path)),
        ):
            yield from carefully(check, _as_owner(state_dir, findings))
    statuses: list[NodeStatus] = []
    yield from carefully("daemon", _look_at_daemon(state_dir, bundle, statuses))
    if broken:
        yield skip("their sound and normals: a library they need cannot be used", check="machines")
    else:
        yield from _examine_machines(settings, state_dir, bundle, running=bool(statuses), open_to_us=open_to_us)
    from edge_monitor.doctor.servers import look_at_broker, look_at_llm

    yield from carefully("broker", look_at_broker(settings))
    yield from carefully("llm", look_at_llm(settings))


def _examine_machines(
    settings: Settings, state_dir: StateDir, bundle: Bundle | None, *, running: bool, open_to_us: bool
) -> Iterator[Finding]:
    from edge_monitor.doctor.machine import look_at_normals_of, look_at_sound

    bundle_hash = None if bundle is None else bundle.bundle_hash
    for machine in settings.machine:
        sound = look_at_sound(machine, state_dir.control_socket, running=running)
        yield from carefully("sound", sound, machine=machine.name)
        if open_to_us or not state_dir.path.is_dir():
            normals = look_at_normals_of(machine, state_dir.database, bundle_hash)
            yield from carefully("normals", _as_owner(state_dir, normals), machine=machine.name)


def _as_owner(state_dir: StateDir, findings: Iterator[Finding]) -> Iterator[Finding]:
    """Look as the directory's owner when root does: SQLite makes files beside a database even to read it."""
    with state_dir.as_owner() if state_dir.path.is_dir() else nullcontext():
        found = list(findings)
    yield from found


def _look_at_bundle(settings: Settings, bundles: list[Bundle]) -> Iterator[Finding]:
    """Yield what the bundle's files are worth; the bundle, if it is one, is appended to `bundles`."""
    from edge_monitor.node.used_bundle import GO_OVER, used_bundle

    used = used_bundle(settings)
    bundle = used.bundle
    bundles.append(bundle)
    bundle.verify()
    files = counted(len(bundle.manifest.file), "file")
    yield ok(f"{bundle.name} {bundle.bundle_hash[:12]}: {files} with the right hash")
    if text := used.superseded:
        yield warn(text, GO_OVER)


def _look_at_daemon(state_dir: StateDir, bundle: Bundle | None, statuses: list[NodeStatus]) -> Iterator[Finding]:
    """Yield what the running daemon says; its status, if there is one, is appended to `statuses`."""
    status = ask_status(state_dir.control_socket)
    if status is None:
        yield warn("does not run", "`systemctl start edge-monitor`, or `edge-monitor run`")
        return
    statuses.append(status)
    yield from judge_status(status, window_s=_DEFAULT_WINDOW_S if bundle is None else bundle.manifest.audio.window_s)
