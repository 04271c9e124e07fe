"""Every stage of a master in a sentence of what and a sentence of why, with its figures."""

from collections.abc import Callable
from typing import cast

from chorale_mastering import chain
from chorale_mastering.compressor import Compressor
from chorale_mastering.filtering import DEFAULT_RUMBLE_HZ
from chorale_mastering.plan import Stage
from chorale_mastering.report import Step
from chorale_mastering.stereo import StereoWidth
from chorale_mastering.work import Work

_NOTHING = "Nothing."


def steps(work: Work) -> tuple[Step, ...]:
    """Every stage in order, also those that did nothing."""
    told = (_left_out(work, stage) or tell(work) for stage, tell in _TELLERS.items())
    return tuple(told)


def _left_out(work: Work, stage: Stage) -> Step | None:
    if work.plan.has(stage) or stage in (Stage.MEASURING, Stage.OUTPUT, Stage.VERIFYING):
        return None
    return Step(stage, _NOTHING, "The settings leave this stage out.")


def _latency(work: Work, stage: Stage) -> int:
    return sum(link.processor.latency_frames for link in work.links if link.stage is stage)


def _measuring(work: Work) -> Step:
    before, facts = work.heard.before, work.heard.facts
    heard = before.integrated_lufs
    loudness = "no loudness above the gate" if heard is None else f"{heard:.1f} LUFS"
    return Step(
        Stage.MEASURING,
        f"Found {loudness} and a true peak of {max(before.true_peak_dbtp, -200.0):.1f} dBTP.",
        "Thresholds and gains are taken from the programme as a whole.",
        {
            "integrated_lufs": -70.0 if heard is None else heard,
            "true_peak_dbtp": max(before.true_peak_dbtp, -200.0),
            "crest_factor_db": facts.crest_factor_db,
        },
    )


def _filter(work: Work) -> Step:
    facts = work.heard.facts
    hertz = chain.rumble_hz(work.plan, facts)
    below = max(-200.0, facts.spectrum.below_db(DEFAULT_RUMBLE_HZ))
    parts, values = [], {"below_20_hz_db": below}
    if chain.removes_offset(facts):
        parts.append(f"removed an offset of {facts.offset_dbfs:.1f} dBFS")
        values["offset_dbfs"] = facts.offset_dbfs
    if hertz > 0.0:
        parts.append(f"removed what lies below {hertz:.0f} Hz")
        values["rumble_hz"] = hertz
    if work.plan.input_gain_db:
        parts.append(f"changed the level by {work.plan.input_gain_db:+.1f} dB")
        values["input_gain_db"] = work.plan.input_gain_db
    if not parts:
        reason = f"What lies below 20 Hz is {-below:.0f} dB under the rest, and there is no offset."
        return Step(Stage.FILTER, _NOTHING, reason, values)
    action = f"{', '.join(parts).capitalize()}."
    reason = "Offsets and rumble take room from music, and the limiter would act on them."
    return Step(Stage.FILTER, action, reason, values, _latency(work, Stage.FILTER))


def _match(work: Work) -> Step:
    if work.link(Stage.MATCH) is None:
        return Step(Stage.MATCH, _NOTHING, "No reference was given to match the tone of.")
    return Step(
        Stage.MATCH,
        "Moved the tone towards that of the reference, by a linear-phase filter.",
        "The reference's third octaves are what this programme shall sound like.",
        {},
        _latency(work, Stage.MATCH),
    )


def _eq(work: Work) -> Step:
    plan = work.plan
    if work.link(Stage.EQ) is None:
        return Step(Stage.EQ, _NOTHING, "The profile is neutral and no band is set.")
    return Step(
        Stage.EQ,
        f"Applied the profile {plan.eq_profile.value} and {_counted(len(plan.eq_bands), 'band')} of"
        f" its own, in {plan.eq_phase.value} phase.",
        "The settings ask for this tone.",
        {"band_count": float(len(plan.eq_bands))},
        _latency(work, Stage.EQ),
    )


def _compressor(work: Work) -> Step:
    link = work.link(Stage.COMPRESSOR)
    settings = chain.compression(work.plan)
    if link is None:
        return Step(
            Stage.COMPRESSOR, _NOTHING, f"A ratio of {settings.ratio:g} compresses nothing."
        )
    reductions = cast(Compressor, link.processor).reductions
    values = {
        "ratio": settings.ratio,
        "greatest_reduction_db": reductions.greatest_db,
        "mean_reduction_db": reductions.mean_db,
        "attack_ms": settings.attack_ms,
        "release_ms": settings.release_ms,
    }
    at = f"in {settings.band_count} bands"
    if isinstance(link.processor, Compressor):
        values["threshold_dbfs"] = link.processor.threshold_dbfs
        at = f"above {link.processor.threshold_dbfs:.1f} dBFS"
    chosen = "from the programme's own levels" if settings.threshold_dbfs is None else "as set"
    return Step(
        Stage.COMPRESSOR,
        f"Compressed {settings.ratio:g}:1 {at}; took up to {reductions.greatest_db:.1f} dB and"
        f" {reductions.mean_db:.1f} dB on average.",
        f"Loud passages are brought nearer to the rest; the threshold was chosen {chosen}.",
        values,
        link.processor.latency_frames,
    )


def _saturation(work: Work) -> Step:
    percent = work.plan.saturation_percent
    if work.link(Stage.SATURATION) is None:
        return Step(Stage.SATURATION, _NOTHING, "Saturation is off.")
    return Step(
        Stage.SATURATION,
        f"Added harmonics at {percent:.0f} %, at four times the sample rate.",
        "The settings ask for it; oversampling keeps what it adds from folding back.",
        {"saturation_percent": percent},
        _latency(work, Stage.SATURATION),
    )


