"""Following a reference: its tone, its loudness, its width and its peak."""

import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from chorale_mastering.block import Samples
from chorale_mastering.brief import Format
from chorale_mastering.convolution import Gains, linear_phase
from chorale_mastering.following import Match, MatchAspect, MatchSettings, ReferenceFacts
from chorale_mastering.inspecting import Inspector
from chorale_mastering.inspection import Inspection
from chorale_mastering.meter import Meter
from chorale_mastering.plan import LoudnessMeasure, MasteringPlan
from chorale_mastering.report import MasterWarning, WarningCode
from chorale_mastering.spectrum import MeanSpectrum
from chorale_mastering.weighting import CHANNEL_WEIGHTS

LOUD_REFERENCE_LUFS = -6.0
SHORT_REFERENCE_SECONDS = 10.0
_UNLIKE_DB = 12.0  # mean distance of third octaves
_MOST_DB = 12.0  # no band is moved further: a reference is a direction, not a mould
_MOST_WIDTH_PERCENT = (50.0, 150.0)
_LOWEST_HZ, _HIGHEST_HZ = 20.0, 20000.0


def correction_taps(match: Match, facts: Inspection) -> Samples | None:
    """The linear-phase filter that gives the programme the reference's tone."""
    settings = match.settings
    if not settings.follows(MatchAspect.SPECTRUM) or settings.share == 0.0:
        return None
    ours = _tone(facts.spectrum, settings)
    theirs = _tone(match.reference.facts.spectrum, settings)
    if facts.spectrum.is_silent or match.reference.facts.spectrum.is_silent:
        return None
    return correction(ours, theirs, facts.sample_rate_hz, settings)


def followed(match: Match, plan: MasteringPlan, facts: Inspection) -> MasteringPlan:
    """The plan with the reference's loudness, width and peak where they are followed.

    A caller who wishes for a target of its own ignores the loudness.
    """
    reference, settings = match.reference, match.settings
    measure = plan.loudness_measure
    theirs = {
        LoudnessMeasure.INTEGRATED: reference.loudness.integrated_lufs,
        LoudnessMeasure.MAX_SHORT_TERM: reference.loudness.short_term_max_lufs,
        LoudnessMeasure.RMS: reference.facts.rms_dbfs,
    }[measure]
    if settings.follows(MatchAspect.LOUDNESS) and theirs is not None:
        moved = plan.target_loudness_lufs
        moved += settings.share * (theirs - moved)
        plan = replace(plan, target_loudness_lufs=min(-5.0, max(-36.0, moved)))
    if settings.follows(MatchAspect.WIDTH) and facts.width > 0.0:
        ratio = (reference.facts.width / facts.width) ** settings.share
        low, high = _MOST_WIDTH_PERCENT
        percent = plan.stereo_width_percent * ratio
        plan = replace(plan, stereo_width_percent=min(high, max(low, percent)))
    peak = reference.loudness.true_peak_dbtp
    if settings.follows(MatchAspect.PEAK) and not settings.normalize_reference:
        # Only ever downwards: a reference over the ceiling is a fault not to be followed.
        ceiling = min(plan.ceiling_dbtp, max(-12.0, peak))
        moved = plan.ceiling_dbtp + settings.share * (ceiling - plan.ceiling_dbtp)
        plan = replace(plan, ceiling_dbtp=moved)
    return plan


def reference_facts(blocks: Iterable[Samples], sound: Format) -> ReferenceFacts:
    """Measures a reference."""
    count = sound.channel_count
    weights = CHANNEL_WEIGHTS.get(count, (1.0,) * count)
    meter = Meter(sound.sample_rate_hz, count, weights)
    inspector = Inspector(sound.sample_rate_hz, count)
    for block in blocks:
        meter.push(block)
        inspector.push(block)
    meter.finish()
    return ReferenceFacts(meter.read(), inspector.read())


