"""`edge-monitor evaluate captions`: what explanations are worth to people who listen."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_monitor.cli.answers import say, tell, warn
from edge_monitor.cli.options import bundle_option, channel_option, json_option, optional_settings_option
from edge_monitor.counting import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_monitor.config.settings import Settings
    from edge_monitor.evaluate.ratings import Opinion, Tally


@click.command("captions")
@click.argument("paths", metavar="DATASET | --tally CSV...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="The sheet's folder.")
@click.option("--tally", "is_tally", is_flag=True, help="Count filled CSVs of the sheet in --out.")
@bundle_option
@optional_settings_option
@click.option("--machine", "machines", multiple=True, help="Only this machine of the data set; may be repeated.")
@channel_option
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the captions' blind order.")
@json_option
def command(
    *,
    paths: tuple[Path, ...],
    out: Path,
    is_tally: bool,
    bundle_name: str | None,
    settings: Settings | None,
    machines: tuple[str, ...],
    channel: int,
    seed: int,
    as_json: bool,
) -> None:
    """Make a listening sheet of a data set, for people to rate what the explanations are worth.

    It has the three test clips of each machine id that stand out most, their nearest normals and the caption of each
    method in blind order. With --tally: mean opinion scores from the CSVs that raters sent back.
    """
    if is_tally:
        _tally(paths, out, as_json=as_json)
        return
    if len(paths) > 1:
        raise click.UsageError("One DATASET at a time; --tally counts CSV files.")
    from edge_monitor.config.settings import ExplainSettings, ModelSettings
    from edge_monitor.encode.bundle import find_bundle
    from edge_monitor.encode.encoder import Encoder
    from edge_monitor.evaluate.captions import Captions
    from edge_monitor.evaluate.datasets import read_dataset
    from edge_monitor.evaluate.learnt import ClipEncoder
    from edge_monitor.evaluate.listening import PAGE, Progress, key_of, make
    from edge_monitor.explain.prompts import PROMPT_VERSION

    model = settings.model if settings else ModelSettings()
    explain = settings.explain if settings else ExplainSettings()
    state_dir = settings.node.state_dir if settings else None
    bundle = find_bundle(bundle_name or model.bundle, state_dir)
    dataset = read_dataset(paths[0], machines)
    progress = Progress(tell=say, complain=warn)
    for line in dataset.warnings:
        progress.complain(line)
    captions = Captions(bundle, model, explain, state_dir)
    for method, why in captions.missing.items():
        progress.tell(f"not on the sheet: {method}: {why}")
    encoder = Encoder(bundle, model.threads)
    made_with = {"bundle": bundle.name, "bundle_hash": bundle.bundle_hash, "prompt_version": PROMPT_VERSION}
    if explain.llm != "off":
        made_with["model"] = explain.model
    sheet = make(
        dataset,
        ClipEncoder(encoder, channel),
        captions,
        out,
        seed=seed,
        window_s=encoder.window_s,
        made_with=made_with,
        progress=progress,
    )
    count = sum(len(item.captions) for item in sheet.items)
    page, key = str(out / PAGE), str(key_of(out))
    made = {"page": page, "key": key, "sheet": sheet.name, "items": len(sheet.items), "captions": count}
    lines = [
        f"{page}: {len(sheet.items)} items with {count} captions to rate",
        f"{key}: whose caption is whose; no rater may see it",
    ]
    tell({**made, "missing": sheet.missing}, lines, as_json=as_json)


def _tally(paths: tuple[Path, ...], out: Path, *, as_json: bool) -> None:
    from edge_monitor.errors import DatasetError
    from edge_monitor.evaluate.listening import key_of
    from edge_monitor.evaluate.ratings import read_answers, read_key, tally

    answers = read_answers(paths, read_key(key_of(out)))
    for line in answers.complaints:
        warn(line)
    if not answers.ratings:
        raise DatasetError("nothing to count: no rating belongs to this sheet", where=str(out))
    found = tally(answers.ratings)
    rows = [
        {"machine": row.machine, "id": row.machine_id, "method": row.method, **asdict(row.opinion)}
        for row in found.rows
    ]
    methods = [
        {"method": row.method, "ids": row.ids, "ids_above_3": row.ids_above, **asdict(row.opinion)}
        for row in found.methods
    ]
    tell({"methods": methods, "rows": rows}, _lines(found), as_json=as_json)


def _lines(found: Tally) -> Iterator[str]:
    from edge_monitor.evaluate.ratings import PAPER_ABOVE, PAPER_IDS

    wide = max(len(f"{row.machine} {row.machine_id}") for row in found.rows)
    yield f"{'machine id':{wide}}  {'method':15}  mean opinion score, 95 % interval"
    for row in found.rows:
        yield f"{f'{row.machine} {row.machine_id}':{wide}}  {row.method:15}  {_figures(row.opinion)}"
    yield ""
    for method in found.methods:
        yield f"{method.method}: {_figures(method.opinion)}"
        paper = f" (the paper: {PAPER_ABOVE[method.method]} of {PAPER_IDS})" if method.method in PAPER_ABOVE else ""
        yield f"  above 3: {method.ids_above} of {method.ids} ids{paper}"


def _figures(opinion: Opinion) -> str:
    interval = "" if opinion.low is None or opinion.high is None else f"  {opinion.low:.2f} to {opinion.high:.2f}"
    given = f"{counted(opinion.ratings, 'rating')}, {counted(opinion.raters, 'rater')}"
    return f"{opinion.mos:.2f}{interval}  ({given})"
