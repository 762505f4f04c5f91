"""What the LLM is asked: the paper's prompts for its three methods, and this project's one for measured differences.

The paper: Ogura, Nishida, Kawaguchi, "Retrieval-Augmented Difference Captioning to Explain Unsupervised Anomalous Sound
Detection". Where it gives the words they stand here as printed, with the names in its brackets and its k, the number of
normals, replaced by what they stand for, and nothing else; where it only says what is asked, the words are ours, and
the comment beside them says why. Whatever changes a prompt changes PROMPT_VERSION.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Literal

from edge_monitor.explain.answer import BEGINNING, MOST_WORDS, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edge_monitor.records import Finding

PROMPT_VERSION = "1"

# What each worded method needs of the model bundle, the method that says most first.
NEEDS: dict[str, tuple[Literal["captions", "text-similarity"], ...]] = {
    "combination": ("captions", "text-similarity"),
    "text-decoder": ("captions",),
    "zero-shot": ("text-similarity",),
    "measured-worded": (),
}

# Ours. The paper (IV-A) says only that "a common prompt instructing the GPT-4 to begin their output sentence with 'This
# sound is' and to finish it within 40 words was added before each prompt": the same verbs, as a request.
_COMMON = f'Begin your output sentence with "{BEGINNING}" and finish it within {MOST_WORDS} words.'

# The paper's (III-B).
_REQUEST = "Please describe in broad strokes how this anomalous sound differs compared to the normal sounds."

# Ours. The paper (III-C) gives no request, only that the prompt "asks to compare those values for the
# anomaly-identified sound and the normal reference sounds". What a value means is said first, from the same
# paragraph ("how much that audio input contains the feature"): a bare table does not say whether more is a higher
# or a lower number. Then the paper's own request of III-B: the methods differ in what they are given alone.
_COMPARE = f"A higher value means that the sound contains more of that feature. Please compare those values. {_REQUEST}"

# Ours. Figures are what a maintenance engineer acts on, and an LLM asked for broad strokes leaves them out. It has
# measurements, no knowledge of the machine: a cause would be a guess.
_KEEP_FIGURES = f"{_REQUEST} Keep the most important figures with their units. Do not guess the cause."

# Ours. The answer it corrects stands before it in the conversation.
_CORRECTIVE = (
    f'Your answer did not keep to the form. Answer again in one sentence that begins with "{BEGINNING}" and has at '
    f"most {MOST_WORDS} words. Write nothing else."
)


def text_decoder(machine: str, caption: str, normal_captions: Sequence[str]) -> str:
    """Return the prompt that compares the anomalous sound's caption with its k nearest normals' (the paper, III-B)."""
    name = one_line(machine)
    return _after_common(
        f"The caption of the anomalous sound of {name} is given as: {_caption(caption)}. "
        f"On the other hand, the captions of the normal sounds of {name} are given as: "
        f"{', '.join(map(_caption, normal_captions))}. {_REQUEST}"
    )


def zero_shot(
    machine: str, texts: Sequence[str], similarities: Sequence[float], normal_similarities: Sequence[Sequence[float]]
) -> str:
    """Return the prompt that compares cosines to the reference texts (the paper, III-C).

    `similarities` has one cosine for each text, `normal_similarities` such a row for each of the k nearest normals.
    The paper's "k normal sounds" becomes their number: the LLM is told of no k. It says that rows are texts and columns
    are sounds, but its example has a sound on each row under a header of texts: the example is followed. Raises
    ValueError on rows of other lengths.
    """
    name = one_line(machine)
    return _after_common(
        f"The acoustic features of the anomalous sound of {name} are given as {_table(texts, [similarities])}. "
        f"On the other hand, the acoustic features of the {len(normal_similarities)} normal sounds of {name} are given "
        f"as {_table(texts, normal_similarities)}. {_COMPARE}"
    )


def combination(
    machine: str,
    texts: Sequence[str],
    *,
    caption: str,
    similarities: Sequence[float],
    normal_captions: Sequence[str],
    normal_similarities: Sequence[Sequence[float]],
) -> str:
    """Return the prompt with captions and cosines in one CSV (the paper, III-C, last paragraph); shapes as `zero_shot`.

    The paper gives the CSV's form alone. The sentences around it are ours: the zero-shot method's, which name what
    is in the table, with the captions added.
    """
    name = one_line(machine)
    anomalous = _table(texts, [similarities], [caption])
    normal = _table(texts, normal_similarities, normal_captions)
    return _after_common(
        f"The caption and the acoustic features of the anomalous sound of {name} are given as {anomalous}. "
        f"On the other hand, the captions and the acoustic features of the {len(normal_similarities)} normal sounds of "
        f"{name} are given as {normal}. {_COMPARE}"
    )


def measured_worded(machine: str, difference: str, findings: Sequence[Finding]) -> str:
    """Return the prompt that has measured differences put into words; `difference` is their plain sentence.

    Ours: the paper has no such method. It follows the zero-shot method's sentence, for a model bundle that has neither
    captions nor texts. The scaled deviations are left out: they rank the findings, which are in that order already.
    """
    rows = [["finding", "anomalous", "normal", "unit"]]
    rows += [[one_line(f.text), _figure(f.value), _figure(f.normal), one_line(f.unit)] for f in findings]
    measured = f" The measured values, the strongest difference first, are given as {_csv(rows)}." if findings else ""
    return _after_common(
        f"The differences of the anomalous sound of {one_line(machine)} from its nearest normal sounds were measured: "
        f"{one_line(difference)}{measured} {_KEEP_FIGURES}"
    )


def corrective() -> str:
    """Return the request that follows an answer which did not keep to the form."""
    return _CORRECTIVE


def _after_common(prompt: str) -> str:
    return f"{_COMMON}\n{prompt}"


def _caption(text: str) -> str:
    """Return a caption on one line; the paper's sentence brings the full stop."""
    return one_line(text).rstrip(".")


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _table(texts: Sequence[str], rows: Sequence[Sequence[float]], captions: Sequence[str] | None = None) -> str:
    """Return cosines as CSV, a sound on each row, with four decimals: CLAP's differ in the second and third."""
    head = [] if captions is None else ["caption"]
    firsts: Iterable[list[str]] = [[] for _ in rows] if captions is None else [[_caption(text)] for text in captions]
    table = [[*head, *map(one_line, texts)]]
    for first, row in zip(firsts, rows, strict=True):
        table.append([*first, *(f"{cosine:.4f}" for _, cosine in zip(texts, row, strict=True))])
    return _csv(table)


def _csv(rows: Iterable[Sequence[str]]) -> str:
    """Return RFC 4180: CRLF between records, quotes where a field needs them, none after the last record."""
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().removesuffix("\r\n")
