"""What the published chord and beat networks hear, and how their answers become music."""

import itertools

import numpy as np
import pytest
import signals
from chorale_analysis import chord_heads, mix_parts
from chorale_analysis.bar_rhythm import rhythm_of
from chorale_analysis.chord_dictionaries import DICTIONARIES
from chorale_analysis.chord_ears import BTC_LABELS
from chorale_analysis.constant_q import Pitches, magnitudes
from chorale_analysis.harte import parse
from chorale_analysis.hybrid_q import hybrid, tuning
from chorale_analysis.rhythm import NO_RHYTHM, RhythmSettings
from chorale_analysis.spectra import Array

RATE_HZ = 22050
BTC_PITCHES = Pitches(RATE_HZ, 32.70319566257483, 144, 24)
CNN_PITCHES = Pitches(RATE_HZ, 23.12465141947715, 288, 36)


def _chord(cents: float, seconds: float = 3.0) -> Array:
    """Notes over five octaves, so much over A440's, with a little noise."""
    notes = np.array([40, 52, 55, 59, 64, 67, 71, 79, 91])
    turns = 2.0 * np.pi * np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    hertz = 440.0 * 2.0 ** ((notes - 69 + cents / 100.0) / 12.0)
    sound = 0.08 * np.sin(hertz[:, None] * turns).sum(axis=0)
    draw = np.random.default_rng(0)
    noisy: Array = (sound + 0.005 * draw.standard_normal(len(turns))).astype(np.float32)
    return noisy


