"""Which generation each machine is scored with: loaded beside the audio, taken up between two blocks."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge_monitor.node.learnt import load_learnt
from edge_monitor.node.verdict import Facts, facts_of
from edge_monitor.pipeline.machine_pipeline import Learnt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_monitor.node.node import Node
    from edge_monitor.pipeline.machine_pipeline import MachinePipeline, NotLearnt
    from edge_monitor.runtime.machine_states import MachineStates


@dataclass(eq=False)
class ActiveGenerations:
    """Thread-safe. `prepare(machine, generation)` is called with every generation that scores from now on."""

    node: Node
    pipelines: Mapping[str, MachinePipeline]
    states: MachineStates
    prepare: Callable[[str, int], None]
    _swapping: threading.Lock = field(default_factory=threading.Lock, init=False)

    def load_first(self, machine: str) -> Learnt | NotLearnt:
        """Return what a machine's pipeline begins with; an index that is missing is not waited for."""
        learnt = load_learnt(self.node, machine, build=False)
        self._announce(machine, learnt)
        return learnt

    def changed(self, machine: str) -> None:
        """Load the machine's active generation; the pipeline goes over to it between two blocks."""
        with self._swapping:  # else a slow load of an old generation could overtake the newest
            learnt = load_learnt(self.node, machine)
            self.pipelines[machine].swap(learnt)
            self._announce(machine, learnt)

    def build_missing_indexes(self) -> None:
        """Build each index that exact search stands in for."""
        for name, pipeline in self.pipelines.items():
            if isinstance(pipeline.learnt, Learnt) and pipeline.learnt.scorer.index_source.startswith("exact"):
                self.changed(name)

    def _announce(self, machine: str, learnt: Learnt | NotLearnt) -> None:
        generation = learnt.scorer.generation if isinstance(learnt, Learnt) else None
        if isinstance(learnt, Learnt):
            with self.node.reading() as connection:
                facts = facts_of(connection, self.node.machine(machine), generation)
        else:
            facts = Facts(damaged=learnt.damaged)
        self.states.set_generation(machine, generation, facts)
        if generation is not None:
            self.prepare(machine, generation.number)
