"""A data set on disk: which clips there are, what they are, and what is wrong with them."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

from edge_monitor.capture.recording import SUFFIXES
from edge_monitor.errors import DatasetError
from edge_monitor.evaluate.layouts import ClipName, read_name, read_stated_snr

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    Kind = tuple[str, str, float | None]  # machine, machine id, SNR

LAYOUTS = (
    "MACHINE/{train,test}/{normal,anomaly}_id_XX_*.wav (DCASE 2020 Task 2), MACHINE/id_XX/{normal,abnormal}/*.wav "
    "(MIMII) or section_XX_{source,target}_{train,test}_{normal,anomaly}_*.wav (DCASE from 2021), WAV or FLAC"
)
_HEAD_BYTES = 1 << 16  # clips of one set are equally long; two that begin with the same 64 kB are read whole
_SHOWN = 5  # lines of one kind of complaint


@dataclass(frozen=True, slots=True)
class Clip(ClipName):
    """One sound file of a data set."""

    path: Path = field(kw_only=True)

    @property
    def kind(self) -> Kind:
        """Return what has to be the same of clips that are learnt and scored together."""
        return self.machine, self.machine_id, self.snr_db


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
    named = [Clip(**asdict(name), path=path) for path in files if (name := read_name(path))]
    if not named:
        why = f"none of its {len(files)} sound files is named like a known data set's" if files else "no sound files"
        raise DatasetError(why, where=str(folder), hint=f"known: {LAYOUTS}")
    known = {clip.path for clip in named}
    unknown = [f"{_short(path, root)}: left out: not named like a clip" for path in files if path not in known]
    no_files = [f"{_short(path, root)}: left out: {_no_file(path)}" for path in found if not path.is_file()]
    usable, complaints = _whole_and_single(_of_machines(named, machines, folder), root)
    clips, misplaced = _split(usable, root)
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


def _of_machines(clips: Sequence[Clip], machines: Sequence[str], folder: Path) -> list[Clip]:
    there = sorted({clip.machine for clip in clips})
    for machine in machines:
        if machine not in there:
            raise DatasetError(f"no machine is named {machine!r}", where=str(folder), hint=f"it has {', '.join(there)}")
    return [clip for clip in clips if not machines or clip.machine in machines]


def _split(clips: Sequence[Clip], root: Path) -> tuple[tuple[Clip, ...], list[str]]:
    """Return the clips, each with its split, and complaints about anomalies among what is to be learnt."""
    unsplit = [clip for clip in clips if clip.split is None]
    abnormal = Counter(clip.kind for clip in unsplit if clip.anomalous)
    tested = {clip.path for clip in unsplit if clip.anomalous}
    for kind, normal in _by_kind(clip for clip in unsplit if not clip.anomalous).items():
        tested |= {clip.path for clip in normal[: min(abnormal[kind], len(normal) // 2)]}
    every = [replace(clip, split=clip.split or ("test" if clip.path in tested else "train")) for clip in clips]
    misplaced = [clip for clip in every if clip.split == "train" and clip.anomalous]
    lines = [f"{_short(clip.path, root)}: left out: an anomaly among the training clips" for clip in misplaced]
    return tuple(clip for clip in every if clip not in misplaced), _brief(lines)


def _by_kind(clips: Iterable[Clip]) -> dict[Kind, list[Clip]]:
    groups: dict[Kind, list[Clip]] = defaultdict(list)
    for clip in clips:
        groups[clip.kind].append(clip)
    return groups


def _individuals(clips: Iterable[Clip]) -> tuple[Individual, ...]:
    grouped = _by_kind(clips)
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


def _whole_and_single(clips: Sequence[Clip], root: Path) -> tuple[list[Clip], list[str]]:
    """Return the clips whose content can be read and is there once, and complaints about the others."""
    unread: dict[Path, str] = {}
    heads = _same(clips, _head, unread)
    alike = [clip for group in heads if len(group) > 1 for clip in group]
    twice = [surplus(group, root) for group in _same(alike, _whole, unread)]
    wrong = {*unread, *(clip.path for others, _ in twice for clip in others)}
    lines = [f"{_short(path, root)}: left out: {why}" for path, why in unread.items()]
    complaints = [*_brief(lines), *_brief([line for _, lines in twice for line in lines])]
    return [clip for clip in clips if clip.path not in wrong], complaints


def surplus(group: Sequence[Clip], root: Path) -> tuple[Sequence[Clip], list[str]]:
    """Return which clips of the same sound are left out, all but one or all, and why, in lines."""
    # what is learnt stays before what is tested: a test clip that was learnt has the score 0
    keep, *others = sorted(group, key=lambda clip: clip.split == "test")
    kept = _short(keep.path, root)
    if len({clip.anomalous for clip in group}) > 1:
        return group, [f"{kept}: left out: the same sound is normal and anomalous"]
    return others, [f"{_short(clip.path, root)}: left out: the same sound as {kept}" for clip in others]


def _same(clips: Iterable[Clip], digest: Callable[[Path], bytes], unread: dict[Path, str]) -> Iterable[list[Clip]]:
    """Return the clips of one digest together; those that cannot be read go to `unread` with the reason."""
    groups: dict[bytes, list[Clip]] = defaultdict(list)
    for clip in clips:
        try:
            groups[digest(clip.path)].append(clip)
        except OSError as error:
            unread[clip.path] = str(error.strerror or error)
    return groups.values()


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
