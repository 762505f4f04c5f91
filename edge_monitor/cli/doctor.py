"""`edge-monitor doctor`: looks at everything and says what to do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_monitor.cli.answers import tell
from edge_monitor.cli.options import find_config, json_option
from edge_monitor.counting import counted
from edge_monitor.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_monitor.doctor.finding import Finding


@click.command("doctor")
@click.option("--config", "given", type=click.Path(path_type=Path), help="The configuration; default as elsewhere.")
@json_option
def command(*, given: Path | None, as_json: bool) -> None:
    """Check configuration, libraries, disk, database, daemon, sound, normals, broker and LLM, and say what to do.

    Works whether the daemon runs or not. Each of the node's MQTT topics gets a probe beside it, at TOPIC/probe.
    Exits with 1 when a check fails.
    """
    findings = []
    for finding in _findings(given):
        findings.append(finding)
        if not as_json:
            _show(finding)
    failed = sum(finding.result == "fail" for finding in findings)
    warned = sum(finding.result == "warn" for finding in findings)
    summary = f"{counted(len(findings), 'finding')}: {failed} failed, {warned} to look at"
    tell({"healthy": failed == 0, "findings": findings}, [summary], as_json=as_json)
    if failed:
        raise SystemExit(1)


def _findings(given: Path | None) -> Iterator[Finding]:
    from edge_monitor.doctor.all_checks import examine
    from edge_monitor.doctor.finding import fail

    try:
        path = find_config(given)
    except ConfigError as error:
        yield fail(f"{error.where}: {error.message}", error.hint, check="config")
        return
    yield from examine(path)


def _show(finding: Finding) -> None:
    about = f"{finding.check} of {finding.machine}" if finding.machine else finding.check
    click.echo(f"{finding.result:<4}  {about}: {finding.text}")
    if finding.hint and finding.result != "ok":
        click.echo(f"      -> {finding.hint}")
