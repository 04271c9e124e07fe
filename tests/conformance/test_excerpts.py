"""Real music, degraded: excerpts of it are known again, and unknown music is not.

`python -m bench.fingerprint_accuracy` measures all 30 variants of the test material, and whole
recordings beside Chromaprint. These floors hold a part of that in minutes.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
import soxr

pytest.importorskip("chorale_fingerprint", reason="NOT MEASURED: fingerprint is not set up")
from landmarks_in_memory import MemoryIndex, peaks_of

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("excerpts")]

RATE_HZ, SECONDS, START_SECONDS = 11025, 10, 12
UNKNOWN_MAX = 0.005
Mono = npt.NDArray[np.float32]


def _noise(clip: Mono, number: int) -> Mono:
    noise = np.random.default_rng(number).standard_normal(len(clip))
    return np.asarray(clip + noise * clip.std() * 10 ** (-10 / 20), np.float32)


def _band(clip: Mono, low_hz: float, high_hz: float) -> Mono:
    spectrum, at = np.fft.rfft(clip), np.fft.rfftfreq(len(clip), 1 / RATE_HZ)
    spectrum[(at < low_hz) | (at > high_hz)] = 0
    return np.fft.irfft(spectrum, len(clip)).astype(np.float32)


def _tilted(clip: Mono) -> Mono:
    """Bass up by 7 dB at the bottom, treble down by 9 at the top."""
    spectrum, at = np.fft.rfft(clip), np.fft.rfftfreq(len(clip), 1 / RATE_HZ)
    gain_db = np.interp(at, [100, 5500], [7.0, -9.0])
    return np.fft.irfft(spectrum * 10 ** (gain_db / 20), len(clip)).astype(np.float32)


def _faster(clip: Mono, speed: float) -> Mono:
    return np.asarray(soxr.resample(clip, RATE_HZ * speed, RATE_HZ), np.float32)


# What is done to an excerpt, and how many of 22 must be named. Measured: all of each.
DEGRADED: dict[str, tuple[Callable[[Mono, int], Mono], float]] = {
    "clean": (lambda clip, _: clip, 0.98),
    "clipped by 12 dB": (lambda clip, _: np.clip(clip * 4, -1, 1), 0.95),
    "equalised": (lambda clip, _: _tilted(clip), 0.98),
    "white noise at 10 dB": (_noise, 0.95),
    "telephone band": (lambda clip, _: _band(clip, 300, 3400), 0.95),
    "2 % faster": (lambda clip, _: _faster(clip, 1.02), 0.90),
    "2 % slower": (lambda clip, _: _faster(clip, 0.98), 0.90),
    "4 % faster": (lambda clip, _: _faster(clip, 1.04), 0.80),
    "a semitone lower": (lambda clip, _: _faster(clip, 2 ** (-1 / 12)), 0.80),
}


@pytest.fixture(scope="module")
def tracks(testdata: Path) -> dict[str, Mono]:
    """The enrolled music."""
    return {path.name[:4]: _read(path) for path in sorted((testdata / "fp").glob("*.ogg"))}


@pytest.fixture(scope="module")
def index(tracks: dict[str, Mono]) -> MemoryIndex:
    """An index of it."""
    return MemoryIndex([peaks_of(sound, RATE_HZ) for sound in tracks.values()])


@pytest.mark.parametrize("name", DEGRADED)
def test_excerpts_are_named(name: str, tracks: dict[str, Mono], index: MemoryIndex) -> None:
    """Of 10 s excerpts of every track, degraded in one way, nearly all are named and placed."""
    degrade, floor = DEGRADED[name]
    named = placed = 0
    for number, (track, sound) in enumerate(tracks.items()):
        clip = sound[START_SECONDS * RATE_HZ : (START_SECONDS + SECONDS) * RATE_HZ]
        found = index.search(peaks_of(degrade(clip, number), RATE_HZ))
        # fp09 and fp10 are one recording, mastered twice: either will do, if nothing else.
        right = {i for i, other in enumerate(tracks) if _is_one(track, other)}
        assert {each for each, _ in found} <= right
        if found and found[0][0] in right:
            there = found[0][1].recording_start_seconds - found[0][1].query_start_seconds
            placed += found[0][0] != number or abs(there - START_SECONDS) < 0.6
            named += 1
    assert named / len(tracks) >= floor
    # One of them is made of a loop, and is rightly found where that sounds the same.
    assert placed >= named - 2


def test_unknown_music_is_not_named(testdata: Path, index: MemoryIndex) -> None:
    """Of a hundred and more excerpts of other music, next to none is taken for what is enrolled."""
    asked = named = 0
    for folder in ("real", "render"):
        for path in sorted((testdata / folder).glob("*.ogg")):
            sound = _read(path)
            for start in range(0, len(sound) - SECONDS * RATE_HZ, 20 * RATE_HZ):
                asked += 1
                clip = sound[start : start + SECONDS * RATE_HZ]
                named += bool(index.search(peaks_of(clip, RATE_HZ)))
    assert asked >= 100
    assert named / asked <= UNKNOWN_MAX


def test_two_performances_of_one_piece_are_two(testdata: Path) -> None:
    """The same bars by two pianists are not taken for each other."""
    igoshina, varsi = (
        peaks_of(_read(testdata / "real" / f"real_chopin_op10_3_{name}.ogg"), RATE_HZ)
        for name in ("igoshina", "varsi")
    )
    assert MemoryIndex([varsi]).search(igoshina) == []
    assert MemoryIndex([igoshina]).search(varsi) == []


def _is_one(track: str, other: str) -> bool:
    return track == other or {track, other} == {"fp09", "fp10"}


def _read(path: Path) -> Mono:
    sound, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    return np.asarray(soxr.resample(sound.mean(axis=1), rate_hz, RATE_HZ), np.float32)