def correction(
    ours: MeanSpectrum, theirs: MeanSpectrum, sample_rate_hz: int, settings: MatchSettings
) -> Samples:
    """The filter from our smoothed spectrum to theirs, level left out, at most 12 dB anywhere.

    Compared in bands spaced evenly by octave, from 20 Hz to what both rates carry; straight
    lines between, in dB over log frequency.
    """
    highest = min(_HIGHEST_HZ, 0.45 * sample_rate_hz, 0.45 * theirs.sample_rate_hz)
    centres = np.geomspace(_LOWEST_HZ, highest, settings.band_count)
    least = max(settings.smoothing_octaves, math.log2(centres[1] / centres[0]))
    moved = theirs.smoothed_db(centres, least) - ours.smoothed_db(centres, least)
    # Level is the gain stage's; the median, because a band that one of them lacks is far off.
    moved = moved - float(np.median(moved))
    for _ in range(settings.smoothing_passes - 1):
        padded = np.pad(moved, 1, mode="edge")
        moved = (padded[:-2] + 2.0 * moved + padded[2:]) / 4.0
    moved = settings.share * np.clip(moved, -_MOST_DB, _MOST_DB)

    def gain(hertz: Gains) -> Gains:
        place = np.log2(np.maximum(hertz, 1.0))
        decibels: Gains = np.interp(place, np.log2(centres), moved)
        return 10.0 ** (decibels / 20.0)

    return linear_phase(gain, settings.fft_size - 1, sample_rate_hz)


def difference_db(ours: MeanSpectrum, theirs: MeanSpectrum) -> tuple[float, ...]:
    """How far our third octaves are from theirs, level left out."""
    pairs = zip(ours.third_octaves_db(), theirs.third_octaves_db(), strict=False)
    return tuple(a - b for a, b in pairs)


def suitability(
    reference: ReferenceFacts, ours: Inspection | None = None
) -> tuple[MasterWarning, ...]:
    """What speaks against following this reference."""
    warnings = []
    loudness = reference.loudness.integrated_lufs
    seconds = reference.loudness.frame_count / reference.loudness.sample_rate_hz
    if loudness is not None and loudness >= LOUD_REFERENCE_LUFS:
        warnings.append(
            MasterWarning(
                WarningCode.REFERENCE_LOUD,
                f"The reference has {loudness:.1f} LUFS; a good one is below"
                f" {LOUD_REFERENCE_LUFS:.0f} LUFS.",
                loudness,
                LOUD_REFERENCE_LUFS,
            )
        )
    if loudness is None or seconds < SHORT_REFERENCE_SECONDS:
        warnings.append(
            MasterWarning(
                WarningCode.REFERENCE_UNLIKE,
                f"The reference has {seconds:.1f} s of sound to learn from; at least"
                f" {SHORT_REFERENCE_SECONDS:.0f} s are needed for a steady tone.",
                seconds,
                SHORT_REFERENCE_SECONDS,
            )
        )
    if reference.facts.clipped_run_count:
        warnings.append(
            MasterWarning(
                WarningCode.INPUT_CLIPPED,
                f"The reference is clipped in {reference.facts.clipped_run_count} places.",
                float(reference.facts.clipped_run_count),
                0.0,
            )
        )
    if ours is not None and not ours.spectrum.is_silent and loudness is not None:
        apart = np.abs(difference_db(ours.spectrum, reference.facts.spectrum))
        if float(apart.mean()) > _UNLIKE_DB:
            warnings.append(
                MasterWarning(
                    WarningCode.REFERENCE_UNLIKE,
                    f"The reference's tone is {apart.mean():.1f} dB away on average; within"
                    f" {_UNLIKE_DB:.0f} dB it can be followed well.",
                    float(apart.mean()),
                    _UNLIKE_DB,
                )
            )
    return tuple(warnings)


def _tone(spectrum: MeanSpectrum, settings: MatchSettings) -> MeanSpectrum:
    return spectrum if settings.whole_spectrum else spectrum.of_loud_pieces
