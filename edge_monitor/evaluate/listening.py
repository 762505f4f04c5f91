"""Makes a listening sheet: the clips that stand out most, their nearest normals, and what each method says of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import soundfile

from edge_monitor.capture.recording import read_clip
from edge_monitor.errors import AudioError, DatasetError, ExplainError
from edge_monitor.evaluate.captions import Question
from edge_monitor.evaluate.learnt import LearntNormals
from edge_monitor.evaluate.page import render
from edge_monitor.evaluate.sheet import Item, Sheet, Sound
from edge_monitor.explain.acoustics import measure
from edge_monitor.explain.difference import compare
from edge_monitor.explain.picture import Panel, draw
from edge_monitor.explain.spectrogram import compact, expand

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from edge_monitor.evaluate.captions import Captions
    from edge_monitor.evaluate.datasets import Clip, Dataset, Individual
    from edge_monitor.evaluate.learnt import ClipEncoder, ClipWindow, ScoredClip
    from edge_monitor.explain.acoustics import Acoustics

    Tell = Callable[[str], None]

CLIPS_PER_ID = 3  # the paper, IV-A: three samples of each id that showed the highest anomaly scores
PAGE = "index.html"
_EVERY = 100  # clips between two lines of progress


@dataclass(frozen=True, slots=True)
class Progress:
    """Where lines for the user go."""

    tell: Tell  # how far it is
    complain: Tell  # what is left out, and why


def key_of(out: Path) -> Path:
    """Return where the key of the sheet in the folder `out` lies: beside it, so that the folder can be given away."""
    folder = out.resolve() if out.name in {"", ".."} else out
    return folder.with_name(f"{folder.name}-key.json")


def make(
    dataset: Dataset,
    clip_encoder: ClipEncoder,
    captions: Captions,
    out: Path,
    *,
    seed: int,
    window_s: float,
    made_with: Mapping[str, str],
    progress: Progress,
) -> Sheet:
    """Write the sheet into the folder `out`, its key beside it, and return it.

    What cannot be heard or said is left out with a line.

    Raises DatasetError when `out` holds a sheet already or cannot be written, or no machine gives an item.
    """
    if not out.resolve().name:
        raise DatasetError("is no folder for a listening sheet", where=str(out), hint="name a new one")
    for made in (out / PAGE, key_of(out)):
        if made.exists():
            raise DatasetError(
                "belongs to a listening sheet already",
                where=str(made),
                hint="name another folder, or delete the old sheet and its key",
            )
    maker = _Maker(dataset, clip_encoder, captions, out, window_s, progress, failed={})
    try:
        for folder in ("audio", "pictures"):
            (out / folder).mkdir(parents=True, exist_ok=True)
        items = tuple(maker.items())
        said = {method for item in items for method in item.captions}
        failed = {method: why for method, why in maker.failed.items() if method not in said}
        sheet = Sheet(items, captions.missing | failed, seed, made_with)
        if not said:
            raise DatasetError("no machine gives anything to rate", where=str(dataset.folder))
        (out / PAGE).write_text(render(sheet), "utf-8")
        key_of(out).write_text(sheet.key(), "utf-8")
    except (OSError, soundfile.LibsndfileError) as error:
        raise DatasetError(f"cannot be written: {error}", where=str(out)) from error
    return sheet


@dataclass(frozen=True, slots=True)
class _Maker:
    dataset: Dataset
    clip_encoder: ClipEncoder
    captions: Captions
    out: Path
    window_s: float
    progress: Progress
    failed: dict[str, str]  # method -> why it last had nothing to say

    def items(self) -> Iterator[Item]:
        """Yield the items, machine by machine, the highest score first."""
        number = 0
        for individual in self.dataset.individuals:
            try:
                learnt, top = self._rank(individual)
            except DatasetError as error:
                self.progress.complain(str(error))
                continue
            acoustics = self._measure(individual, learnt)
            for scored in top:
                number += 1
                self.progress.tell(f"{individual.label}: item {number}, {scored.clip.path.name}")
                yield self._item(number, individual, scored, acoustics)

    def _rank(self, individual: Individual) -> tuple[LearntNormals, list[ScoredClip]]:
        """Learn the training clips and return the test clips of the highest scores, highest first."""
        normals = [
            window
            for clip in self._counted(individual.train, f"{individual.label}: learning")
            for window in self._hear(clip)
        ]
        learnt = LearntNormals(individual.label, normals, self.clip_encoder.spec)
        scored = [
            learnt.score(windows)
            for clip in self._counted(individual.test, f"{individual.label}: scoring")
            if (windows := self._hear(clip))
        ]
        return learnt, sorted(scored, key=lambda one: one.score, reverse=True)[:CLIPS_PER_ID]

    def _counted(self, clips: Sequence[Clip], doing: str) -> Iterator[Clip]:
        for number, clip in enumerate(clips):
            if number % _EVERY == 0:
                self.progress.tell(f"{doing} clip {number + 1} of {len(clips)}")
            yield clip

    def _hear(self, clip: Clip) -> tuple[ClipWindow, ...]:
        try:
            return self.clip_encoder.encode(clip)
        except AudioError as error:
            self.progress.complain(f"left out: {error}")
            return ()

    def _measure(self, individual: Individual, learnt: LearntNormals) -> dict[int, Acoustics]:
        """Return the acoustics of every normal by its identity; none when they cannot be measured."""
        self.progress.tell(f"{individual.label}: measuring {len(learnt.normals)} normal windows")
        try:
            return {id(normal): self._acoustics(normal) for normal in learnt.normals}
        except ExplainError as error:
            self.progress.complain(f"{individual.label}: not measured: {error}")
            return {}

    def _acoustics(self, heard: ClipWindow) -> Acoustics:
        window = self.clip_encoder.window(heard)
        return measure(window.samples, window.rate_hz)

    def _item(self, number: int, individual: Individual, scored: ScoredClip, acoustics: dict[int, Acoustics]) -> Item:
        difference = None
        if acoustics:
            near = [acoustics[id(normal)] for normal in scored.neighbours]
            difference = compare(self._acoustics(scored.worst), near, list(acoustics.values()))
        question = Question(
            individual.machine,
            difference,
            scored.worst.embedding,
            tuple(normal.embedding for normal in scored.neighbours),
        )
        said, failed = self.captions.of(question)
        self.failed.update(failed)
        for method, why in failed.items():
            self.progress.complain(f"{individual.label}, item {number}: {method}: {why}")
        sounds = [
            self._keep(heard, f"audio/{number:03d}-{place}.flac")
            for place, heard in enumerate((scored.worst, *scored.neighbours))
        ]
        return Item(
            machine=individual.machine,
            machine_id=individual.machine_id,
            anomalous=scored.clip.anomalous,
            score=scored.score,
            sound=sounds[0],
            normals=tuple(sounds[1:]),
            pictures=tuple(self._draw(number, individual, scored)),
            captions=said,
        )

    def _keep(self, heard: ClipWindow, file: str) -> Sound:
        """Write what was heard, at the clip's own rate and level."""
        samples, rate_hz = read_clip(heard.clip.path, self.clip_encoder.channel)
        start = max(0, round(heard.start_s * rate_hz))
        stretch = samples[start : start + round(self.window_s * rate_hz)]
        soundfile.write(self.out / file, stretch, rate_hz, format="FLAC", subtype="PCM_24")
        clip = heard.clip.path.relative_to(self.dataset.folder.resolve())
        return Sound(file, clip.as_posix(), round(heard.start_s, 3))

    def _draw(self, number: int, individual: Individual, scored: ScoredClip) -> Iterator[str]:
        """Draw the sound beside each of its nearest normals; yield the files."""
        sound = self._panel("The sound that stood out", scored.worst)
        for place, normal in enumerate(scored.neighbours, start=1):
            file = f"pictures/{number:03d}-{place}.png"
            beside = self._panel(f"Normal sound {place}", normal)
            (self.out / file).write_bytes(draw(f"Item {number}: {individual.label}", "", sound, beside))
            yield file

    def _panel(self, caption: str, heard: ClipWindow) -> Panel:
        window = self.clip_encoder.window(heard)
        return Panel(caption, expand(compact(window.samples, window.rate_hz)))
