"""The prompts, whole, and that nothing inserted leaves its place."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_monitor.explain import prompts
from edge_monitor.explain.difference import REFERENCE_TEXTS
from edge_monitor.records import Finding

MACHINE = "Coolant pump 3"
CAPTION = "Sounds like a machine is knocking, then grinding."
NORMAL_CAPTIONS = (
    "Sounds like a pump is running",
    "Sounds like water flowing through a pipe.",
    'Sounds like a "pump", steadily humming',
    "Sounds like a fan",
)
OWN = (0.31, -0.0421, 0.27046, 0.2, 0.1, 0.05, 0.01, 0.0)
NORMAL = (
    (0.21, -0.05, 0.07, 0.1, 0.02, 0.05, 0.11, 0.001),
    (0.22, -0.051, 0.08, 0.11, 0.03, 0.06, 0.12, 0.002),
    (0.23, -0.052, 0.09, 0.12, 0.04, 0.07, 0.13, 0.003),
    (0.24, -0.053, 0.1, 0.13, 0.05, 0.08, 0.14, 0.004),
)
FINDINGS = (
    Finding("impulses", "impulses at 87.3 per second, normally none", 87.34567, None, "1/s", 6.2, (2400.0, 4200.0)),
    Finding("band-level", "2.4-4.2 kHz is 6 dB louder", -31.0, -37.0, "dB", 3.1, (2400.0, 4200.0)),
)

COMMON = 'Begin your output sentence with "This sound is" and finish it within 40 words.\n'
TEXT_DECODER = (
    COMMON + "The caption of the anomalous sound of Coolant pump 3 is given as: "
    "Sounds like a machine is knocking, then grinding. "
    "On the other hand, the captions of the normal sounds of Coolant pump 3 are given as: "
    "Sounds like a pump is running, Sounds like water flowing through a pipe, "
    'Sounds like a "pump", steadily humming, Sounds like a fan. '
    "Please describe in broad strokes how this anomalous sound differs compared to the normal sounds."
)
HEADER = (
    "Vibration,High-frequency Squealing or Screeching,Popping or Knocking Sounds,Rhythmic Clicking or Tapping,"
    "Grinding Sounds,Irregular Patterns,Low-frequency Humming,Unexpected Silence\r\n"
)
COMPARE = (
    "A higher value means that the sound contains more of that feature. Please compare those values. "
    "Please describe in broad strokes how this anomalous sound differs compared to the normal sounds."
)
ZERO_SHOT = (
    COMMON
    + "The acoustic features of the anomalous sound of Coolant pump 3 are given as "
    + HEADER
    + "0.3100,-0.0421,0.2705,0.2000,0.1000,0.0500,0.0100,0.0000. "
    "On the other hand, the acoustic features of the 4 normal sounds of Coolant pump 3 are given as "
    + HEADER
    + "0.2100,-0.0500,0.0700,0.1000,0.0200,0.0500,0.1100,0.0010\r\n"
    "0.2200,-0.0510,0.0800,0.1100,0.0300,0.0600,0.1200,0.0020\r\n"
    "0.2300,-0.0520,0.0900,0.1200,0.0400,0.0700,0.1300,0.0030\r\n"
    "0.2400,-0.0530,0.1000,0.1300,0.0500,0.0800,0.1400,0.0040. " + COMPARE
)
COMBINATION = (
    COMMON
    + "The caption and the acoustic features of the anomalous sound of Coolant pump 3 are given as caption,"
    + HEADER
    + '"Sounds like a machine is knocking, then grinding",'
    "0.3100,-0.0421,0.2705,0.2000,0.1000,0.0500,0.0100,0.0000. "
    "On the other hand, the captions and the acoustic features of the 4 normal sounds of Coolant pump 3 are given as "
    "caption," + HEADER + "Sounds like a pump is running,0.2100,-0.0500,0.0700,0.1000,0.0200,0.0500,0.1100,0.0010\r\n"
    "Sounds like water flowing through a pipe,0.2200,-0.0510,0.0800,0.1100,0.0300,0.0600,0.1200,0.0020\r\n"
    '"Sounds like a ""pump"", steadily humming",0.2300,-0.0520,0.0900,0.1200,0.0400,0.0700,0.1300,0.0030\r\n'
    "Sounds like a fan,0.2400,-0.0530,0.1000,0.1300,0.0500,0.0800,0.1400,0.0040. " + COMPARE
)
MEASURED_WORDED = (
    COMMON + "The differences of the anomalous sound of Coolant pump 3 from its nearest normal sounds were measured: "
    "Impulses at 87.3 per second, normally none. "
    "The measured values, the strongest difference first, are given as finding,anomalous,normal,unit\r\n"
    '"impulses at 87.3 per second, normally none",87.35,,1/s\r\n'
    "2.4-4.2 kHz is 6 dB louder,-31,-37,dB. "
    "Please describe in broad strokes how this anomalous sound differs compared to the normal sounds. "
    "Keep the most important figures with their units. Do not guess the cause."
)


def combined(machine: str = MACHINE, caption: str = CAPTION) -> str:
    """Return the combination's prompt of the fixed case."""
    return prompts.combination(
        machine,
        REFERENCE_TEXTS,
        caption=caption,
        similarities=OWN,
        normal_captions=NORMAL_CAPTIONS,
        normal_similarities=NORMAL,
    )


