"""What a master did, as the contract tells it."""

import math

from chorale.mastering.v1 import report_pb2, stages_pb2

from chorale_mastering import messages
from chorale_mastering.messages.settings import check_of, settings, told
from chorale_mastering.report import CodecPeak, MasterReport, MasterWarning, Step


def report(value: MasterReport) -> report_pb2.MasterReport:
    """The whole report."""
    message = report_pb2.MasterReport(
        before=messages.loudness(value.before),
        after=messages.loudness(value.after),
        steps=[_step(step) for step in value.steps],
        quality_score=value.quality_score,
        quality_parts=value.quality_parts,
        warnings=[warning(each) for each in value.warnings],
        recommendations=value.recommendations,
        settings=settings(value.plan),
        gain_reduction_db=value.gain_reduction_db,
        goniometer=value.goniometer,
        codecs=[_codec(peak) for peak in value.codecs],
        input_compression=told(value.input_compression, report_pb2.CompressionLevel),
    )
    message.before.spectrum_db.extend(value.spectrum_before_db)
    message.after.spectrum_db.extend(value.spectrum_after_db)
    if value.before.curve is not None:
        message.curve_before.CopyFrom(messages.curve(value.before.curve))
    if value.after.curve is not None:
        message.curve_after.CopyFrom(messages.curve(value.after.curve))
    return message


def warning(value: MasterWarning) -> report_pb2.MasterWarning:
    """One thing to know."""
    return report_pb2.MasterWarning(
        code=told(value.code, report_pb2.MasterWarningCode),
        message=value.message,
        found=value.found,
        wanted=value.wanted,
    )


def _step(step: Step) -> report_pb2.MasterStep:
    return report_pb2.MasterStep(
        stage=told(step.stage, stages_pb2.MasterStage),
        action=step.action,
        reason=step.reason,
        values={name: _finite(value) for name, value in step.values.items()},
        latency_frames=step.latency_frames,
    )


def _codec(peak: CodecPeak) -> report_pb2.CodecResult:
    return report_pb2.CodecResult(
        codec=check_of(peak.codec),
        true_peak_dbtp=peak.true_peak_dbtp,
        lowered_db=peak.lowered_db,
        rounds=peak.round_count,
    )


def _finite(value: float) -> float:
    return value if math.isfinite(value) else messages.SILENT_PEAK_DB
