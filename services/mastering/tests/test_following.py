"""Searching, following a reference, albums, live masters and presets."""

import math
import subprocess
import sys

import numpy as np
import pytest
import signals
from chorale_mastering.album import album_lufs, powers_of, targets
from chorale_mastering.block import Samples, cut, processed
from chorale_mastering.brief import Brief, Format
from chorale_mastering.cautions import compression_level, of_input
from chorale_mastering.dynamics import Compression
from chorale_mastering.following import Match, MatchAspect, MatchSettings
from chorale_mastering.inspecting import Inspector
from chorale_mastering.inspection import Inspection
from chorale_mastering.live import LiveMaster
from chorale_mastering.mastering import master
from chorale_mastering.matching import (
    correction_taps,
    difference_db,
    followed,
    reference_facts,
    suitability,
)
from chorale_mastering.meter import Meter
from chorale_mastering.plan import (
    AlbumLoudness,
    CompressorWishes,
    LimiterMode,
    LimiterWishes,
    MasteringPlan,
    MasteringWishes,
    planned,
)
from chorale_mastering.presets import PresetKind, built_in_presets
from chorale_mastering.report import CompressionLevel, WarningCode
from chorale_mastering.search import Goal, Rendered, search
from chorale_mastering.tone import EqProfile
from chorale_mastering.usual import genre_loudness

RATE = 44100
STEREO = Format(RATE, 2)


def inspected(sound: Samples, rate: int = RATE) -> Inspection:
    """The facts of a whole signal."""
    inspector = Inspector(rate, sound.shape[1])
    for block in cut(sound, 10000):
        inspector.push(block)
    return inspector.read()


def integrated(sound: Samples) -> float:
    """By our own meter."""
    meter = Meter(RATE, sound.shape[1])
    meter.push(sound)
    meter.finish()
    found = meter.read().integrated_lufs
    assert found is not None
    return found


# The search


class Squashed:
    """A programme whose loudness rises less and less; the model of it errs by a third of a LU."""

    def __init__(self) -> None:
        self.pass_count = 0

    @staticmethod
    def true_loudness(gain_db: float) -> float:
        """From -30 LUFS, towards -12."""
        limited = max(0.0, gain_db - 10.0)
        return -30.0 + min(gain_db, 10.0) + 8.0 * (1.0 - math.exp(-limited / 8.0))

    def foretell(self, gain_db: float, ceiling_dbtp: float) -> float:
        """Nearly right."""
        return self.true_loudness(gain_db) + 0.3 + 0.01 * gain_db + 0.1 * (ceiling_dbtp + 1.0)

    def render(self, gain_db: float, ceiling_dbtp: float) -> Rendered:
        """Right, with peaks a little over."""
        self.pass_count += 1
        return Rendered(self.true_loudness(gain_db), ceiling_dbtp + 0.01)


@pytest.mark.parametrize("target", [-25.0, -20.0, -15.0, -14.0])
def test_a_search_lands_within_three_passes(target: float) -> None:
    """Though the model errs: its error is measured once and then known."""
    programme = Squashed()
    goal = Goal(target, -1.0, -1.05)
    landing = search(goal, -30.0, programme.foretell, programme.render)
    assert landing.is_reached
    assert landing.loudness == pytest.approx(target, abs=0.011)
    assert landing.true_peak_dbtp <= -1.0
    assert landing.pass_count == programme.pass_count <= 3


def test_a_search_says_when_the_target_cannot_be_reached() -> None:
    """It ends, under the ceiling, with what was reached."""
    goal = Goal(-5.0, -1.0, -1.05)
    programme = Squashed()

    def flat(gain_db: float, ceiling_dbtp: float) -> Rendered:
        return Rendered(programme.true_loudness(gain_db), ceiling_dbtp)

    landing = search(goal, -30.0, lambda gain, _: flat(gain, -1.0).loudness, flat)
    assert not landing.is_reached
    assert landing.loudness == pytest.approx(-12.0, abs=0.3)
    assert landing.true_peak_dbtp <= -1.0


