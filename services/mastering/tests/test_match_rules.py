"""Every setting of how to follow a reference has an effect."""

import numpy as np
import pytest
import signals
from chorale.mastering.v1 import matching_pb2
from chorale_mastering.brief import Format
from chorale_mastering.following import MatchSettings, ReferenceFacts
from chorale_mastering.hearing import listened
from chorale_mastering.inspecting import Inspector, Rules
from chorale_mastering.messages.matching import SettingUnsupported, match_settings
from chorale_mastering.plan import MasteringWishes
from chorale_mastering.reference_pack import packed, unpacked
from signals import RATE_HZ, Signal


def facts(sound: Signal, rules: Rules) -> ReferenceFacts:
    """What is heard of a sound under these rules."""
    settings = MatchSettings(
        piece_seconds=rules.piece_seconds,
        clip_threshold=rules.clip_threshold,
        epsilon=rules.epsilon,
    )
    return listened([sound], Format(RATE_HZ, 2), len(sound), settings, lambda _share: None)


def above_db(found: ReferenceFacts, loud: bool) -> float:
    """Power from 5 kHz on, relative to the whole, of all pieces or of the loud ones."""
    spectrum = found.facts.spectrum.of_loud_pieces if loud else found.facts.spectrum
    return float(
        10.0 * np.log10(spectrum.power[spectrum.hertz > 5000].sum() / spectrum.power.sum())
    )


def test_the_clip_threshold_decides_what_is_clipped() -> None:
    """Runs at 0.6 are clipped where the threshold is lower, and whole where it is not."""
    sound = np.clip(signals.sine(0.0, 1.0), -0.6, 0.6)
    assert facts(sound, Rules(clip_threshold=0.998138)).facts.clipped_run_count == 0
    assert facts(sound, Rules(clip_threshold=0.5)).facts.clipped_run_count > 100


def test_epsilon_decides_what_is_silence() -> None:
    """Hiss below epsilon counts towards no spectrum; sound that is all below is silent."""
    dice = np.random.default_rng(1)
    hiss = (1e-3 * dice.standard_normal((RATE_HZ * 20, 2))).astype(np.float32)
    tone = signals.sine(-40.0, 4.0, hertz=200.0)
    sound = np.concatenate([tone, hiss])
    assert above_db(facts(sound, Rules(epsilon=1e-12)), loud=False) > -12.0
    assert above_db(facts(sound, Rules(epsilon=1e-5)), loud=False) < -60.0
    assert facts(hiss, Rules(epsilon=1e-2)).facts.spectrum.is_silent


def test_short_pieces_tell_loud_from_soft() -> None:
    """Bass is told from the soft treble it alternates with only by pieces that are short."""
    dice = np.random.default_rng(2)
    treble = np.diff(0.02 * dice.standard_normal((RATE_HZ * 6 + 1, 2)), axis=0).astype(np.float32)
    bass = signals.sine(-6.0, 6.0, hertz=100.0)
    sound = np.concatenate([bass, treble] * 3)
    short = above_db(facts(sound, Rules(piece_seconds=1.0)), loud=True)
    long = above_db(facts(sound, Rules(piece_seconds=60.0)), loud=True)
    assert short < long - 10.0


def test_bars_are_pieces_of_their_length() -> None:
    """Eight bars of 4/4 at 120 BPM are 16 seconds; no piece is longer than 60."""
    message = matching_pb2.MatchSettings(piece_bars=8, bpm=120.0, time_signature="4/4")
    assert match_settings(message, MasteringWishes()).piece_seconds == pytest.approx(16.0)
    message.piece_bars = 64
    assert match_settings(message, MasteringWishes()).piece_seconds == 60.0


def test_a_filter_that_follows_in_time_is_refused() -> None:
    """What no engine can do is refused by name, not left without effect."""
    message = matching_pb2.MatchSettings(spectrum_domain=matching_pb2.SPECTRUM_DOMAIN_TIME)
    with pytest.raises(SettingUnsupported, match="SPECTRUM_DOMAIN_TIME"):
        match_settings(message, MasteringWishes())


def test_kept_facts_come_back_the_same() -> None:
    """What is kept of a reference is all that matching needs of it."""
    found = facts(signals.pink_noise(3, seed=3), Rules())
    again = unpacked(packed(found))
    assert again.loudness == found.loudness
    assert vars(again.facts) | {"spectrum": 0} == vars(found.facts) | {"spectrum": 0}
    np.testing.assert_array_equal(again.facts.spectrum.power, found.facts.spectrum.power)


def test_an_inspector_without_rules_counts_all() -> None:
    """By default nothing is too soft to count."""
    inspector = Inspector(RATE_HZ, 2)
    inspector.push((1e-6 * signals.pink_noise(1, seed=4)).astype(np.float32))
    assert not inspector.read().spectrum.is_silent
