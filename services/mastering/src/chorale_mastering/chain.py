"""The chain: which stages a plan makes, in which order, and what each is there for."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from chorale_mastering.block import Processor, Samples
from chorale_mastering.brief import Format
from chorale_mastering.compressor import Compressor
from chorale_mastering.convolution import Convolution
from chorale_mastering.dynamics import Compression, Levels, found, gentler
from chorale_mastering.equalizer import equalizer, profile_bands
from chorale_mastering.filtering import DEFAULT_RUMBLE_HZ, Gain, Offset, rumble_filter
from chorale_mastering.inspection import Inspection
from chorale_mastering.limiter import LimiterTimes, times
from chorale_mastering.multiband import MultibandCompressor
from chorale_mastering.plan import LimiterMode, MasteringPlan, Stage
from chorale_mastering.saturation import Saturation
from chorale_mastering.stereo import StereoWidth, Width

# An offset under -60 dBFS and rumble 30 dB under the rest harm nothing; filtering turns the phase
# of all lows, so it is done only for cause.
OFFSET_DBFS = -60.0
RUMBLE_DB = -30.0
DEFAULT_MONO_BELOW_HZ = 120.0
SATURATION_LUFS = -14.0  # the loudness at which saturation is voiced

# Another meter looks between other samples, and at low rates they lie further apart: of 57 tracks
# under 18 draws of settings FFmpeg's, at 192 kHz, found up to 0.10 and 0.19 dB more.
_PEAK_MARGIN_DB, _PEAK_MARGIN_LOW_DB = 0.13, 0.25
_LOW_RATE_HZ = 40_000


@dataclass(frozen=True)
class Link:
    """One stage at work."""

    stage: Stage
    processor: Processor


def rumble_hz(plan: MasteringPlan, facts: Inspection) -> float:
    """The corner of the rumble filter in force; 0 for none."""
    if plan.rumble_hz is not None:
        return plan.rumble_hz
    return DEFAULT_RUMBLE_HZ if facts.spectrum.below_db(DEFAULT_RUMBLE_HZ) > RUMBLE_DB else 0.0


def removes_offset(facts: Inspection) -> bool:
    """Whether there is an offset worth removing."""
    return facts.offset_dbfs > OFFSET_DBFS


def tone_links(
    plan: MasteringPlan, facts: Inspection, sound: Format, match_taps: Samples | None
) -> list[Link]:
    """The stages before the compressor."""
    rate, channels = sound.sample_rate_hz, sound.channel_count
    links = []
    if plan.has(Stage.FILTER):
        if removes_offset(facts):
            links.append(Link(Stage.FILTER, Offset(np.array(facts.offsets, np.float32))))
        if rumble_hz(plan, facts) > 0.0:
            rumble = rumble_filter(rumble_hz(plan, facts), rate, channels)
            links.append(Link(Stage.FILTER, rumble))
    if plan.input_gain_db:
        links.append(Link(Stage.FILTER, Gain(10.0 ** (plan.input_gain_db / 20.0), channels)))
    if match_taps is not None and plan.has(Stage.MATCH):
        links.append(Link(Stage.MATCH, Convolution(match_taps, channels)))
    bands = (*profile_bands(plan.eq_profile, rate), *plan.eq_bands)
    if bands and plan.has(Stage.EQ):
        links.append(Link(Stage.EQ, equalizer(bands, plan.eq_phase, rate, channels)))
    return links


def compression(plan: MasteringPlan) -> Compression:
    """The compressor's settings after `preserve_dynamics`, its threshold perhaps still open."""
    gentle = gentler(plan.compression, plan.preserve_dynamics)
    return gentle if plan.has(Stage.COMPRESSOR) else gentler(gentle, 1.0)


def with_threshold(settings: Compression, threshold_dbfs: float) -> Compression:
    """The same with this threshold, unless one is set."""
    if settings.threshold_dbfs is not None:
        return settings
    return replace(settings, threshold_dbfs=threshold_dbfs)


def needs_levels(plan: MasteringPlan) -> bool:
    """Whether the programme has to be heard before the compressor can be built."""
    settings = compression(plan)
    return settings.is_on and settings.threshold_dbfs is None


def width(plan: MasteringPlan) -> Width:
    """The stereo width in force; lows go to the middle where the image is widened."""
    below = plan.mono_below_hz
    if below is None:
        below = DEFAULT_MONO_BELOW_HZ if plan.stereo_width_percent > 100.0 else 0.0
    return Width(plan.stereo_width_percent, below, plan.minimum_correlation)


def dynamics_links(
    plan: MasteringPlan,
    levels: Sequence[Levels],
    loudness_lufs: float | None,
    sound: Format,
    width_percent: float | None = None,
) -> list[Link]:
    """The stages from the compressor to the width; `levels` has one row per band."""
    rate, channels = sound.sample_rate_hz, sound.channel_count
    links = []
    settings = compression(plan)
    if settings.is_on and not (levels and all(band.is_silent for band in levels)):
        if settings.band_count > 1:
            stage: Processor = MultibandCompressor(rate, channels, settings, levels)
        else:
            ready = found(settings, levels[0]) if levels else settings
            stage = Compressor(rate, channels, ready)
        links.append(Link(Stage.COMPRESSOR, stage))
    if plan.saturation_percent > 0.0 and plan.has(Stage.SATURATION) and loudness_lufs is not None:
        drive = 10.0 ** ((SATURATION_LUFS - loudness_lufs) / 20.0)
        saturation = Saturation(rate, channels, plan.saturation_percent, drive)
        links.append(Link(Stage.SATURATION, saturation))
    wanted = width(plan)
    if width_percent is not None:
        wanted = Width(width_percent, wanted.mono_below_hz, wanted.minimum_correlation)
    if channels == 2 and wanted.is_on and plan.has(Stage.WIDTH):
        links.append(Link(Stage.WIDTH, StereoWidth(rate, channels, wanted)))
    return links


def limiter_times(plan: MasteringPlan, sample_rate_hz: int) -> LimiterTimes | None:
    """The limiter's times; None where there is none and the level is lowered instead."""
    if plan.limiter_mode is LimiterMode.NONE or not plan.has(Stage.LIMITER):
        return None
    return times(plan.limiter_mode, plan.lookahead_ms, plan.limiter_release_ms, sample_rate_hz)


def peak_margin_db(sample_rate_hz: int) -> float:
    """How far under the ceiling the limiter stays, so that no meter finds a peak over it."""
    return _PEAK_MARGIN_LOW_DB if sample_rate_hz < _LOW_RATE_HZ else _PEAK_MARGIN_DB


def decibels(ratio: float) -> float:
    """A ratio of amplitudes in dB; -inf for none."""
    return 20.0 * math.log10(ratio) if ratio > 0.0 else -math.inf
