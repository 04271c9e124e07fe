"""What each stage of a master does to sound: curves, thresholds, images, bits."""

from pathlib import Path

import numpy as np
import pytest
import signals
from chorale_mastering import biquad
from chorale_mastering.biquad import response_db
from chorale_mastering.block import Samples, processed
from chorale_mastering.compressor import Compressor
from chorale_mastering.detector import Detector, LevelStatistics, hop_frames
from chorale_mastering.dither import Quantizer
from chorale_mastering.dynamics import Compression, Levels, found, gentler
from chorale_mastering.equalizer import designed, equalizer, magnitude, profile_bands
from chorale_mastering.multiband import Crossover
from chorale_mastering.resolution import Dither, Resolution
from chorale_mastering.saturation import Saturation, clipper
from chorale_mastering.stereo import StereoWidth, Width
from chorale_mastering.tone import PROFILES, BandTooHigh, EqBand, EqPhase, EqProfile, EqShape

RATE = 44100


def level_db(sound: Samples) -> float:
    """RMS in dB."""
    return 10.0 * float(np.log10(np.mean(sound.astype(np.float64) ** 2)))


def gain_db(processed_sound: Samples, sound: Samples) -> float:
    """Level after over level before, the ends left out."""
    middle = slice(len(sound) // 3, -len(sound) // 4)
    return level_db(processed_sound[middle]) - level_db(sound[middle])


# Tone


@pytest.mark.parametrize("phase", list(EqPhase))
@pytest.mark.parametrize("profile", list(EqProfile))
def test_profiles_do_to_tones_what_their_curves_say(profile: EqProfile, phase: EqPhase) -> None:
    """Measured with tones, within 0.1 dB, in either phase."""
    bands = profile_bands(profile, RATE)
    stages = designed(bands, RATE)
    for hertz in (60.0, 200.0, 1000.0, 5000.0, 12000.0):
        tone = signals.sine(-20.0, 0.5, 2, hertz)
        out = processed(equalizer(bands, phase, RATE, 2), tone)
        assert gain_db(out, tone) == pytest.approx(response_db(stages, hertz, RATE), abs=0.1)


@pytest.mark.parametrize(
    ("profile", "hertz", "low", "high"),
    [
        (EqProfile.BRIGHT, 12000.0, 2.0, 4.0),
        (EqProfile.WARM, 200.0, 1.0, 3.0),
        (EqProfile.WARM, 14000.0, -3.5, -1.5),
        (EqProfile.BASS_BOOST, 50.0, 2.5, 4.5),
    ],
)
def test_profiles_are_what_their_names_say(
    profile: EqProfile, hertz: float, low: float, high: float
) -> None:
    """Bright above 4 kHz, warm around 200 Hz and softer above 8, bass below 100 Hz."""
    assert low <= response_db(designed(profile_bands(profile, RATE), RATE), hertz, RATE) <= high


def test_bands_have_their_gain_where_they_say() -> None:
    """A bell at its centre, shelves beyond, passes 3 dB down at the corner."""
    bell = designed([EqBand(EqShape.PEAK, 1000.0, 6.0, 2.0)], RATE)
    assert response_db(bell, 1000.0, RATE) == pytest.approx(6.0, abs=0.01)
    low = designed([EqBand(EqShape.LOW_SHELF, 200.0, -9.0)], RATE)
    assert response_db(low, 10.0, RATE) == pytest.approx(-9.0, abs=0.1)
    high = designed([EqBand(EqShape.HIGH_SHELF, 5000.0, 4.0)], RATE)
    assert response_db(high, 20000.0, RATE) == pytest.approx(4.0, abs=0.2)
    for shape in (EqShape.HIGH_PASS, EqShape.LOW_PASS):
        passing = designed([EqBand(shape, 1000.0)], RATE)
        assert response_db(passing, 1000.0, RATE) == pytest.approx(-3.01, abs=0.02)


def test_linear_phase_is_symmetric() -> None:
    """An impulse rings as much ahead as behind."""
    impulse = np.zeros((20000, 1), np.float32)
    impulse[10000] = 1.0
    band = [EqBand(EqShape.PEAK, 500.0, 6.0)]
    out = processed(equalizer(band, EqPhase.LINEAR, RATE, 1), impulse)[:, 0]
    assert np.allclose(out[10001:14000], out[9999:6000:-1], atol=1e-7)


def test_a_band_past_half_the_rate_is_refused_and_a_profile_is_shortened() -> None:
    """A caller's band is an error with figures; a profile keeps what the rate carries."""
    with pytest.raises(BandTooHigh, match="12000 Hz needs a higher sample rate"):
        designed([EqBand(EqShape.PEAK, 12000.0, 1.0)], 16000)
    assert len(profile_bands(EqProfile.BRIGHT, 8000)) == 1


def test_magnitude_agrees_with_the_response() -> None:
    """Two ways to the same curve."""
    stages = designed(profile_bands(EqProfile.WARM, RATE), RATE)
    many = 20.0 * np.log10(magnitude(stages, np.array([100.0, 3000.0]), RATE))
    assert many[0] == pytest.approx(response_db(stages, 100.0, RATE))
    assert many[1] == pytest.approx(response_db(stages, 3000.0, RATE))


# Dynamics


@pytest.mark.parametrize("ratio", [1.5, 4.0, 10.0])
@pytest.mark.parametrize("over_db", [-12.0, 0.0, 6.0, 15.0])
def test_a_steady_tone_is_turned_down_by_the_curve(ratio: float, over_db: float) -> None:
    """Giannoulis et al. 2012, eq. 4, with a knee of 6 dB, within 0.15 dB."""
    settings = Compression(ratio=ratio, threshold_dbfs=-25.0, knee_db=6.0)
    tone = signals.sine(-25.0 + over_db, 2.0)
    out = processed(Compressor(RATE, 2, settings), tone)
    slope = 1.0 - 1.0 / ratio
    expected = slope * max(over_db, 0.0) if abs(over_db) >= 3.0 else slope * 3.0**2 / 12.0
    assert -gain_db(out, tone) == pytest.approx(expected, abs=0.15)


def test_attack_and_release_take_their_time() -> None:
    """Most of the reduction comes within a few attacks and goes within a few releases."""
    settings = Compression(threshold_dbfs=-30.0, attack_ms=20.0, release_ms=100.0)
    tone = signals.steps([(-50.0, 0.5), (-10.0, 1.0), (-50.0, 1.5)])
    compressor = Compressor(RATE, 2, settings)
    processed(compressor, tone)
    gain = compressor.reductions.by_tenth(30)
    assert gain[:4].min() == 0.0
    assert gain[7] < -14.0
    assert -8.0 < gain[18] < -1.0  # 300 to 400 ms after the end
    assert gain[29] > -0.1


def test_deep_lows_do_not_pump() -> None:
    """The side chain does not hear 40 Hz as it hears 1 kHz."""
    settings = Compression(threshold_dbfs=-20.0, sidechain_highpass_hz=150.0)
    low, middle = signals.sine(-10.0, 1.0, 2, 40.0), signals.sine(-10.0, 1.0, 2, 1000.0)
    deaf = gain_db(processed(Compressor(RATE, 2, settings), low), low)
    hearing = gain_db(processed(Compressor(RATE, 2, settings), middle), middle)
    assert deaf > -0.1
    assert hearing < -6.0


def test_mix_leaves_the_dry_sound() -> None:
    """At 50 % half of what was taken, by amplitude, stays."""
    tone = signals.sine(-10.0, 1.0)
    settings = Compression(threshold_dbfs=-30.0, mix_percent=50.0)
    wet = 10.0 ** (-15.0 / 20.0)
    out = processed(Compressor(RATE, 2, settings), tone)
    assert gain_db(out, tone) == pytest.approx(20.0 * np.log10((1.0 + wet) / 2.0), abs=0.15)


def heard(sound: Samples) -> Levels:
    """The levels of a whole signal."""
    hop = hop_frames(RATE)
    statistics = LevelStatistics()
    line = sound[: len(sound) // hop * hop]
    statistics.push(Detector(RATE, sound.shape[1], 0.0).levels(line))
    return statistics.read()


def test_the_threshold_follows_the_programme() -> None:
    """10 dB louder, 10 dB higher; never so low that the loudest twentieth loses over 6 dB."""
    sound = signals.pink_noise(5.0, 1)
    soft, loud = heard(sound * np.float32(0.1)), heard(sound)
    low, high = (found(Compression(), row).threshold_dbfs for row in (soft, loud))
    assert low is not None
    assert high is not None
    assert high - low == pytest.approx(20.0, abs=0.2)
    steep = found(Compression(ratio=10.0), loud).threshold_dbfs
    assert steep is not None
    assert (loud.loud_dbfs - steep) * 0.9 <= 6.0 + 1e-6


def test_levels_are_those_of_a_sine_and_silence_has_none() -> None:
    """A full-scale sine is 0 dBFS (AES17)."""
    assert heard(signals.sine(-6.0, 2.0)).mean_dbfs == pytest.approx(-6.0, abs=0.1)
    assert heard(signals.silence(1.0)).is_silent


def test_preserving_dynamics_lowers_the_ratio() -> None:
    """Wholly preserved, nothing is compressed."""
    assert gentler(Compression(ratio=5.0), 0.5).ratio == 3.0
    assert not gentler(Compression(ratio=5.0), 1.0).is_on


@pytest.mark.parametrize("count", [2, 3, 4])
def test_bands_add_up_to_the_whole(count: int) -> None:
    """The sum of all bands has the magnitude of what came, within 0.05 dB, at every frequency."""
    impulse = np.zeros((1 << 15, 1), np.float32)
    impulse[100] = 1.0
    bands = Crossover(RATE, 1, count).process(impulse)
    total = np.asarray(sum(band[:, 0] for band in bands))
    spectrum = 20.0 * np.log10(np.abs(np.fft.rfft(total)[16:]))
    assert np.abs(spectrum).max() < 0.05


# Image


def correlation(sound: Samples) -> float:
    """Of left and right."""
    return float(np.asarray(np.corrcoef(sound.T))[0, 1])


def image(width: float) -> Samples:
    """Pink noise with sides of this share of the middle."""
    sound = signals.pink_noise(3.0, 9)
    middle, side = sound[:, 0], width * sound[:, 1]
    return np.stack([middle + side, middle - side], axis=1).astype(np.float32)


def sides(sound: Samples) -> float:
    """Level of the side signal in dB."""
    return level_db((sound[:, 0] - sound[:, 1])[len(sound) // 2 :, None] / 2.0)


def widened(sound: Samples, width: Width) -> Samples:
    """All of it."""
    return processed(StereoWidth(RATE, 2, width), sound)


def test_width_scales_the_sides_and_leaves_the_middle() -> None:
    """0 % is mono, 50 % half the sides, 150 % one and a half."""
    sound = image(0.2)
    assert np.array_equal(*widened(sound, Width(0.0)).T[:, 1000:])
    for percent in (50.0, 150.0):
        out = widened(sound, Width(percent, minimum_correlation=-1.0))
        expected = 20.0 * np.log10(percent / 100.0)
        assert sides(out) - sides(sound) == pytest.approx(expected, abs=0.01)
        assert np.allclose(out.sum(axis=1), sound.sum(axis=1), atol=1e-6)


@pytest.mark.parametrize("least", [-0.2, 0.0, 0.4])
def test_widening_leaves_the_correlation_asked_for(least: float) -> None:
    """And says how far it held back."""
    sound = image(0.6)
    assert correlation(sound) > 0.4
    stage = StereoWidth(RATE, 2, Width(200.0, minimum_correlation=least))
    out = processed(stage, sound)
    assert correlation(out[RATE:]) >= least - 0.05
    assert stage.least_percent < 200.0


def test_narrowing_and_sound_already_wide_are_left_to_the_caller() -> None:
    """The guard never makes narrower than it came."""
    sound = image(1.5)
    assert correlation(sound) < 0.0
    out = widened(sound, Width(150.0, minimum_correlation=0.0))
    assert sides(out) == pytest.approx(sides(sound), abs=0.1)


def test_lows_go_to_the_middle() -> None:
    """Below the corner the sides are gone, above they stay."""
    low, high = signals.sine(-10.0, 1.0, 2, 40.0), signals.sine(-10.0, 1.0, 2, 1000.0)
    for sound, left in ((low, -30.0), (high, -0.1)):
        apart = sound * np.array([1.0, -1.0], np.float32)
        out = widened(apart, Width(100.0, 120.0))
        assert (sides(out) - sides(apart) > left) == (sound is high)


# Bending


def harmonics_db(sound: Samples, hertz: float) -> tuple[float, float]:
    """The second and third harmonic, and what is between harmonics, under the first."""
    spectrum = np.abs(np.fft.rfft(sound[RATE:, 0] * np.hanning(len(sound) - RATE)))
    first = round(hertz * (len(sound) - RATE) / RATE)
    harmonic = max(spectrum[2 * first], spectrum[3 * first])
    between = np.delete(spectrum, np.arange(8)[:, None] * first + np.arange(-4, 5))
    scale = spectrum[first]
    return 20.0 * np.log10(harmonic / scale), 20.0 * np.log10(between.max() / scale)


def test_saturation_adds_harmonics_and_nothing_between() -> None:
    """What folds back lies 70 dB under the tone; more percent, more harmonics."""
    tone = signals.sine(-6.0, 2.0, 1, 3000.0)
    found_db = [
        harmonics_db(processed(Saturation(RATE, 1, percent, 1.0), tone), 3000.0)
        for percent in (10.0, 50.0)
    ]
    assert -80.0 < found_db[0][0] < found_db[1][0] < -10.0
    assert max(between for _, between in found_db) < -70.0


def test_a_clipper_holds_samples_and_leaves_what_is_soft() -> None:
    """Nothing far over the level; below its knee not one bit changes."""
    loud, soft = signals.sine(0.0, 0.5), signals.sine(-20.0, 0.5)
    assert np.abs(processed(clipper(2, -6.0), loud)).max() < 10.0 ** (-5.5 / 20.0)
    assert np.array_equal(processed(clipper(2, -6.0), soft), soft)


# Bits


def error_of(resolution: Resolution, sound: Samples) -> Samples:
    """What quantising added, in steps."""
    out = processed(Quantizer(resolution, RATE, 2), sound)
    return ((out.astype(np.float64) - sound) * 2.0 ** (resolution.bits - 1)).astype(np.float32)


def test_tpdf_makes_the_error_steady() -> None:
    """Its power is 1/4 step squared, whatever the sound (Lipshitz et al. 1992); no bias."""
    for peak_dbfs in (-96.0, -60.0, -20.0):
        error = error_of(Resolution(16), signals.sine(peak_dbfs, 2.0))
        assert np.mean(error**2) == pytest.approx(0.25, rel=0.02)
        assert abs(float(error.mean())) < 0.01


def test_without_dither_the_error_is_half_a_step_at_most() -> None:
    """And with RPDF a whole one."""
    sound = signals.noise(1.0, 2)
    assert np.abs(error_of(Resolution(16, dither=Dither.NONE), sound)).max() <= 0.501
    assert np.abs(error_of(Resolution(16, dither=Dither.RPDF), sound)).max() <= 1.001


def test_shaped_dither_moves_noise_to_the_top() -> None:
    """Around 3 kHz, where hearing is keenest, there is 12 dB less of it."""
    sound = signals.sine(-20.0, 4.0, hertz=997.0)
    plain, shaped = (
        np.abs(np.fft.rfft(error_of(Resolution(16, dither=kind), sound)[:, 0])) ** 2
        for kind in (Dither.TPDF, Dither.SHAPED)
    )
    band = slice(2500 * 4, 4500 * 4)
    assert 10.0 * np.log10(shaped[band].mean() / plain[band].mean()) < -12.0
    assert shaped[18000 * 4 :].mean() > plain[18000 * 4 :].mean()


def test_float_and_32_bits_pass() -> None:
    """Float32 has no more to lose."""
    sound = signals.noise(0.1, 2)
    for resolution in (Resolution(32), Resolution(32, is_float=True)):
        assert processed(Quantizer(resolution, RATE, 2), sound) is not None
        assert np.array_equal(processed(Quantizer(resolution, RATE, 2), sound), sound)


def test_the_loudest_sample_is_not_wrapped() -> None:
    """Full scale becomes the highest step there is."""
    out = processed(Quantizer(Resolution(16), RATE, 1), np.ones((100, 1), np.float32))
    assert out.max() == np.float32(1.0 - 2.0**-15)


def test_a_corner_past_the_rate_stays_stable() -> None:
    """Filters asked for more than the rate carries do not run away."""
    stage = biquad.high_shelf(20000.0, 6.0, 0.7, 8000)
    out = processed(biquad.Cascade((stage,), 1), signals.noise(0.5, 1, 1, 8000))
    assert np.abs(out).max() < 10.0


@pytest.mark.parametrize("profile", list(EqProfile))
def test_profiles_are_documented_as_they_are(profile: EqProfile) -> None:
    """The README's row of each profile names its bands, and no other."""
    readme = Path(__file__).parents[1].joinpath("README.md").read_text("utf-8")
    bands = "; ".join(
        f"{band.shape.value.replace('_', ' ')} {band.frequency_hz:g} {band.gain_db:+.1f} {band.q:g}"
        for band in PROFILES[profile]
    )
    assert f"| {profile.value.replace('_', '-')} | {bands or 'none'} |" in readme
