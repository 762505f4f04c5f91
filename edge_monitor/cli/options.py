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


def find_settings(given: Path | None) -> Settings:
    """Return the settings of the configuration that `find_config` finds. Raises ConfigError."""
    from edge_monitor.config.file import load_settings

    return load_settings(find_config(given))


def optional_settings(given: Path | None) -> Settings | None:
    """Return the settings of the configuration that `find_config` finds; None without one. Raises ConfigError."""
    try:
        path = find_config(given)
    except ConfigError:
        return None
    return find_settings(path)


def _config_option(
    name: str, find: Callable[[Path | None], object], text: str = "The configuration, if any."
) -> Callable[[_Command], _Command]:
    return click.option(
        "--config",
        name,
        is_eager=True,  # --machine looks into it
        type=click.Path(path_type=Path),
        callback=lambda _context, _option, given: find(given),
        help=text,
    )


_DEFAULT_CONFIG = "The configuration; default: $EDGE_MONITOR_CONFIG, ./edge-monitor.toml, /etc/edge-monitor/…"


def config_option(command: _Command) -> _Command:
    """Add `--config`; the command receives `config_path: Path`, found as `find_config` does."""
    return _config_option("config_path", find_config, _DEFAULT_CONFIG)(command)


def settings_option(command: _Command) -> _Command:
    """Add `--config`; the command receives what it says as `settings: Settings`."""
    return _config_option("settings", find_settings, _DEFAULT_CONFIG)(command)


def optional_settings_option(command: _Command) -> _Command:
    """Add `--config`; the command receives `settings: Settings | None`."""
    return _config_option("settings", optional_settings)(command)


class FiniteRange(click.FloatRange):
    """A range of numbers; what is none, or infinite, lies in no range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401 - click's own
        """Return the number. Raises click.BadParameter."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{number} is not a finite number.", param, ctx)
        return number


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
verbose_option = click.option("--verbose", is_flag=True, help="Also the figures behind the verdict.")
dry_run_option = click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
force_option = click.option("--force", is_flag=True, help="Overwrite FILE.")
pattern_option = click.option("--pattern", default="*", show_default=True, help="Which files of a folder.")
channel_option = click.option(
    "--channel", type=click.IntRange(1, 256), default=1, show_default=True, help="Of the files, from 1."
)
bundle_option = click.option(
    "--bundle",
    "bundle_name",
    metavar="NAME",
    help="A bundle's name, or a path with a slash; default: the configuration's.",
)


def complete_machines(context: click.Context, _option: click.Parameter, begun: str) -> list[str]:
    """Return the configuration's machines whose names begin so, for the shell; none when it cannot be read."""
    try:
        settings: Settings | None = context.params.get("settings") or optional_settings(
            context.params.get("config_path")
        )
    except ConfigError:
        return []
    return [machine.name for machine in settings.machine if machine.name.startswith(begun)] if settings else []


def machine_option(command: _Command) -> _Command:
    """Add `--config` and `--machine`; the command receives `settings: Settings` and `machine: str`.

    By default that is the configuration's only machine.
    """
    machine = click.option(
        "--machine",
        callback=_only_machine,
        shell_complete=complete_machines,
        help="The machine's name; default: the only one of the configuration.",
    )
    return settings_option(machine(command))


def _only_machine(context: click.Context, option: click.Parameter, given: str | None) -> str:
    if given is not None:
        return given
    settings: Settings = context.params["settings"]
    names = [machine.name for machine in settings.machine]
    if len(names) > 1:
        raise click.MissingParameter(f"The configuration has {', '.join(names)}.", context, option)
    return names[0]
