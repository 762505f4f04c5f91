"""Captions that speak of people or voices are withheld, captions of machines are not."""

from __future__ import annotations

import pytest

from edge_monitor.explain.captions import WITHHELD, redact


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
        "Sounds like a man is mumbling",
        "Sounds like people are arguing",
        "Sounds like a crowd is murmuring",
        "Sounds like someone reads aloud from a book",
        "Sounds like a person mutters something",
        "Sounds like a woman recites poetry",
        "Sounds like a baby is babbling",
        "Sounds like a man asks a question",
        "Sounds like a man is telling a story",
        "Sounds like a telephone call with a customer",
        "Sounds like a man gives an order over the radio",
        "Sounds like a person is calling out a name",
        "Sounds like a man swears loudly",
        "Sounds like people gossip nearby",
        "Sounds like a man counts from one to ten",
        "Sounds like a man explains how to fix a pump",
        "Sounds like a radio broadcast plays",
        "Sounds like Men argue and a pump runs",
        "Sounds like a crowd roars",
        "Sounds like a man answers the phone",
        "Sounds like human sounds",
        "Sounds like a male monologue",
        "Sounds like a female addresses the audience",
        "Sounds like a group having a debate",
        "Sounds like a man's murmured remarks",
        "Sounds like a child's prayer",
        "Sounds like the narrator over a fan",
        "Sounds like an auctioneer",
        "Sounds like someone orating",
        "Sounds like a television in the next room",
        "Sounds like the speaker of an evening",
        "Sounds like muttering behind a compressor",
        "Sounds like mumbling and whispering",
        "Sounds like reading aloud",
        "Sounds like an argument",
        "Sounds like workers and a conveyor",
        "Sounds like a foreman beside a press",
        "Sounds like he explains the valve",
        "Sounds like a person is using a sewing machine",
    ],
)
def test_a_caption_that_speaks_of_people_or_voices_is_withheld(caption: str) -> None:
    """Nothing of it is left."""
    assert redact(caption) == WITHHELD


@pytest.mark.parametrize(
    "caption",
    [
        "Sounds like a pump is running and knocking",
        "Sounds like a valve chatters against its seat",
        "Sounds like metal rapping on metal",
        "Sounds like a motor whines, groans and murmurs",
        "Sounds like water trickling, hissing steam, a single click",
        "Sounds like a loudspeaker that hums at a steady pitch",
        "Sounds like a microphone being rubbed",
        "Sounds like a mechanical engine idles and a manual gear is turned",
        "Sounds like heavy machinery operating, a screwdriver, a fan and a slider",
        "Sounds like an engine accelerates, roars and then rattles",
        "Sounds like rain sprays against a pane of a workshop",
        "Sounds like a train passes by over the rails, its brakes squeal",
        "Sounds like a drill bores, a saw cuts and a hammer strikes",
        "Sounds like a bearing grinds and chirps at a rhythmic pace",
        "Sounds like an essay in processing dust",
        WITHHELD.replace("people or voices", "noises"),
    ],
)
def test_a_caption_of_a_machine_passes_unchanged(caption: str) -> None:
    """Words of machines that resemble words of voices are no reason to withhold."""
    assert redact(caption) == caption


def test_withholding_twice_is_the_same() -> None:
    """The phrase speaks of people itself and stays as it is."""
    assert redact(WITHHELD) == WITHHELD
