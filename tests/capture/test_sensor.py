"""A changed microphone is told from a changed machine by what only a microphone does."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from edge_monitor.capture.quality import level_dbfs
from edge_monitor.capture.resampling import resample
from edge_monitor.capture.sensor import SensorLook, SensorProfile, find_change, learn_sensor
from edge_monitor.explain.acoustics import measure, steady_noise_db
from edge_monitor.pipeline.sensor_check import SensorWatch, sensor_change
from edge_monitor.records import Window
from tests.sounds import pump

BANDS_HZ = (100.0, 200.0, 400.0, 800.0, 1600.0, 3200.0)
# Level, then six bands, dBFS; each normal a little louder than the one before, its top band restless by 1 dB.
NORMALS = [[-30 + i / 4, *(-40 - 2 * band + i / 4 for band in range(5)), -50 + i / 4 + i % 2] for i in range(8)]
MACHINES = ("pump", "fan", "gearbox")
FAULTS = (("bearing", 20), ("cavitation", 20), ("belt", 20), ("rattle", 20), ("imbalance", 20), ("no-flow", 6))


def learnt() -> SensorProfile:
    """Return the profile of the typed normals."""
    profile = learn_sensor(NORMALS)
    assert profile is not None
    return profile


def change(*moved_db: float) -> str | None:
    """Return what is found when the middle normal's entries move by so much: the level first, then each band."""
    return look(*moved_db).changed


def look(*moved_db: float, changed: bool = False) -> SensorLook:
    """Return all that is found then; `changed`: the window before was another microphone's."""
    window = [entry + moved for entry, moved in zip(NORMALS[4], moved_db, strict=True)]
    return find_change(learnt(), window, BANDS_HZ, changed=changed)


@pytest.mark.parametrize(
    ("moved_db", "found"),
    [
        ((0, 0, 0, 0, 0, 0, 0), None),
        ((-4, -4, -4, -4, -4, -4, -4), None),  # within 4 dB of the quietest normal
        ((-6, -6, -6, -6, -6, -6, -6), "6 dB quieter than learnt, in all bands alike: the gain has changed"),
        ((9, 9, 9, 9, 9, 9, 9), "9 dB louder than learnt, in all bands alike: the gain has changed"),
        ((9, 9, 9, 9, 9, 9, 11.4), None),  # one band moved otherwise: that is a sound
        ((9, 0, 0, 0, 9, 0, 0), None),  # one loud band: a fault
        ((-20, 0, 0, 0, 0, 0, 0), None),
        ((-1, 0, 0, 0, 0, -10, -50), "nothing is heard above 3200 Hz any more: the sample rate has been lowered"),
        ((-1, 0, 0, 0, 0, -10, -15), None),  # quieter at the top, not cut off
        ((-60, -60, -60, -60, -60, -60, -20), None),  # standstill
    ],
)
def test_only_all_bands_alike_are_a_gain(moved_db: tuple[float, ...], found: str | None) -> None:
    """A common step beyond the learnt range is a gain, missing top bands are a sample rate, all else is the machine."""
    told = change(*moved_db)
    assert told == found or (told is not None and found is not None and told.endswith(found))


@pytest.mark.parametrize("machine", MACHINES)
def test_a_rate_that_was_raised_is_found(machine: str) -> None:
    """Learnt from files of 8 kHz and heard at 16 kHz; what was learnt is the same as ever, and so is a fault in it."""
    sound = resample(resample(pump(180, machine=machine, seed=11), 16_000, 8_000), 8_000, 16_000)
    windows = sound[: 18 * 160_000].reshape(-1, 160_000)
    profile = learn_sensor([[level_dbfs(window), *steady_noise_db(window, 16_000)] for window in windows])
    assert profile is not None
    heard = pump(20, machine=machine, seed=11, take=4).reshape(2, -1)
    for window in heard:
        found = sensor_change(profile, window, 16_000, level_dbfs(window)).changed
        assert found is not None
        assert "the sample rate was raised" in found
        narrow = resample(resample(window, 16_000, 8_000), 8_000, 16_000)
        assert sensor_change(profile, narrow, 16_000, level_dbfs(narrow)).changed is None


def test_a_gain_at_the_limit_does_not_flap() -> None:
    """The normals spread by 1.75 dB about their middle; 4 dB beyond them is a gain, and stays one down to 2 dB."""
    assert look(*[-5.0] * 7).changed is None
    assert look(*[-5.4] * 7).changed is not None
    assert look(*[-4.6] * 7).changed is None
    assert look(*[-3.6] * 7, changed=True).changed is not None
    assert look(*[-2.9] * 7, changed=True).changed is None


def test_a_smaller_common_shift_is_told_with_the_alarm() -> None:
    """A fan that loses its flow and a gain that drifts look alike: whoever looks into it is told."""
    assert look(*[-3.0] * 7).alike_db == pytest.approx(-2.875)
    assert look(*[1.0] * 7).alike_db is None
    assert look(0, 0, 0, 0, 6, 0, 0).alike_db is None


