"""Captions in full size are msclap's own, token for token."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edge_monitor.encode.beam import search
from edge_monitor.encode.bundle import open_bundle
from edge_monitor.encode.decoder import CaptionDecoding, Decoder
from edge_monitor.encode.session import open_session
from edge_monitor.export.gpt2 import decoder_model, mapper_model
from tests.encode import talking

if TYPE_CHECKING:
    from pathlib import Path

    import torch

TOKENS = 4  # msclap computes everything anew for each token: longer ones take minutes
SPACE = 220


def msclap_beam(captioner: Any, embed: torch.Tensor, stop: int) -> tuple[int, ...]:  # noqa: ANN401 - msclap's module
    """Return the best beam of msclap's own `_generate_beam`."""
    import transformers  # before the stand-ins below, which it would look into  # noqa: F401

    sys.modules.setdefault("torchaudio", ModuleType("torchaudio"))  # its CUDA libraries are not needed here
    sys.modules.setdefault("torchaudio.transforms", ModuleType("torchaudio.transforms"))
    from msclap.CLAPWrapper import CLAPWrapper

    tokenizer = SimpleNamespace(encode=lambda _: [stop, 50256], decode=lambda tokens: tuple(tokens.tolist()))
    wrapper = SimpleNamespace(clapcap=captioner, tokenizer=tokenizer)
    best: tuple[int, ...] = CLAPWrapper._generate_beam(wrapper, embed=embed, entry_length=TOKENS)[0]
    return best


@pytest.mark.torch
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore")  # msclap's and transformers' own
def test_captions_of_full_size_are_msclaps(tmp_path: Path) -> None:
    """Ten vectors, five of them with a stop token that comes early, in the real architecture; then five together."""
    import torch

    from edge_monitor.export.reference import make_modules

    torch.manual_seed(0)
    captioner = make_modules().captioner
    with torch.no_grad():
        # of either sign, or a model whose two token tables are one says one word again and again
        captioner.gpt.transformer.ln_f.weight.normal_(0.0, 2.0)
        for block in captioner.gpt.transformer.h:  # GPT-2's own start is so small that no layer is heard
            for layer in (block.attn.c_attn, block.attn.c_proj, block.mlp.c_fc, block.mlp.c_proj):
                layer.weight.mul_(3.0)
    weights = {
        part: {name: value.numpy() for name, value in module.state_dict().items() if value.is_floating_point()}
        for part, module in (("decoder", captioner.gpt.transformer), ("mapper", captioner.clap_project))
    }
    bundle = open_bundle(
        talking.write(tmp_path, decoder=decoder_model(weights["decoder"]), mapper=mapper_model(weights["mapper"]))
    )
    mapper, decoder = open_session(bundle, "mapper.onnx", 1), Decoder.open(bundle, "decoder.onnx", 1)
    seen: set[int] = set()
    prefixes, captions = [], []  # of those without an early stop
    for case in range(10):
        vector = np.random.default_rng(case).normal(size=(1, 1024)).astype(np.float32)
        vector /= np.linalg.norm(vector)
        with torch.no_grad():
            embed = captioner.clap_project(torch.from_numpy(vector))
        (prefix,) = mapper.run(None, {"embedding": vector})
        stop = SPACE
        if case % 2:  # the second token of what would be written
            stop = search(CaptionDecoding(decoder, prefix), most_tokens=TOKENS)[0].tokens[1]
        expected = msclap_beam(captioner, embed, stop)
        (found,) = search(CaptionDecoding(decoder, prefix), most_tokens=TOKENS, stop_token=stop)
        assert found.tokens == expected, f"case {case}"
        seen |= set(expected)
        if stop == SPACE:
            prefixes.append(prefix[0])
            captions.append(expected)
    assert len(captions) >= 5
    together = search(CaptionDecoding(decoder, np.stack(prefixes)), most_tokens=TOKENS)
    assert [caption.tokens for caption in together] == captions
    assert len(seen) > 15
