"""Which detectors a measurement has, by the names that a user gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_monitor.encode.bundle import find_bundle
from edge_monitor.encode.encoder import Encoder
from edge_monitor.errors import BundleError, BundleMissingError, NormalsError
from edge_monitor.evaluate.autoencoder import VERSION, Autoencoder
from edge_monitor.evaluate.cache import KeptScores
from edge_monitor.evaluate.detector import BundleDetector
from edge_monitor.memory.scoring_methods import method_name, require_method

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from edge_monitor.config.settings import ModelSettings
    from edge_monitor.evaluate.cache import FeatureCache
    from edge_monitor.evaluate.detector import Detector
    from edge_monitor.evaluate.progress import SplitProgress

    Tell = Callable[[str], None]

AWAITED = {"panns": "PANNs", "laion-clap": "LAION-CLAP"}  # bundle -> column of Table I; none has been made yet


@dataclass(frozen=True, slots=True)
class Columns:
    """The detectors, in the table's order, and what each is."""

    detectors: tuple[Detector, ...]
    titles: dict[str, str]  # detector's name -> what it is
    not_yet: tuple[str, ...]  # columns of Table I that there is no bundle for

    @property
    def of_bundles(self) -> tuple[BundleDetector, ...]:
        """Return the detectors that have a calibration: all but the baseline."""
        return tuple(each for each in self.detectors if isinstance(each, BundleDetector))


def choose(
    bundles: Sequence[str],
    scorers: Sequence[str],
    *,
    baseline: bool,
    model: ModelSettings,
    state_dir: Path | None,
    seed: int,
    cache: FeatureCache,
    progress: SplitProgress,
    complain: Tell,
) -> Columns:
    """Return the detectors: the autoencoder first if asked for, then each bundle with its own scorer and `scorers`.

    `model` is the configuration's: no `bundles` mean its bundle, and its scorer is that bundle's own. What the
    autoencoder's networks score is kept in `cache`; a bundle's scorer learns in a moment.

    Raises BundleError for a bundle that cannot be used, NormalsError for an unknown scorer, EdgeMonitorError for a
    baseline without torch. A bundle that Table I names and nobody has made is no error, and a scorer that
    does not suit a bundle is complained of.
    """
    for scorer in scorers:
        require_method(scorer)
    found: dict[str, tuple[Detector, str]] = {}
    if baseline:
        autoencoder = Autoencoder(seed=seed, progress=progress.epoch)
        kept = KeptScores(autoencoder, f"{VERSION}, seed {seed}", cache, complain)
        found[autoencoder.name] = (kept, "baseline of DCASE 2020 Task 2")
    not_yet = dict(AWAITED)
    for name in dict.fromkeys(bundles or (model.bundle,)):
        try:
            encoder = Encoder(find_bundle(name, state_dir))
        except BundleMissingError:
            if name in AWAITED:
                continue
            if name == Autoencoder.name:
                raise BundleMissingError("the autoencoder is no bundle", hint="--baseline autoencoder") from None
            raise
        not_yet.pop(encoder.bundle.name, None)
        if encoder.bundle.name in found:
            raise BundleError(f"two bundles are named {encoder.bundle.name!r}", where=name)
        own_scorer = model.scorer if encoder.bundle.bundle_hash == _configured(model, state_dir) else None
        found |= {one.name: (one, _title(one)) for one in _of_bundle(encoder, own_scorer, scorers, complain)}
    if not found:
        raise BundleMissingError(f"{', '.join(bundles)}: not available yet", hint="`edge-monitor models list`")
    return Columns(
        detectors=tuple(detector for detector, _ in found.values()),
        titles={name: title for name, (_, title) in found.items()},
        not_yet=tuple(not_yet.values()),
    )


def _configured(model: ModelSettings, state_dir: Path | None) -> str | None:
    """Return the hash of the configuration's bundle, however it is named there; None when it is not installed."""
    try:
        return find_bundle(model.bundle, state_dir).bundle_hash
    except BundleError:
        return None


def _of_bundle(
    encoder: Encoder, own_scorer: str | None, scorers: Sequence[str], complain: Tell
) -> Iterator[BundleDetector]:
    """Yield a bundle's detectors: with its own scorer, then with each of the others that suits it."""
    own = BundleDetector(encoder, own_scorer)
    try:
        own.check()
    except NormalsError as error:
        where = f"bundle {own.name}" if own_scorer is None else f"model.scorer, bundle {own.name}"
        raise NormalsError(error.message, where=where, hint=error.hint) from error
    yield own
    for scorer in scorers:
        detector = BundleDetector(encoder, scorer, name=f"{own.name}+{scorer}")
        try:
            detector.check()
        except NormalsError as error:
            complain(f"{detector.name}: left out: {error.message}")
        else:
            yield detector


def _title(detector: BundleDetector) -> str:
    bundle = detector.bundle
    return f"{bundle.name} {bundle.manifest.version} ({detector.key[:12]}), scorer {method_name(detector.spec)}"
