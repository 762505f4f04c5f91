"""The simulated machine is the same for the same seed, and each fault sounds like itself."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_monitor.capture.fault_sound import band_power
from edge_monitor.capture.quality import check, level_dbfs
from edge_monitor.capture.simulator import Simulation, render
from edge_monitor.capture.simulator_faults import make_fault
from edge_monitor.capture.windowing import cut
from edge_monitor.config.machine import SimulatorSource

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATE_HZ = 16_000
SEEDS = range(10)


def settings(**fields: object) -> SimulatorSource:
    """Return simulator settings as the configuration file would give them."""
    return SimulatorSource.model_validate({"kind": "simulator", **fields})


def db(ratio: float) -> float:
    """Return a power ratio in dB."""
    return float(10 * np.log10(ratio))


def test_same_seed_same_sound_another_take_another_recording() -> None:
    """Two renderings are equal bit by bit; another take or seed is not."""
    first = render(settings(seed=4), 5)
    assert np.array_equal(first, render(settings(seed=4), 5))
    assert np.array_equal(first[:20_000], render(settings(seed=4), 1.25))
    assert not np.array_equal(first, render(settings(seed=4, take=1), 5))
    assert not np.array_equal(first, render(settings(seed=5), 5))


def test_two_takes_are_the_same_machine() -> None:
    """The spectrum of two takes agrees more closely than that of two machines."""

    def spectrum(seed: int, take: int) -> NDArray[np.float64]:
        samples = render(settings(seed=seed, take=take), 160).reshape(-1, 1600)  # (frame, sample)
        levels: NDArray[np.float64] = np.log10(np.mean(np.abs(np.fft.rfft(samples * np.hanning(1600))) ** 2, axis=0))
        centred: NDArray[np.float64] = levels[2:] - levels[2:].mean()
        return centred

    same = np.abs(spectrum(1, 0) - spectrum(1, 1)).mean()
    other = np.abs(spectrum(1, 0) - spectrum(2, 0)).mean()
    assert 2 * same < other


@pytest.mark.parametrize("machine", ["pump", "fan", "gearbox"])
def test_healthy_sound_varies_within_bounds_and_passes_the_signal_checks(machine: str) -> None:
    """Over two minutes the load moves the level by 1 to 6 dB, and no window is a signal fault."""
    samples = render(settings(machine=machine, seed=2), 120)
    windows = list(cut(samples, RATE_HZ, 10.0, 10.0))
    levels = [level_dbfs(window.samples) for window in windows]
    assert 1 < max(levels) - min(levels) < 6
    assert [fault for window in windows if (fault := check(window))] == []


@pytest.mark.parametrize("fault", ["bearing", "cavitation", "belt", "rattle", "imbalance"])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_fault_is_as_loud_as_asked_in_its_own_band(fault: str, seed: int) -> None:
    """At fault_db = 6 the fault is 6 dB over the healthy sound in its own band; before the onset nothing differs."""
    machine = ("pump", "fan", "gearbox")[seed % 3]
    healthy = render(settings(machine=machine, seed=seed), 20)
    faulty = render(settings(machine=machine, seed=seed, fault=fault, fault_at_s=10.0, fault_db=6.0), 20)
    onset = 10 * RATE_HZ
    assert np.array_equal(healthy[:onset], faulty[:onset])
    band_hz = make_fault(fault, seed, 0, RATE_HZ).band_hz
    added = band_power(faulty[onset:] - healthy[onset:], RATE_HZ, band_hz)
    assert db(added / band_power(healthy[onset:], RATE_HZ, band_hz)) == pytest.approx(6.0, abs=3.0)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_loss_of_flow_takes_the_flow_noise_away(seed: int) -> None:
    """The fan's flow band falls by 3 to 13 dB, and its shaft stays."""
    healthy = render(settings(machine="fan", seed=seed), 20)
    faulty = render(settings(machine="fan", seed=seed, fault="no-flow", fault_at_s=0, fault_db=12.0), 20)
    fall = db(band_power(faulty, RATE_HZ, (600, 4000)) / band_power(healthy, RATE_HZ, (600, 4000)))
    shaft = db(band_power(faulty, RATE_HZ, (23, 26)) / band_power(healthy, RATE_HZ, (23, 26)))
    assert -13 < fall < -3
    assert abs(shaft) < 1.5


