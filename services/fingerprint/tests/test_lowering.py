"""Bringing sound down: what is heard stays as it is, and how it was cut makes no difference."""

import numpy as np
import pytest
from chorale_fingerprint.lowering import RATE_HZ, Lowered


def _lowered(sound: np.ndarray, rate_hz: int, block: int) -> np.ndarray:
    lowered = Lowered(rate_hz, sound.shape[1])
    parts = [lowered.push(sound[at : at + block]) for at in range(0, len(sound), block)]
    return np.concatenate([*parts, lowered.finish()])


@pytest.mark.parametrize("rate_hz", [8000, 11025, 44100, 48000])
@pytest.mark.parametrize("block", [1, 1023, 65537])
def test_cutting_changes_nothing(rate_hz: int, block: int) -> None:
    """Blocks of any size, odd ones too, give the samples that the whole gives."""
    frames = 1500 if block == 1 else 70_000
    sound = np.random.default_rng(rate_hz).uniform(-1, 1, (frames, 2)).astype(np.float32)
    whole = _lowered(sound, rate_hz, frames)
    assert np.array_equal(_lowered(sound, rate_hz, block), whole)
    assert abs(len(whole) - frames * RATE_HZ / rate_hz) <= 2


@pytest.mark.parametrize(
    ("rate_hz", "channel_count"), [(22050, 2), (44100, 1), (44100, 2), (48000, 3)]
)
@pytest.mark.parametrize("hertz", [60, 1000, 3520])
def test_what_chromaprint_hears_stays(rate_hz: int, channel_count: int, hertz: int) -> None:
    """Tones up to 3.5 kHz keep their level to 0.05 dB and their place to 50 us."""
    seconds = np.arange(rate_hz) / rate_hz
    tone = 0.5 * np.cos(2 * np.pi * hertz * seconds)
    sound = np.repeat(tone[:, None], channel_count, 1).astype(np.float32)
    made = _lowered(sound, rate_hz, 65536)[2000:9000]
    turning = np.exp(2j * np.pi * hertz * np.arange(2000, 9000) / RATE_HZ)
    found = 2 * np.mean(made * turning.conj())
    assert abs(20 * np.log10(abs(found) / 0.5)) < 0.05
    assert abs(np.angle(found)) / (2 * np.pi * hertz) < 50e-6


def test_channels_count_alike() -> None:
    """What is in one of two channels comes out half as loud."""
    sound = np.zeros((44100, 2), np.float32)
    sound[:, 1] = 0.5
    assert _lowered(sound, 44100, 65536)[1000:9000] == pytest.approx(0.25, abs=1e-3)


def test_no_sound_gives_none() -> None:
    """Nothing comes of nothing, and one frame does not fail."""
    assert not len(_lowered(np.zeros((0, 2), np.float32), 44100, 100))
    assert len(_lowered(np.zeros((1, 2), np.float32), 44100, 100)) <= 2
