"""What is asked of an LLM for a listening sheet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.config.settings import ExplainSettings, ModelSettings
from edge_monitor.encode.bundle import open_bundle
from edge_monitor.encode.captioner import Captioner
from edge_monitor.evaluate.captions import Captions, Question
from edge_monitor.explain import prompts
from edge_monitor.records import Embedding
from tests.encode import talking
from tests.llm_server import LlmServer, says

if TYPE_CHECKING:
    from pathlib import Path


def test_a_sound_and_its_neighbours_are_captioned_as_one_by_one(tmp_path: Path) -> None:
    """Decoded together, with a neighbour that comes twice and again with the next sound, each keeps its own caption."""
    bundle = open_bundle(talking.write(tmp_path / "talking"))
    rng = np.random.default_rng(3)
    sounds = [Embedding(rng.normal(size=6).astype(np.float32), bundle.bundle_hash) for _ in range(6)]
    captioner = Captioner(bundle)
    alone = [captioner.caption(sound).text for sound in sounds]
    assert len(set(alone)) == 6
    with LlmServer(says("This sound is fuller.")) as llm:
        captions = Captions(
            bundle, ModelSettings(), ExplainSettings(llm="openai", method="text-decoder", base_url=llm.base_url)
        )
        for order in ([0, 1, 2, 3, 2], [5, 4, 3, 2, 1]):
            anomaly, *neighbours = (sounds[number] for number in order)
            said, failed = captions.of(Question("Pump", None, anomaly, tuple(neighbours)))
            assert said["text-decoder"] == "This sound is fuller."
            assert sorted(failed) == ["measured", "measured-worded"]
        asked = [
            request.prompt for request in llm.requests if request.prompt.split("\n")[1].startswith("The caption of")
        ]
    assert asked == [
        prompts.text_decoder("Pump", alone[0], [alone[1], alone[2], alone[3], alone[2]]),
        prompts.text_decoder("Pump", alone[5], [alone[4], alone[3], alone[2], alone[1]]),
    ]