@pytest.mark.parametrize("seed", SEEDS)
def test_bearing_impacts_come_at_the_ball_pass_frequency(seed: int) -> None:
    """The envelope of the resonance band has its line at the outer-race frequency."""
    configured = settings(seed=seed, fault="bearing", fault_at_s=0, fault_db=12.0)
    fault = make_fault("bearing", seed, 0, RATE_HZ)
    samples = render(configured, 8).astype(np.float64)
    spectrum = np.fft.rfft(samples)
    hz = np.fft.rfftfreq(len(samples), 1 / RATE_HZ)
    spectrum[(hz < fault.band_hz[0]) | (hz > fault.band_hz[1])] = 0
    envelope = np.abs(np.fft.irfft(spectrum))
    lines = np.abs(np.fft.rfft((envelope - envelope.mean()) * np.hanning(len(envelope))))
    searched = (hz > 100) & (hz < 300)
    individual = np.random.default_rng((seed, 3))
    orders = individual.uniform(3.05, 4.95)
    strongest_hz = hz[searched][np.argmax(lines[searched])]
    assert strongest_hz / orders == pytest.approx(48.5, rel=0.04)


@pytest.mark.parametrize("fault", ["cavitation", "rattle", "bearing"])
def test_impacts_make_the_sound_spiky(fault: str) -> None:
    """Kurtosis, 3 for Gaussian noise, rises well above that."""
    samples = render(settings(seed=1, fault=fault, fault_at_s=0, fault_db=12.0), 10).astype(np.float64)
    assert np.mean(samples**4) / np.mean(samples**2) ** 2 > 4


def test_a_squeal_is_a_tone_that_wavers() -> None:
    """Most of the belt's power lies within 5 % of one frequency between 1.3 and 2.9 kHz, and little of it in 0.1 Hz."""
    healthy = render(settings(seed=1), 10)
    squeal = render(settings(seed=1, fault="belt", fault_at_s=0), 10) - healthy
    power = np.abs(np.fft.rfft(squeal)) ** 2
    hz = np.fft.rfftfreq(len(squeal), 1 / RATE_HZ)
    centre_hz = float(hz[np.searchsorted(np.cumsum(power), power.sum() / 2)])
    assert 1300 < centre_hz < 2900
    assert power[np.abs(hz / centre_hz - 1) < 0.05].sum() / power.sum() > 0.8
    assert power.max() / power.sum() < 0.5


def test_a_stopped_machine_leaves_the_factory() -> None:
    """Ten seconds after the stop the level has fallen by more than 8 dB, and ten after the start it is back."""
    samples = render(settings(stops=[[10, 30]], fault="bearing", fault_at_s=0), 50)
    running, stopped, again = (level_dbfs(samples[at * RATE_HZ : (at + 8) * RATE_HZ]) for at in (1, 20, 40))
    assert stopped < running - 8
    assert again == pytest.approx(running, abs=3)


def test_another_rate_is_the_same_kind_of_machine() -> None:
    """At 44.1 kHz the level is that at 16 kHz within a decibel or two."""
    assert level_dbfs(render(settings(), 5, rate_hz=44_100)) == pytest.approx(level_dbfs(render(settings(), 5)), abs=2)


def test_the_simulator_is_much_faster_than_real_time() -> None:
    """Ten minutes of a faulty machine take well under ten seconds of one core (measured: 1.3 s, 470 times)."""
    simulation = Simulation(settings(fault="bearing"))
    begun = time.process_time()
    frames = 0
    while frames < 600 * RATE_HZ:
        frames += len(simulation.next_chunk())
    assert time.process_time() - begun < 10
