"""MS-CLAP's audio encoder: msclap in torch, the float graph and the int8 graph, side by side, one thread each.

make test-export ARGS=--collect-only          # makes .venv-export, which has torch and msclap
.venv-export/bin/python -m bench.msclap_encoder [--rounds 20]

The weights are random: as fast as the published ones. Rounds take turns, so that a busy box slows all three alike.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.pairs import FEWEST, in_turns
from bench.rows import NotMeasuredError, Row, cost_row, markdown

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

SAMPLES = 308_700  # 7 s at 44.1 kHz


def torch_encoder() -> Any:  # noqa: ANN401 - a torch module
    """Return msclap's audio encoder with seeded random weights."""
    import torch

    from edge_monitor.export.reference import make_modules
    from tests.export.random_checkpoints import randomize

    torch.set_num_threads(1)
    encoder = make_modules().clap.audio_encoder
    randomize(encoder, torch.Generator().manual_seed(1))
    return encoder


def graphs(encoder: Any) -> tuple[bytes, bytes]:  # noqa: ANN401 - as above
    """Return the float and the int8 graph of an encoder."""
    from edge_monitor.export.htsat import audio_model
    from edge_monitor.export.quantization import quantize

    weights = {name: value.numpy() for name, value in encoder.state_dict().items()}
    content = audio_model(
        {name.removeprefix("base.htsat."): value for name, value in weights.items()},
        {name.removeprefix("projection."): value for name, value in weights.items()},
    )
    return content, quantize(content)


def session(content: bytes) -> Any:  # noqa: ANN401 - onnxruntime ships no types
    """Return an ONNX session as the daemon opens it."""
    from edge_monitor.encode.session import onnx_runtime

    onnxruntime = onnx_runtime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_cpu_mem_arena = True
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


@dataclass(frozen=True, slots=True)
class Compared:
    """The three encoders on the same sounds: msclap in torch, the float graph, the int8 graph."""

    taken_s: NDArray[np.float64]  # (rounds, 3)
    cosine: tuple[float, ...]  # (3,) the smallest with msclap's vector


NAMES = ("msclap, torch", "float graph", "int8 graph")


def compare(seconds: float, rounds: int) -> Compared:
    """Let the three take turns for `seconds` and at least so many rounds."""
    if find_spec("torch") is None or find_spec("msclap") is None:
        raise NotMeasuredError("needs torch and msclap: see the head of bench/msclap_encoder.py")
    import torch

    encoder = torch_encoder()
    sessions = [session(content) for content in graphs(encoder)]
    generator, time_s = np.random.default_rng(0), np.arange(SAMPLES) / 44_100
    tone = 0.3 * np.sin(2.0 * np.pi * 400.0 * time_s) + generator.normal(0.0, 1e-3, SAMPLES)
    sounds = [row.astype(np.float32)[None] for row in (generator.normal(0.0, 0.1, SAMPLES), tone)]

    def msclap(sound: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.no_grad():
            return np.asarray(encoder(torch.from_numpy(sound))[0].numpy())

    runs: list[Callable[[NDArray[np.float32]], NDArray[np.float32]]] = [
        msclap,
        *(lambda sound, s=s: s.run(None, {"waveform": sound})[0] for s in sessions),
    ]
    vectors = [np.concatenate([run(sound) for sound in sounds]) for run in runs]
    lengths = [np.linalg.norm(rows, axis=1) * np.linalg.norm(vectors[0], axis=1) for rows in vectors]
    cosine = [((rows * vectors[0]).sum(axis=1) / length).min() for rows, length in zip(vectors, lengths, strict=True)]
    taken = in_turns(*(partial(run, sounds[0]) for run in runs), seconds=seconds, fewest=rounds)
    return Compared(taken, tuple(map(float, cosine)))


def measure(seconds: float, rounds: int = FEWEST) -> list[Row]:
    """Return the rows of the two graphs beside msclap."""
    found = compare(seconds, rounds)
    beside, theirs = NAMES[0], found.taken_s[:, 0]
    return [
        cost_row(
            f"MS-CLAP encoder, {NAMES[column]}, one window",
            found.taken_s[:, column],
            beside,
            theirs,
            unit="ms",
            scale=1e3,
            note=f"cosine {found.cosine[column]:.4f}",
        )
        for column in (1, 2)
    ]


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    try:
        print(markdown(measure(0.0, parser.parse_args().rounds)))
    except NotMeasuredError as error:
        print(error)


if __name__ == "__main__":
    main()
