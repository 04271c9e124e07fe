"""Properties of beat tracking."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import signals
from chorale_analysis.beats import track_beats
from chorale_analysis.onsets import OnsetListener, Onsets
from chorale_analysis.rhythm import NO_RHYTHM, Rhythm, RhythmSettings
from chorale_analysis.rhythm import bars as bars_of
from chorale_analysis.spectra import RATE_HZ
from chorale_analysis.state_space import decode
from signals import Signal

BLOCK_FRAMES = (63, 64, 65, 4096, 8191, 1 << 20)


def heard(sound: Signal, block_frames: int = 1 << 16) -> Onsets:
    """Listens to the first channel, in blocks of so many frames."""
    listener = OnsetListener()
    for start in range(0, len(sound), block_frames):
        listener.push(sound[start : start + block_frames, 0])
    return listener.finish()


def tracked(sound: Signal, **settings: float) -> Rhythm:
    """Tracks the beats of a sound at the listening rate."""
    return track_beats(heard(sound), len(sound) / RATE_HZ, RhythmSettings(**settings))  # type: ignore[arg-type]


def clicks(bpm: float, seconds: float = 15.0, first_seconds: float = 0.25) -> Signal:
    """Clicks at the listening rate."""
    return signals.clicks(bpm, seconds, first_seconds=first_seconds, rate_hz=RATE_HZ)


def times(rhythm: Rhythm) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """Where the beats are, in seconds."""
    return np.array([beat.seconds for beat in rhythm.beats])


@pytest.mark.parametrize("bpm", [60, 75, 90, 100, 120, 133, 150])
def test_every_click_is_a_beat(bpm: float) -> None:
    """Clicks are found to within 20 ms, each once, and their tempo to within half a percent."""
    found = tracked(clicks(bpm))
    truth = signals.beat_times(bpm, 15.0)
    assert len(found.beats) == len(truth)
    assert np.abs(times(found) - truth).max() < 0.02
    assert found.bpm == pytest.approx(bpm, rel=0.005)
    assert found.bpm_confidence > 0.8
    assert found.stability > 0.9


@pytest.mark.parametrize("block_frames", BLOCK_FRAMES)
def test_blocks_do_not_matter(block_frames: int) -> None:
    """However the sound is cut, the same begins at the same time."""
    sound = clicks(100, 5.0)
    whole, pieces = heard(sound), heard(sound, block_frames)
    assert np.allclose(pieces.raw, whole.raw, atol=1e-5)
    assert len(pieces.raw) == len(sound) // 220 + 1


def test_the_same_sound_has_the_same_beats() -> None:
    """Tracking is deterministic, on several threads at once too."""
    sound = clicks(110, 8.0)
    with ThreadPoolExecutor(3) as threads:
        found = list(threads.map(tracked, [sound] * 3))
    assert found[0] == found[1] == found[2] == tracked(sound)


@pytest.mark.parametrize("gain", [0.01, 0.1, 0.5])
def test_loudness_does_not_matter(gain: float) -> None:
    """Softer clicks are the same beats."""
    sound = clicks(96)
    loud, soft = times(tracked(sound)), times(tracked(sound * np.float32(gain)))
    assert len(loud) == len(soft)
    assert np.abs(loud - soft).max() < 0.015


def test_a_later_start_is_as_much_later() -> None:
    """Silence before the music moves every beat by its length, and adds none."""
    sound = clicks(96, 10.0)
    late = np.concatenate([signals.silence(2.0, 2, RATE_HZ), sound])
    early, later = times(tracked(sound)), times(tracked(late))
    assert len(early) == len(later)
    assert np.abs(later - early - 2.0).max() < 0.015


@pytest.mark.parametrize("seed", range(5))
def test_noise_has_no_beat(seed: int) -> None:
    """Noise, white and pink, has no beats, no tempo and no confidence: nothing is made up."""
    assert tracked(signals.noise(20, seed, 1, RATE_HZ)) == NO_RHYTHM
    assert tracked(signals.pink_noise(20, seed, 1, RATE_HZ)) == NO_RHYTHM


def test_what_does_not_begin_has_no_beat() -> None:
    """A steady tone, a sweep, DC and silence have none."""
    for sound in (
        signals.sine(-10, 15, 1, 440.0, RATE_HZ),
        signals.sweep(100, 5000, 15, rate_hz=RATE_HZ),
        np.full((10 * RATE_HZ, 1), 0.5, np.float32),
        signals.silence(10, 1, RATE_HZ),
    ):
        assert tracked(sound) == NO_RHYTHM


@pytest.mark.parametrize("frames", [1, 64, 219, 220, 2048, 4096])
def test_too_little_has_no_beat(frames: int) -> None:
    """A frame, a hop, a window: too little to recur, and no error."""
    assert tracked(clicks(120)[5000 : 5000 + frames]) == NO_RHYTHM


def test_tempo_stays_within_its_bounds() -> None:
    """Between `bpm_min` and `bpm_max` the beats are found at the multiple that fits."""
    sound = clicks(75)
    assert tracked(sound, bpm_min=120, bpm_max=200).bpm == pytest.approx(150, rel=0.02)
    assert tracked(sound, bpm_min=55, bpm_max=110).bpm == pytest.approx(75, rel=0.01)


def test_a_hint_breaks_octave_ties() -> None:
    """Clicks at 174 BPM are found at 174 when that is expected, at 87 when that is."""
    sound = clicks(174)
    assert tracked(sound, bpm_hint=174).bpm == pytest.approx(174, rel=0.01)
    assert tracked(sound, bpm_hint=87).bpm == pytest.approx(87, rel=0.01)


def test_peaks_are_beats_when_asked() -> None:
    """Without the state space every strong onset is a beat, and a threshold of 1 leaves none."""
    sound = clicks(120)
    found = tracked(sound, from_peaks=True, threshold=0.5)
    assert np.abs(times(found) - signals.beat_times(120, 15.0)).max() < 0.02
    assert tracked(sound, from_peaks=True, threshold=1.0) == NO_RHYTHM


def test_candidates_are_likelihoods() -> None:
    """Candidates sum to at most 1, come likeliest first, and hold the half and the double."""
    found = tracked(clicks(100))
    chances = [candidate.probability for candidate in found.candidates]
    assert sum(chances) <= 1.0 + 1e-9
    assert chances == sorted(chances, reverse=True)
    tempi = np.array([candidate.bpm for candidate in found.candidates])
    for factor in (0.5, 1.0, 2.0):
        assert np.abs(tempi / found.bpm - factor).min() < 0.02
    assert len(found.curve_bpm) == len(found.beats)


def test_a_tempo_that_bends_is_followed() -> None:
    """From 100 to 130 BPM over 30 s the beats stay on the clicks, and the curve rises."""
    intervals = 60.0 / np.linspace(100, 130, 55)
    truth = 0.5 + np.concatenate([[0.0], np.cumsum(intervals)])
    sound = np.zeros((round((truth[-1] + 1) * RATE_HZ), 1), np.float32)
    click = signals.clicks(60, 0.5, first_seconds=0.0, rate_hz=RATE_HZ)[: RATE_HZ // 20, :1]
    for at in truth:
        start = round(at * RATE_HZ)
        sound[start : start + len(click)] += click
    found = tracked(sound)
    assert len(found.beats) == len(truth)
    assert np.abs(times(found) - truth).max() < 0.05
    assert found.curve_bpm[5] < 108
    assert found.curve_bpm[-5] > 122


def test_the_likeliest_path_is_found() -> None:
    """Decoding finds the beats of a perfect activation, and the period of each."""
    activation = np.full(1000, 0.02)
    truth = np.arange(13, 1000, 50)
    activation[truth] = 0.95
    path = decode(activation, np.arange(30, 101), np.zeros(71), 100.0)
    assert set(truth) <= set(path.beat_hops.tolist())
    assert np.median(path.periods) == 50


def test_bars_begin_on_what_is_first() -> None:
    """Chords that change every four clicks, or every three, make bars of four or three."""
    for count, tonic in ((4, "C"), (3, "A")):
        beats = signals.clicks(120, 24, rate_hz=RATE_HZ, first_seconds=0.0, accent_every=count)
        music = signals.cadence(tonic, "major", 6, count * 0.5, RATE_HZ)
        length = min(len(beats), len(music))
        found = tracked((0.4 * beats[:length] + 0.6 * music[:length]).astype(np.float32))
        assert found.meters[0].beats_per_bar == count
        downbeats = np.array([beat.seconds for beat in found.beats if beat.position == 1])
        away = np.abs(downbeats / (count * 0.5) - np.round(downbeats / (count * 0.5)))
        assert np.median(away) < 0.05
        assert sum(meter.probability for meter in found.meters) == pytest.approx(1.0)


def test_only_bars_asked_for_are_thought_of() -> None:
    """Bar lengths that the caller knows are the only ones."""
    sound = clicks(120, 20.0)
    settings = RhythmSettings(beats_per_bar=(5, 7))
    found = track_beats(heard(sound), len(sound) / RATE_HZ, settings)
    assert {meter.beats_per_bar for meter in found.meters} == {5, 7}
    assert max(beat.position for beat in found.beats) == found.meters[0].beats_per_bar


def test_bars_may_change_their_length_where_it_is_asked() -> None:
    """Chords over bars of four that go on as bars of three: both are told, and one meter else."""
    parts = []
    for count, bars in ((4, 8), (3, 10)):
        seconds = 0.5 * count * bars
        beats = signals.clicks(
            120, seconds, rate_hz=RATE_HZ, first_seconds=0.0, accent_every=count
        )[: round(seconds * RATE_HZ)]
        music = signals.cadence("C", "major", bars, 0.5 * count, RATE_HZ)[: len(beats)]
        parts.append((0.4 * beats[: len(music)] + 0.6 * music).astype(np.float32))
    sound = np.concatenate(parts)
    found = tracked(sound, local_meter=True)
    lengths = [bar.beat_count for bar in bars_of(found, len(sound) / RATE_HZ)]
    assert lengths[1:7] == [4] * 6
    assert lengths[-7:-1] == [3] * 6
    steady = [bar.beat_count for bar in bars_of(tracked(sound), len(sound) / RATE_HZ)]
    assert max(steady.count(3), steady.count(4)) > len(steady) / 2
