"""From published checkpoints to a bundle that is ready: fetched or copied, verified, built aside, put in place."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_monitor.encode.bundle import open_bundle
from edge_monitor.encode.similarity import TextSimilarity
from edge_monitor.errors import BundleError, BundleMismatchError
from edge_monitor.explain.difference import REFERENCE_TEXTS
from edge_monitor.export.hub import Hub, measure, verify
from edge_monitor.export.place import alone, building, put_in_place, require_free, require_space, work_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from edge_monitor.encode.bundle import Bundle
    from edge_monitor.encode.manifest import OriginFile, Role

    Say = Callable[[str], None]

# All graphs of the bundle, which hold the parameters once; figures of the full-size architecture.
BUNDLE_BYTES = 1_500_000_000


@dataclass(frozen=True, slots=True)
class Sources:
    """The published files on this machine, verified, each with its description."""

    paths: dict[Role, Path]
    files: tuple[OriginFile, ...]


def origin_files(recipe: Bundle) -> tuple[OriginFile, ...]:
    """Return what a bundle is built from. Raises BundleError when its manifest does not say."""
    if recipe.manifest.origin is None:
        raise BundleError(
            "is not built from published weights: its manifest has no [origin]",
            where=recipe.name,
            hint="`edge-monitor models list` shows which bundles are missing",
        )
    return recipe.manifest.origin.file


def fetch(recipe: Bundle, out: Path, say: Say) -> Sources:
    """Download the published files, after a look at the disk. Raises as Hub's methods, BundleError on a small disk."""
    hub = Hub()
    say(f"asking {hub.endpoint} for sizes and hashes")
    files = tuple(hub.described(file) for file in origin_files(recipe))
    folder = work_folder(out) / "downloads"
    there = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    require_space(out, sum(file.size_bytes or 0 for file in files) - there + BUNDLE_BYTES)
    paths: dict[Role, Path] = {}
    for file in files:
        say(f"{file.repository} {file.path}, {(file.size_bytes or 0) / 1e6:.0f} MB")
        paths[file.role] = hub.fetch(file, folder)
    return Sources(paths, files)


def located(recipe: Bundle, encoder: Path, captioner: Path) -> dict[Role, Path]:
    """Return where local copies lie; the vocabulary's two files lie beside the encoder's checkpoint.

    Raises BundleMissingError or BundleMismatchError when one is not there, or has another size than the recipe names.
    """
    given: dict[str, Path] = {"encoder": encoder, "captioner": captioner}
    paths: dict[Role, Path] = {}
    files = origin_files(recipe)
    captioner_bytes = next((file.size_bytes for file in files if file.role == "captioner"), None)
    if captioner_bytes is not None and _size(encoder) == captioner_bytes != _size(captioner):
        raise BundleMismatchError("is the captioner's checkpoint", where=str(encoder), hint="give the encoder's first")
    for file in files:
        paths[file.role] = given.get(file.role, encoder.parent / file.path)
        measure(paths[file.role], file)
    return paths


def _size(path: Path) -> int | None:
    """Return a file's size, bytes; None when it cannot be told, which is said where the file is read."""
    try:
        return path.stat().st_size
    except OSError:
        return None


def copies(recipe: Bundle, encoder: Path, captioner: Path) -> Sources:
    """Return local copies as sources. Raises as `located`, and BundleMismatchError when a hash is not the recipe's."""
    paths = located(recipe, encoder, captioner)
    return Sources(paths, tuple(verify(paths[file.role], file) for file in origin_files(recipe)))


def build(recipe: Bundle, sources: Sources, out: Path, *, texts: Sequence[str] = (), say: Say) -> Bundle:
    """Build the bundle from verified sources and put it in place of `out`; return it.

    Until it is whole and verified, nothing of it is where a bundle is looked for. Raises BundleError when a checkpoint
    is not the expected one, a part differs from msclap, or the disk cannot take it.
    """
    from edge_monitor.export.assembly import VocabularyFiles, assemble
    from edge_monitor.export.checkpoint import open_checkpoint
    from edge_monitor.export.reference import load_reference

    say("reading the checkpoints")
    encoder, captioner = sources.paths["encoder"], sources.paths["captioner"]
    reference = load_reference(
        open_checkpoint(encoder), open_checkpoint(captioner), names=(encoder.name, captioner.name)
    )
    vocabulary = VocabularyFiles(sources.paths["tokens"], sources.paths["merges"])
    with building(out, recipe.name) as folder:
        assemble(recipe.manifest, sources.files, reference, vocabulary, folder, texts=texts, say=say)
        open_bundle(folder).verify()
        put_in_place(folder, out)
    return open_bundle(out)


def is_built(recipe: Bundle, out: Path, texts: Sequence[str]) -> bool:
    """Return whether `out` holds a whole bundle that this version built from the recipe's files, with these texts."""
    from edge_monitor.export.assembly import MADE_BY

    try:
        there = open_bundle(out)
        there.verify()
        known = TextSimilarity(there).texts
    except BundleError:
        return False
    origin = there.manifest.origin
    if origin is None or origin.build is None or not origin.build.made_with.startswith(f"{MADE_BY},"):
        return False
    files, wanted = (
        [(file.role, file.repository, file.revision, file.path) for file in each]
        for each in (origin.file, origin_files(recipe))
    )
    return files == wanted and known == tuple(dict.fromkeys((*REFERENCE_TEXTS, *texts)))


def pull(
    recipe: Bundle,
    out: Path,
    *,
    from_file: tuple[Path, Path] | None = None,
    texts: Sequence[str] = (),
    keep_downloads: bool = False,
    say: Say,
) -> Bundle:
    """Fetch the checkpoints, or take the copies `from_file` names, build the bundle, report, tidy up.

    Downloads stay for the next call when anything fails. Raises EdgeMonitorError, one line for the user.
    """
    with alone(out):
        require_free(out, recipe.name, recipe.manifest.get)
        if from_file is None:
            sources = fetch(recipe, out, say)
        else:
            require_space(out, BUNDLE_BYTES)
            sources = copies(recipe, *from_file)
        bundle = build(recipe, sources, out, texts=texts, say=say)
        if not keep_downloads:
            tidy_up(out)
    for line in report(bundle):
        say(line)
    return bundle


def tidy_up(out: Path) -> None:
    """Delete the downloads, and what a command left that was killed."""
    shutil.rmtree(work_folder(out), ignore_errors=True)


def report(bundle: Bundle) -> Iterator[str]:
    """Yield what a user should know about a built bundle: how close it is to msclap, and what was left out."""
    origin = bundle.manifest.origin
    if origin is None or origin.build is None:
        return
    worst: dict[str, float] = {}
    for check in origin.build.check:
        worst[check.part] = max(worst.get(check.part, 0.0), check.max_abs)
    for part, max_abs in worst.items():
        yield f"{part}: within {max_abs:.1g} of msclap"
    yield {
        "equal": "the captioner was trained on this very audio encoder",
        "different": "caution: the captioner was trained on another audio encoder than the one that scores, or one of"
        " the two files is damaged; captions come from the vector that is scored",
        "absent": "the captioner brings no audio encoder of its own",
    }[origin.build.caption_encoder]
    for line in origin.build.ignored:
        yield f"not used: {line}"
