"""A bundle that talks, small enough for tests: a seeded mapper, GPT-2 and text encoder of random weights.

Run with torch, transformers and msclap (`python -m tests.encode.talking`), it writes to msclap_captions.txt what
msclap's own beam search makes of the same weights.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper

from edge_monitor.encode.vocabulary import END_OF_TEXT, byte_alphabet
from edge_monitor.export.gpt2 import decoder_model, mapper_model, text_encoder_model

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Weights = dict[str, NDArray[np.float32]]

RECORDED = Path(__file__).with_name("msclap_captions.txt")
CASES = 1040
MOST_TOKENS = 16
EAGERNESS = (0.0, 3.0, 5.0, 5.5, 6.0, 7.0, 7.0, 8.0)  # of the stop token, one model each
DIM, WIDTH, HEADS, LAYERS, PREFIX = 6, 32, 4, 2, 4
STOP = 220
# A case is left out where the search's choice hangs on less: another machine's sums may differ by so much.
CLOSE = 1e-5

MERGES = ["S o", "u n", "So un", "d s", "Soun ds", "Ġ l", "i k", "Ġl ik", "Ġlik e"]
TOKENS = [*byte_alphabet().values(), *(merge.replace(" ", "") for merge in MERGES), END_OF_TEXT]

MANIFEST = """\
schema_version = 1
name = "talking"
version = "1"
licence = "CC0-1.0"
source = "tests"
revision = "1"
abilities = ["audio", "captions", "text-similarity"]
get = "fetch-talking"

[audio]
file = "audio.onnx"
input = "waveform"
output = "embedding"
sample_rate_hz = 4000
window_s = 1.5
dim = 6

[scoring]
metric = "euclidean"
normalize = "none"

[captions]
normalize = "unit"
mapper = "mapper.onnx"
decoder = "decoder.onnx"
vocabulary = "vocabulary.json"
stop_id = 220

[similarity]
normalize = "unit"
texts = "texts.json"
text_encoder = "text.onnx"
vocabulary = "vocabulary.json"
"""
PARTS = {
    "audio.onnx": "audio",
    "mapper.onnx": "captions",
    "decoder.onnx": "captions",
    "vocabulary.json": "captions",
    "texts.json": "text-similarity",
    "text.onnx": "text-similarity",
}


class _Draw:
    """Numbers that are the same on every machine and with every NumPy."""

    def __init__(self, seed: int) -> None:
        self._bits = np.random.PCG64(seed)

    def __call__(self, *shape: int, scale: float = 1.0) -> NDArray[np.float32]:
        """Return an array of uniform numbers of this standard deviation."""
        raw = self._bits.random_raw(int(np.prod(shape))) >> np.uint64(40)
        uniform = raw.astype(np.float32) / np.float32(2**24) - np.float32(0.5)
        return (uniform * np.float32(scale * 12**0.5)).reshape(shape)


def gpt2_weights(model: int) -> Weights:
    """Return one of the language models, under GPT-2's own names."""
    draw = _Draw(model)
    table = draw(len(TOKENS), WIDTH)
    bias = draw(WIDTH)
    table[STOP] += EAGERNESS[model % len(EAGERNESS)] * bias / (bias @ bias)
    weights = {
        "wte.weight": table,
        "wpe.weight": draw(96, WIDTH, scale=0.3),
        "ln_f.weight": draw(WIDTH, scale=0.5),  # of either sign, or a tied model says one word again and again
        "ln_f.bias": bias,
    }
    for layer in range(LAYERS):
        for name, shape in (
            ("attn.c_attn", (WIDTH, 3 * WIDTH)),
            ("attn.c_proj", (WIDTH, WIDTH)),
            ("mlp.c_fc", (WIDTH, 4 * WIDTH)),
            ("mlp.c_proj", (4 * WIDTH, WIDTH)),
        ):
            weights[f"h.{layer}.{name}.weight"] = draw(*shape, scale=shape[0] ** -0.5)
            weights[f"h.{layer}.{name}.bias"] = draw(shape[1], scale=0.1)
        for name in ("ln_1", "ln_2"):
            weights[f"h.{layer}.{name}.weight"] = 1 + draw(WIDTH, scale=0.1)
            weights[f"h.{layer}.{name}.bias"] = draw(WIDTH, scale=0.1)
    return weights


def prefix(case: int) -> NDArray[np.float32]:
    """Return what a case's model reads before the caption, (PREFIX, WIDTH)."""
    return _Draw(1_000_000 + case)(PREFIX, WIDTH)


def _mapper_weights() -> Weights:
    draw = _Draw(77)
    weights = {
        "linear.weight": draw(PREFIX * WIDTH, DIM),
        "linear.bias": draw(PREFIX * WIDTH, scale=0.1),
        "prefix_const": draw(PREFIX, WIDTH),
    }
    for name, shape in (
        ("attn.to_queries", (WIDTH, WIDTH)),
        ("attn.to_keys_values", (2 * WIDTH, WIDTH)),
        ("attn.project", (WIDTH, WIDTH)),
        ("mlp.fc1", (2 * WIDTH, WIDTH)),
        ("mlp.fc2", (WIDTH, 2 * WIDTH)),
    ):
        weights[f"transformer.layers.0.{name}.weight"] = draw(*shape, scale=shape[1] ** -0.5)
        if name not in {"attn.to_queries", "attn.to_keys_values"}:
            weights[f"transformer.layers.0.{name}.bias"] = draw(shape[0], scale=0.1)
    for name in ("norm1", "norm2"):
        weights[f"transformer.layers.0.{name}.weight"] = 1 + draw(WIDTH, scale=0.1)
        weights[f"transformer.layers.0.{name}.bias"] = draw(WIDTH, scale=0.1)
    return weights


