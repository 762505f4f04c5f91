"""A listening sheet: which sounds are heard, which captions rated, and the key that tells whose they are; pure."""

from __future__ import annotations

import hashlib
import json
import string
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

KEY_VERSION = 1
RATINGS = (1, 2, 3, 4, 5)  # the paper, IV-A: 1 represents the worst, 5 the best


@dataclass(frozen=True, slots=True)
class Sound:
    """One stretch of a clip, as it can be played."""

    file: str  # relative to the sheet's folder
    clip: str  # relative to the data set
    start_s: float  # position in the clip, seconds


@dataclass(frozen=True, slots=True)
class Item:
    """One sound to explain, its nearest normals, and what each method says of it."""

    machine: str
    machine_id: str
    anomalous: bool  # what the data set says; not shown
    score: float  # of the clip, eq. 1 of the paper: a mean distance, >= 0, higher = more anomalous
    sound: Sound
    normals: tuple[Sound, ...]  # nearest first
    pictures: tuple[str, ...]  # spectrograms, one with each normal, relative to the sheet's folder
    captions: Mapping[str, str]  # by method


@dataclass(frozen=True, slots=True)
class Slot:
    """A caption's blind place in an item."""

    slot: str  # A, B, …
    method: str
    text: str


@dataclass(frozen=True, slots=True)
class Sheet:
    """All items, and what the key tells beside them."""

    items: tuple[Item, ...]
    missing: Mapping[str, str]  # method -> why it is not on the sheet
    seed: int
    made_with: Mapping[str, str]  # bundle, model, … for the key

    @property
    def name(self) -> str:
        """Return eight hex digits that tell this sheet from another of the same clips."""
        content = json.dumps([self.seed, [asdict(item) for item in self.items]], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:8]

    def item_name(self, position: int) -> str:
        """Return what an item (from 0) is called in answers: answers to another sheet cannot be taken for these."""
        return f"{self.name}-{position + 1:02d}"

    def slots(self, position: int) -> tuple[Slot, ...]:
        """Return an item's captions in an order that says nothing, the same for the same seed."""
        captions = sorted(self.items[position].captions.items())
        order = np.random.default_rng((self.seed, position)).permutation(len(captions))
        return tuple(
            Slot(letter, *captions[index]) for letter, index in zip(string.ascii_uppercase, order, strict=False)
        )

    def key(self) -> str:
        """Return the key: what no rater may see, the clips' names too, which tell the truth."""
        items = [
            {
                "item": self.item_name(position),
                "machine": item.machine,
                "id": item.machine_id,
                "clip": item.sound.clip,
                "start_s": item.sound.start_s,
                "anomalous": item.anomalous,
                "score": item.score,
                "normals": [{"clip": normal.clip, "start_s": normal.start_s} for normal in item.normals],
                "slots": [asdict(slot) for slot in self.slots(position)],
            }
            for position, item in enumerate(self.items)
        ]
        head = {"key_version": KEY_VERSION, "sheet": self.name, "seed": self.seed}
        rest = {"made_with": dict(self.made_with), "missing": dict(self.missing), "items": items}
        return json.dumps({**head, **rest}, indent=1, ensure_ascii=False) + "\n"