def test_few_normals_say_nothing_of_a_gain() -> None:
    """Seven normals do not show how far bands stray; what nothing but a sample rate takes away is seen all the same."""
    few = learn_sensor(NORMALS[:7])
    assert few is not None
    assert find_change(few, [entry + 20 for entry in NORMALS[4]], BANDS_HZ).changed is None
    assert find_change(few, [*NORMALS[4][:5], -130.0, -130.0], BANDS_HZ).changed is not None
    assert find_change(few, [*NORMALS[4][:5], -90.0, -90.0], BANDS_HZ).changed is None
    assert learn_sensor([]) is None


def test_other_entries_than_learnt_are_refused() -> None:
    """Bands of another sample rate cannot be compared."""
    with pytest.raises(ValueError, match="5 entries and 6 bands; 7 entries learnt"):
        find_change(learnt(), [0.0] * 5, BANDS_HZ)


def test_a_window_is_measured_as_its_normals_were() -> None:
    """The bands of the check are those of the acoustics that enrolment keeps."""
    window = pump(10)
    assert steady_noise_db(window, 16_000) == pytest.approx(measure(window, 16_000).noise_db, abs=0.006)  # rounded


@cache
def profile_of(machine: str) -> SensorProfile:
    """Return what three minutes of a simulated machine teach."""
    sound = pump(180, machine=machine, seed=11).reshape(-1, 160_000)
    profile = learn_sensor([[level_dbfs(window), *steady_noise_db(window, 16_000)] for window in sound])
    assert profile is not None
    return profile


def found_in(machine: str, samples: np.ndarray) -> list[bool]:
    """Return for each 10 s of sound whether it speaks of another microphone."""
    windows = samples[: len(samples) // 160_000 * 160_000].reshape(-1, 160_000)
    looks = [sensor_change(profile_of(machine), window, 16_000, level_dbfs(window)) for window in windows]
    return [each.changed is not None for each in looks]


@pytest.mark.parametrize("machine", MACHINES)
def test_no_fault_of_a_machine_is_blamed_on_the_microphone(machine: str) -> None:
    """Simulated faults, loud ones and the one that quietens everything, a stop and a start: none looks like a gain."""
    blamed = [
        fault
        for fault, db in FAULTS
        if any(found_in(machine, pump(20, machine=machine, seed=11, take=2, fault=fault, fault_db=float(db))))
    ]
    assert blamed == []
    assert not any(found_in(machine, pump(60, machine=machine, seed=11, take=3, stops=[[15.0, 45.0]])))


@pytest.mark.parametrize("machine", MACHINES)
def test_gains_and_rates_of_another_take_are_found(machine: str) -> None:
    """Another take through other gains (at -30 dB in 16 bits), or at 8 kHz, is known as such, window by window."""
    sound = pump(30, machine=machine, seed=11, take=4)
    for gain_db in (-10, 12):
        assert found_in(machine, sound * np.float32(10 ** (gain_db / 20))) == [True] * 3
    assert found_in(machine, np.round(sound * 10 ** (-30 / 20) * 32_768).astype(np.float32) / 32_768) == [True] * 3
    assert found_in(machine, resample(resample(sound, 16_000, 8_000), 8_000, 16_000)) == [True] * 3
    assert found_in(machine, sound) == [False] * 3


def test_a_watched_microphone_is_looked_at_again_after_half_a_window_or_a_change_of_level() -> None:
    """Between two looks an unchanged microphone stays so; a changed one is looked at in each window."""
    profile, watch = profile_of("pump"), SensorWatch()
    healthy = pump(10, seed=11, take=4)
    dull = resample(resample(healthy, 16_000, 8_000), 8_000, 16_000)
    level = level_dbfs(healthy)

    def changed(samples: np.ndarray, end_s: float, level_dbfs: float = level) -> bool:
        look = watch.look(profile, Window("m", samples, 16_000, end_s - 10.0, end_s), level_dbfs)
        return look.changed is not None

    assert watch.look(None, Window("m", dull, 16_000, 0.0, 10.0), level).changed is None
    assert not changed(healthy, 10.0)
    assert not changed(dull, 15.0)  # not looked at
    assert changed(dull, 16.0)
    assert not changed(healthy, 17.0)
    assert changed(dull, 18.0, level - 2.0)
    assert not changed(healthy, 19.0)
    assert watch.look(replace(profile), Window("m", dull, 16_000, 10.0, 20.0), level).changed  # learnt anew


def test_a_gain_that_was_set_back_is_forgotten_after_ten_minutes() -> None:
    """Until then 3 dB are still the gain; afterwards they may be the machine's, and are scored."""
    profile, watch = profile_of("pump"), SensorWatch()
    sound = pump(10, seed=11, take=4)

    def changed(gain_db: float, end_s: float) -> bool:
        samples = sound * np.float32(10 ** (gain_db / 20))
        return (
            watch.look(profile, Window("m", samples, 16_000, end_s - 10.0, end_s), level_dbfs(samples)).changed
            is not None
        )

    quieter = next(-0.5 * i for i in range(1, 40) if changed(-0.5 * i, 10.0 * i))
    assert changed(quieter + 1.0, 700.0)
    assert not changed(0.0, 710.0)
    assert changed(quieter + 1.0, 720.0)
    assert not changed(0.0, 730.0)
    assert not changed(quieter + 1.0, 1400.0)
