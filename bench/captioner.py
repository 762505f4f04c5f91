"""Captions, one by one and five together as an alarm needs them: seconds beside msclap's own code, and memory.

Seconds of CPU time on one thread, in turns, so that other work on the box counts for less; and whether the tokens are
the same.

python -m bench.captioner [--groups 3] [--tokens 20]

Needs torch and msclap (`make test-export` sets up an environment with them). The architecture is the real one, the
weights are random: seeded, and with output scales of either sign, for a plain random GPT-2 repeats one word for ever.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from bench.pairs import in_turns
from bench.rows import NotMeasuredError, Row, cost_row
from edge_monitor.encode.bundle import open_bundle
from edge_monitor.encode.captioner import Captioner
from edge_monitor.encode.vocabulary import byte_alphabet
from edge_monitor.export.gpt2 import decoder_model, mapper_model
from edge_monitor.export.quantization import quantize
from edge_monitor.records import Embedding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DIM, STOP = 1024, 220
TOKENS = 20  # of a caption; msclap takes half a second for each
TOGETHER = 5  # an alarm's window and its four nearest normal ones
MANIFEST = """\
schema_version = 1
name = "bench"
version = "1"
licence = "none"
source = "random weights"
revision = "1"
abilities = ["audio", "captions"]

[audio]
file = "audio.onnx"
input = "waveform"
output = "embedding"
sample_rate_hz = 44100
window_s = 7.0
dim = 1024

[scoring]
metric = "euclidean"
normalize = "none"

[captions]
normalize = "unit"
mapper = "mapper.onnx"
decoder = "decoder.onnx"
vocabulary = "vocabulary.json"
stop_id = 220
"""


def random_captioner() -> Any:  # noqa: ANN401 - a torch module of msclap's
    """Return msclap's captioner with seeded random weights that do not repeat themselves."""
    import torch

    from edge_monitor.export.reference import make_modules

    torch.set_num_threads(1)
    torch.manual_seed(0)
    captioner = make_modules().captioner
    with torch.no_grad():
        captioner.gpt.transformer.ln_f.weight.normal_(0.0, 2.0)
        for block in captioner.gpt.transformer.h:  # GPT-2's own start is so small that no layer is heard
            for layer in (block.attn.c_attn, block.attn.c_proj, block.mlp.c_fc, block.mlp.c_proj):
                layer.weight.mul_(3.0)
    return captioner


def write_bundle(folder: Path, captioner: Any, *, int8: bool) -> Path:  # noqa: ANN401 - as above
    """Write a bundle of the captioner's graphs; its audio part is a stand-in that nobody loads."""

    def weights(module: Any) -> dict[str, Any]:  # noqa: ANN401 - as above
        return {name: value.numpy() for name, value in module.state_dict().items()}

    prepare: Callable[[bytes], bytes] = quantize if int8 else bytes
    alphabet = list(byte_alphabet().values())
    tokens = alphabet + ["Ġword"] * (50_257 - len(alphabet))
    files = {
        "audio.onnx": b"nobody loads this",
        "mapper.onnx": prepare(mapper_model(weights(captioner.clap_project))),
        "decoder.onnx": prepare(decoder_model(weights(captioner.gpt.transformer))),
        "vocabulary.json": json.dumps({"tokens": tokens, "merges": []}).encode(),
    }
    folder.mkdir()
    manifest = MANIFEST
    for name, content in files.items():
        (folder / name).write_bytes(content)
        part = "audio" if name == "audio.onnx" else "captions"
        manifest += f'\n[[file]]\npath = "{name}"\npart = "{part}"\nsize_bytes = {len(content)}\n'
        manifest += f'sha256 = "{hashlib.sha256(content).hexdigest()}"\n'
    (folder / "manifest.toml").write_text(manifest)
    return folder


