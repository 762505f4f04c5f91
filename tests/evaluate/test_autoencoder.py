"""The autoencoder baseline is the challenge's: its front end is librosa's, its loss falls as its description's does."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_monitor.errors import AudioError, DatasetError, EdgeMonitorError
from edge_monitor.evaluate.autoencoder import Autoencoder, fit, log_mel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_monitor.records import Samples

    Array = NDArray[np.float32]

RATE_HZ = 16_000
DENSE = [(640, 128), (128, 128), (128, 128), (128, 128), (128, 8), (8, 128), (128, 128), (128, 128), (128, 128)]
RATE, FIRST, SECOND, EPSILON = 1e-3, 0.9, 0.999, 1e-7  # Adam in Keras
NORM, MOMENTUM = 1e-3, 0.99  # batch normalization in Keras


def frames(clip: int) -> Array:
    """Return a toy clip (500, 128), dB: 20 hums over all bands, more than the bottleneck holds, and noise."""
    machine, random = np.random.default_rng(99), np.random.default_rng(clip)
    mix, period = machine.normal(0.0, 3.0 / np.sqrt(20.0), (20, 128)), machine.uniform(8.0, 60.0, 20)
    hums = np.sin(2.0 * np.pi * np.arange(500)[:, None] / period + random.uniform(0.0, 2.0 * np.pi, 20))
    return np.asarray(-3.0 + np.sqrt(2.0) * hums @ mix + random.normal(0.0, 2.0, (500, 128)), dtype=np.float32)


class Reference:
    """The description, written down plainly: dense layers, batch normalization, ReLU, Adam; numpy and the chain rule.

    640 - 128 - 128 - 128 - 128 - 8 - 128 - 128 - 128 - 128 - 640, mean squared error, batches of 512, shuffled each
    epoch; the last 10 % of the vectors are held out.
    """

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.weights: list[Array] = []
        for inputs, outputs in [*DENSE, (128, 640)]:
            limit = np.sqrt(6.0 / (inputs + outputs))  # Glorot
            self.weights += [
                self.random.uniform(-limit, limit, (inputs, outputs)).astype(np.float32),
                np.zeros(outputs, np.float32),
            ]
            self.weights += [
                np.ones(outputs, np.float32),
                np.zeros(outputs, np.float32),
            ]  # the last layer's scale and shift stay unused
        self.mean = [np.zeros(outputs, np.float32) for _, outputs in DENSE]
        self.variance = [np.ones(outputs, np.float32) for _, outputs in DENSE]
        self.first = [np.zeros_like(weight) for weight in self.weights]
        self.second = [np.zeros_like(weight) for weight in self.weights]
        self.steps = 0

    def curves(self, clips: list[Array], epochs: int) -> tuple[Array, Array]:
        """Return the loss of the learnt vectors, during each epoch, and of the held-out ones, after it."""
        vectors = np.concatenate(
            [[clip[i : i + 5].ravel() for i in range(len(clip) - 4)] for clip in clips], dtype=np.float32
        )
        learnt, held_out = vectors[: int(0.9 * len(vectors))], vectors[int(0.9 * len(vectors)) :]
        curves = []
        for _ in range(epochs):
            order = self.random.permutation(len(learnt))
            squares = [self.learn(learnt[order[i : i + 512]]) for i in range(0, len(order), 512)]
            curves.append((sum(squares) / learnt.size, np.square(self.infer(held_out) - held_out).mean()))
        loss, held_out_loss = np.array(curves).T
        return loss, held_out_loss

    def infer(self, x: Array) -> Array:
        """Return what the network makes of vectors, normalized by the moving averages."""
        for layer in range(9):
            weight, bias, scale, shift = self.weights[4 * layer : 4 * layer + 4]
            z = (x @ weight + bias - self.mean[layer]) / np.sqrt(self.variance[layer] + NORM)
            x = np.maximum(scale * z + shift, 0.0)
        return x @ self.weights[36] + self.weights[37]

    def learn(self, batch: Array) -> float:
        """Take one step; return the sum of the squared errors before it."""
        x, passed = batch, []
        for layer in range(9):
            weight, bias, scale, shift = self.weights[4 * layer : 4 * layer + 4]
            y = x @ weight + bias
            mean, variance = y.mean(0), y.var(0)
            self.mean[layer] = MOMENTUM * self.mean[layer] + (1.0 - MOMENTUM) * mean
            self.variance[layer] = MOMENTUM * self.variance[layer] + (1.0 - MOMENTUM) * variance
            z = (y - mean) / np.sqrt(variance + NORM)
            passed.append((x, z, variance))
            x = np.maximum(scale * z + shift, 0.0)
        error = x @ self.weights[36] + self.weights[37] - batch

        gradients = [np.zeros_like(weight) for weight in self.weights]
        back = np.float32(2.0 / error.size) * error
        gradients[36], gradients[37] = x.T @ back, back.sum(0)
        back = back @ self.weights[36].T
        for layer in range(8, -1, -1):
            weight, _, scale, shift = self.weights[4 * layer : 4 * layer + 4]
            x, z, variance = passed[layer]
            back = back * (scale * z + shift > 0.0)
            gradients[4 * layer + 2], gradients[4 * layer + 3] = (back * z).sum(0), back.sum(0)
            back = back * scale
            back = (back - back.mean(0) - z * (back * z).mean(0)) / np.sqrt(variance + NORM)
            gradients[4 * layer], gradients[4 * layer + 1] = x.T @ back, back.sum(0)
            back = back @ weight.T
        self.adam(gradients)
        return float(np.square(error).sum())

    def adam(self, gradients: list[Array]) -> None:
        """Move the weights."""
        self.steps += 1
        rate = RATE * np.sqrt(1.0 - SECOND**self.steps) / (1.0 - FIRST**self.steps)
        for i, gradient in enumerate(gradients):
            self.first[i] += (1.0 - FIRST) * (gradient - self.first[i])
            self.second[i] += (1.0 - SECOND) * (gradient**2 - self.second[i])
            self.weights[i] -= rate * self.first[i] / (np.sqrt(self.second[i]) + EPSILON)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Small matrices on two threads wait for each other longer than they are multiplied."""
    if find_spec("torch"):
        import torch

        torch.set_num_threads(1)


