"""Whole masters: at the loudness asked for, under the ceiling, with reasons."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import signals
import soundfile
from chorale_mastering.block import Samples, cut
from chorale_mastering.brief import Brief, Format, Output
from chorale_mastering.dynamics import Compression
from chorale_mastering.loudness import Loudness, NotFinite
from chorale_mastering.mastering import master
from chorale_mastering.meter import Meter
from chorale_mastering.plan import (
    Codec,
    CodecCheck,
    LimiterMode,
    LoudnessMeasure,
    MasteringPlan,
    Stage,
)
from chorale_mastering.refusals import NoFrames
from chorale_mastering.report import MasterReport, WarningCode
from chorale_mastering.resolution import Dither, Resolution
from chorale_mastering.tone import EqProfile

RATE = 44100
REACHED_LU = 0.05


def made(
    sound: Samples, plan: MasteringPlan, rate: int = RATE, block: int = 1 << 16, **more: object
) -> tuple[Samples, MasterReport]:
    """The master of a whole signal, and its report."""
    told: list[float] = []

    def tell(_: str, share: float) -> None:
        told.append(share)

    brief = Brief(plan, Format(rate, sound.shape[1]), len(sound), **more)  # type: ignore[arg-type]
    with master(cut(sound, block), brief, tell) as mastered:
        out = np.concatenate(list(mastered.blocks()))
        assert len(out) == mastered.frame_count
        assert told == sorted(told)
        assert told[-1] <= 1.0
        return out, mastered.report


def measured(sound: Samples, rate: int = RATE) -> Loudness:
    """By our own meter."""
    meter = Meter(rate, sound.shape[1])
    meter.push(sound)
    meter.finish()
    return meter.read()


def codes(report: MasterReport) -> set[WarningCode]:
    """Which warnings there are."""
    return {warning.code for warning in report.warnings}


def song(seconds: float = 2.0) -> Samples:
    """Chords, clicks and hats of white noise: hard on true peaks."""
    sound = 0.5 * signals.song(120, "C", "major", seconds)
    hats = signals.noise(len(sound) / RATE, 7)[: len(sound)]
    decay = np.exp(-(np.arange(len(sound)) % 5512) / 800.0)[:, None]
    return (sound + 1.5 * hats * decay).astype(np.float32)


SONGS: dict[str, Callable[[], Samples]] = {
    "song": song,
    "pink noise": lambda: signals.pink_noise(2.0, 2),
    "cadence": lambda: signals.cadence("D", "minor")[: 2 * RATE],
    "steps": lambda: signals.steps([(-40.0, 0.8), (-12.0, 1.0), (-25.0, 0.8)]),
}


@pytest.mark.parametrize("name", SONGS)
@pytest.mark.parametrize("target", [-20.0, -14.0, -10.0])
def test_loudness_lands_under_the_ceiling(name: str, target: float) -> None:
    """Within 0.05 LU of the target, or a typed warning says what was reached; never over."""
    out, report = made(SONGS[name](), MasteringPlan(target_loudness_lufs=target))
    found = measured(out)
    assert found.true_peak_dbtp <= -1.0
    assert found.integrated_lufs is not None
    if abs(found.integrated_lufs - target) > REACHED_LU:
        warning = next(w for w in report.warnings if w.code is WarningCode.TARGET_UNREACHABLE)
        assert warning.found == pytest.approx(found.integrated_lufs, abs=REACHED_LU)
        assert warning.wanted == target
    assert report.after.integrated_lufs == found.integrated_lufs


def test_nothing_is_changed_where_nothing_is_asked_for() -> None:
    """Width 100, ratio 1, neutral, target = own loudness: transparent to -90 dB."""
    sound = signals.cadence("C", "major")[: 4 * RATE] * np.float32(0.3)
    own = measured(sound).integrated_lufs
    assert own is not None
    plan = MasteringPlan(target_loudness_lufs=own, compression=Compression(ratio=1.0))
    out, _ = made(sound, plan)
    error = np.sqrt(np.mean((out - sound) ** 2) / np.mean(sound**2))
    assert 20.0 * np.log10(error) <= -90.0


def test_a_master_of_a_master_is_nearly_the_same() -> None:
    """Loudness changes by less than 0.2 LU, peaks stay under the ceiling."""
    once, _ = made(song(), MasteringPlan())
    twice, _ = made(once, MasteringPlan())
    before, after = measured(once), measured(twice)
    assert before.integrated_lufs is not None
    assert after.integrated_lufs is not None
    assert abs(after.integrated_lufs - before.integrated_lufs) < 0.2
    assert after.true_peak_dbtp <= -1.0


def test_block_size_is_of_no_effect() -> None:
    """The same sound in other blocks gives the same bits."""
    sound = song(1.5)
    plan = MasteringPlan(eq_profile=EqProfile.WARM, stereo_width_percent=130.0)
    whole, _ = made(sound, plan)
    for block in (64, 1000, 8191):
        assert np.array_equal(whole, made(sound, plan, block=block)[0])


def test_silence_stays_silence() -> None:
    """Digital black comes back as digital black, also through dither, with a warning."""
    resolution = Resolution(16, dither=Dither.SHAPED)
    out, report = made(signals.silence(2.0), MasteringPlan(), output=Output(resolution))
    assert not out.any()
    assert WarningCode.INPUT_QUIET in codes(report)


@pytest.mark.parametrize("count", [1, 2, 63, 64, 5000, 17639])
def test_short_sound_keeps_its_level_under_the_ceiling(count: int) -> None:
    """Under 400 ms there is no loudness to reach; the ceiling holds and a warning says so."""
    sound = signals.sine(3.0, 1.0)[100 : 100 + count]
    out, report = made(sound, MasteringPlan())
    assert len(out) == count
    assert measured(out).true_peak_dbtp <= -1.0
    assert WarningCode.TARGET_UNREACHABLE in codes(report)


def test_nothing_and_what_is_not_finite_are_refused() -> None:
    """No frames, NaN and infinity each have an error of their own."""
    with pytest.raises(NoFrames):
        made(signals.silence(0.0), MasteringPlan())
    sound = song(2.0)
    sound[70000, 1] = np.nan
    with pytest.raises(NotFinite) as caught:
        made(sound, MasteringPlan())
    assert caught.value.frame == 70000


def test_an_offset_and_rumble_are_removed_and_told() -> None:
    """What is no music goes, and the step says how much there was."""
    sound = signals.pink_noise(6.0, 8) + np.float32(0.05)
    sound += 0.3 * signals.sine(0.0, 6.0, 2, 8.0)
    plan = MasteringPlan(target_loudness_lufs=-24.0, compression=Compression(ratio=1.0))
    out, report = made(sound, plan)
    assert abs(float(out.mean())) < 1e-3
    spectra = [np.abs(np.fft.rfft(x[:, 0] * np.hanning(len(x)))) for x in (sound, out)]
    rumble, music = spectra[1][48] / spectra[0][48], spectra[1][6000] / spectra[0][6000]
    assert rumble < 0.2 * music  # 8 Hz lies 1.3 octaves under the corner
    step = next(step for step in report.steps if step.stage is Stage.FILTER)
    assert step.values["rumble_hz"] == 20.0
    assert WarningCode.DC_OFFSET in codes(report)


@pytest.mark.parametrize("count", [1, 6])
def test_mono_and_surround(count: int) -> None:
    """They reach their targets too."""
    out, _ = made(signals.pink_noise(2.5, 3, count), MasteringPlan())
    found = measured(out)
    assert found.integrated_lufs == pytest.approx(-14.0, abs=REACHED_LU)
    assert found.true_peak_dbtp <= -1.0


@pytest.mark.parametrize("rate", [8000, 48000, 96000, 192000])
def test_every_rate(rate: int) -> None:
    """From 8 to 192 kHz."""
    out, _ = made(signals.pink_noise(1.5, 3, 2, rate), MasteringPlan(), rate)
    found = measured(out, rate)
    assert found.integrated_lufs == pytest.approx(-14.0, abs=REACHED_LU)
    assert found.true_peak_dbtp <= -1.0


def test_another_rate_and_channel_count() -> None:
    """Limited after resampling, so the ceiling holds for what is written."""
    out, report = made(
        song(3.0),
        MasteringPlan(),
        output=Output(Resolution(16), sample_rate_hz=48000, channel_count=1),
    )
    found = measured(out, 48000)
    assert out.shape[1] == 1
    assert len(out) == pytest.approx(3.0 * 48000, rel=0.1)
    assert found.integrated_lufs == pytest.approx(-14.0, abs=REACHED_LU)
    assert found.true_peak_dbtp <= -1.0
    assert report.after.sample_rate_hz == 48000


@pytest.mark.parametrize("bits", [16, 24])
def test_samples_lie_on_the_grid_of_the_resolution(bits: int) -> None:
    """Writing them as integers loses nothing."""
    out, _ = made(song(1.0), MasteringPlan(), output=Output(Resolution(bits)))
    steps = out.astype(np.float64) * 2.0 ** (bits - 1)
    assert np.array_equal(steps, np.rint(steps))


def test_a_preview_is_the_part_of_the_master_it_announces() -> None:
    """Measures and thresholds are those of the whole: the frames are the same."""
    sound = song()
    whole, _ = made(sound, MasteringPlan())
    part, report = made(
        sound, MasteringPlan(), preview_start_frame=40000, preview_frame_count=30000
    )
    assert np.array_equal(part, whole[40000:70000])
    assert report.after.frame_count == 30000


@pytest.mark.parametrize("measure", [LoudnessMeasure.RMS, LoudnessMeasure.MAX_SHORT_TERM])
def test_other_measures_of_loudness_are_reached(measure: LoudnessMeasure) -> None:
    """RMS over all samples, and the greatest short-term loudness."""
    out, _ = made(song(4.0), MasteringPlan(target_loudness_lufs=-15.0, loudness_measure=measure))
    if measure is LoudnessMeasure.RMS:
        found = 10.0 * np.log10(np.mean(out.astype(np.float64) ** 2))
    else:
        found = measured(out).short_term_max_lufs
    assert found == pytest.approx(-15.0, abs=REACHED_LU)


def test_without_a_limiter_the_level_is_lowered() -> None:
    """Mode `none` never passes the ceiling either, and says what could not be reached."""
    plan = MasteringPlan(target_loudness_lufs=-10.0, limiter_mode=LimiterMode.NONE)
    out, report = made(song(), plan)
    assert measured(out).true_peak_dbtp <= -1.0
    assert WarningCode.TARGET_UNREACHABLE in codes(report)


def test_a_stage_that_is_left_out_does_nothing_and_says_so() -> None:
    """Every stage is told of, in order."""
    plan = MasteringPlan(eq_profile=EqProfile.BRIGHT, bypass=(Stage.EQ, Stage.COMPRESSOR))
    out, report = made(song(1.0), plan)
    plain = MasteringPlan(compression=Compression(ratio=1.0))
    assert np.array_equal(out, made(song(1.0), plain)[0])
    assert [step.stage for step in report.steps] == list(Stage)
    assert all(step.action and step.reason for step in report.steps)


def test_curves_and_pictures_have_as_many_points_as_asked_for() -> None:
    """Gain reduction stands at the points of the curve after; the goniometer in pairs."""
    _, report = made(song(), MasteringPlan(target_loudness_lufs=-8.0), curve_points=40)
    assert report.after.curve is not None
    assert report.before.curve is not None
    assert len(report.gain_reduction_db) == len(report.after.curve.momentary_lufs) <= 40
    assert min(report.gain_reduction_db) < -1.0
    assert max(report.gain_reduction_db) <= 0.0
    assert len(report.goniometer) % 2 == 0
    assert np.abs(report.goniometer).max() <= 1.0


def test_the_score_is_the_sum_of_its_parts() -> None:
    """In [0, 100], and lower for a master that was driven hard."""
    easy = made(song(), MasteringPlan(target_loudness_lufs=-18.0))[1]
    hard = made(song(), MasteringPlan(target_loudness_lufs=-6.0))[1]
    assert 0.0 <= hard.quality_score < easy.quality_score <= 100.0
    assert all(0.0 <= part <= 100.0 for part in hard.quality_parts.values())
    assert WarningCode.HEAVY_LIMITING in codes(hard)


@pytest.mark.parametrize("codec", list(Codec))
def test_peaks_stay_below_the_ceiling_through_codecs(codec: Codec) -> None:
    """Encoded, decoded, measured again and held lower until it is clean."""
    plan = MasteringPlan(target_loudness_lufs=-11.0, codecs=(CodecCheck(codec, 64),))
    out, report = made(song(2.0), plan)
    assert report.codecs[0].true_peak_dbtp <= -1.0
    is_lowered = report.codecs[0].lowered_db > 0.0
    assert is_lowered or codec is Codec.MP3  # whose low-pass takes the hats, and peaks with them
    assert is_lowered == (WarningCode.CODEC_LOWERED in codes(report))
    found = measured(out).integrated_lufs
    is_reached = found == pytest.approx(-11.0, abs=0.1)
    assert is_reached or WarningCode.TARGET_UNREACHABLE in codes(report)


def test_ffmpeg_finds_no_peak_over_the_ceiling(tmp_path: Path) -> None:
    """FFmpeg's ebur128 looks between other samples and finds nothing over either."""
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        pytest.skip("ffmpeg is not installed: its meter cannot be asked")
    for mode in LimiterMode:
        plan = MasteringPlan(target_loudness_lufs=-11.0, limiter_mode=mode)
        out, _ = made(song(1.5), plan)
        soundfile.write(tmp_path / "out.wav", out, RATE, subtype="PCM_24")
        found = _ffmpeg_true_peak(ffmpeg, tmp_path / "out.wav")
        assert found <= 10.0 ** (-1.0 / 20.0) + 1e-3  # printed with three decimals


def _ffmpeg_true_peak(ffmpeg: str, path: Path) -> float:
    keys = ",".join(
        f"ametadata=print:key=lavfi.r128.true_peaks_ch{channel}:file=-" for channel in (0, 1)
    )
    graph = f"ebur128=peak=true:metadata=1,{keys}"
    command = [ffmpeg, "-nostdin", "-v", "error", "-i", str(path), "-af", graph, "-f", "null", "-"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return max(float(line.split("=")[1]) for line in lines if "true_peaks" in line)