def msclap_caption(captioner: Any, vector: np.ndarray, tokens: int) -> tuple[int, ...]:  # noqa: ANN401 - as above
    """Return what msclap's own code writes for a raw vector (1024,)."""
    import torch
    import transformers  # before the stand-ins below, which it would look into  # noqa: F401

    sys.modules.setdefault("torchaudio", ModuleType("torchaudio"))  # its CUDA libraries are not needed here
    sys.modules.setdefault("torchaudio.transforms", ModuleType("torchaudio.transforms"))
    from msclap.CLAPWrapper import CLAPWrapper

    wrapper = SimpleNamespace(
        clapcap=captioner,
        tokenizer=SimpleNamespace(encode=lambda _: [STOP, 50256], decode=lambda found: tuple(found.tolist())),
    )
    with torch.no_grad():
        prefix = torch.from_numpy(vector)[None]
        embed = captioner.clap_project(prefix / prefix.norm(2, -1).reshape(-1, 1))
        best: tuple[int, ...] = CLAPWrapper._generate_beam(wrapper, embed=embed, entry_length=tokens)[0]  # noqa: SLF001 - the code to compare with
    return best


def random_embeddings(captioner: Captioner, seed: int) -> list[Embedding]:
    """Return TOGETHER seeded vectors as the captioner's bundle would have made them."""
    vectors = np.random.default_rng(seed).normal(size=(TOGETHER, DIM)).astype(np.float32)
    return [Embedding(vector, captioner.bundle.bundle_hash) for vector in vectors]


def measure_memory(folder: Path, tokens: int) -> None:
    """Print the memory of a process that captions, as JSON: before, at its peak, and after it has let go."""
    captioner = Captioner(open_bundle(folder))
    embeddings = random_embeddings(captioner, seed=0)
    process = psutil.Process()
    before = process.memory_info().rss / 1e6
    for _ in range(2):
        captioner.captions(embeddings, begin="", most_tokens=tokens)
    during = process.memory_info().rss / 1e6
    captioner.release()
    status = Path("/proc/self/status").read_text(encoding="ascii")  # getrusage would tell the parent process's peak
    peak = int(status.partition("VmHWM:")[2].split()[0]) / 1e3 * 1.024
    print(json.dumps({"before": before, "during": during, "peak": peak, "after": process.memory_info().rss / 1e6}))


def ways(
    reference: Any,  # noqa: ANN401 - a torch module of msclap's
    captioners: dict[str, Captioner],
    group: int,
    tokens: int,
) -> dict[str, Callable[[], list[tuple[int, ...]]]]:
    """Return what is timed: the ways to get one group's captions, msclap's first."""

    def by_msclap() -> list[tuple[int, ...]]:
        return [msclap_caption(reference, each.vector, tokens) for each in random_embeddings(captioners["fp32"], group)]

    def one_by_one(captioner: Captioner) -> list[tuple[int, ...]]:
        found = [captioner.caption(each, begin="", most_tokens=tokens) for each in random_embeddings(captioner, group)]
        return [caption.tokens for caption in found]

    def together(captioner: Captioner) -> list[tuple[int, ...]]:
        found = captioner.captions(random_embeddings(captioner, group), begin="", most_tokens=tokens)
        return [caption.tokens for caption in found]

    found: dict[str, Callable[[], list[tuple[int, ...]]]] = {"msclap": by_msclap}
    for name, captioner in captioners.items():
        found[f"{name}, one by one"] = partial(one_by_one, captioner)
        found[f"{name}, five together"] = partial(together, captioner)
    return found


@contextmanager
def exported(reference: Any) -> Iterator[dict[str, Captioner]]:  # noqa: ANN401 - as above
    """Provide the captioner's float and int8 bundles, loaded."""
    with tempfile.TemporaryDirectory() as scratch:
        folders = {
            name: write_bundle(Path(scratch) / name, reference, int8=name == "int8") for name in ("fp32", "int8")
        }
        captioners = {name: Captioner(open_bundle(folder), idle_s=3600.0) for name, folder in folders.items()}
        for captioner in captioners.values():  # loading is not timed
            captioner.captions(random_embeddings(captioner, seed=0), begin="", most_tokens=2)
        yield captioners
        for captioner in captioners.values():
            captioner.release()


