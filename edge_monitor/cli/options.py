"""Options that several commands share."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edge_monitor.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_monitor.config.settings import Settings

CONFIG_VARIABLE = "EDGE_MONITOR_CONFIG"
CONFIG_PLACES = (Path("edge-monitor.toml"), Path("/etc/edge-monitor/edge-monitor.toml"))

_Command = TypeVar("_Command", bound="Callable[..., object]")


def find_config(given: Path | None) -> Path:
    """Return the configuration to use: the given one, $EDGE_MONITOR_CONFIG, ./ or /etc/edge-monitor/.

    Raises ConfigError when there is none in any of these places. A given path is returned as it is.
    """
    if given is not None:
        return given
    if variable := os.environ.get(CONFIG_VARIABLE):
        return Path(variable)
    for place in CONFIG_PLACES:
        if place.exists():
            return place
    raise ConfigError(
        "no configuration",
        where=" or ".join(map(str, CONFIG_PLACES)),
        hint="`edge-monitor config init` writes one, --config names another",
    )


def optional_settings(given: Path | None) -> Settings | None:
    """Return the configuration that `find_config` finds; None when there is none. Raises ConfigError for mistakes."""
    from edge_monitor.config.file import load_settings

    try:
        path = find_config(given)
    except ConfigError:
        return None
    return load_settings(path)


def config_option(command: _Command) -> _Command:
    """Add `--config`; the command receives `config_path: Path`, found as `find_config` does."""
    return click.option(
        "--config",
        "config_path",
        is_eager=True,  # --machine looks into it
        type=click.Path(path_type=Path),
        callback=lambda _context, _option, given: find_config(given),
        help="The configuration; default: $EDGE_MONITOR_CONFIG, ./edge-monitor.toml, /etc/edge-monitor/…",
    )(command)


class FiniteRange(click.FloatRange):
    """A range of numbers; what is none, or infinite, lies in no range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401 - click's own
        """Return the number. Raises click.BadParameter."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{number} is not a finite number.", param, ctx)
        return number


def json_option(command: _Command) -> _Command:
    """Add `--json`; the command receives `as_json: bool`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")(command)


def complete_machines(context: click.Context, _option: click.Parameter, begun: str) -> list[str]:
    """Return the configuration's machines whose names begin so, for the shell; none when it cannot be read."""
    try:
        settings = optional_settings(context.params.get("config_path"))
    except ConfigError:
        return []
    return [machine.name for machine in settings.machine if machine.name.startswith(begun)] if settings else []


def machine_option(command: _Command) -> _Command:
    """Add `--machine`; the command receives `machine: str`, by default the configuration's only machine.

    Goes below `config_option`.
    """
    return click.option(
        "--machine",
        callback=_only_machine,
        shell_complete=complete_machines,
        help="The machine's name; default: the only one of the configuration.",
    )(command)


def _only_machine(context: click.Context, option: click.Parameter, given: str | None) -> str:
    from edge_monitor.config.file import load_settings

    if given is not None:
        return given
    names = [machine.name for machine in load_settings(context.params["config_path"]).machine]
    if len(names) > 1:
        raise click.MissingParameter(f"The configuration has {', '.join(names)}.", context, option)
    return names[0]


def dry_run_option(command: _Command) -> _Command:
    """Add `--dry-run`; the command receives `dry_run: bool`."""
    return click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")(command)
