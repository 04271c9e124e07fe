"""The limiter: nothing passes its ceiling, between the samples as little as on them."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import signals
from chorale_mastering.block import Samples, processed
from chorale_mastering.limiter import Limiter, times
from chorale_mastering.meter import Meter
from chorale_mastering.plan import LimiterMode

MODES = [mode for mode in LimiterMode if mode is not LimiterMode.NONE]
OVERSHOOT_DB = 0.05
CEILING_DBTP = -1.0


def true_peak_dbtp(sound: Samples, rate: int = 44100) -> float:
    """By this service's own meter."""
    meter = Meter(rate, sound.shape[1])
    meter.push(sound)
    meter.finish()
    return meter.read().true_peak_dbtp


def limited(
    sound: Samples, mode: LimiterMode, lookahead_ms: float = 5.0, rate: int = 44100
) -> Samples:
    """At a ceiling of -1 dBTP."""
    ceiling = 10.0 ** (CEILING_DBTP / 20.0)
    limiter_times = times(mode, lookahead_ms, 80.0, rate)
    return processed(Limiter(rate, sound.shape[1], ceiling, limiter_times), sound)


def bursts() -> Samples:
    """White noise, on and off within one frame, far over full scale."""
    sound = signals.noise(3.0, 1) * 12.0
    sound[np.arange(len(sound)) % 11025 > 1000] = 0.0
    return sound


HARD: dict[str, Callable[[], npt.NDArray[np.floating]]] = {
    "noise": lambda: signals.noise(2.0, 2) * 8.0,
    "bursts": bursts,
    "square": lambda: 1.5 * np.sign(signals.sine(0.0, 2.0, 2, 997.0)),
    "quarter rate": lambda: signals.sine(6.0, 2.0, 2, 11025.0, phase_degrees=45.0),
    "near half rate": lambda: signals.sine(6.0, 2.0, 2, 19500.0, phase_degrees=30.0),
    "clipped mix": lambda: np.clip(signals.pink_noise(2.0, 3) * 12.0, -1.0, 1.0) * 1.4,
    "one sample": lambda: np.pad(np.full((1, 2), 3.0, np.float32), ((5000, 5000), (0, 0))),
    "clicks": lambda: signals.clicks(120, 2.0) * 5.0,
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", HARD)
def test_no_true_peak_passes_the_ceiling(name: str, mode: LimiterMode) -> None:
    """By our own meter, within 0.05 dB, on the hardest material."""
    sound = HARD[name]().astype(np.float32)
    assert true_peak_dbtp(sound) > CEILING_DBTP + 1.0
    for lookahead_ms in (0.5, 5.0, 20.0):
        out = limited(sound, mode, lookahead_ms)
        assert true_peak_dbtp(out) <= CEILING_DBTP + OVERSHOOT_DB, lookahead_ms


@pytest.mark.parametrize("rate", [8000, 22050, 48000, 96000, 192000])
def test_the_ceiling_holds_at_every_rate(rate: int) -> None:
    """From 8 to 192 kHz."""
    sound = signals.noise(1.0, 4, 2, rate) * 8.0
    out = limited(sound, LimiterMode.TRANSPARENT, rate=rate)
    assert true_peak_dbtp(out, rate) <= CEILING_DBTP + OVERSHOOT_DB


@pytest.mark.parametrize("mode", MODES)
def test_what_stays_below_is_not_touched(mode: LimiterMode) -> None:
    """Not one bit changes where no peak comes near the ceiling."""
    sound = signals.pink_noise(1.0, 5)
    assert np.array_equal(limited(sound, mode), sound)


@pytest.mark.parametrize("mode", MODES)
def test_gain_comes_back_after_a_peak(mode: LimiterMode) -> None:
    """A peak is followed by release, and then by the very samples that came."""
    sound = signals.sine(-20.0, 30.0)
    sound[1000] = 4.0
    out = limited(sound, mode)
    assert abs(out[1000, 0]) < 1.0
    assert np.array_equal(out[-44100:], sound[-44100:])


def test_all_channels_get_the_same_gain() -> None:
    """A peak on the left turns the right down too, so the image does not move."""
    sound = signals.sine(-20.0, 1.0)
    sound[20000:20400, 0] *= 30.0
    out = limited(sound, LimiterMode.TRANSPARENT)
    taken = out[20200, 1] / sound[20200, 1]
    assert taken == pytest.approx(out[20200, 0] / sound[20200, 0], rel=1e-5)
    assert taken < 0.5


def test_gain_moves_smoothly() -> None:
    """From one frame to the next the gain changes by less than a fortieth: no click is added."""
    sound = signals.sine(-20.0, 1.0, hertz=50.0) + np.float32(0.2)
    sound[20000:20050] += 2.0
    out = limited(sound.astype(np.float32), LimiterMode.TRANSPARENT)
    gain = out[:, 0] / sound[:, 0]
    assert np.abs(np.diff(gain)).max() < 0.025


def test_reductions_tell_what_was_taken_and_when() -> None:
    """The greatest reduction stands at the tenth of a second of the peak."""
    sound = signals.sine(-30.0, 2.0)
    sound[44100 + 2205] = 2.0
    limiter = Limiter(44100, 2, 1.0, times(LimiterMode.TRANSPARENT, 5.0, 80.0, 44100))
    processed(limiter, sound)
    by_tenth = limiter.reductions.by_tenth(20)
    assert int(np.argmin(by_tenth)) == 10
    assert limiter.reductions.greatest_db == pytest.approx(6.02, abs=0.3)
    assert by_tenth[:9].max() == by_tenth[:9].min() == 0.0