def measure(seconds: float) -> list[Row]:
    """Return the rows of one caption beside msclap's, by CPU time: alone, and as one of five decoded together."""
    if find_spec("torch") is None or find_spec("msclap") is None:
        raise NotMeasuredError("needs torch and msclap: see the head of bench/captioner.py")
    reference = random_captioner()
    with exported(reference) as captioners:
        embeddings = random_embeddings(captioners["fp32"], seed=1)

        def one(captioner: Captioner) -> None:
            found = Embedding(embeddings[0].vector, captioner.bundle.bundle_hash)
            captioner.caption(found, begin="", most_tokens=TOKENS)

        def together(captioner: Captioner) -> None:
            captioner.captions(random_embeddings(captioner, seed=1), begin="", most_tokens=TOKENS)

        works = [partial(work, captioner) for captioner in captioners.values() for work in (one, together)]
        taken = in_turns(
            lambda: msclap_caption(reference, embeddings[0].vector, TOKENS),
            *works,
            seconds=seconds,
            clock=time.process_time,
        )
    taken[:, (2, 4)] /= TOGETHER
    names = [f"{name}, {way}" for name in captioners for way in ("alone", f"one of {TOGETHER} together")]
    return [
        cost_row(
            f"caption of {TOKENS} tokens, {name}",
            taken[:, column],
            "msclap, torch",
            taken[:, 0],
            unit="ms",
            scale=1e3,
            note="CPU time",
        )
        for column, name in enumerate(names, start=1)
    ]


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--groups", type=int, default=3, help="of five captions")
    parser.add_argument("--tokens", type=int, default=TOKENS)
    parser.add_argument("--memory-of", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        measure_memory(options.memory_of, options.tokens)
        return

    os.environ.setdefault("OMP_NUM_THREADS", "1")
    reference = random_captioner()
    took: dict[str, list[float]] = {}  # seconds for TOGETHER captions
    same: dict[str, int] = {}
    words: set[int] = set()
    with exported(reference) as captioners:
        for group in range(options.groups):
            expected: list[tuple[int, ...]] = []
            for name, work in ways(reference, captioners, group, options.tokens).items():
                begun_s = time.process_time()
                found = work()
                took.setdefault(name, []).append(time.process_time() - begun_s)
                expected = expected or found  # msclap's come first
                same[name] = same.get(name, 0) + sum(map(tuple.__eq__, found, expected))
            words |= {token for tokens in expected for token in tokens}
        for captioner in captioners.values():
            captioner.release()
        own = [sys.executable, "-m", "bench.captioner", "--tokens", str(options.tokens), "--memory-of"]
        memory = {
            name: json.loads(
                subprocess.run([*own, str(captioner.bundle.folder)], capture_output=True, check=True, text=True).stdout
            )
            for name, captioner in captioners.items()
        }

    captions = TOGETHER * options.groups
    each = {name: float(np.median(times)) / TOGETHER for name, times in took.items()}
    print(f"{captions} captions of {options.tokens} tokens ({len(words)} different ones), 5 beams, one thread\n")
    print("| | CPU time of a caption, median | times faster | equal token for token |")
    print("|---|--:|--:|--:|")
    for name, passed in each.items():
        print(f"| {name} | {passed:.3f} s | {each['msclap'] / passed:.1f} | {same[name]} of {captions} |")
    print("\n| five together | memory at the peak | after |\n|---|--:|--:|")
    for name, used in memory.items():
        print(f"| {name} | {used['peak']:.0f} MB | {used['after']:.0f} MB |")


if __name__ == "__main__":
    main()