def test_the_prompts_of_a_fixed_case_are_these() -> None:
    """Whoever changes a word of a prompt changes it here, and PROMPT_VERSION with it."""
    assert prompts.text_decoder(MACHINE, CAPTION, NORMAL_CAPTIONS) == TEXT_DECODER
    assert prompts.zero_shot(MACHINE, REFERENCE_TEXTS, OWN, NORMAL) == ZERO_SHOT
    assert combined() == COMBINATION
    assert prompts.measured_worded(MACHINE, "Impulses at 87.3 per second, normally none.", FINDINGS) == MEASURED_WORDED
    assert prompts.corrective() == (
        "Your answer did not keep to the form. Answer again in one sentence that begins with "
        '"This sound is" and has at most 40 words. Write nothing else.'
    )
    assert prompts.PROMPT_VERSION == "1"


# As printed in section III-B and III-C; what stands in brackets is replaced, and so is the k of "the k normal sounds".
PAPER_TEXT_DECODER = (
    "The caption of the anomalous sound of [] is given as: []. On the other hand, the captions of the normal sounds of "
    "[] are given as: []. Please describe in broad strokes how this anomalous sound differs compared to the normal "
    "sounds."
)
PAPER_ZERO_SHOT = (
    "The acoustic features of the anomalous sound of [] are given as []. On the other hand, the acoustic features of "
    "the [] normal sounds of [] are given as []"
)


def filled(paper: str, *values: str) -> str:
    """Return the paper's words with values in place of its brackets, in order."""
    pieces = paper.split("[]")
    assert len(pieces) == len(values) + 1
    return "".join(piece + value for piece, value in zip(pieces, (*values, ""), strict=True))


def test_the_papers_words_are_used_character_by_character() -> None:
    """Outside its brackets nothing of the paper's prompts is changed, added or left out."""
    assert prompts.text_decoder("M", "Sounds like a", ["Sounds like b", "Sounds like c"]) == COMMON + filled(
        PAPER_TEXT_DECODER, "M", "Sounds like a", "M", "Sounds like b, Sounds like c"
    )
    zero_shot = prompts.zero_shot("M", ["Vibration"], [0.5], [[0.25], [0.125]])
    features = "Vibration\r\n0.5000", "2", "M", "Vibration\r\n0.2500\r\n0.1250"
    assert zero_shot == COMMON + filled(PAPER_ZERO_SHOT, "M", *features) + ". " + COMPARE


@given(caption=st.text(), machine=st.text(min_size=1))
def test_whatever_a_caption_or_a_name_holds_stays_in_its_place(caption: str, machine: str) -> None:
    """Line breaks, quotes and commas neither add a record to the table nor a line to the prompt."""
    prompt = combined(machine, caption)
    assert prompt.startswith(COMMON)
    assert prompt.count("\n") == 1 + 1 + len(NORMAL)
    tables = prompt.split(" are given as ")
    anomalous = next(part for part in tables if part.startswith("caption,Vibration"))
    records = list(csv.reader(io.StringIO(anomalous.partition(". On the other hand, the captions and")[0], newline="")))
    assert records[0] == ["caption", *REFERENCE_TEXTS]
    assert records[1][1:] == ["0.3100", "-0.0421", "0.2705", "0.2000", "0.1000", "0.0500", "0.0100", "0.0000"]
    assert len(records) == 2


def test_nothing_that_stands_out_is_worded_without_a_table() -> None:
    """With no findings the sentence alone is given."""
    prompt = prompts.measured_worded("Fan\n2", "Nothing stands out.", ())
    assert prompt == (
        COMMON + "The differences of the anomalous sound of Fan 2 from its nearest normal sounds were measured: "
        "Nothing stands out. Please describe in broad strokes how this anomalous sound differs compared to the normal "
        "sounds. Keep the most important figures with their units. Do not guess the cause."
    )


def test_a_row_of_another_length_is_refused() -> None:
    """A cosine too few would shift the others under the wrong texts."""
    with pytest.raises(ValueError, match="zip"):
        prompts.zero_shot(MACHINE, REFERENCE_TEXTS, OWN[:7], NORMAL)
    with pytest.raises(ValueError, match="zip"):
        prompts.combination(
            MACHINE,
            REFERENCE_TEXTS,
            caption=CAPTION,
            similarities=OWN,
            normal_captions=NORMAL_CAPTIONS[:3],
            normal_similarities=NORMAL,
        )