def _projection_weights() -> Weights:
    draw = _Draw(78)
    return {
        "linear1.weight": draw(DIM, WIDTH),
        "linear2.weight": draw(DIM, DIM),
        "layer_norm.weight": 1 + draw(DIM, scale=0.1),
        "layer_norm.bias": draw(DIM, scale=0.1),
    }


def _audio_model() -> bytes:
    """Return a graph from (batch, 6000) to the mean squares of its six 0.25 s pieces (batch, 6)."""
    shape = helper.make_tensor("shape", TensorProto.INT64, [3], [-1, DIM, 1000])
    graph = helper.make_graph(
        [
            helper.make_node("Reshape", ["waveform", "shape"], ["pieces"]),
            helper.make_node("Mul", ["pieces", "pieces"], ["squares"]),
            helper.make_node("ReduceMean", ["squares"], ["embedding"], axes=[2], keepdims=0),
        ],
        "audio",
        [helper.make_tensor_value_info("waveform", TensorProto.FLOAT, ["batch", "samples"])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", DIM])],
        [shape],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    return bytes(model.SerializeToString())


def write(folder: Path, *, model: int = 0, **changes: bytes | None) -> Path:
    """Write the bundle into `folder` and return it; `changes` replace files (stem = content), None leaves one out."""
    texts = [("Vibration", [1, 0, 0, 0, 0, 0]), ("Grinding", [0, 3, 4, 0, 0, 0])]
    files: dict[str, bytes | None] = {
        "audio.onnx": _audio_model(),
        "mapper.onnx": mapper_model(_mapper_weights(), heads=8),
        "decoder.onnx": decoder_model(gpt2_weights(model), heads=HEADS),
        "vocabulary.json": json.dumps({"tokens": TOKENS, "merges": MERGES}).encode(),
        "texts.json": json.dumps({"texts": [{"text": t, "embedding": e} for t, e in texts]}).encode(),
        "text.onnx": text_encoder_model(gpt2_weights(9), _projection_weights(), heads=HEADS),
    }
    files |= {name: changes[Path(name).stem] for name in files if Path(name).stem in changes}
    folder.mkdir(parents=True, exist_ok=True)
    manifest = MANIFEST
    for name, content in files.items():
        if content is None:
            manifest = "".join(line for line in manifest.splitlines(keepends=True) if name not in line)
            continue
        (folder / name).write_bytes(content)
        manifest += f'\n[[file]]\npath = "{name}"\npart = "{PARTS[name]}"\nsize_bytes = {len(content)}\n'
        manifest += f'sha256 = "{hashlib.sha256(content).hexdigest()}"\n'
    if files["text.onnx"] is None:
        head, _, tail = manifest.rpartition('vocabulary = "vocabulary.json"\n')
        manifest = head + tail
    (folder / "manifest.toml").write_text(manifest)
    return folder


def _record() -> None:
    """Write what msclap's own `_generate_beam` makes of each case, `-` where it hangs on almost nothing."""
    import torch
    import transformers

    sys.modules.setdefault("torchaudio", ModuleType("torchaudio"))  # its CUDA libraries are not needed here
    sys.modules.setdefault("torchaudio.transforms", ModuleType("torchaudio.transforms"))
    from msclap.CLAPWrapper import CLAPWrapper

    torch.set_num_threads(1)
    shape = {"vocab_size": len(TOKENS), "n_positions": 96, "n_embd": WIDTH, "n_layer": LAYERS, "n_head": HEADS}
    lines = []
    gpts = []
    for model in range(len(EAGERNESS)):
        gpt = transformers.GPT2LMHeadModel(transformers.GPT2Config(**shape)).eval()
        given = {name: torch.from_numpy(weight) for name, weight in gpt2_weights(model).items()}
        missing, unexpected = gpt.transformer.load_state_dict(given, strict=False)
        assert not unexpected
        assert not [name for name in missing if not name.endswith(("attn.bias", "attn.masked_bias"))]
        gpt.tie_weights()
        gpts.append(gpt)
    margins: list[float] = []
    topk = torch.Tensor.topk

    def watched(self: torch.Tensor, k: int, dim: int = -1) -> tuple[torch.Tensor, torch.Tensor]:
        values, indices = topk(self, k + 1, dim)
        margins.append(float((values[..., :-1] - values[..., 1:]).min()))
        return values[..., :k], indices[..., :k]

    torch.Tensor.topk = watched
    for case in range(CASES):
        wrapper = SimpleNamespace(
            clapcap=SimpleNamespace(
                eval=lambda: None,
                parameters=lambda: iter([torch.zeros(1)]),
                gpt=gpts[case % len(gpts)],
            ),
            tokenizer=SimpleNamespace(encode=lambda _: [STOP], decode=lambda tokens: tokens.tolist()),
        )
        margins.clear()
        embed = torch.from_numpy(prefix(case))[None]
        tokens = CLAPWrapper._generate_beam(wrapper, embed=embed, entry_length=MOST_TOKENS)[0]
        lines.append(" ".join(map(str, tokens)) if min(margins) > CLOSE else "-")
    RECORDED.write_text("\n".join(lines) + "\n", "ascii")


if __name__ == "__main__":
    onnx.checker.check_model(_audio_model())
    _record()
