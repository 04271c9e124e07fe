"""Properties of the network that reads pulses, and of bars decoded over what it reads."""

import numpy as np
import pytest
import signals
from chorale_analysis import heard_beats
from chorale_analysis.meter import changing_way, way
from chorale_analysis.onsets import OnsetListener, Onsets
from chorale_analysis.pulse_network import KINDS, LEARNED
from chorale_analysis.spectra import RATE_HZ

SECONDS = 24.0


def heard(accent_every: int) -> Onsets:
    """Clicks at 120 BPM under chords that change with every louder one."""
    clicks = signals.clicks(
        120, SECONDS, rate_hz=RATE_HZ, first_seconds=0.0, accent_every=accent_every
    )
    bars = int(SECONDS / (0.5 * accent_every))
    music = signals.cadence("C", "major", bars, 0.5 * accent_every, RATE_HZ)
    length = min(len(clicks), len(music))
    listener = OnsetListener()
    listener.push((0.4 * clicks[:length] + 0.6 * music[:length]).astype(np.float32)[:, 0])
    return listener.finish()


@pytest.mark.parametrize("length", [3, 4])
def test_beats_that_begin_bars_are_told(length: int) -> None:
    """Louder clicks with new chords are likelier to be first than the beats between."""
    seconds = np.arange(2 * length, 40, dtype=np.float64) * 0.5
    firsts = np.arange(2 * length, 40) % length == 0
    reading = LEARNED.read(heard_beats.rows(heard(length), seconds))
    assert reading.first[firsts].mean() > reading.first[~firsts].mean() + 2.0
    assert reading.in_bars(length) == max(reading.in_bars(each) for each in (2, 3, 4))


def test_kinds_share_one_chance() -> None:
    """What a pulse may be excludes the rest: in the mean of networks chances are at most one."""
    reading = LEARNED.read(heard_beats.rows(heard(4), np.arange(40, dtype=np.float64) * 0.5))
    assert len(reading.kinds) == len(KINDS)
    assert 0.5 < np.exp(reading.kinds).sum() <= 1.0 + 1e-9
    assert reading.is_beat <= 1e-9


def test_what_hardly_sounds_is_read_without_harm() -> None:
    """Beats of near silence, and fewer than the network looks around, have finite readings."""
    listener = OnsetListener()
    listener.push(np.full(4 * RATE_HZ, 1e-9, np.float32))
    for count in (2, 3, 7):
        reading = LEARNED.read(
            heard_beats.rows(listener.finish(), np.arange(count, dtype=np.float64) * 0.5)
        )
        assert len(reading.first) == count
        assert np.isfinite(reading.first).all()
        assert np.isfinite(reading.kinds).all()


def test_bars_change_their_length_where_firsts_do() -> None:
    """Bars of four that go on as bars of three are both found, to the beat."""
    places = [0, 1, 2, 3] * 8 + [0, 1, 2] * 8
    odds = np.where(np.array(places) == 0, 3.0, -2.0)
    assert changing_way(odds, (2, 3, 4)).tolist() == places


@pytest.mark.parametrize("length", [2, 3, 4])
def test_bars_of_one_length_stay(length: int) -> None:
    """One unsure bar line does not change the meter."""
    places = np.arange(12 * length) % length
    odds = np.where(places == 0, 3.0, -3.0)
    odds[5 * length] = 0.0
    assert changing_way(odds, (2, 3, 4)).tolist() == places.tolist()
    assert way(odds, length)[0].tolist() == places.tolist()
