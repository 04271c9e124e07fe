"""Landmarks: an excerpt is placed, whatever was done to its speed and pitch."""

from collections.abc import Callable

import numpy as np
import pytest
import soxr
from chorale_fingerprint import placing
from chorale_fingerprint.landmarks import (
    Landmarks,
    landmarks,
    packed_places,
    probes,
    unpacked_places,
)
from chorale_fingerprint.peaks import TIMES_PER_SECOND, Peaks, PeakWriter
from chorale_fingerprint.placing import Hits, Place

RATE_HZ = 22050
MakeSong = Callable[..., np.ndarray]


def _peaks(signal: np.ndarray, block_frames: int = 1 << 20) -> Peaks:
    writer = PeakWriter(RATE_HZ)
    for start in range(0, len(signal), block_frames):
        writer.push(signal[start : start + block_frames].astype(np.float32))
    return writer.finish()


def _hits(query: Landmarks, references: dict[int, Landmarks]) -> Hits:
    """Every landmark of the references that the query has too, found without an index."""
    asked: dict[int, list[int]] = {}
    for q, number in enumerate(query.hashes.tolist()):
        asked.setdefault(number, []).append(q)
    rows = [
        (name, int(kept.times[i]), int(kept.pitches[i]), int(query.times[q]), int(query.pitches[q]))
        for name, kept in references.items()
        for i, number in enumerate(kept.hashes.tolist())
        for q in asked.get(number, ())
    ]
    columns = np.array(rows, np.int64).reshape(-1, 5).T
    return Hits(columns[0], *(each.astype(np.int32) for each in columns[1:]))


def _placed(query: Peaks, reference: Peaks) -> Place | None:
    hits = _hits(probes(query, 2), {7: landmarks(reference)})
    found = [placing.place(query, reference, each) for each in placing.candidates(hits)]
    return max((each for each in found if each), key=lambda each: each.evidence, default=None)


@pytest.mark.parametrize("block_frames", [63, 64, 65, 8191, 1 << 20])
def test_cutting_changes_no_peak(make_song: MakeSong, block_frames: int) -> None:
    """Peaks are the same, however the sound came."""
    signal = make_song(1, 8.0)[: 3 * RATE_HZ]
    whole, cut = _peaks(signal), _peaks(signal, block_frames)
    assert whole.packed() == cut.packed()
    assert len(whole) > 10


def test_long_sound_is_picked_as_one(make_song: MakeSong) -> None:
    """Past the chunks that peaks are picked in, every second has as many as before."""
    song = np.tile(make_song(2, 10.0), 6)
    peaks = _peaks(song, 50_000)
    seconds = np.bincount((peaks.times / TIMES_PER_SECOND).astype(int))
    assert seconds[:-1].min() >= 8
    assert np.all(np.diff(peaks.times) >= 0)


@pytest.mark.parametrize("frame_count", [0, 1, 2047, 4096, 8191])
def test_too_little_sound_has_few_peaks_and_no_landmarks(frame_count: int) -> None:
    """Less than a figure's length is no error, and gives nothing to know it by."""
    peaks = _peaks(np.random.default_rng(0).standard_normal(frame_count).astype(np.float32))
    assert len(landmarks(peaks)) == 0
    assert len(probes(peaks, 2)) == 0


def test_silence_has_no_peaks() -> None:
    """Silence stands out nowhere."""
    assert len(_peaks(np.zeros(5 * RATE_HZ, np.float32))) == 0


def test_peaks_survive_packing(make_song: MakeSong) -> None:
    """Bytes in the database say what the peaks were."""
    peaks = _peaks(make_song(3, 6.0))
    again = Peaks.unpacked(peaks.packed())
    assert np.array_equal(again.times, peaks.times)
    assert np.array_equal(again.pitches, peaks.pitches)
    assert np.array_equal(again.strengths, peaks.strengths)


def test_places_survive_packing(make_song: MakeSong) -> None:
    """A place in the index says the time and pitch that it was."""
    found = landmarks(_peaks(make_song(3, 6.0)))
    times, pitches = unpacked_places(packed_places(found))
    assert np.array_equal(times, found.times)
    assert np.array_equal(pitches, found.pitches)


@pytest.mark.parametrize(
    ("speed", "semitones"),
    [(1.0, 0.0), (1.02, 0.3428), (0.98, -0.3498), (1.04, 0.679), (0.96, -0.7067)],
)
def test_a_changed_excerpt_is_placed(make_song: MakeSong, speed: float, semitones: float) -> None:
    """Seven seconds, faster or slower: where they begin, how fast and how high they are."""
    song = make_song(4, 20.0)
    clip = song[6 * RATE_HZ : 13 * RATE_HZ]
    changed = soxr.resample(clip, round(RATE_HZ * speed), RATE_HZ) if speed != 1.0 else clip
    found = _placed(_peaks(changed), _peaks(song))
    assert found is not None
    start_seconds = (found.start + found.ratio * found.query_start) / TIMES_PER_SECOND
    expected = 6.0 + speed * found.query_start / TIMES_PER_SECOND
    assert start_seconds == pytest.approx(expected, abs=0.1)
    assert found.ratio == pytest.approx(speed, abs=0.004)
    assert -found.pitch / 64 == pytest.approx(semitones, abs=0.1)
    assert found.score > 0.5


def test_noise_leaves_the_place(make_song: MakeSong) -> None:
    """Under noise at 10 dB the same seconds are found at the same place, with a lower score."""
    song = make_song(5, 20.0)
    clip = song[6 * RATE_HZ : 16 * RATE_HZ]
    noise = np.random.default_rng(1).standard_normal(len(clip)).astype(np.float32)
    noisy = clip + noise * clip.std() * np.float32(10 ** (-10 / 20))
    clean_place, noisy_place = (
        _placed(_peaks(clip), _peaks(song)),
        _placed(_peaks(noisy), _peaks(song)),
    )
    assert clean_place is not None
    assert noisy_place is not None
    assert noisy_place.start == pytest.approx(clean_place.start, abs=TIMES_PER_SECOND * 0.03)
    assert noisy_place.score < clean_place.score


def test_other_music_fits_nowhere_well(make_song: MakeSong) -> None:
    """Of five other songs none fits as a copy does; of thousands of pairs, see the README."""
    song = _peaks(make_song(6, 10.0))
    others = [_peaks(make_song(seed, 10.0)) for seed in range(20, 25)]
    placed = [place for other in others if (place := _placed(song, other)) is not None]
    assert all(place.evidence < 25 for place in placed)
    assert _placed(song, song).evidence > 100  # type: ignore[union-attr]
