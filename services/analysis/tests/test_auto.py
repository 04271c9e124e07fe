"""The engine `auto`: ours, with a network's opinion where one is there and may be used."""

import importlib.util
from dataclasses import replace

import numpy as np
import pytest
import signals
from chorale_analysis import engines
from chorale_analysis.beats import track_beats
from chorale_analysis.onsets import OnsetListener, Onsets
from chorale_analysis.opinions import Opinion
from chorale_analysis.rhythm import Rhythm, RhythmSettings
from chorale_analysis.spectra import RATE_HZ
from chorale_analysis.together import Company

SECONDS, BPM = 12.0, 120.0
HAS_MADMOM = importlib.util.find_spec("madmom") is not None


@pytest.fixture(scope="module")
def heard() -> Onsets:
    """Clicks, every one as loud as the others: nothing in them tells where bars begin."""
    listener = OnsetListener()
    listener.push(signals.clicks(BPM, SECONDS, rate_hz=RATE_HZ, accent_every=1)[:, 0])
    return listener.finish()


def opinion(beats_per_bar: int, first: int) -> Opinion:
    """A network that is sure of every beat, and of which begin bars."""
    said = np.full((round(SECONDS * 100), 2), 0.01)
    for number, seconds in enumerate(signals.beat_times(BPM, SECONDS)):
        said[round(seconds * 100), 1 if number % beats_per_bar == first else 0] = 0.95
    return Opinion(said, 100.0)


@pytest.mark.parametrize(("beats_per_bar", "first"), [(3, 0), (3, 2), (4, 1), (4, 3)])
def test_bars_are_where_the_network_says(heard: Onsets, beats_per_bar: int, first: int) -> None:
    """Where we hear no bars, the opinion of a network that is sure decides, and moves no beat."""
    alone = track_beats(heard, SECONDS, RhythmSettings())
    settings = RhythmSettings(beats_per_bar=(beats_per_bar,))
    said = track_beats(heard, SECONDS, settings, opinion(beats_per_bar, first))
    firsts = [number for number, beat in enumerate(said.beats) if beat.position == 1]
    times, before = ([beat.seconds for beat in one.beats] for one in (said, alone))
    assert times == pytest.approx(before, abs=0.02)
    assert firsts == list(range(first, len(said.beats), beats_per_bar))


def test_no_network_is_no_opinion(heard: Onsets) -> None:
    """Without one, `auto` is our engine: the same answer."""
    assert track_beats(heard, SECONDS, RhythmSettings(), None) == track_beats(
        heard, SECONDS, RhythmSettings()
    )


@pytest.mark.parametrize("is_present", [False, True])
@pytest.mark.parametrize("commercial_only", [False, True])
def test_auto_takes_whom_it_may(
    monkeypatch: pytest.MonkeyPatch, is_present: bool, commercial_only: bool
) -> None:
    """Networks that are not there, or may not be used commercially when that is asked, stay out."""
    changed = tuple(
        replace(one, is_present=is_present) if one.name == "madmom" else one
        for one in engines.ENGINES
    )
    monkeypatch.setattr(engines, "ENGINES", changed)
    chosen = engines.choose(engines.BEATS, engines.AUTO, commercial_only)
    ours = engines.choose(engines.BEATS, "", commercial_only)
    assert ours.name == "chorale"
    if is_present and not commercial_only:
        assert chosen.name == "chorale+madmom"
        assert chosen.version.startswith(f"{ours.version}+")
        assert chosen.weights_licence == "CC-BY-NC-SA-4.0"
        assert not chosen.allows_commercial_use
    else:
        assert chosen == ours


def test_auto_is_ours_where_no_network_helps() -> None:
    """Keys, chords and form are those of our engines, for which no helper was measured better."""
    for capability in (engines.KEY, engines.CHORDS, engines.STRUCTURE):
        assert engines.choose(capability, engines.AUTO) == engines.choose(capability, "")


@pytest.mark.slow
@pytest.mark.skipif(not HAS_MADMOM, reason="NOT MEASURED: madmom is not installed")
def test_both_hear_the_same_sound() -> None:
    """Ours and madmom's network, each at its own rate, find one rhythm."""
    company = Company({"beats": RhythmSettings()}, {"beats": "chorale+madmom"})
    for listener in company.listeners:
        listener.push(signals.clicks(BPM, 6.0, rate_hz=listener.rate_hz)[:, 0])
    found = company.find(6.0)["beats"]
    assert isinstance(found, Rhythm)
    assert found.bpm == pytest.approx(BPM, rel=0.01)
    assert {listener.rate_hz for listener in company.listeners} == {RATE_HZ, 44100}
