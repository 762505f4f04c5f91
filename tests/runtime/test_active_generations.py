"""A machine is scored with its active generation, and everybody who must know is told which that is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from edge_monitor.config.file import load_settings
from edge_monitor.node.node import Node
from edge_monitor.pipeline.machine_pipeline import Learnt, NotLearnt
from edge_monitor.runtime.active_generations import ActiveGenerations
from edge_monitor.runtime.machine_states import MachineStates
from tests.enrolled import IDLE
from tests.product import Product

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def generations(
    product: Product, swapped: list[Learnt | NotLearnt], prepared: list[tuple[str, int]]
) -> ActiveGenerations:
    """Return the generations of a node's pump; what its pipeline is given, and what is to be prepared, is noted."""
    node = Node(load_settings(product.config))
    states = MachineStates(node.settings.node, node.settings.machine, lambda *_: None)
    pipelines: Any = {"pump": SimpleNamespace(swap=swapped.append, learnt=NotLearnt())}
    return ActiveGenerations(node, pipelines, states, lambda machine, number: prepared.append((machine, number)))


def test_a_generation_goes_to_the_pipeline_and_shows_in_the_state(enrolled: Callable[..., Product]) -> None:
    """The pipeline takes it when it comes to it; what an alarm is compared with is got ready before the first."""
    swapped: list[Learnt | NotLearnt] = []
    prepared: list[tuple[str, int]] = []
    active = generations(enrolled(IDLE), swapped, prepared)
    with active.node.store:
        active.changed("pump")
    [learnt] = swapped
    assert isinstance(learnt, Learnt)
    assert prepared == [("pump", 1)]
    assert learnt.generation == active.states.snapshot()[0]["generation"] == 1
    assert active.states.verdict("pump").level == "good"


def test_a_damaged_generation_is_deaf(enrolled: Callable[..., Product]) -> None:
    """What cannot be scored with is told apart from what was never enrolled."""
    active = generations(enrolled(IDLE), [], [])
    with active.node.store as store:
        store.open()
        store.commit(lambda connection: connection.execute("UPDATE generations SET threshold = 1e300"))
        active.load_first("pump")
    assert active.states.verdict("pump").line.startswith("deaf: what was learnt is damaged")


def test_a_machine_of_which_nothing_is_known_is_begun_with_nothing(tmp_path: Path) -> None:
    """Its state has no generation, and no index is built."""
    swapped: list[Learnt | NotLearnt] = []
    product = Product(tmp_path, IDLE)
    product.state.mkdir(exist_ok=True)
    active = generations(product, swapped, [])
    with active.node.store:
        assert isinstance(active.load_first("pump"), NotLearnt)
        active.build_missing_indexes()
    assert active.states.snapshot()[0]["generation"] is None
    assert active.states.verdict("pump").line.startswith("deaf: not enrolled")
    assert swapped == []
