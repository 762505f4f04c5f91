"""`edge-monitor listen`: a meter for placing the microphone."""

from __future__ import annotations

import sys
from contextlib import ExitStack, closing, suppress
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_monitor.cli.answers import to_json
from edge_monitor.cli.options import complete_machines, find_config, json_option, verbose_option
from edge_monitor.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from edge_monitor.capture.meter import Meter
    from edge_monitor.capture.source import Source
    from edge_monitor.config.machine import MachineSettings
    from edge_monitor.node.live import Reading
    from edge_monitor.node.verdict import Verdict
    from edge_monitor.records import AudioBlock, AudioLoss

    Heard = Meter | AudioLoss | Verdict

_READING_S = 0.5


@click.command("listen")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option(
    "--config", "config_path", type=click.Path(path_type=Path), help="The configuration with --machine in it."
)
@click.option("--machine", shell_complete=complete_machines, help="Listen to this machine's source.")
@click.option("--device", help="Listen to this input, as `edge-monitor devices` prints it, or a part of it.")
@click.option("--channel", type=click.IntRange(1, 256), default=1, show_default=True, help="Of the input or the file.")
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="Stop after this much sound.")
@verbose_option
@json_option
def command(
    *,
    file: Path | None,
    config_path: Path | None,
    machine: str | None,
    device: str | None,
    channel: int,
    seconds: float | None,
    verbose: bool,
    as_json: bool,
) -> None:
    """Show level, peak, clipping and frequency bands of a machine's source, an input, or a FILE.

    Without any of them: the default input. Stop with Ctrl-C. While the daemon runs, its own stream is shown. With
    --machine the verdict on it, good, thin or deaf, comes first, and again when it changes.
    """
    if sum(given is not None for given in (file, machine, device)) > 1:
        raise click.UsageError("give one of FILE, --machine and --device")
    if config_path is not None and machine is None:
        raise click.UsageError("--config goes with --machine")
    stack = ExitStack()
    try:
        tapped: Iterator[Heard] | None = None
        if machine is not None:
            tapped = _tap(stack, config_path, machine, seconds)
        if tapped is None:
            source = _open(file, config_path, machine, device, channel)
            stack.callback(source.close)
            tapped = _read(source.items(), seconds)
            if machine is not None and (verdict := _learnt(config_path, machine)):
                tapped = chain([verdict], tapped)
        for item in tapped:
            _show(item, verbose=verbose, as_json=as_json)
    except KeyboardInterrupt:
        pass
    finally:
        stack.close()
        if not as_json and sys.stdout.isatty():
            click.echo()


def _tap(stack: ExitStack, config_path: Path | None, machine: str, seconds: float | None) -> Iterator[Heard] | None:
    """Return what the running daemon hears, and the verdict whenever it changes; None when none runs."""
    from edge_monitor.api.daemon_client import daemon_at
    from edge_monitor.config.file import load_settings
    from edge_monitor.node.operation import OfMachine
    from edge_monitor.node.operations import LISTEN
    from edge_monitor.store.state_dir import StateDir

    socket = StateDir.of(load_settings(find_config(config_path)).node).control_socket
    daemon = stack.enter_context(daemon_at(socket))
    if daemon is None:
        return None
    readings = stack.enter_context(closing(daemon.follow(LISTEN, OfMachine(machine=machine))))
    return with_changes(islice(readings, None if seconds is None else max(1, round(seconds / _READING_S))), machine)


def with_changes(readings: Iterable[Reading], machine: str) -> Iterator[Heard]:
    """Yield what each reading says of a machine's sound; before it the verdict, when that is another than before."""
    from edge_monitor.records import AudioLoss

    told = None
    for each in readings:
        if each.verdict.line != told:
            told = each.verdict.line
            yield each.verdict
        yield each.meter or AudioLoss(machine, 0.0, each.loss or "")


