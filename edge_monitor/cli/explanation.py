"""Lines that say how a sound differs, for `explain` and `alarms show`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from edge_monitor.node.explanations import Explained, StoredExplanation
    from edge_monitor.records import Finding, Neighbour


def neighbour_lines(neighbours: Iterable[Neighbour]) -> Iterator[str]:
    """Yield each of the nearest normals."""
    for each in neighbours:
        place = f"{each.recording} at {each.recording_start_s:.0f} s"
        yield f"  nearest normal: {place}, distance {each.distance:.4g}"


def stored_line(explanation: StoredExplanation) -> str:
    """Return a stored explanation, or that it is not there, and when that was."""
    method = explanation.method
    if explanation.status == "waiting":
        return f"  {method}: not yet"
    if explanation.status == "unavailable":
        return f"  {method} ({explanation.at}): unavailable: {explanation.reason}"
    form = "" if explanation.format_ok in (None, True) else ", not in the form it was asked for"
    by = (f", {explanation.model}" if explanation.model else "") + form
    return f"  {method} ({explanation.at}{by}): {explanation.text}"


def difference_lines(explained: Explained, told: Collection[str | None] = ()) -> Iterator[str]:
    """Yield how a sound differs, in words unless they are `told` already.

    Then what was measured, largest first; what was measured of, and what the bundle hears in, each reference text; the
    captions; an LLM's answer.
    """
    if explained.text is None:
        yield f"\nno measured difference: {explained.reason}"
    elif explained.text not in told:
        yield f"\n{explained.text}"
    if explained.findings:
        yield f"\n{'finding':<24}{'value':>11}{'normal':>11}  {'unit':<5}{'deviation':>10}  where"
    yield from map(_finding_line, explained.findings)
    yield from _text_lines(explained)
    if worded := explained.worded:
        yield f"\n{worded.model}, {worded.method}: {worded.text}"
        if not worded.format_ok:
            yield "  (not in the form it was asked for)"


def _text_lines(explained: Explained) -> Iterator[str]:
    if explained.counterparts:
        yield "\nmeasured for each reference text: 0 = as normal, beyond 1 stands out"
        for text, value in explained.counterparts.items():
            yield f"  {'none' if value is None else f'{value:+.1f}':>7}  {text}"
    if explained.similarities:
        yield "\nsimilarity of this sound, and of its nearest normals, to each text"
        for text, cosines in explained.similarities.items():
            others = " ".join(f"{value:+.3f}" for value in cosines.normals)
            yield f"  {cosines.anomaly:+.3f}  {others}  {text}"
    if explained.captions:
        yield f"\ncaption\n  this sound: {explained.captions.anomaly}"
        for number, caption in enumerate(explained.captions.normals, start=1):
            yield f"  normal {number}:   {caption}"


def _finding_line(finding: Finding) -> str:
    value, normal = ("none" if figure is None else f"{figure:.4g}" for figure in (finding.value, finding.normal))
    band = "" if finding.band_hz is None else "{:.0f} to {:.0f} Hz".format(*finding.band_hz)
    figures = f"{finding.name:<24}{value:>11}{normal:>11}  {finding.unit:<5}{finding.deviation:>10.1f}"
    return f"{figures}  {band}".rstrip()