def test_constant_q_is_what_it_is_defined_as() -> None:
    """Against the sum over a Hann window written out, at pitches and hops of all kinds."""
    sound, hop = _chord(20.0), 2048
    found = magnitudes(sound, BTC_PITCHES, hop)
    assert found.shape == (len(sound) // hop + 1, 144)
    padded = np.pad(sound, 1 << 14)
    for pitch, place in itertools.product((0, 31, 88, 143), (0, 7, 16, 31)):
        hertz, length = BTC_PITCHES.hertz[pitch], BTC_PITCHES.lengths[pitch]
        half = int(length / 2)
        times = np.arange(-half, half + 1)
        window = 0.5 + 0.5 * np.cos(2.0 * np.pi * times / length)
        wave = np.exp(-2j * np.pi * hertz * times / RATE_HZ) * window / window.sum()
        heard = padded[(1 << 14) + place * hop + times]
        assert found[place, pitch] == pytest.approx(
            abs(heard @ wave) * length**0.5, rel=1e-3, abs=2e-3
        )


def test_constant_q_does_not_know_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Long sound, heard in overlapping blocks, is the same as at once."""
    sound = _chord(0.0, 8.0)
    whole = magnitudes(sound, BTC_PITCHES, 2048)
    monkeypatch.setattr("chorale_analysis.constant_q._BLOCK_FRAMES", 1 << 16)
    assert np.allclose(magnitudes(sound, BTC_PITCHES, 2048), whole, atol=2e-3)


@pytest.mark.slow
def test_transforms_are_those_of_librosa() -> None:
    """Within 2 % of the loudest: constant-Q, hybrid with its tuning, mel bands."""
    constantq = pytest.importorskip("librosa.core.constantq", reason="NOT MEASURED: no librosa")
    from librosa import estimate_tuning, filters

    sound = _chord(10.0)
    theirs = abs(constantq.cqt(sound, n_bins=144, bins_per_octave=24, hop_length=2048)).T
    ours = magnitudes(sound, BTC_PITCHES, 2048)
    assert np.abs(ours - theirs).max() < 0.02 * theirs.max()
    assert tuning(sound, RATE_HZ, 36) == pytest.approx(
        estimate_tuning(y=sound, bins_per_octave=36), abs=0.011
    )
    theirs = constantq.hybrid_cqt(
        sound, bins_per_octave=36, fmin=23.12465141947715, n_bins=288, tuning=None
    ).T
    ours = hybrid(sound, CNN_PITCHES, 512)
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() < 0.02 * theirs.max()
    mel = filters.mel(sr=44100, n_fft=4096, n_mels=128, fmin=30, fmax=11000)
    assert np.allclose(mix_parts.bands().T, mel, atol=1e-7)


def test_tuning_is_found() -> None:
    """In parts of a third of a semitone; silence is in tune."""
    assert tuning(_chord(10.0), RATE_HZ, 36) == pytest.approx(0.3, abs=0.08)
    assert tuning(_chord(-10.0), RATE_HZ, 36) == pytest.approx(-0.3, abs=0.08)
    assert tuning(np.zeros(5000, np.float32), RATE_HZ, 36) == 0.0


def test_mixes_fall_into_what_strikes_and_what_lasts() -> None:
    """Clicks go to the one part, a chord to the other; in decibels, however the sound came."""
    rate = mix_parts.RATE_HZ
    clicks = signals.clicks(120, 4.0)[:, 0]
    chord = np.repeat(_chord(0.0, 4.0), 2)[: len(clicks)]
    power = []
    for sound, block in ((clicks, rate), (chord, rate), (clicks, 700)):
        ear = mix_parts.MelListener()
        for first in range(0, len(sound), block):
            ear.push(sound[first : first + block])
        power.append(ear.finish())
    assert np.allclose(power[0], power[2], rtol=1e-4)
    assert len(power[0]) == (len(clicks) + 4096) // 1024 + 1
    (struck, lasted), (chord_struck, chord_lasted) = (
        mix_parts.split(mel).sum(axis=(1, 2)) for mel in power[:2]
    )
    assert struck > 10 * lasted
    assert chord_lasted > 4 * chord_struck
    level = mix_parts.decibels(mix_parts.split(power[0]))
    assert (str(level.dtype), level.min(), level.max()) == ("float32", -80.0, 0.0)


def test_dictionaries_are_as_large_as_published() -> None:
    """301, 169 and 301 chords with none; `full`, made by rule, holds more than 500, none twice."""
    sizes = {name: len(chord_heads.dictionary(name).labels) for name in DICTIONARIES}
    assert (sizes["submission"], sizes["ismir2017"], sizes["extended"]) == (301, 169, 301)
    assert sizes["full"] > 500
    for name in DICTIONARIES:
        chords = chord_heads.dictionary(name)
        assert len(set(map(tuple, chords.answers.T.tolist()))) == len(chords.labels)
        assert all(str(parse(str(label))) == str(label) for label in chords.labels)


def _heads(said: dict[int, tuple[int, ...]], hops: int, sure: float = 0.9) -> list[Array]:
    """Answers of six heads that change at these hops."""
    heads = []
    for head, size in enumerate((73, 13, 4, 4, 3, 3)):
        chances = np.full((hops, size), (1.0 - sure) / (size - 1), np.float32)
        for first, answers in said.items():
            chances[first:] = (1.0 - sure) / (size - 1)
            chances[first:, answers[head]] = sure
        heads.append(chances)
    return heads


def test_six_answers_are_a_chord() -> None:
    """G:maj/3, then A:min9, told where they change; a glimpse is no change."""
    chords = chord_heads.dictionary("submission")
    inverted, ninth = (8, 12, 0, 0, 0, 0), (22, 10, 2, 1, 0, 0)
    heads = _heads({0: inverted, 40: ninth, 60: inverted, 61: ninth}, 100)
    states = chord_heads.decode(heads, chords)
    edges = [0, *(np.flatnonzero(np.diff(states)) + 1).tolist(), 100]
    told = [str(chords.labels[states[edge]]) for edge in edges[:-1]]
    assert told == ["N", "G:maj/3", "A:min9"]  # as published, it begins with none
    assert edges[2] == 40
    chances = chord_heads.chances(heads, chords, edges)
    assert np.allclose(chances.sum(axis=1), 1.0, atol=1e-5)
    assert chances[2].argmax() == states[50]


def test_sequences_are_the_likeliest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against every way through seven hops of four chords."""
    draw = np.random.default_rng(2)
    likely = draw.normal(0.0, 12.0, (7, 4)).astype(np.float32)
    monkeypatch.setattr(chord_heads, "likelihoods", lambda *_: iter([likely[:3], likely[3:]]))
    chords = chord_heads.Dictionary((parse("N"),) * 4, np.zeros((6, 4), np.int64))

    def worth(path: tuple[int, ...]) -> float:
        changes = sum(one != other for one, other in itertools.pairwise(path))
        return float(likely[range(7), list(path)].sum()) - 30.0 * changes

    ways = ((0, *rest) for rest in itertools.product(range(4), repeat=6))
    assert tuple(chord_heads.decode([], chords)) == max(ways, key=worth)


def _said(hops: int, beats: dict[int, int]) -> "np.ndarray[tuple[int, int], np.dtype[np.float64]]":
    heard = np.full((hops, 2), 0.02)
    for at, place in beats.items():
        heard[at, 1 if place == 1 else 0] = 0.9
    return heard


@pytest.mark.parametrize("from_peaks", [False, True], ids=["states", "peaks"])
def test_chances_become_beats_and_bars(from_peaks: bool) -> None:
    """120 BPM in threes with a pickup, by the state space or by peaks; nothing from nothing."""
    beats = {50 + 25 * n: (n + 2) % 3 + 1 for n in range(24)}
    settings = RhythmSettings(from_peaks=from_peaks)
    found = rhythm_of(_said(700, beats), 50.0, 14.0, settings, (3, 4))
    assert [round(beat.seconds * 50) for beat in found.beats] == list(beats)
    assert [beat.position for beat in found.beats] == list(beats.values())
    assert (round(found.bpm), found.meters[0].beats_per_bar) == (120, 3)
    assert rhythm_of(np.full((700, 2), 0.01), 50.0, 14.0, settings, (3, 4)) == NO_RHYTHM


def test_a_hint_decides_between_octaves() -> None:
    """Beats that are as well every second one are told at the tempo expected."""
    beats = {25 * n: 2 for n in range(1, 26)}
    for hint in (60.0, 120.0):
        found = rhythm_of(_said(700, beats), 50.0, 14.0, RhythmSettings(bpm_hint=hint), (4,))
        assert found.bpm == pytest.approx(hint, rel=0.03)


def test_labels_of_all_outputs_can_be_read() -> None:
    """Every chord that BTC may tell is Harte's."""
    for label in itertools.chain(*BTC_LABELS.values()):
        assert str(parse(str(label))) == str(label)
