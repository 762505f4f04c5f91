"""`edge-monitor evaluate DATASET`: how well bundles tell anomalous sounds from normal ones."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_monitor.cli.answers import say, tell, warn
from edge_monitor.cli.evaluate_decisions import decision_options, require_decisions, tell_decisions
from edge_monitor.cli.options import channel_option, json_option, optional_settings_option

if TYPE_CHECKING:
    from edge_monitor.config.settings import Settings


@click.command("detection")
@click.argument("folder", metavar="DATASET", type=click.Path(path_type=Path))
@click.option(
    "--bundle",
    "bundles",
    multiple=True,
    metavar="NAME",
    help="Its name, or a path with a slash; may be repeated; default: the configuration's.",
)
@click.option(
    "--scorer",
    "scorers",
    multiple=True,
    metavar="NAME",
    help="This scorer too, beside each bundle's own; may be repeated.",
)
@click.option(
    "--baseline",
    "baselines",
    multiple=True,
    type=click.Choice(["autoencoder"]),
    help="The challenge's baseline too; it needs torch.",
)
@click.option(
    "--resplit",
    "resplits",
    type=click.IntRange(1),
    metavar="N",
    help="Mean over N random splits of the normal clips, with intervals.",
)
@decision_options
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Write a report into this folder.")
@click.option("--machine", "machines", multiple=True, help="Only this machine of the data set; may be repeated.")
@channel_option
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the random splits.")
@click.option("--jobs", type=click.IntRange(1, 256), help="Clips heard at once; default: one for each core.")
@click.option(
    "--cache",
    "cache_dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where embeddings are kept; default: the user's cache folder.",
)
@optional_settings_option
@json_option
def command(
    *,
    folder: Path,
    bundles: tuple[str, ...],
    scorers: tuple[str, ...],
    baselines: tuple[str, ...],
    resplits: int | None,
    decisions: bool,
    learn_s: tuple[float, ...],
    per_day: tuple[float, ...],
    out: Path | None,
    machines: tuple[str, ...],
    channel: int,
    seed: int,
    jobs: int | None,
    cache_dir: Path | None,
    settings: Settings | None,
    as_json: bool,
) -> None:
    """Measure how well bundles tell anomalous sounds from normal ones.

    DATASET is a folder in a layout of the DCASE challenge's Task 2 or of MIMII. AUC and partial AUC of each machine id
    and on average, beside the paper's Table I. Embeddings are kept: after an interrupt the same command goes on.
    """
    only_with: dict[str, object] = {"--learn": learn_s, "--false-alarms-per-day": per_day}
    require_decisions(decisions=decisions, only_with=only_with, not_with={"--baseline": baselines})
    from edge_monitor.config.settings import ModelSettings
    from edge_monitor.evaluate.account import Account
    from edge_monitor.evaluate.cache import FeatureCache, FeatureExtractor, default_cache
    from edge_monitor.evaluate.columns import choose
    from edge_monitor.evaluate.datasets import read_dataset
    from edge_monitor.evaluate.decision_report import DecisionAccount
    from edge_monitor.evaluate.decisions import PER_DAY, SPLITS, Plan, measure_decisions
    from edge_monitor.evaluate.measure import measure
    from edge_monitor.evaluate.progress import SplitProgress
    from edge_monitor.evaluate.report import for_programs, make_folder, summary, write_report

    model = settings.model if settings else ModelSettings()
    dataset = read_dataset(folder, machines)
    left_out: list[str] = []

    def complain(line: str) -> None:
        left_out.append(line)
        warn(line)

    for line in dataset.warnings:
        complain(line)
    cache, progress = FeatureCache(cache_dir or default_cache()), SplitProgress(say)
    columns = choose(
        bundles,
        scorers,
        baseline="autoencoder" in baselines,
        model=model,
        state_dir=settings.node.state_dir if settings else None,
        seed=seed,
        cache=cache,
        progress=progress,
        complain=complain,
    )
    if out:
        make_folder(out)
    extractor = FeatureExtractor(cache, say, complain, channel=channel, jobs=jobs or len(os.sched_getaffinity(0)))
    name = folder.resolve().name
    try:
        if decisions:
            plan = Plan(learn_s, per_day or PER_DAY, splits=resplits or SPLITS, seed=seed)
            decided = measure_decisions(dataset, columns.of_bundles, extractor, complain, plan, progress=progress)
            tell_decisions(DecisionAccount(name, decided, columns.titles, tuple(left_out)), out, as_json=as_json)
            return
        figures = measure(
            dataset, columns.detectors, extractor, complain, resplits=resplits, seed=seed, progress=progress
        )
    except KeyboardInterrupt:
        say("stopped; what was heard is kept, and the same command goes on from there")
        raise
    account = Account(
        dataset=name,
        figures=figures,
        titles=columns.titles,
        not_yet=columns.not_yet,
        snr_db={(one.machine, one.machine_id): dataset.snr_db_of(one) for one in dataset.individuals},
        left_out=tuple(left_out),
    )
    if out:
        write_report(account, out)
    tell(for_programs(account), [summary(account).removesuffix("\n")], as_json=as_json)
