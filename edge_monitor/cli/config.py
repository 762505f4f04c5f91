"""`edge-monitor config`: write, check and show edge-monitor.toml."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_monitor.cli.options import config_option, json_option, settings_option
from edge_monitor.errors import ConfigError

if TYPE_CHECKING:
    from edge_monitor.config.settings import Settings

_STATE_DIR = Path("/var/lib/edge-monitor")  # the example's
_OWN_STATE_DIR = '"state"'  # beside the configuration, for who may not write there


@click.group(name="config")
def command() -> None:
    """Write, check or show the configuration."""


@command.command()
@click.option(
    "--path",
    type=click.Path(path_type=Path),
    default=Path("edge-monitor.toml"),
    show_default=True,
    help="Where to write it.",
)
@click.option("--force", is_flag=True, help="Replace an existing file.")
def init(path: Path, force: bool) -> None:
    """Write a commented example to start from; its state directory is one that this user may write."""
    from importlib.resources import files

    example = files("edge_monitor").joinpath("config/example.toml").read_text("utf-8")
    if not os.access(_STATE_DIR if _STATE_DIR.exists() else _STATE_DIR.parent, os.W_OK):
        example = example.replace(f'"{_STATE_DIR}"  ', f"{_OWN_STATE_DIR:<{len(str(_STATE_DIR)) + 4}}")
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(example)
    except FileExistsError:
        raise ConfigError("exists already", where=str(path), hint="--force replaces it, --path names another") from None
    except OSError as error:
        hint = "name a folder that exists and may be written"
        raise ConfigError(f"cannot be written: {error.strerror}", where=str(path), hint=hint) from error
    click.echo(f"{path} written. Next: put in your site, broker and microphone (`edge-monitor devices`), then check.")


@command.command()
@config_option
def check(config_path: Path) -> None:
    """Say whether the configuration is sound, and the bundle, recordings and password files it names are there.

    Every mistake comes with its line. Microphones and the broker are not tried: `edge-monitor doctor` does.
    """
    from edge_monitor.config.file import load_settings
    from edge_monitor.node.preflight import require_named

    settings = load_settings(config_path)
    require_named(settings)
    click.echo(f"{config_path}: ok: {_summary(settings)}")


def _summary(settings: Settings) -> str:
    machines = ", ".join(machine.name for machine in settings.machine)
    broker = f"MQTT to {settings.mqtt.host}:{settings.mqtt.port}" if settings.mqtt else "no broker, alerts stay here"
    return f"{settings.node.site}/{settings.node.name} hears {machines}; {broker}"


@command.command()
@settings_option
@json_option
def show(settings: Settings, as_json: bool) -> None:
    """Show the settings in effect, defaults included and secrets masked."""
    if as_json:
        click.echo(settings.model_dump_json(by_alias=True, indent=2))
        return
    click.echo("\n".join(_lines(settings.model_dump(mode="json", by_alias=True))))


def _lines(value: object, key: str = "") -> list[str]:
    """Return `key = value`, one line per setting; what is not set is left out."""
    if isinstance(value, dict):
        return [line for name, part in value.items() for line in _lines(part, f"{key}.{name}".lstrip("."))]
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [line for index, part in enumerate(value, 1) for line in _lines(part, f"{key}[{index}]")]
    return [] if value is None else [f"{key} = {json.dumps(value, ensure_ascii=False)}"]


@command.command()
def schema() -> None:
    """Print the JSON Schema of the configuration, for editors."""
    from edge_monitor.config.settings import Settings

    click.echo(json.dumps(Settings.model_json_schema(), indent=2))


@command.command()
def reference() -> None:
    """Print every table and key with its meaning, as Markdown."""
    from edge_monitor.config.reference import reference as written

    click.echo(written(), nl=False)
