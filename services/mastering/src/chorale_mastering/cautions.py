"""What a caller should know of an input and of a result: typed, with figures."""

import math

from chorale_mastering.chain import OFFSET_DBFS, width
from chorale_mastering.inspection import Inspection
from chorale_mastering.loudness import Loudness
from chorale_mastering.plan import Stage
from chorale_mastering.report import CompressionLevel, MasterWarning, WarningCode
from chorale_mastering.stereo import StereoWidth
from chorale_mastering.work import Work

_HEAVY_DB = 6.0
_QUIET_LUFS = -50.0
_OUT_OF_PHASE = -0.1
_OVERCOMPRESSED_DB = 6.0
# Crest factors in dB, as the contract states them.
_LEVELS = ((18.0, CompressionLevel.NONE), (14.0, CompressionLevel.LIGHT))
_HEAVY_CREST_DB = 9.0
# What was asked for and what was reached may differ by this much without a word.
_SILENT_MISS_LU = 0.05


def compression_level(facts: Inspection) -> CompressionLevel:
    """How hard a programme was compressed before it came, by its crest factor."""
    for least, level in _LEVELS:
        if facts.crest_factor_db > least:
            return level
    is_moderate = facts.crest_factor_db > _HEAVY_CREST_DB
    return CompressionLevel.MODERATE if is_moderate else CompressionLevel.HEAVY


def of_input(loudness: Loudness, facts: Inspection) -> list[MasterWarning]:
    """What is to be known of an input."""
    found = []
    heard = loudness.integrated_lufs
    if heard is None or heard < _QUIET_LUFS:
        level = "nothing above -70 LUFS" if heard is None else f"{heard:.1f} LUFS"
        message = f"The input holds {level}; noise will rise with it."
        found.append(_warning(WarningCode.INPUT_QUIET, message, heard or -70.0, _QUIET_LUFS))
    if facts.clipped_run_count:
        message = f"The input is clipped in {facts.clipped_run_count} places."
        found.append(_warning(WarningCode.INPUT_CLIPPED, message, facts.clipped_run_count, 0.0))
    if heard is not None and facts.crest_factor_db < _OVERCOMPRESSED_DB:
        message = (
            f"The input's peaks are {facts.crest_factor_db:.1f} dB above its mean; less than"
            f" {_OVERCOMPRESSED_DB:.0f} dB leaves nothing to compress."
        )
        code = WarningCode.INPUT_OVERCOMPRESSED
        found.append(_warning(code, message, facts.crest_factor_db, _OVERCOMPRESSED_DB))
    if loudness.stereo_correlation < _OUT_OF_PHASE:
        message = (
            f"Left and right correlate by {loudness.stereo_correlation:.2f}: in mono they cancel"
            " each other."
        )
        found.append(_warning(WarningCode.PHASE, message, loudness.stereo_correlation, 0.0))
    if facts.offset_dbfs > OFFSET_DBFS:
        message = f"The input carries a constant offset of {facts.offset_dbfs:.1f} dBFS."
        found.append(_warning(WarningCode.DC_OFFSET, message, facts.offset_dbfs, OFFSET_DBFS))
    lowpass = facts.spectrum.lowpass_hz()
    if lowpass > 0.0:
        message = f"Nothing lies above {lowpass:.0f} Hz: a lossy codec was there before."
        wanted = facts.sample_rate_hz / 2.0
        found.append(_warning(WarningCode.LOSSY_SOURCE, message, lowpass, wanted))
    return found


def of_master(work: Work) -> list[MasterWarning]:
    """What is to be known of a master."""
    plan, landing = work.plan, work.landed.landing
    found = of_input(work.heard.before, work.heard.facts)
    reached = landing.loudness
    if plan.has(Stage.GAIN) and (
        reached is None or abs(reached - plan.target_loudness_lufs) > _SILENT_MISS_LU
    ):
        found.append(_unreachable(work, reached))
    if work.limited_db > _HEAVY_DB:
        message = f"The limiter took {work.limited_db:.1f} dB; past {_HEAVY_DB:.0f} dB it is heard."
        found.append(_warning(WarningCode.HEAVY_LIMITING, message, work.limited_db, _HEAVY_DB))
    stage = work.link(Stage.WIDTH)
    if stage is not None and isinstance(stage.processor, StereoWidth):
        wanted, least = width(plan).percent, stage.processor.least_percent
        if wanted > 100.0 and least < wanted - 0.5:
            message = f"The width was held at {least:.0f} % where mono would have suffered."
            found.append(_warning(WarningCode.WIDTH_LIMITED, message, least, wanted))
    lowered = max((peak.lowered_db for peak in work.landed.codecs), default=0.0)
    if lowered > 0.0:
        message = f"Peaks were held {lowered:.2f} dB lower, to stay under the ceiling after codecs."
        found.append(_warning(WarningCode.CODEC_LOWERED, message, lowered, 0.0))
    return found


def _unreachable(work: Work, reached: float | None) -> MasterWarning:
    wanted = work.plan.target_loudness_lufs
    if reached is None:
        message = (
            f"The sound is too quiet or too short to have a loudness; {wanted:.1f} LUFS cannot be"
            " reached and its level was kept."
        )
        return _warning(WarningCode.TARGET_UNREACHABLE, message, -70.0, wanted)
    message = (
        f"{reached:.2f} LUFS was reached of {wanted:.2f}: under a ceiling of"
        f" {work.plan.ceiling_dbtp:.1f} dBTP this programme gets no nearer."
    )
    return _warning(WarningCode.TARGET_UNREACHABLE, message, reached, wanted)


def _warning(code: WarningCode, message: str, found: float, wanted: float) -> MasterWarning:
    finite = found if math.isfinite(found) else -200.0
    return MasterWarning(code, message, float(finite), float(wanted))