@pytest.fixture(scope="module")
def toy() -> list[Array]:
    """Return 3,472 vectors: 3,124 are learnt, in seven batches."""
    return [frames(clip) for clip in range(7)]


def sound(seed: int, gain: float = 1.0, seconds: float = 2.0) -> Samples:
    """Return noise whose loudness swells, about -20 dBFS."""
    noise = np.random.default_rng(seed).normal(0.0, 0.1 * gain, round(seconds * RATE_HZ))
    return (noise * (1.5 + np.sin(np.arange(len(noise)) / 900.0))).astype(np.float32)


@pytest.mark.torch
@pytest.mark.timeout(600)
def test_the_loss_falls_as_the_description_s_does(toy: list[Array]) -> None:
    """Over 15 epochs the loss stays within 5 % of another implementation's with random numbers of its own.

    Three networks each, averaged: one network's held-out loss alone deviates by 2 %. Measured: within 1 %. Without
    batch normalization 22 % off, with torch's momentum 29 %, twice the learning rate 18 %, layers of 64 22 %, a
    bottleneck of 4 7 %.
    """
    expected = np.mean([Reference(seed).curves(toy, epochs=15) for seed in (0, 1, 2)], axis=0)
    trained = [fit(toy, seed=seed, epochs=15) for seed in (3, 4, 5)]
    assert expected[0, -1] < 0.6 * expected[0, 0]  # there is something to learn
    np.testing.assert_allclose(np.mean([network.loss for network in trained], axis=0), expected[0], rtol=0.05)
    np.testing.assert_allclose(np.mean([network.held_out_loss for network in trained], axis=0), expected[1], rtol=0.05)


@pytest.mark.torch
def test_the_network_has_the_described_layers() -> None:
    """Nine hidden layers with batch normalization and ReLU, a bottleneck of 8, and a linear output."""
    layers = list(fit([frames(0)[:20]], epochs=1).network)
    kinds = [type(layer).__name__ for layer in layers]
    assert kinds == ["Linear", "BatchNorm1d", "ReLU"] * 9 + ["Linear"]
    assert [(layer.in_features, layer.out_features) for layer in layers[::3]] == [*DENSE, (128, 640)]


