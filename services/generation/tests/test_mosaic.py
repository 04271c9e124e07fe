"""What mosaics are put together by: joins, accents and lengths of sections, on plain sound."""

import itertools

import numpy as np
import pytest
from chorale_generation.mosaic.accents import accented
from chorale_generation.mosaic.arrangement import Arrangement, arranged
from chorale_generation.mosaic.asked import Output, Wishes
from chorale_generation.mosaic.heard import Heard
from chorale_generation.mosaic.joins import joined
from chorale_generation.mosaic.pulse import Clarity, clarity
from chorale_generation.mosaic.section import places
from chorale_generation.mosaic.spectra import Samples
from chorale_generation.mosaic.stretch import Floats

RATE_HZ, BPM, SECONDS = 24000, 100.0, 6.0
BEATS: Floats = np.arange(1, 10, dtype=np.float64) * 60.0 / BPM


def strokes(moments: Floats, level: float = 0.3) -> Samples:
    """Short bursts of noise, all alike."""
    sound = np.zeros((round(SECONDS * RATE_HZ), 1), np.float32)
    frames = np.arange(2400)
    burst = np.random.default_rng(1).normal(size=2400) * np.exp(-frames / 400.0) * level
    for at in np.round(moments * RATE_HZ).astype(int):
        room = len(sound[at : at + 2400])
        sound[at : at + 2400, 0] += burst[:room]
    return sound


def chord(*hertz: float) -> Samples:
    """Steady tones."""
    seconds = np.arange(round(SECONDS * RATE_HZ)) / RATE_HZ
    tones = [np.sin(2.0 * np.pi * each * seconds) for each in hertz]
    sound: Samples = 0.1 * np.sum(tones, axis=0)[:, None].astype(np.float32)
    return sound


def heard_in(sound: Samples) -> Clarity:
    """How clearly the beats are heard."""
    return clarity(sound, RATE_HZ, 0.0, BEATS)


@pytest.mark.parametrize("off_ms", [-60, 60, 100])
def test_strokes_beside_beats_are_not_beats(off_ms: int) -> None:
    """What begins on beats leads, and what begins beside them does not."""
    on, beside = heard_in(strokes(BEATS)), heard_in(strokes(BEATS + off_ms / 1000.0))
    assert on.share == 1.0
    assert on.lead > 1.25
    assert beside.share < 0.2
    assert beside.lead < 1.0


def test_clear_beats_are_left_as_they_are() -> None:
    """Nothing is turned down where beats are heard without it."""
    voices = [strokes(BEATS), chord(220.0, 330.0)]
    made = accented(voices, RATE_HZ, 0.0, BEATS)
    assert all(np.array_equal(one, other) for one, other in zip(voices, made, strict=True))


def test_steady_chords_are_given_the_beat() -> None:
    """Where nothing begins beats are heard of what is made, and it is never louder."""
    hiss = np.random.default_rng(2).normal(0.0, 0.005, (round(SECONDS * RATE_HZ), 1))
    voices = [chord(220.0, 277.2, 330.0), hiss.astype(np.float32)]
    before = heard_in(voices[0] + voices[1])
    made = accented(voices, RATE_HZ, 0.0, BEATS)
    after = heard_in(made[0] + made[1])
    assert before.share < 0.6
    assert after.share > 0.8
    assert after.lead > max(1.25, before.lead)
    for one, other in zip(voices, made, strict=True):
        assert np.all(np.abs(other) <= np.abs(one) + 1e-6)


def test_strokes_at_thirds_are_softened() -> None:
    """A gallop, which could be heard as three beats for two, gets softer between its beats."""
    step = 60.0 / BPM
    thirds: Floats = np.concatenate([BEATS + step / 3.0, BEATS - step / 3.0])
    voices = [strokes(BEATS) + strokes(thirds, 0.2), np.zeros_like(strokes(BEATS))]
    made = accented(voices, RATE_HZ, 0.0, BEATS)
    before, after = heard_in(voices[0]), heard_in(made[0])
    assert before.lead_over_thirds < 2.5
    assert after.lead_over_thirds > before.lead_over_thirds
    gains = [
        float(np.abs(made[0][at : at + 120]).sum() / np.abs(voices[0][at : at + 120]).sum())
        for at in np.round(np.array([BEATS[2], BEATS[2] + step / 3.0]) * RATE_HZ).astype(int)
    ]
    assert gains[0] > 0.8
    assert gains[1] < 0.5