def test_peaks_over_the_ceiling_are_searched_away() -> None:
    """A limiter that overshoots by 0.4 dB gets a lower ceiling, and the loudness is kept."""
    programme = Squashed()

    def over(gain_db: float, ceiling_dbtp: float) -> Rendered:
        return Rendered(programme.true_loudness(gain_db), ceiling_dbtp + 0.4)

    landing = search(Goal(-14.0, -1.0, -1.05), -30.0, programme.foretell, over)
    assert landing.is_reached
    assert landing.true_peak_dbtp <= -1.0
    assert landing.limiter_ceiling_dbtp < -1.3


# References


def test_tone_follows_a_reference() -> None:
    """Third octaves of a dull mix end nearer to those of a bright reference."""
    mix = signals.pink_noise(12.0, 1)
    bright = signals.noise(12.0, 2)
    match = Match(reference_facts(cut(bright, 1 << 16), STEREO))
    brief = Brief(MasteringPlan(compression=Compression(ratio=1.0)), STEREO, len(mix), match=match)
    with master(cut(mix, 1 << 16), brief, lambda _stage, _share: None) as mastered:
        out = np.concatenate(list(mastered.blocks()))
    theirs = match.reference.facts.spectrum
    before, after = (
        np.abs(difference_db(inspected(sound).spectrum, theirs)[5:26]).mean()
        for sound in (mix, out)
    )
    assert after < 0.25 * before


def test_loudness_width_and_peak_follow_a_reference() -> None:
    """All of the way at 100 %, half of it at 50 %, none of what is ignored."""
    reference = signals.pink_noise(12.0, 3)
    reference = (reference + 2.0 * reference.mean(axis=1, keepdims=True)).astype(np.float32)
    facts = reference_facts([reference], STEREO)
    ours = inspected(signals.pink_noise(5.0, 4))
    plan = followed(Match(facts), MasteringPlan(), ours)
    assert plan.target_loudness_lufs == pytest.approx(facts.loudness.integrated_lufs)
    assert plan.stereo_width_percent < 60.0
    half = followed(Match(facts, MatchSettings(amount_percent=50.0)), MasteringPlan(), ours)
    between = (facts.loudness.integrated_lufs or 0.0) / 2.0 - 7.0
    assert half.target_loudness_lufs == pytest.approx(between)
    nothing = MatchSettings(ignore=tuple(MatchAspect))
    assert followed(Match(facts, nothing), MasteringPlan(), ours) == MasteringPlan()
    assert correction_taps(Match(facts, nothing), ours) is None


def test_unsuitable_references_are_told() -> None:
    """Too loud, too short, or of another kind of tone."""
    loud = reference_facts([np.sign(signals.sine(0.0, 12.0))], STEREO)
    assert WarningCode.REFERENCE_LOUD in {w.code for w in suitability(loud)}
    short = reference_facts([signals.pink_noise(3.0, 1)], STEREO)
    assert WarningCode.REFERENCE_UNLIKE in {w.code for w in suitability(short)}
    tone = reference_facts([signals.sine(-20.0, 12.0)], STEREO)
    unlike = suitability(tone, inspected(signals.pink_noise(5.0, 1)))
    assert WarningCode.REFERENCE_UNLIKE in {w.code for w in unlike}
    good = reference_facts([signals.pink_noise(12.0, 1)], STEREO)
    assert suitability(good, inspected(signals.pink_noise(5.0, 2))) == ()


# Inspection


def test_a_programme_is_described() -> None:
    """RMS, crest, zero crossings, offset and centroid of a tone are what they must be."""
    facts = inspected(signals.sine(-6.0, 4.0) + np.float32(0.01))
    assert facts.rms_dbfs == pytest.approx(-9.01, abs=0.02)
    assert facts.crest_factor_db == pytest.approx(3.01, abs=0.2)
    assert facts.zero_crossing_rate == pytest.approx(2000.0 / RATE, rel=0.02)
    assert facts.offset_dbfs == pytest.approx(-40.0, abs=0.1)
    assert facts.spectrum.centroid_hz == pytest.approx(1000.0, rel=0.02)
    assert facts.width == 0.0


def test_clipped_places_are_counted_once_each() -> None:
    """A run of full-scale samples is one place, also across blocks."""
    sound = signals.sine(-20.0, 1.0)
    sound[5000:5010] = 1.0
    sound[9998:10004, 0] = -1.0
    sound[20000] = 1.0
    assert inspected(sound).clipped_run_count == 3


