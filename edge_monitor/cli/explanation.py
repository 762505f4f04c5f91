"""How explanations are printed, by `explain` and by `alarms show`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_monitor.node.explanations import Explained, StoredExplanation, Worded
    from edge_monitor.records import Finding


def print_explanation(explanation: StoredExplanation) -> None:
    """Print a stored explanation, or that it is not there, and when that was."""
    method = explanation.method
    if explanation.status == "waiting":
        click.echo(f"  {method}: not yet")
    elif explanation.status == "unavailable":
        click.echo(f"  {method} ({explanation.at}): unavailable: {explanation.reason}")
    else:
        form = "" if explanation.format_ok in (None, True) else ", not in the form it was asked for"
        by = (f", {explanation.model}" if explanation.model else "") + form
        click.echo(f"  {method} ({explanation.at}{by}): {explanation.text}")


def print_findings(findings: Sequence[Finding]) -> None:
    """Print what was measured as a table, largest first."""
    if not findings:
        return
    click.echo(f"\n{'finding':<24}{'value':>11}{'normal':>11}  {'unit':<5}{'deviation':>10}  where")
    for each in findings:
        click.echo(
            f"{each.name:<24}{_figure(each.value):>11}{_figure(each.normal):>11}  {each.unit:<5}"
            f"{each.deviation:>10.1f}  {_band(each.band_hz)}".rstrip()
        )


def print_texts(explained: Explained) -> None:
    """Print what was measured of, and what the bundle hears in, each reference text; then the captions."""
    if explained.counterparts:
        click.echo("\nmeasured for each reference text: 0 = as normal, beyond 1 stands out")
        for text, value in explained.counterparts.items():
            click.echo(f"  {'none' if value is None else f'{value:+.1f}':>7}  {text}")
    if explained.similarities:
        click.echo("\nsimilarity of this sound, and of its nearest normals, to each text")
        for text, cosines in explained.similarities.items():
            others = " ".join(f"{value:+.3f}" for value in cosines.normals)
            click.echo(f"  {cosines.anomaly:+.3f}  {others}  {text}")
    if explained.captions:
        click.echo(f"\ncaption\n  this sound: {explained.captions.anomaly}")
        for number, caption in enumerate(explained.captions.normals, start=1):
            click.echo(f"  normal {number}:   {caption}")


def print_worded(worded: Worded) -> None:
    """Print an LLM's answer."""
    click.echo(f"\n{worded.model}, {worded.method}: {worded.text}")
    if not worded.format_ok:
        click.echo("  (not in the form it was asked for)")


def _figure(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"


def _band(band_hz: tuple[float, float] | None) -> str:
    return "" if band_hz is None else f"{band_hz[0]:.0f} to {band_hz[1]:.0f} Hz"
