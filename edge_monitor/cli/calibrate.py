"""`edge-monitor calibrate`: a machine's threshold found anew, and what it promises."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_monitor.cli.answers import tell, warn, window_scores
from edge_monitor.cli.options import FiniteRange, dry_run_option, json_option, machine_option

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edge_monitor.api.client import NodeClient
    from edge_monitor.config.settings import Settings
    from edge_monitor.node.calibrating import Calibrated
    from edge_monitor.records import Vector


@click.command("calibrate")
@machine_option
@click.option(
    "--false-alarms-per-day",
    type=FiniteRange(min=0, min_open=True),
    metavar="X",
    help="What the threshold aims at; default: the configuration's.",
)
@click.option(
    "--labelled",
    "dataset",
    metavar="DATASET",
    type=click.Path(path_type=Path),
    help="Normal and anomalous clips of this machine: what the best threshold would do.",
)
@click.option("--id", "wanted", metavar="ID", help="Which machine of DATASET, e.g. 'pump id_00'.")
@click.option("--channel", type=click.IntRange(1, 256), default=1, show_default=True, help="Of DATASET's files.")
@click.option(
    "--use",
    type=click.Choice(["normals", "labelled"]),
    default="normals",
    show_default=True,
    help="Which threshold to take.",
)
@dry_run_option
@json_option
def command(
    *,
    settings: Settings,
    machine: str,
    false_alarms_per_day: float | None,
    dataset: Path | None,
    wanted: str | None,
    channel: int,
    use: str,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Find a machine's threshold anew from its normals and its days of operation, and use it from now on.

    It makes the next generation; `edge-monitor generations activate` goes back. With --labelled the threshold nearest
    to the ROC curve's corner is shown beside it, and taken with --use labelled only.
    """
    from edge_monitor.api.client import finish, open_node
    from edge_monitor.node.operations import CALIBRATE

    if dataset is None and (use == "labelled" or wanted is not None):
        raise click.UsageError("--use labelled and --id need --labelled DATASET.")
    labelled = None
    with open_node(settings) as client:
        request = CALIBRATE.request(machine=machine, false_alarms_per_day=false_alarms_per_day, dry_run=dry_run)
        # with labels it is only planned at first, so that a data set that cannot be used changes nothing
        first = request if dataset is None else request.model_copy(update={"dry_run": True})
        answer = finish(client, CALIBRATE, first)
        if dataset is not None:
            labelled = _labelled(settings, client, machine, (dataset, wanted, channel), answer.threshold)
            chosen = labelled["threshold"] if use == "labelled" else None
            answer = finish(client, CALIBRATE, request.model_copy(update={"threshold": chosen}))
    printed = answer.model_dump(mode="json", exclude_unset=True)
    if labelled is not None:
        printed["labelled"] = labelled
    tell(printed, _lines(answer, labelled), as_json=as_json)


def _labelled(
    settings: Settings, client: NodeClient, machine: str, source: tuple[Path, str | None, int], threshold: float
) -> dict[str, Any]:
    """Return what the labels say of their own best threshold and of the one from normal sound."""
    from edge_monitor.encode.encoder import Encoder
    from edge_monitor.errors import NormalsError
    from edge_monitor.evaluate.labelled import compare, find_individual, score
    from edge_monitor.evaluate.learnt import ClipEncoder
    from edge_monitor.node.node import Node

    node = Node(settings)
    dataset, wanted, channel = source
    individual, warnings = find_individual(dataset, wanted)
    clip_encoder = ClipEncoder(Encoder(node.bundle, settings.model.threads), channel)

    def score_windows(vectors: Sequence[Vector]) -> list[float]:
        scores = window_scores(client, machine, vectors, node.bundle.bundle_hash).scores
        if text := node.another_scorer(machine, scores[0].scorer):  # the two thresholds would have two units
            raise NormalsError(text)
        return [each.score for each in scores]

    normal, anomalous, unheard = score(individual, clip_encoder, score_windows)
    for line in (*warnings, *unheard):
        warn(line)
    return compare(individual, normal, anomalous, threshold)


def _lines(answer: Calibrated, labelled: dict[str, Any] | None) -> Iterator[str]:
    done = "nothing was changed" if answer.dry_run else f"generation {answer.generation} is active"
    yield f"{answer.machine}: threshold {answer.old_threshold:.4g} -> {answer.threshold:.4g}, {done}."
    if labelled is not None:
        clips = f"{labelled['normal_clips']} normal and {labelled['anomalous_clips']} anomalous clips"
        yield f"{labelled['id']}: {clips}, AUC {labelled['auc']:.1f} %"
        for name, point in (("labels", labelled), ("normal sound", labelled["normal_only"])):
            rates = f"{point['false_alarm_percent']:.0f} % false alarms, {point['miss_percent']:.0f} % missed"
            yield f"  threshold from {name} {point['threshold']:.4g}: {rates}"
        yield "  The labels' threshold was chosen on these very clips: on others it does worse."
    yield answer.calibration
    if not answer.enough:
        yield answer.coverage
    if answer.caution:
        yield answer.caution
    if answer.wanted_per_day != answer.configured_per_day:
        again = f"Later generations aim at {answer.configured_per_day:g} per day again"
        yield f"{again} unless [machine.alarm] has false_alarms_per_day = {answer.wanted_per_day:g}."