def test_third_octaves_of_pink_noise_are_level() -> None:
    """The same power in each, 31 of them at 44.1 kHz."""
    bands = inspected(signals.pink_noise(15.0, 6)).spectrum.third_octaves_db()
    assert len(bands) == 31
    assert np.ptp(bands[8:29]) < 1.5


def test_a_lossy_source_is_recognised() -> None:
    """A cliff at 16 kHz is seen, a full band and a gentle slope are not."""
    sound = signals.noise(10.0, 1)
    spectrum = np.fft.rfft(sound, axis=0)
    spectrum[16000 * 10 :] = 0.0
    cliff = np.fft.irfft(spectrum, len(sound), axis=0).astype(np.float32)
    assert inspected(cliff).spectrum.lowpass_hz() == pytest.approx(16000.0, abs=400.0)
    assert inspected(sound).spectrum.lowpass_hz() == 0.0
    assert inspected(signals.pink_noise(10.0, 1)).spectrum.lowpass_hz() == 0.0


def test_crest_factors_have_names() -> None:
    """From none to heavy, at the contract's borders."""
    assert compression_level(inspected(np.sign(signals.sine(0.0, 1.0)))) is CompressionLevel.HEAVY
    assert compression_level(inspected(signals.noise(3.0, 1))) is CompressionLevel.MODERATE
    assert compression_level(inspected(signals.clicks(60, 5.0))) is CompressionLevel.NONE


def test_left_against_right_is_told() -> None:
    """In mono they cancel each other."""
    sound = signals.sine(-20.0, 2.0) * np.array([1.0, -1.0], np.float32)
    meter = Meter(RATE, 2)
    meter.push(sound)
    meter.finish()
    codes = {warning.code for warning in of_input(meter.read(), inspected(sound))}
    assert WarningCode.PHASE in codes


# Albums


def test_an_album_keeps_its_relation() -> None:
    """As a whole at the target; tracks as far apart as they were."""
    tracks = [signals.pink_noise(5.0, seed) * np.float32(g) for seed, g in ((1, 1.0), (2, 0.25))]
    powers = [powers_of(cut(track, 5000), STEREO) for track in tracks]
    loud, soft = targets(powers, -14.0, AlbumLoudness.KEEP)
    assert loud - soft == pytest.approx(integrated(tracks[0]) - integrated(tracks[1]), abs=0.01)
    whole = album_lufs(powers)
    assert whole is not None
    assert loud == pytest.approx(-14.0 + integrated(tracks[0]) - whole, abs=0.01)
    assert targets(powers, -14.0, AlbumLoudness.LOUDEST)[0] == -14.0
    assert targets(powers, -14.0, AlbumLoudness.EQUAL) == (-14.0, -14.0)


def test_a_silent_track_takes_no_part() -> None:
    """Nor does an album of silence fall over."""
    silent = powers_of([signals.silence(2.0)], STEREO)
    loud = powers_of([signals.pink_noise(2.0, 1)], STEREO)
    assert targets([silent, loud], -14.0, AlbumLoudness.KEEP)[1] == pytest.approx(-14.0, abs=0.3)
    assert targets([silent], -14.0, AlbumLoudness.KEEP) == (-14.0,)


# Live


def test_a_live_master_comes_near_its_target_and_never_over_its_ceiling() -> None:
    """After some seconds within 1 LU, from far below and from far above."""
    for gain in (0.2, 1.5):
        sound = signals.pink_noise(16.0, 1) * np.float32(gain)
        out = processed(LiveMaster(MasteringPlan(), STEREO), sound, 1024)
        assert integrated(out[12 * RATE :]) == pytest.approx(-14.0, abs=1.0)
        meter = Meter(RATE, 2)
        meter.push(out)
        meter.finish()
        assert meter.read().true_peak_dbtp <= -1.0


def test_a_pause_does_not_raise_the_noise() -> None:
    """What is under the gate holds the gain where it is."""
    parts = [(1.0, 5.0), (0.0005, 5.0)]
    sound = np.concatenate([signals.pink_noise(s, 1) * np.float32(g) for g, s in parts])
    out = processed(LiveMaster(MasteringPlan(), STEREO), sound, 1024)
    first, last = out[6 * RATE : 7 * RATE], out[9 * RATE : 10 * RATE]
    assert 20.0 * math.log10(np.abs(last).mean() / np.abs(first).mean()) < 2.0