def _width(work: Work) -> Step:
    link, wanted = work.link(Stage.WIDTH), chain.width(work.plan)
    if link is None:
        single = work.sound.channel_count != 2
        reason = "The sound is not stereo." if single else "A width of 100 % leaves the image."
        return Step(Stage.WIDTH, _NOTHING, reason)
    least = cast(StereoWidth, link.processor).least_percent
    lows = f" and put what lies below {wanted.mono_below_hz:.0f} Hz in the middle"
    return Step(
        Stage.WIDTH,
        f"Set the sides to {wanted.percent:.0f} %{lows if wanted.mono_below_hz else ''}.",
        f"Correlation of left and right stays at least {wanted.minimum_correlation:.1f}; the least"
        f" width this took was {least:.0f} %.",
        {"width_percent": wanted.percent, "least_width_percent": least},
        link.processor.latency_frames,
    )


def _gain(work: Work) -> Step:
    landing, shaped = work.landed.landing, work.landed.shaped_lufs
    values = {"gain_db": landing.gain_db + landing.trim_db, "passes": float(landing.pass_count)}
    if shaped is None:
        return Step(Stage.GAIN, _NOTHING, "There is no loudness to bring to a target.", values)
    values["loudness_before"] = shaped
    return Step(
        Stage.GAIN,
        f"Changed the level by {landing.gain_db + landing.trim_db:+.2f} dB.",
        f"{shaped:.1f} had to become {work.plan.target_loudness_lufs:.1f} after limiting; found in"
        f" {_counted(landing.pass_count, 'pass')}.",
        values,
    )


def _clipper(work: Work) -> Step:
    if work.link(Stage.CLIPPER) is None:
        return Step(Stage.CLIPPER, _NOTHING, "No level to clip at is set.")
    level = work.plan.clip_dbfs or 0.0
    return Step(
        Stage.CLIPPER,
        f"Clipped softly at {level:.1f} dBFS, at four times the sample rate.",
        "The settings ask for it: short peaks are cut so that the limiter has less to do.",
        {"clip_dbfs": level},
        _latency(work, Stage.CLIPPER),
    )


def _limiter(work: Work) -> Step:
    limiter, plan = work.landed.limiter, work.plan
    if limiter is None:
        reason = "The level was lowered until no peak passes the ceiling."
        return Step(Stage.LIMITER, _NOTHING, reason)
    taken = limiter.reductions
    if taken.greatest_db == 0.0:
        reason = f"No peak between the samples reaches {plan.ceiling_dbtp:.1f} dBTP."
        return Step(Stage.LIMITER, _NOTHING, reason, {}, limiter.latency_frames)
    return Step(
        Stage.LIMITER,
        f"Held peaks at {plan.ceiling_dbtp:.1f} dBTP; took up to {taken.greatest_db:.1f} dB,"
        f" {taken.mean_db:.2f} dB on average.",
        "Converters and codecs clip what passes; this is the"
        f" {plan.limiter_mode.value} mode, as asked for.",
        {
            "ceiling_dbtp": plan.ceiling_dbtp,
            "greatest_reduction_db": taken.greatest_db,
            "mean_reduction_db": taken.mean_db,
            "lookahead_ms": plan.lookahead_ms,
        },
        limiter.latency_frames,
    )


def _output(work: Work) -> Step:
    made, resolution = work.made, work.resolution
    kind = "float" if resolution.is_float else "integers"
    noise = resolution.noise.value
    return Step(
        Stage.OUTPUT,
        f"Wrote {resolution.bits}-bit {kind} at {made.sample_rate_hz} Hz, dither {noise}.",
        "Dither turns the error of rounding into steady noise; it is used where bits are lost.",
        {"bits": float(resolution.bits), "sample_rate_hz": float(made.sample_rate_hz)},
    )


def _codec_check(work: Work) -> Step:
    peaks = work.landed.codecs
    if not peaks:
        return Step(Stage.CODEC_CHECK, _NOTHING, "No codec was named.")
    worst = max(peak.true_peak_dbtp for peak in peaks)
    names = ", ".join(peak.codec.codec.value for peak in peaks)
    return Step(
        Stage.CODEC_CHECK,
        f"Encoded and decoded by {names}: at most {worst:.2f} dBTP.",
        "Lossy codecs move peaks; the ceiling has to hold for what listeners hear.",
        {"true_peak_dbtp": worst, "lowered_db": max(peak.lowered_db for peak in peaks)},
    )


def _verifying(work: Work) -> Step:
    after = work.written.after
    heard = after.integrated_lufs
    loudness = "no loudness above the gate" if heard is None else f"{heard:.2f} LUFS"
    return Step(
        Stage.VERIFYING,
        f"Measured {loudness} and {max(after.true_peak_dbtp, -200.0):.2f} dBTP.",
        "What was written is measured as it lies there.",
        {
            "integrated_lufs": -70.0 if heard is None else heard,
            "true_peak_dbtp": max(after.true_peak_dbtp, -200.0),
        },
    )


_TELLERS: dict[Stage, Callable[[Work], Step]] = {
    Stage.MEASURING: _measuring,
    Stage.FILTER: _filter,
    Stage.MATCH: _match,
    Stage.EQ: _eq,
    Stage.COMPRESSOR: _compressor,
    Stage.SATURATION: _saturation,
    Stage.WIDTH: _width,
    Stage.GAIN: _gain,
    Stage.CLIPPER: _clipper,
    Stage.LIMITER: _limiter,
    Stage.OUTPUT: _output,
    Stage.CODEC_CHECK: _codec_check,
    Stage.VERIFYING: _verifying,
}


def _counted(count: int, what: str) -> str:
    plural = f"{what}es" if what.endswith("s") else f"{what}s"
    return f"{count or 'no'} {what if count == 1 else plural}"