def rises_most(sound: Samples, around: slice) -> float:
    """The greatest rise of the spectrum within 20 ms, of that which 95 % of the sound is under."""
    windows = np.lib.stride_tricks.sliding_window_view(sound[:, 0], 480)[::120]
    spectra = np.abs(np.fft.rfft(windows * np.hanning(480), axis=1))
    flux = np.maximum(0.0, spectra[4:] - spectra[:-4]).sum(axis=1)
    middles = np.arange(len(flux)) * 120 + 720
    inside = (middles >= around.start) & (middles <= around.stop)
    return float(flux[inside].max() / np.percentile(flux, 95))


FADES = [480, 960, 1920, 3840]
TAIL = 9600


def test_a_sound_that_goes_on_is_joined_at_once() -> None:
    """Where both sides are one sound the crossfade is the shortest, and the last there can be."""
    sound = strokes(BEATS) + chord(220.0)
    made, join = joined(sound[:TAIL], sound, FADES, RATE_HZ)
    assert join == slice(TAIL - FADES[0], TAIL)
    assert np.allclose(made, sound, atol=1e-6)


def test_another_chord_comes_without_a_click() -> None:
    """A change too sudden for its material in the shortest fade is made in a longer one."""
    seconds = np.arange(round(SECONDS * RATE_HZ)) / RATE_HZ
    swell = 1.0 + 0.5 * np.sin(2.0 * np.pi * 6.0 * seconds) * (seconds > 1.0)
    # Tones that are as they were after 20 ms: all that rises is what fades and swells.
    old, new = (
        chord(250.0, 350.0, 450.0),
        swell[:, None].astype(np.float32) * chord(200.0, 300.0, 400.0),
    )
    shortest, place = joined(old[:TAIL], new, FADES[:1], RATE_HZ)
    made, longer = joined(old[:TAIL], new, FADES, RATE_HZ)
    assert rises_most(made, longer) < 1.0
    assert rises_most(shortest, place) > 1.0
    assert longer.stop - longer.start > FADES[0]
    assert np.array_equal(made[: longer.start], old[: longer.start])
    assert np.array_equal(made[longer.stop :], new[longer.stop :])


def track(bpm: float, seconds: float) -> Heard:
    """A track with beats all through."""
    beats = np.arange(0.3, seconds, 60.0 / bpm)
    return Heard(seconds, tuple(beats.tolist()), (1.0,) * len(beats), bpm, "C major", 1.0, 1.0)


def laid_out(seconds: float, bars: int, seed: int) -> Arrangement:
    """A mosaic of two tracks of 16 s."""
    tracks = track(118.0, 16.0), track(124.0, 16.0)
    return arranged(tracks, Wishes(section_bars=bars), seconds, seed)


@pytest.mark.parametrize("seconds", [8.1, 15.9, 16.0, 16.2, 31.9, 48.3])
@pytest.mark.parametrize("bars", [1, 2, 4])
def test_no_section_is_too_short_to_be_joined(seconds: float, bars: int) -> None:
    """Sections follow each other on bar lines, and the last is a bar at least."""
    made = laid_out(seconds, bars, seed=3)
    starts = np.array([each.start_seconds for each in made.sections])
    counts = np.array([each.beat_count for each in made.sections])
    step = 60.0 / made.bpm
    assert np.allclose(np.diff(starts), counts[:-1] * step)
    assert np.all(counts[:-1] % 4 == 0)
    assert seconds - starts[-1] >= 4 * step - 1e-6
    assert starts[-1] + counts[-1] * step >= seconds - 1e-6
    for each in made.sections:
        assert all(len(moments) == each.beat_count + 1 for moments in each.beats_seconds)
        assert all(moments[-1] < 16.0 for moments in each.beats_seconds)


def test_places_overlap_only_where_they_are_joined() -> None:
    """Every section ends where the next one's body begins, and reaches into no other."""
    for bars, seconds in itertools.product([1, 2, 4], [3.0, 8.1, 16.0]):
        output = Output(frame_count=round(seconds * RATE_HZ), sample_rate_hz=RATE_HZ)
        found = places(laid_out(seconds, bars, seed=1), output)
        assert (found[0].first_frame, found[-1].end_frame) == (0, output.frame_count)
        for one, other in itertools.pairwise(found):
            assert one.end_frame == other.body_frame
            assert one.body_frame <= other.first_frame <= other.body_frame
