"""A data set on disk: which clips there are, what they are, and what is wrong with them."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge_monitor.capture.recording import SUFFIXES
from edge_monitor.errors import DatasetError
from edge_monitor.evaluate.layouts import read_name
from edge_monitor.evaluate.stated_snr import read_stated_snr

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from edge_monitor.evaluate.layouts import ClipName, Domain, Split

LAYOUTS = (
    "MACHINE/{train,test}/{normal,anomaly}_id_XX_*.wav (DCASE 2020 Task 2), MACHINE/id_XX/{normal,abnormal}/*.wav "
    "(MIMII) or section_XX_{source,target}_{train,test}_{normal,anomaly}_*.wav (DCASE from 2021), WAV or FLAC"
)
_HEAD_BYTES = 1 << 16  # clips of one set are equally long; two that begin with the same 64 kB are read whole
_SHOWN = 5  # lines of one kind of complaint


@dataclass(frozen=True, slots=True)
class Clip:
    """One sound file of a data set."""

    path: Path
    machine: str  # type of machine: `pump`
    machine_id: str  # individual machine: `id_00`, or `section_00`
    split: Split
    anomalous: bool
    snr_db: float | None  # of the machine over the factory's noise; None: the layout does not say
    domain: Domain | None  # None: the data set has no domains


@dataclass(frozen=True, slots=True)
class Individual:
    """The clips of one machine id at one SNR: what is learnt and scored together."""

    machine: str
    machine_id: str  # with its SNR where the data set has several: `id_00 -6 dB`
    train: tuple[Clip, ...]  # normal, both domains
    test: tuple[Clip, ...]

    @property
    def label(self) -> str:
        """Return its name for a person, e.g. `pump id_00`."""
        return f"{self.machine} {self.machine_id}"

    def tested(self, *, anomalous: bool) -> list[Clip]:
        """Return the test clips of a class."""
        return [clip for clip in self.test if clip.anomalous is anomalous]


@dataclass(frozen=True, slots=True)
class Dataset:
    """All usable clips below a folder, in path order, and one line for each thing that is wrong."""

    folder: Path
    clips: tuple[Clip, ...]
    warnings: tuple[str, ...]
    stated_snr_db: Mapping[Path, float] = field(default_factory=dict)  # of clips whose names do not say it

    @property
    def individuals(self) -> tuple[Individual, ...]:
        """Return the clips by individual machine, in name order."""
        return _individuals(self.clips)

    def snr_db_of(self, individual: Individual) -> tuple[float, ...]:
        """Return the SNRs of an individual's clips, dB, rising; none where neither names nor `index.tsv` say."""
        known = (
            self.stated_snr_db.get(clip.path) if clip.snr_db is None else clip.snr_db
            for clip in (*individual.train, *individual.test)
        )
        return tuple(sorted({snr_db for snr_db in known if snr_db is not None}))


def read_dataset(folder: Path, machines: Sequence[str] = ()) -> Dataset:
    """Find the clips below `folder` by the names of files and folders; of `machines` only, if given.

    MIMII has no split; as in its baseline the first normal clips, as many as there are abnormal ones, are for the
    test, but here at most half of them. Same content counts once, and not at all when it is both normal and anomalous.
    Sound is not decoded: a damaged file shows when it is heard.
    Raises DatasetError when there is no such folder, no file named like a known data set's, or one of `machines` not.
    """
    root = folder.resolve()  # a folder given as `.` still has a name, which may be the machine's
    if not root.is_dir():
        raise DatasetError("no such folder", where=str(folder))
    found = sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES)
    files = [path for path in found if path.is_file()]
    named = {path: name for path in files if (name := read_name(path))}
    if not named:
        why = f"none of its {len(files)} sound files is named like a known data set's" if files else "no sound files"
        raise DatasetError(why, where=str(folder), hint=f"known: {LAYOUTS}")
    unknown = [f"{_short(path, root)}: left out: not named like a clip" for path in files if path not in named]
    no_files = [f"{_short(path, root)}: left out: {_no_file(path)}" for path in found if not path.is_file()]
    named = _of_machines(named, machines, folder)
    usable, complaints = _whole_and_single(named, root)
    clips, misplaced = _clips(usable, root)
    warnings = [*_brief(unknown), *_brief(no_files), *complaints, *misplaced, *_missing_classes(_individuals(clips))]
    try:
        stated_snr_db = read_stated_snr(root)
    except DatasetError as error:
        warnings.append(f"{error}: no SNR is taken from it")
        stated_snr_db = {}
    return Dataset(folder, clips, tuple(warnings), stated_snr_db)


def _no_file(path: Path) -> str:
    if path.is_dir():
        return "a folder"
    return "a link to a file that is not there" if path.is_symlink() else "not a file"


def _of_machines(named: dict[Path, ClipName], machines: Sequence[str], folder: Path) -> dict[Path, ClipName]:
    there = sorted({name.machine for name in named.values()})
    for machine in machines:
        if machine not in there:
            raise DatasetError(f"no machine is named {machine!r}", where=str(folder), hint=f"it has {', '.join(there)}")
    return {path: name for path, name in named.items() if not machines or name.machine in machines}


