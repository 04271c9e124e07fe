"""The report of a master, put together."""

from chorale_mastering import cautions
from chorale_mastering.quality import quality_parts, quality_score
from chorale_mastering.report import MasterReport, WarningCode
from chorale_mastering.steps import steps
from chorale_mastering.work import Work

# What to try next, by what there is to know.
_ADVICE = {
    WarningCode.TARGET_UNREACHABLE: "Ask for a lower loudness, or allow a higher ceiling.",
    WarningCode.INPUT_CLIPPED: "Export the mix again with its peaks below 0 dBFS.",
    WarningCode.INPUT_OVERCOMPRESSED: "Master a mix without a limiter on its sum.",
    WarningCode.INPUT_QUIET: "Check that this is the right file, and its level.",
    WarningCode.PHASE: "Check the polarity of the channels, or narrow the image.",
    WarningCode.WIDTH_LIMITED: "Ask for less width, or allow a lower correlation.",
    WarningCode.HEAVY_LIMITING: "Ask for 2 LU less, or for a higher compression ratio.",
    WarningCode.REFERENCE_LOUD: "Choose a reference below -6 LUFS.",
    WarningCode.REFERENCE_UNLIKE: "Choose a longer reference, of the same genre.",
    WarningCode.GENRE_LOUDNESS: "Take the genre's preset for its usual loudness.",
    WarningCode.LOSSY_SOURCE: "Master from the lossless original, if there is one.",
}


def report(work: Work) -> MasterReport:
    """All facts of one master."""
    warnings = (*cautions.of_master(work), *work.reference_warnings)
    parts = quality_parts(work)
    advice = dict.fromkeys(_ADVICE[warning.code] for warning in warnings if warning.code in _ADVICE)
    return MasterReport(
        before=work.heard.before,
        after=work.written.after,
        steps=steps(work),
        quality_score=quality_score(parts),
        quality_parts=parts,
        warnings=warnings,
        recommendations=tuple(advice),
        plan=work.plan,
        input_compression=cautions.compression_level(work.heard.facts),
        spectrum_before_db=work.heard.facts.spectrum.third_octaves_db(),
        spectrum_after_db=work.written.facts.spectrum.third_octaves_db(),
        gain_reduction_db=work.gain_reduction_db(),
        goniometer=work.written.goniometer,
        codecs=work.landed.codecs,
    )