def test_a_live_master_follows_within_a_tenth_of_a_second() -> None:
    """Its latency is told, and small with the default settings."""
    assert LiveMaster(MasteringPlan(), STEREO).latency_frames < RATE // 10


# Wishes and presets


def test_earlier_wishes_go_first() -> None:
    """The caller before the preset before the default, nested ones too."""
    caller = MasteringWishes(eq_profile=EqProfile.BRIGHT, compressor=CompressorWishes(ratio=2.0))
    preset = MasteringWishes(
        target_loudness_lufs=-9.0,
        eq_profile=EqProfile.WARM,
        compressor=CompressorWishes(ratio=8.0, attack_ms=3.0),
        limiter=LimiterWishes(mode=LimiterMode.MODERN, release_ms=50.0),
    )
    plan = planned(caller, preset)
    assert plan.eq_profile is EqProfile.BRIGHT
    assert (plan.compression.ratio, plan.compression.attack_ms) == (2.0, 3.0)
    assert plan.target_loudness_lufs == -9.0
    assert (plan.limiter_mode, plan.limiter_release_ms) == (LimiterMode.MODERN, 50.0)
    assert plan.ceiling_dbtp == -1.0
    assert planned(MasteringWishes()) == MasteringPlan()


def test_presets_are_twenty_genres_and_more() -> None:
    """Each with a name, a sentence and a target within what it calls usual."""
    presets = built_in_presets()
    kinds = [preset.kind for preset in presets.values()]
    assert kinds.count(PresetKind.GENRE) == 20
    assert kinds.count(PresetKind.PLATFORM) >= 8
    assert {"gentle", "moderate", "aggressive", "streaming", "vinyl", "cd"} <= presets.keys()
    for preset in presets.values():
        plan = planned(preset.wishes)
        assert preset.title
        assert preset.description.endswith(".")
        assert -36.0 <= plan.target_loudness_lufs <= -5.0
        assert -12.0 <= plan.ceiling_dbtp <= 0.0
        usual = genre_loudness(
            plan.target_loudness_lufs,
            preset.loudness_low_lufs,
            preset.loudness_high_lufs,
            preset.title,
        )
        assert usual == []


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(built_in_presets()))
def test_every_preset_masters(name: str) -> None:
    """Under its ceiling, at its target or with a warning."""
    sound = signals.song(120, "C", "major", 1.2)
    plan = planned(built_in_presets()[name].wishes)
    brief = Brief(plan, STEREO, len(sound))
    with master(cut(sound, 1 << 16), brief, lambda _stage, _share: None) as mastered:
        report = mastered.report
    assert report.after.true_peak_dbtp <= plan.ceiling_dbtp
    codes = {warning.code for warning in report.warnings}
    missed = abs((report.after.integrated_lufs or -70.0) - plan.target_loudness_lufs)
    assert missed <= 0.1 or WarningCode.TARGET_UNREACHABLE in codes


def test_loudness_outside_the_usual_is_told() -> None:
    """With the border that was passed."""
    warning = genre_loudness(-6.0, -16.0, -13.0, "Streaming")[0]
    assert warning.code is WarningCode.GENRE_LOUDNESS
    assert warning.wanted == -13.0
    assert genre_loudness(-14.0, -16.0, -13.0, "Streaming") == []
    assert genre_loudness(-6.0, 0.0, 0.0, "Gentle") == []


def test_what_the_service_itself_needs_brings_no_compiler() -> None:
    """Plans, presets, briefs, reports and refusals import without numba, soxr and libsndfile."""
    names = ["plan", "presets", "brief", "report", "refusals", "following", "resolution", "tone"]
    names += ["encodings", "usual", "app"]
    imports = "; ".join(f"import chorale_mastering.{name}" for name in names)
    heavy = ("numba", "soxr", "soundfile", "av", "scipy")
    check = f"import sys; print([name for name in {heavy} if name in sys.modules])"
    said = subprocess.run(
        [sys.executable, "-c", f"{imports}; {check}"], check=True, capture_output=True, text=True
    )
    assert said.stdout.strip() == "[]"