def _learnt(config_path: Path | None, machine: str) -> Verdict | None:
    """Return the verdict while no daemon runs; None when what was learnt cannot be looked at: the meter needs none."""
    from edge_monitor.config.file import load_settings
    from edge_monitor.errors import EdgeMonitorError
    from edge_monitor.node.node import Node
    from edge_monitor.node.verdict import Facts, judge
    from edge_monitor.store.schema import SCHEMA_VERSION, version_of

    with suppress(EdgeMonitorError, OSError):
        node = Node(load_settings(find_config(config_path)), writes=False)
        if not node.state_dir.database.exists():
            return judge(Facts())
        with node.state_dir.as_owner():
            with node.reading() as connection:
                if version_of(connection) != SCHEMA_VERSION:  # the next start brings it up to date
                    return None
            return node.running.verdict(machine)
    return None


def _open(file: Path | None, config_path: Path | None, machine: str | None, device: str | None, channel: int) -> Source:
    from edge_monitor.capture.source import open_sources
    from edge_monitor.config.machine import MachineSettings, MicrophoneSource, RecordingSource

    if machine is not None:
        settings = _configured(config_path, machine)
        if isinstance(settings.source, MicrophoneSource):
            _require_input(settings.source.device)
    elif file is not None:
        settings = MachineSettings(name="file", source=RecordingSource(kind="recording", path=file, channel=channel))
    else:
        _require_input(device or "default")
        microphone = MicrophoneSource(kind="microphone", device=device or "default", channel=channel)
        settings = MachineSettings(name="microphone", source=microphone)
    return open_sources([settings])[0]


def _configured(config_path: Path | None, machine: str) -> MachineSettings:
    from edge_monitor.config.file import load_settings

    path = find_config(config_path)
    machines = {settings.name: settings for settings in load_settings(path).machine}
    if machine not in machines:
        raise ConfigError(f"no machine is named {machine!r}", where=str(path), hint=f"machines: {', '.join(machines)}")
    return machines[machine]


def _require_input(device: str) -> None:
    """Refuse an input that is not there: a person who names it wants to know now; a daemon would wait for it."""
    from edge_monitor.capture.devices import list_devices, resolve

    resolve(list_devices(), device)


def _read(items: Iterator[AudioBlock | AudioLoss], seconds: float | None) -> Iterator[Meter | AudioLoss]:
    """Yield a reading for each half second of sound, and every loss; without sound, `seconds` of waiting are enough."""
    import time

    import numpy as np

    from edge_monitor.capture.meter import meter
    from edge_monitor.records import AudioLoss

    pending: list[AudioBlock] = []
    heard_s = pending_s = 0.0
    began_s = time.monotonic()
    for item in items:
        if isinstance(item, AudioLoss):
            yield item
            if seconds is not None and time.monotonic() - began_s >= seconds:
                return
            continue
        pending.append(item)
        pending_s += len(item.samples) / item.rate_hz
        heard_s += len(item.samples) / item.rate_hz
        enough = seconds is not None and heard_s >= seconds
        if pending_s >= _READING_S or item.last or enough:
            yield meter(np.concatenate([block.samples for block in pending]), item.rate_hz)
            pending, pending_s = [], 0.0
        if enough:
            return


def _show(item: Heard, *, verbose: bool, as_json: bool) -> None:
    from edge_monitor.node.verdict import Verdict
    from edge_monitor.records import AudioLoss

    if as_json:
        named = {"loss": item.reason} if isinstance(item, AudioLoss) else item
        click.echo(to_json({"verdict": item} if isinstance(item, Verdict) else named))
        return
    clear = "\r\x1b[K" if sys.stdout.isatty() else ""  # back to the line's start, and clear it
    if isinstance(item, Verdict):
        click.echo(f"{clear}{item.line}")
        if verbose and item.figures:
            click.echo(item.figures)
        return
    line = f"no sound: {item.reason}" if isinstance(item, AudioLoss) else item.line()
    click.echo(f"{clear}{line}", nl=not clear)
