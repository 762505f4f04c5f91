"""A language model that is exactly the same everywhere: its logits are looked up by a hash of the text so far.

Run with torch and msclap (`python -m tests.encode.toy_decoder`), it writes what msclap's own beam search makes of it
to msclap_beams.txt, one line a case.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_monitor.encode.beam import BEAMS, MOST_TOKENS, Continuation, Offers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

RECORDED = Path(__file__).with_name("msclap_beams.txt")
CASES = 1200
LETTERS = "!abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"  # a token each; 0 is GPT-2's "!", msclap's filler
STOP = LETTERS.index("s")
_ROWS = 4096


@dataclass
class Toy:
    """One seeded language model over LETTERS, reading its own prefix of three tokens."""

    seed: int
    table: NDArray[np.float32] = field(init=False)  # (row, token) logits

    def __post_init__(self) -> None:
        """Draw the logits: sharp or flat, and with a stop that is eager, average or shy."""
        raw = np.random.PCG64(self.seed).random_raw(_ROWS * len(LETTERS)) >> np.uint64(40)  # 24 bits: exact in float32
        spread = (1.0, 4.0, 12.0)[self.seed % 3]
        self.table = (raw.astype(np.float32) / np.float32(2**24) * np.float32(spread)).reshape(_ROWS, len(LETTERS))
        self.table[:, STOP] += np.float32((-4.0, -1.0, 0.5, 2.0)[self.seed // 3 % 4])

    def logits(self, texts: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the logits after each text: (beam, length) to (beam, token)."""
        row = np.full(len(texts), self.seed, dtype=np.int64)
        for column in texts.T:
            row = (row * 31 + column + 7) % 1_000_003
        return self.table[row % _ROWS]


def offers_of(logits: NDArray[np.float32], choices: int = BEAMS) -> Offers:
    """Return the offers that logits (beam, vocabulary) amount to, at temperature 1."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    likely = np.argpartition(-shifted, choices - 1, axis=1)[:, :choices]  # (beam, choice), in no order
    values = np.take_along_axis(shifted, likely, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    totals = np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    log_probs = np.take_along_axis(values, order, axis=1) - totals
    return Offers(np.take_along_axis(likely, order, axis=1).astype(np.int64), log_probs.astype(np.float32))


@dataclass
class ToyDecoding:
    """Toys as the search knows a decoder, one for each caption."""

    toys: list[Toy]
    texts: list[NDArray[np.int64]]  # of each caption, (beam, length) so far
    asked: list[list[int]] = field(default_factory=list)  # at each step, the captions that went on

    def start(self) -> list[Offers]:
        """Read the prefixes."""
        return [offers_of(toy.logits(text)) for toy, text in zip(self.toys, self.texts, strict=True)]

    def step(self, continuations: Sequence[Continuation]) -> list[Offers]:
        """Continue the beams."""
        self.asked.append([each.caption for each in continuations])
        for each in continuations:
            former = self.texts[each.caption][each.sources]
            self.texts[each.caption] = np.concatenate([former, each.tokens[:, None]], axis=1)
        return [offers_of(self.toys[each.caption].logits(self.texts[each.caption])) for each in continuations]


def prefix(seed: int) -> NDArray[np.int64]:
    """Return the tokens a case begins with, (1, 3)."""
    return np.array([[seed % len(LETTERS), seed // 7 % len(LETTERS), 1]], dtype=np.int64)


def most_tokens(seed: int) -> int:
    """Return how long a case's caption may be: mostly as msclap, sometimes much shorter."""
    return (MOST_TOKENS, MOST_TOKENS, 20, 1 + seed % 5)[seed // 12 % 4]


def written(tokens: tuple[int, ...]) -> str:
    """Return the tokens as letters."""
    return "".join(LETTERS[token] for token in tokens)


def msclap_beam(seed: int) -> tuple[int, ...]:
    """Return the best beam of msclap's own `_generate_beam` over the toy. Needs torch and msclap."""
    import torch
    import transformers  # before the stand-ins below, which it would look into  # noqa: F401

    sys.modules.setdefault("torchaudio", ModuleType("torchaudio"))  # its CUDA libraries are not needed here
    sys.modules.setdefault("torchaudio.transforms", ModuleType("torchaudio.transforms"))
    from msclap.CLAPWrapper import CLAPWrapper

    toy = Toy(seed)

    def gpt(inputs_embeds: Any) -> SimpleNamespace:  # noqa: ANN401 - torch is not installed where types are checked
        texts = inputs_embeds[:, :, 0].round().to(torch.int64).numpy()
        return SimpleNamespace(logits=torch.from_numpy(toy.logits(texts).copy())[:, None, :])

    # Its embedding of a token is the token itself, so that the text so far can be read back.
    gpt.transformer = SimpleNamespace(wte=lambda tokens: tokens.to(torch.float32)[..., None])  # type: ignore[attr-defined]
    wrapper = SimpleNamespace(
        clapcap=SimpleNamespace(eval=lambda: None, parameters=lambda: iter([torch.zeros(1)]), gpt=gpt),
        tokenizer=SimpleNamespace(encode=lambda _: [STOP, 0], decode=lambda tokens: tuple(tokens.tolist())),
    )
    embed = torch.from_numpy(prefix(seed)).to(torch.float32)[:, :, None]
    best: tuple[int, ...] = CLAPWrapper._generate_beam(wrapper, embed=embed, entry_length=most_tokens(seed))[0]
    return best


if __name__ == "__main__":
    RECORDED.write_text("".join(f"{written(msclap_beam(seed))}\n" for seed in range(CASES)), "ascii")
