"""The doctor's rounds: every check in its order, each finding as it comes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from edge_monitor.config.file import load_settings
from edge_monitor.counting import counted
from edge_monitor.doctor.computer import look_at_clock, look_at_memory, look_at_unit
from edge_monitor.doctor.finding import Finding, carefully
from edge_monitor.doctor.libraries import look_at_libraries
from edge_monitor.doctor.running import ask_status, judge_status
from edge_monitor.doctor.storage import look_at_database, look_at_disk, look_at_permissions, may_enter
from edge_monitor.errors import ConfigError, EdgeMonitorError
from edge_monitor.store.state_dir import StateDir

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
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
            yield Finding("config", "fail", line, "correct it; `edge-monitor config check` tells whether it is")
    else:
        names = ", ".join(machine.name for machine in settings.machine)
        yield Finding("config", "ok", f"{config_path}: machines {names}")
    broken = False
    for finding in carefully("libraries", look_at_libraries):
        broken = broken or finding.result == "fail"
        yield finding
    yield from carefully("clock", look_at_clock)
    yield from carefully("memory", look_at_memory)
    yield from carefully("unit", look_at_unit)
    if settings is None:
        yield Finding("node", "skip", "state, machines, broker and LLM: they need a configuration")
        return
    yield from _examine_node(settings, config_path, broken=broken)


def _examine_node(settings: Settings, config_path: Path, *, broken: bool) -> Iterator[Finding]:
    state_dir = StateDir.of(settings.node)
    bundle = None
    for item in _look_at_bundle(settings):
        if isinstance(item, Finding):
            yield item
        else:
            bundle = item
    open_to_us = state_dir.path.is_dir() and may_enter(state_dir)
    if not state_dir.path.is_dir():
        yield Finding(
            "state", "warn", f"{state_dir.path}: there is none yet", "`edge-monitor enroll` or `run` makes it"
        )
    elif not open_to_us:
        yield Finding(
            "state", "skip", f"{state_dir.path}: this user may not look into it", "run doctor as its owner or as root"
        )
    else:
        checks: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
            ("disk", partial(look_at_disk, settings, state_dir)),
            ("database", partial(look_at_database, state_dir)),
            ("permissions", partial(look_at_permissions, settings, state_dir, config_path)),
        ]
        for check, look in checks:
            yield from carefully(check, partial(_as_owner, state_dir, look))
    status = None
    for found in _look_at_daemon(state_dir, bundle):
        if isinstance(found, Finding):
            yield found
        else:
            status = found
    if broken:
        yield Finding("machines", "skip", "their sound and normals: a library they need cannot be used")
    else:
        yield from _examine_machines(settings, state_dir, bundle, running=status is not None, open_to_us=open_to_us)
    from edge_monitor.doctor.plant import look_at_broker, look_at_llm

    yield from carefully("broker", partial(look_at_broker, settings))
    yield from carefully("llm", partial(look_at_llm, settings))


def _examine_machines(
    settings: Settings, state_dir: StateDir, bundle: Bundle | None, *, running: bool, open_to_us: bool
) -> Iterator[Finding]:
    from edge_monitor.doctor.machine import look_at_memory_of, look_at_sound

    bundle_hash = None if bundle is None else bundle.bundle_hash
    for machine in settings.machine:
        look = partial(look_at_sound, machine, state_dir.control_socket, running=running)
        yield from carefully("sound", look, machine=machine.name)
        if open_to_us or not state_dir.path.is_dir():
            look = partial(look_at_memory_of, machine, state_dir.database, bundle_hash)
            yield from carefully("normals", partial(_as_owner, state_dir, look), machine=machine.name)


def _as_owner(state_dir: StateDir, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """Look as the directory's owner when root does: SQLite makes files beside a database even to read it."""
    if not state_dir.path.is_dir():
        return look()
    with state_dir.as_owner():
        return iter(list(look()))


def _look_at_bundle(settings: Settings) -> Iterator[Finding | Bundle]:
    """Yield what the bundle's files are worth, and the bundle if it is one."""
    from edge_monitor.encode.bundle import find_bundle

    try:
        bundle = find_bundle(settings.model.bundle, settings.node.state_dir)
        yield bundle
        bundle.verify()
    except EdgeMonitorError as error:
        text = f"{error.where}: {error.message}" if error.where else error.message
        yield Finding("bundle", "fail", text, error.hint)
    else:
        files = counted(len(bundle.manifest.file), "file")
        yield Finding("bundle", "ok", f"{bundle.name} {bundle.bundle_hash[:12]}: {files} with the right hash")


def _look_at_daemon(state_dir: StateDir, bundle: Bundle | None) -> Iterator[Finding | NodeStatus]:
    """Yield what the running daemon says, and its status if there is one."""
    try:
        status = ask_status(state_dir.control_socket)
    except EdgeMonitorError as error:
        text = f"{error.where}: {error.message}" if error.where else error.message
        yield Finding("daemon", "fail", text, error.hint)
        return
    if status is None:
        yield Finding("daemon", "warn", "does not run", "`systemctl start edge-monitor`, or `edge-monitor run`")
        return
    yield status
    window_s = _DEFAULT_WINDOW_S if bundle is None else bundle.manifest.audio.window_s
    yield from carefully("daemon", partial(judge_status, status, window_s=window_s))