def _clips(named: dict[Path, ClipName], root: Path) -> tuple[tuple[Clip, ...], list[str]]:
    """Return the clips with their split, and complaints about anomalies among what is to be learnt."""
    tested = _mimii_test(named)
    clips: list[Clip] = []
    misplaced: list[str] = []
    for path, name in named.items():
        split = name.split or ("test" if name.anomalous or path in tested else "train")
        if split == "train" and name.anomalous:
            misplaced.append(f"{_short(path, root)}: left out: an anomaly among the training clips")
            continue
        clips.append(Clip(path, name.machine, name.machine_id, split, name.anomalous, name.snr_db, name.domain))
    return tuple(clips), _brief(misplaced)


def _mimii_test(named: dict[Path, ClipName]) -> set[Path]:
    """Return the normal clips of a layout without split that are for the test."""
    normal: dict[tuple[str, str, float | None], list[Path]] = defaultdict(list)
    abnormal: dict[tuple[str, str, float | None], int] = defaultdict(int)
    for path, name in named.items():
        if name.split is None:
            key = (name.machine, name.machine_id, name.snr_db)
            if name.anomalous:
                abnormal[key] += 1
            else:
                normal[key].append(path)
    return {path for key, paths in normal.items() for path in paths[: min(abnormal[key], len(paths) // 2)]}


def _individuals(clips: Iterable[Clip]) -> tuple[Individual, ...]:
    grouped: dict[tuple[str, str, float | None], list[Clip]] = defaultdict(list)
    for clip in clips:
        grouped[clip.machine, clip.machine_id, clip.snr_db].append(clip)
    several_snr = len({snr_db for _, _, snr_db in grouped}) > 1
    return tuple(
        Individual(
            machine=machine,
            machine_id=f"{machine_id} {snr_db:g} dB" if several_snr and snr_db is not None else machine_id,
            train=tuple(clip for clip in members if clip.split == "train"),
            test=tuple(clip for clip in members if clip.split == "test"),
        )
        for (machine, machine_id, snr_db), members in sorted(
            grouped.items(), key=lambda group: (*group[0][:2], group[0][2] or 0.0)
        )
    )


def _missing_classes(individuals: Iterable[Individual]) -> list[str]:
    warnings = []
    for one in individuals:
        kinds = {"normal": False, "anomalous": True}
        missing = [f"{kind} test" for kind, anomalous in kinds.items() if not one.tested(anomalous=anomalous)]
        missing += [] if one.train else ["training"]
        warnings += [f"{one.label}: no {kind} clips" for kind in missing]
    return warnings


def _whole_and_single(named: dict[Path, ClipName], root: Path) -> tuple[dict[Path, ClipName], list[str]]:
    """Return the clips whose content can be read and is there once, and complaints about the others."""
    unread: dict[Path, str] = {}
    twice: list[str] = []
    heads = _same(named, _head, unread)
    alike = [path for group in heads.values() if len(group) > 1 for path in group]
    wrong: set[Path] = set()
    for group in _same(alike, _whole, unread).values():
        others, lines = surplus(group, named, root)
        twice += lines
        wrong.update(others)
    usable = {path: name for path, name in named.items() if path not in unread and path not in wrong}
    return usable, [*_brief([f"{_short(path, root)}: left out: {why}" for path, why in unread.items()]), *_brief(twice)]


def surplus(
    group: Sequence[Path], named: Mapping[Path, ClipName | Clip], root: Path
) -> tuple[Sequence[Path], list[str]]:
    """Return which files of the same sound are left out, all but one or all, and why, in lines."""
    # what is learnt stays before what is tested: a test clip that was learnt has the score 0
    keep, *others = sorted(group, key=lambda path: named[path].split == "test")
    if len({named[path].anomalous for path in group}) > 1:
        return group, [f"{_short(keep, root)}: left out: the same sound is normal and anomalous"]
    return others, [f"{_short(path, root)}: left out: the same sound as {_short(keep, root)}" for path in others]


def _same(paths: Iterable[Path], digest: Callable[[Path], bytes], unread: dict[Path, str]) -> dict[bytes, list[Path]]:
    """Return the paths by digest; those that cannot be read go to `unread` with the reason."""
    groups: dict[bytes, list[Path]] = defaultdict(list)
    for path in paths:
        try:
            groups[digest(path)].append(path)
        except OSError as error:
            unread[path] = str(error.strerror or error)
    return groups


def _head(path: Path) -> bytes:
    """Return a digest of a file's size and beginning."""
    size_bytes = path.stat().st_size
    if size_bytes == 0:
        raise OSError("the file is empty")
    with path.open("rb") as file:
        return hashlib.sha256(file.read(_HEAD_BYTES) + size_bytes.to_bytes(8, "big")).digest()


def _whole(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _brief(lines: list[str]) -> list[str]:
    """Return the first few of many lines of one kind, and how many more there are."""
    rest = len(lines) - _SHOWN
    return lines if rest <= 0 else [*lines[:_SHOWN], f"… and {rest} more like the last line"]


def _short(path: Path, root: Path) -> str:
    return str(path.relative_to(root))
