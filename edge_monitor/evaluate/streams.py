"""Streams made of a machine id's clips, in random order, and what a rule decides on them; pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_monitor.evaluate.roc import Scores
    from edge_monitor.evaluate.rules import DecisionRule

Length = Literal["memory", "passes"]
LENGTHS: dict[Length, str] = {"memory": "twice the memory", "passes": "three passes"}
_MEMORIES, _PASSES = 2, 3


def draw_stream(clips: Sequence[Scores], length: Length, memory: int, draw: np.random.Generator) -> Scores:
    """Return the scores of a stream, (windows,): clips of (windows,) each, whole and in a new random order each pass.

    `memory` (windows): a stream of twice that many is cut there; one of three passes is as long as they are.
    """
    total = sum(map(len, clips))
    passes = _PASSES if length == "passes" else math.ceil(_MEMORIES * memory / total)
    stream = np.concatenate([clips[i] for _ in range(passes) for i in draw.permutation(len(clips))])
    return stream if length == "passes" else stream[: _MEMORIES * memory]


@dataclass(frozen=True, slots=True)
class Tally:
    """What a rule decided on the streams of one split."""

    streams: int
    alarm: int  # streams with an alarm
    changed: int  # streams that were found changed
    delays: tuple[int, ...]  # of each stream with an alarm: windows heard until it


def play(rule: DecisionRule, streams: Sequence[Scores]) -> Tally:
    """Return what a rule decides on streams of (windows,) scores."""
    decisions = [rule.decide(stream) for stream in streams]
    delays = tuple(each.alarm + 1 for each in decisions if each.alarm is not None)
    return Tally(len(streams), len(delays), sum(each.changed is not None for each in decisions), delays)
