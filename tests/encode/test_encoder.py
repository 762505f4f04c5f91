"""The one encoder refuses a graph that is not what its manifest says."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from onnx import TensorProto

from edge_monitor.encode.bundle import open_bundle
from edge_monitor.encode.encoder import Encoder
from edge_monitor.errors import BundleError, BundleMismatchError
from edge_monitor.records import Window
from tests.encode.foreign import thirds_model

if TYPE_CHECKING:
    from tests.encode.foreign import ForeignBundle


def test_a_foreign_model_computes_what_its_author_meant(foreign: ForeignBundle) -> None:
    """Another rate, window and dimension run through the same class."""
    encoder = Encoder(open_bundle(foreign.write()))
    waveform = np.repeat(np.array([0.5, -0.25, 0.125], dtype=np.float32), 4000)[None, :]
    assert encoder.embed(waveform).tolist() == [[0.5, -0.25, 0.125]]
    assert (encoder.sample_rate_hz, encoder.window_s, encoder.window_samples, encoder.dim) == (8000, 1.5, 12000, 3)
    assert encoder.metric == "euclidean"
    assert encoder.scoring_normalize == "unit"
    assert encoder.standardization_floor is None


def test_a_short_sound_is_repeated_up_to_the_window(foreign: ForeignBundle) -> None:
    """8000 samples are followed by their own first 4000."""
    encoder = Encoder(open_bundle(foreign.write()))
    short = np.repeat(np.array([0.5, -0.25], dtype=np.float32), 4000)[None, :]
    assert encoder.embed(short).tolist() == [[0.5, -0.25, 0.5]]


def test_floors_per_block_become_one_per_dimension(foreign: ForeignBundle) -> None:
    """A list in the manifest is spread over the dimensions in order."""
    blocks = (
        'metric = "standardized-euclidean"\nstandardization_floor = [{dims = 1, floor = 0.5}, {dims = 2, floor = 2.0}]'
    )
    encoder = Encoder(open_bundle(foreign.write(old='metric = "euclidean"', new=blocks)))
    assert encoder.standardization_floor is not None
    assert encoder.standardization_floor.tolist() == [0.5, 2.0, 2.0]


def test_a_window_is_stamped_with_the_bundle_hash(foreign: ForeignBundle) -> None:
    """An embedding carries its vector and the hash of what made it."""
    encoder = Encoder(open_bundle(foreign.write()))
    samples = np.full(12000, 0.5, dtype=np.float32)
    embedding = encoder.embed_window(Window(machine="m", samples=samples, rate_hz=8000, start_s=0.0, end_s=1.5))
    assert embedding.vector.tolist() == [0.5, 0.5, 0.5]
    assert embedding.bundle_hash == encoder.bundle_hash
    with pytest.raises(BundleError, match="a window at 16000 Hz, the bundle takes 8000 Hz"):
        encoder.embed_window(Window(machine="m", samples=samples, rate_hz=16000, start_s=0.0, end_s=0.75))


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ('input = "audio"', 'input = "sound"', "the model has no input 'sound' (it has: audio)"),
        ('output = "thirds"', 'output = "halves"', "the model has no output 'halves' (it has: thirds)"),
        ("dim = 3", "dim = 4", "output 'thirds' has shape ['batch', 3], the manifest says (batch, 4)"),
    ],
)
def test_a_manifest_that_does_not_fit_the_graph_is_refused(
    foreign: ForeignBundle, old: str, new: str, line: str
) -> None:
    """Names and sizes are compared before any sound arrives."""
    with pytest.raises(BundleMismatchError) as caught:
        Encoder(open_bundle(foreign.write(old=old, new=new)))
    assert line in str(caught.value)


def test_a_graph_with_a_fixed_batch_of_one_runs(foreign: ForeignBundle) -> None:
    """A model exported for one window embeds any number of them."""
    encoder = Encoder(open_bundle(foreign.write(model=thirds_model(batch=1))))
    assert encoder.embed(np.full((2, 12000), 0.5, dtype=np.float32)).tolist() == [[0.5, 0.5, 0.5], [0.5, 0.5, 0.5]]


def test_a_graph_with_another_fixed_batch_is_refused(foreign: ForeignBundle) -> None:
    """A model that wants four windows at a time is named as such."""
    with pytest.raises(BundleMismatchError, match="fixed batch of 4"):
        Encoder(open_bundle(foreign.write(model=thirds_model(batch=4))))


def test_a_graph_in_double_precision_is_refused(foreign: ForeignBundle) -> None:
    """Input and output are float32."""
    with pytest.raises(BundleMismatchError, match="must be float32"):
        Encoder(open_bundle(foreign.write(model=thirds_model(dtype=TensorProto.DOUBLE))))


def test_a_window_the_graph_cannot_take_is_one_line(foreign: ForeignBundle) -> None:
    """A manifest with the wrong window fails in one line, not in a traceback of the runtime."""
    encoder = Encoder(open_bundle(foreign.write(old="window_s = 1.5", new="window_s = 1.25")))
    with pytest.raises(BundleError, match="foreign: the model failed") as caught:
        encoder.embed(np.zeros((1, 10000), dtype=np.float32))
    assert "\n" not in str(caught.value)


def test_an_embedding_that_is_not_finite_is_refused(foreign: ForeignBundle) -> None:
    """A model that gives NaN never reaches the memory."""
    encoder = Encoder(open_bundle(foreign.write(model=thirds_model(op="Log"))))
    with pytest.raises(BundleError, match="NaN or infinity"):
        encoder.embed(np.full((1, 12000), -1.0, dtype=np.float32))


def test_a_file_that_is_no_model_is_one_line(foreign: ForeignBundle) -> None:
    """Right size, right hash, wrong content: one line."""
    with pytest.raises(BundleError, match="ONNX Runtime cannot load it") as caught:
        Encoder(open_bundle(foreign.write(model=b"this is a text file")))
    assert "\n" not in str(caught.value)


def test_threads_start_at_one(foreign: ForeignBundle) -> None:
    """Zero threads would mean all cores to ONNX Runtime."""
    with pytest.raises(BundleError, match="threads must be at least 1"):
        Encoder(open_bundle(foreign.write()), threads=0)


def test_listing_bundles_does_not_load_onnxruntime() -> None:
    """Commands that do not encode start fast."""
    code = (
        "import sys, edge_monitor.encode.encoder, edge_monitor.encode.bundle as b; b.list_bundles(); "
        "sys.exit('onnxruntime' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
