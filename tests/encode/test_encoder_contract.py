"""What holds for every bundle, whoever made it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_monitor.encode.bundle import BundleStatus, list_bundles, open_bundle
from edge_monitor.encode.encoder import Encoder
from edge_monitor.errors import BundleError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.encode.foreign import ForeignBundle

SHIPPED = {listing.name: listing.folder for listing in list_bundles() if listing.status is BundleStatus.READY}


@pytest.fixture(params=[*SHIPPED, "foreign"])
def encoder(request: pytest.FixtureRequest, foreign: ForeignBundle) -> Encoder:
    """Return an encoder of each installed bundle and of a foreign one."""
    folder = SHIPPED.get(request.param) or foreign.write()
    return Encoder(open_bundle(folder))


def noise(encoder: Encoder, batch: int, samples: int | None = None) -> NDArray[np.float32]:
    """Return seeded noise (batch, samples) at about -20 dBFS."""
    shape = (batch, encoder.window_samples if samples is None else samples)
    return np.random.default_rng(7).normal(0.0, 0.1, shape).astype(np.float32)


def test_spectral_is_among_the_bundles_under_test() -> None:
    """The suite cannot pass by finding nothing."""
    assert "spectral" in SHIPPED


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_an_embedding_has_the_declared_shape(encoder: Encoder, batch: int) -> None:
    """`(batch, dim)`, float32, finite."""
    vectors = encoder.embed(noise(encoder, batch))
    assert vectors.shape == (batch, encoder.dim)
    assert vectors.dtype == np.float32
    assert np.isfinite(vectors).all()


def test_the_same_sound_gives_the_same_bytes(encoder: Encoder) -> None:
    """Nothing random: twice, and from a second encoder, the vectors are identical."""
    sound = noise(encoder, 2)
    first = encoder.embed(sound).tobytes()
    assert encoder.embed(sound).tobytes() == first
    assert Encoder(encoder.bundle).embed(sound).tobytes() == first


def test_a_window_does_not_depend_on_its_batch(encoder: Encoder) -> None:
    """Neighbours in the batch leave a vector as it is."""
    sound = noise(encoder, 3)
    alone = np.concatenate([encoder.embed(sound[i : i + 1]) for i in range(3)])
    np.testing.assert_array_equal(encoder.embed(sound), alone)


def test_two_threads_give_the_same_vectors(encoder: Encoder) -> None:
    """The thread count is about speed only."""
    sound = noise(encoder, 2)
    np.testing.assert_allclose(Encoder(encoder.bundle, threads=2).embed(sound), encoder.embed(sound), atol=1e-4)


def test_different_sounds_give_different_vectors(encoder: Encoder) -> None:
    """The encoder listens."""
    two = encoder.embed(noise(encoder, 2))
    assert not np.allclose(two[0], two[1], atol=1e-6)


def test_silence_has_a_finite_vector(encoder: Encoder) -> None:
    """Digital silence gives no infinity and no huge value."""
    vector = encoder.embed(np.zeros((1, encoder.window_samples), dtype=np.float32))
    assert np.abs(vector).max() < 1000.0


def test_a_short_sound_equals_its_repetition(encoder: Encoder) -> None:
    """Input shorter than the window is repeated, the last copy cut."""
    short = noise(encoder, 1, samples=5000)
    whole = np.tile(short, (1, 1 + encoder.window_samples // 5000))[:, : encoder.window_samples]
    np.testing.assert_array_equal(encoder.embed(short), encoder.embed(whole))


def test_the_input_is_left_untouched(encoder: Encoder) -> None:
    """The caller's ring buffer is not written to."""
    sound = noise(encoder, 1)
    before = sound.copy()
    encoder.embed(sound)
    np.testing.assert_array_equal(sound, before)


def test_a_strided_view_is_read_right(encoder: Encoder) -> None:
    """One channel of an interleaved block needs no copy by the caller."""
    stereo = noise(encoder, 1, samples=2 * encoder.window_samples).reshape(-1, 2)
    left = stereo[:, 0][None, :]
    np.testing.assert_array_equal(encoder.embed(left), encoder.embed(left.copy()))


def test_wrong_waveforms_are_refused(encoder: Encoder) -> None:
    """Dtype, dimensions, emptiness, length and NaN are each named."""
    window = encoder.window_samples
    with pytest.raises(BundleError, match="waveforms must be float32, got float64"):
        encoder.embed(np.zeros((1, window)))  # type: ignore[arg-type]  # the fault under test
    with pytest.raises(BundleError, match="must be \\(batch, samples\\)"):
        encoder.embed(np.zeros(window, dtype=np.float32))
    with pytest.raises(BundleError, match="not empty"):
        encoder.embed(np.zeros((1, 0), dtype=np.float32))
    with pytest.raises(BundleError, match="not empty"):
        encoder.embed(np.zeros((0, window), dtype=np.float32))
    with pytest.raises(BundleError, match=f"waveforms of {window + 1} samples, the window has {window}"):
        encoder.embed(np.zeros((1, window + 1), dtype=np.float32))
    spoilt = np.zeros((2, window), dtype=np.float32)
    spoilt[1, 17] = np.nan
    with pytest.raises(BundleError, match="waveforms hold NaN or infinity"):
        encoder.embed(spoilt)


def test_the_stamp_is_a_sha256(encoder: Encoder) -> None:
    """64 hexadecimal digits, the same as the bundle's."""
    assert len(bytes.fromhex(encoder.bundle_hash)) == 32
    assert encoder.bundle_hash == encoder.bundle.bundle_hash


def test_the_floor_goes_with_the_metric(encoder: Encoder) -> None:
    """A standardized metric brings one positive floor per dimension; a plain one brings none."""
    floor = encoder.standardization_floor
    if encoder.metric == "euclidean":
        assert floor is None
    else:
        assert floor is not None
        assert floor.shape == (encoder.dim,)
        assert (floor > 0.0).all()
