"""GPT-2's vocabulary: tokens to text and, for a user's own texts, text to tokens."""

from __future__ import annotations

import json
import re
import unicodedata
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

from edge_monitor.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from edge_monitor.encode.bundle import Bundle

END_OF_TEXT = "<|endoftext|>"

# How GPT-2 cuts text before pairs are merged, over the classes of `_class_of`: (L)etters, (N)umbers, (O)ther, space and
# (s) for white space that is no space. Python's `re` has no \p{L}, so each character is classified first.
_CONTRACTION = re.compile(r"'(?:s|t|re|ve|m|ll|d)")
_PIECE = re.compile(r" ?L+| ?N+| ?O+|[ s]+(?![LNO])|[ s]+")


def byte_alphabet() -> dict[int, str]:
    """Return the printable character that stands for each byte in GPT-2's files (openai/gpt-2, encoder.py)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(others)}


_CHARACTER_OF = byte_alphabet()
_BYTE_OF = {character: byte for byte, character in _CHARACTER_OF.items()}


class Vocabulary:
    """The tokens of a byte-level BPE; `merges` (pairs, best first) are needed for encoding only.

    `tokens` are in the files' alphabet, by id. Raises BundleError when a token is not in it.
    """

    def __init__(self, tokens: Sequence[str], merges: Iterable[tuple[str, str]] = ()) -> None:
        self._bytes = [_bytes_of(token) for token in tokens]
        self._ids: Mapping[str, int] = {token: number for number, token in enumerate(tokens)}
        self._ranks = {pair: rank for rank, pair in enumerate(merges)}
        self._merged = lru_cache(maxsize=1024)(self._merge)

    @classmethod
    def of(cls, bundle: Bundle, path: str) -> Vocabulary:
        """Read a bundle's file. Raises BundleError."""
        return cls.parse(bundle.read_verified(bundle.file(path)), where=str(bundle.folder / path))

    @classmethod
    def parse(cls, content: bytes, *, where: str) -> Vocabulary:
        """Read a bundle's vocabulary, `{"tokens": [token, …], "merges": ["first second", …]}`.

        Raises BundleError when it is not that.
        """
        try:
            fields = json.loads(content)
            pairs = [merge.split(" ") for merge in fields.get("merges", [])]
            return cls(fields["tokens"], [(first, second) for first, second in pairs])
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise BundleError(f"not a vocabulary: {error}", where=where) from error

    def __len__(self) -> int:
        """Return the number of tokens."""
        return len(self._bytes)

    def decode(self, tokens: Iterable[int]) -> str:
        """Return the text of `tokens`.

        Bytes that are not UTF-8 become U+FFFD. Raises BundleError for a token that is not in the vocabulary.
        """
        try:
            return b"".join(self._bytes[token] for token in tokens).decode("utf-8", errors="replace")
        except IndexError as error:
            raise BundleError(f"a token is not among the {len(self)} of the vocabulary") from error

    def encode(self, text: str) -> tuple[int, ...]:
        """Return GPT-2's tokens of `text`; `<|endoftext|>` in it is the one special token."""
        ids: list[int] = []
        for number, part in enumerate(text.split(END_OF_TEXT)):
            if number:
                ids.append(self._ids[END_OF_TEXT])
            for piece in _pieces(part):
                ids.extend(self._merged("".join(_CHARACTER_OF[byte] for byte in piece.encode("utf-8"))))
        return tuple(ids)

    def _merge(self, piece: str) -> tuple[int, ...]:
        """Return the tokens of one piece: the best-ranked pair is merged until none is left."""
        parts = list(piece)
        while len(parts) > 1:
            pairs = list(pairwise(parts))
            best = min(pairs, key=lambda pair: self._ranks.get(pair, len(self._ranks)))
            if best not in self._ranks:
                break
            merged: list[str] = []
            position = 0
            while position < len(parts):
                if tuple(parts[position : position + 2]) == best:
                    merged.append("".join(best))
                    position += 2
                else:
                    merged.append(parts[position])
                    position += 1
            parts = merged
        try:
            return tuple(self._ids[part] for part in parts)
        except KeyError as error:
            raise BundleError(f"{error} is not in the vocabulary", hint="vocabulary and merges differ") from error


def _bytes_of(token: str) -> bytes:
    if token == END_OF_TEXT:
        return token.encode("ascii")
    try:
        return bytes(_BYTE_OF[character] for character in token)
    except KeyError as error:
        raise BundleError(f"token {token!r} is not in GPT-2's alphabet") from error


def _pieces(text: str) -> Iterator[str]:
    """Yield what GPT-2 merges by itself: words with their space, numbers, punctuation, contractions."""
    classes = "".join(map(_class_of, text))
    start = 0
    while match := _CONTRACTION.match(text, start) or _PIECE.match(classes, start):  # each class has its branch
        yield text[start : match.end()]
        start = match.end()


def _class_of(character: str) -> str:
    if character == " ":
        return " "
    if character.isspace() and not "\x1c" <= character <= "\x1f":  # Python's white space has four controls more
        return "s"
    kind = unicodedata.category(character)[0]
    return kind if kind in "LN" else "O"
