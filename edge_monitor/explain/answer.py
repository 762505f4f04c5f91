"""The LLM's answer: text of unknown origin, made safe to store and publish, and checked for the form asked for."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

BEGINNING = "This sound is"  # the paper, section IV-A
MOST_WORDS = 40  # the paper, section IV-A
MOST_CHARACTERS = 400  # 40 English words are about 250; a topic's subscribers get no essays
_QUOTES = {'"': '"', "'": "'", "“": "”", "«": "»"}
_PARTING = {"Cc", "Zl", "Zp", "Zs"}  # categories of characters that part words
_UNSEEN = {"Cf", "Cn", "Co", "Cs"}  # and of those that show nothing or anything


@dataclass(frozen=True, slots=True)
class Answer:
    """What the LLM says of a sound: one tidy line, and whether it kept to the form."""

    text: str
    format_ok: bool


def read(raw: str) -> Answer:
    """Return an answer, tidied and checked."""
    text = tidy(raw)
    return Answer(text, format_ok(text))


def one_line(text: str) -> str:
    """Return a text on one line: no control, format (bidi, invisible) or unassigned characters, single spaces, trimmed.

    Line and paragraph separators count as spaces; lone surrogates, which have no UTF-8, are dropped.
    """
    kinds = ((character, unicodedata.category(character)) for character in text)
    kept = (" " if kind in _PARTING else character for character, kind in kinds if kind not in _UNSEEN)
    return " ".join("".join(kept).split())


def tidy(raw: str) -> str:
    """Return an answer as one line of at most 400 characters, without quotation marks around the whole of it."""
    text = one_line(raw)
    while len(text) > 1 and _QUOTES.get(text[0]) == text[-1]:
        text = text[1:-1].strip()
    if len(text) > MOST_CHARACTERS:
        text = text[: MOST_CHARACTERS - 1].rstrip() + "…"
    return text


def format_ok(text: str) -> bool:
    """Tell whether a tidy answer goes on after "This sound is" and has at most 40 words."""
    return text.startswith(f"{BEGINNING} ") and len(text.split()) <= MOST_WORDS
