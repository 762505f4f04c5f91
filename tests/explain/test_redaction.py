"""Captions that speak of voices are withheld, captions of machines are not."""

from __future__ import annotations

import pytest

from edge_monitor.explain.redaction import WITHHELD, redact


@pytest.mark.parametrize(
    "caption",
    [
        "Sounds like a man is speaking while a machine hums",
        "Sounds like SPEECH over an engine",
        "Sounds like people talk in the background.",
        "Sounds like two women talking",
        "Sounds like a voice",
        "Sounds like male vocals",
        "Sounds like a conversation near a fan",
        "Sounds like someone is singing a song",
        "Sounds like a choir",
        "Sounds like a child laughs and shouts",
        "Sounds like a woman says hello",
        "Sounds like an announcement over a loudspeaker",
        "Sounds like whispering",
        "Sounds like a baby crying",
    ],
)
def test_a_caption_that_speaks_of_voices_is_withheld(caption: str) -> None:
    """Nothing of it is left."""
    assert redact(caption) == WITHHELD


@pytest.mark.parametrize(
    "caption",
    [
        "Sounds like a pump is running and knocking",
        "Sounds like a valve chatters against its seat",
        "Sounds like metal rapping on metal",
        "Sounds like a person is using a sewing machine",
        "Sounds like a motor whines, groans and murmurs",
        "Sounds like water babbling, hissing steam, a single click",
        "Sounds like an essay in processing dust",
        WITHHELD.replace("voices", "noises"),
    ],
)
def test_a_caption_of_a_machine_passes_unchanged(caption: str) -> None:
    """Words of machines that resemble words of voices are no reason to withhold."""
    assert redact(caption) == caption


def test_withholding_twice_is_the_same() -> None:
    """The phrase speaks of voices itself and stays as it is."""
    assert redact(WITHHELD) == WITHHELD