@pytest.mark.torch
def test_a_clip_s_score_is_its_vectors_mean_squared_error() -> None:
    """Each vector is five frames one after the other, none spans two clips; nothing is subtracted or scaled."""
    import torch

    clip, other = frames(0)[:40], frames(1)[:30]
    trained = fit([clip, other], epochs=2)
    vectors = torch.tensor(np.array([clip[i : i + 5].ravel() for i in range(36)]))
    with torch.inference_mode():
        squares = (trained.network(vectors) - vectors).numpy().astype(np.float64) ** 2
    assert trained.score(clip) == pytest.approx(squares.mean(), rel=1e-5)


@pytest.mark.torch
@pytest.mark.timeout(600)
def test_the_same_clips_give_the_same_scores_and_a_changed_sound_a_higher_one() -> None:
    """A detector is seeded, and what it never heard is reconstructed worse."""
    told: list[tuple[int, int]] = []
    baseline = Autoencoder(progress=lambda done, epochs: told.append((done, epochs)))
    train = [baseline.features(sound(seed)) for seed in range(6)]
    test = [baseline.features(sound(8)), baseline.features(sound(9, gain=10.0))]
    scores = baseline.fit_score(train, test)
    assert told == [(epoch, 100) for epoch in range(1, 101)]
    assert scores[1] > 2.0 * scores[0]
    np.testing.assert_array_equal(Autoencoder().fit_score(train, test), scores)
    assert not np.array_equal(Autoencoder(seed=1).fit_score(train, test), scores)


@pytest.mark.torch
def test_the_front_end_is_librosa_s() -> None:
    """128 bands, 1024-point frames every 512 samples, power, 20 / 2 log10 of it: within 0.001 dB."""
    import librosa

    samples = np.concatenate([sound(1), 1e-5 * sound(2), np.zeros(4096, np.float32)])
    power = librosa.feature.melspectrogram(
        y=samples, sr=16_000, n_fft=1024, hop_length=512, n_mels=128, power=2.0, pad_mode="reflect"
    )  # as librosa 0.6 padded, the challenge's version
    expected = 20.0 / 2.0 * np.log10(power + sys.float_info.epsilon)
    np.testing.assert_allclose(log_mel(samples), expected.T, atol=1e-3)


@pytest.mark.torch
def test_too_little_to_learn_is_one_line() -> None:
    """Batch normalization needs two vectors, and the last tenth is held out."""
    with pytest.raises(DatasetError, match="too little for the autoencoder to learn: 2 vectors of 5 frames"):
        fit([frames(0)[:6]])


@pytest.mark.torch
@pytest.mark.parametrize(
    ("samples", "line"),
    [
        (np.zeros(2047, np.float32), "too short for the autoencoder: 2047 samples at 16 kHz, needs 2048"),
        (np.full(4096, np.nan, np.float32), "some samples are not numbers"),
    ],
)
def test_a_clip_that_gives_no_vector_is_refused(samples: Samples, line: str) -> None:
    """A clip must have five frames of numbers."""
    with pytest.raises(AudioError, match=line):
        Autoencoder().features(samples)


def test_silence_and_a_tone_read_what_they_are() -> None:
    """Digital silence is the floor of float64; a tone of 1 kHz is loudest in the band around it, in every frame."""
    assert log_mel(np.zeros(16_000, np.float32)) == pytest.approx(np.full((32, 128), -156.536), abs=1e-3)
    tone = np.sin(2.0 * np.pi * 1000.0 * np.arange(16_000) / RATE_HZ).astype(np.float32)
    assert set(log_mel(tone)[2:-2].argmax(axis=1)) == {42}


def test_without_torch_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The baseline is an extra: its module is imported without torch, its detector is not made."""
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(EdgeMonitorError) as caught:
        Autoencoder()
    assert str(caught.value) == "the autoencoder baseline needs torch (pip install 'edge-monitor[baseline]')"
