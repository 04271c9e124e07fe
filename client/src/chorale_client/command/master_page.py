"""A master's report as one HTML file: pictures, reasons and two players; nothing is fetched."""

import base64
import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from chorale_client.command import naming
from chorale_client.command.listening import Comparison
from chorale_client.command.pictures import Axes, Line, area, goniometer, lines

if TYPE_CHECKING:
    from chorale.audio.v1.audio_pb2 import FrameSpan
    from chorale.mastering.v1.loudness_pb2 import Loudness, LoudnessCurve
    from chorale.mastering.v1.report_pb2 import Master, MasterReport

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 760px; margin: 2em auto; padding: 0 1em;
       color: #222; background: #fff }
table { border-collapse: collapse; width: 100% }
td, th { text-align: left; padding: .2em .6em; border-bottom: 1px solid #ddd; vertical-align: top }
figure { margin: 1.5em 0 }
svg { max-width: 100%; height: auto; font-size: 11px }
polyline { fill: none; stroke-width: 1.4 }
polyline.before { stroke: #c77d2e }
polyline.after { stroke: #1f6f8b }
text.before { fill: #c77d2e }
text.after { fill: #1f6f8b }
polygon.after { fill: #1f6f8b55; stroke: #1f6f8b }
.grid { stroke: #ddd }
.dots { fill: #1f6f8b; opacity: .6 }
audio { width: 100% }
"""
_OCTAVES = ((0.0, "20 Hz"), (7 / 30, "100 Hz"), (17 / 30, "1 kHz"), (27 / 30, "10 kHz"))
_ROWS = (
    ("Integrated", "integrated_lufs", "LUFS"),
    ("True peak", "true_peak_dbtp", "dBTP"),
    ("Loudness range", "loudness_range_lu", "LU"),
    ("Peak to loudness", "peak_to_loudness_lu", "LU"),
    ("Most short-term", "max_short_term_lufs", "LUFS"),
    ("Correlation", "stereo_correlation", ""),
)


def page(master: "Master", comparison: Comparison, span: "FrameSpan | None" = None) -> str:
    """The page; the comparison is what its players play, the span what was mastered of it."""
    report = master.report
    title = escape(master.file_name)
    seconds = report.after.frame_count / max(1, report.after.sample_rate_hz)
    body = [
        f"<h1>{title}</h1><p>Quality {report.quality_score:.0f} of 100.</p>",
        _figures(report.before, report.after),
        _players(comparison),
        *(f"<p>⚠ {escape(warning.message)}</p>" for warning in report.warnings),
        *_pictures(report, _within(report.curve_before, span), seconds),
        _steps(report),
        "".join(f"<p>{escape(advice)}</p>" for advice in report.recommendations),
    ]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style>{''.join(body)}</html>\n"
    )


def _figures(before: "Loudness", after: "Loudness") -> str:
    rows = "".join(
        f"<tr><td>{what}<td>{getattr(before, name):.2f} {unit}<td>{getattr(after, name):.2f} {unit}"
        for what, name, unit in _ROWS
    )
    return f"<table><tr><th><th>Before<th>After{rows}</table>"


def _players(comparison: Comparison) -> str:
    """Both as loud as each other, at one place: starting one goes on where the other was."""
    start, end = naming.clock(comparison.start_seconds), naming.clock(comparison.end_seconds)
    players = "".join(
        f"<p>{passage.title}<br><audio controls loop data-volume={volume:.4f}"
        f' src="data:audio/flac;base64,{base64.b64encode(passage.flac).decode()}"></audio>'
        for passage, volume in zip(comparison.passages, comparison.volumes, strict=True)
    )
    script = (
        "const p=[...document.querySelectorAll('audio')];"
        "p.forEach(a=>{a.volume=a.dataset.volume;"
        "a.onplay=()=>p.forEach(b=>{if(b!==a&&!b.paused){b.pause();a.currentTime=b.currentTime}})})"
    )
    told = f"<p>{start} to {end}, where it is loudest; the louder one is turned down to the other."
    return f"<h2>Listen</h2>{told}{players}<script>{script}</script>"


def _within(curve: "LoudnessCurve", span: "FrameSpan | None") -> Sequence[float]:
    """Short-term loudness of the input, over what was mastered of it."""
    if span is None:
        return curve.short_term_lufs
    first = span.start_frame // curve.hop_frames
    count = -(-span.frame_count // curve.hop_frames) or len(curve.short_term_lufs)
    return curve.short_term_lufs[first : first + count]


def _pictures(report: "MasterReport", before: Sequence[float], seconds: float) -> list[str]:
    after = report.curve_after
    over_time = [
        Line("before", "before", before),
        Line("after", "after", after.short_term_lufs),
    ]
    octaves = [
        Line("before", "before", report.before.spectrum_db),
        Line("after", "after", report.after.spectrum_db),
    ]
    # A multiple of four, so that every line of the grid is a whole number.
    low = min(-8.0, 4.0 * math.floor(min(report.gain_reduction_db, default=0.0) / 4.0))
    later = [(share, naming.clock(seconds * share)) for share in (0.25, 0.5, 0.75, 1.0)]
    clock = [(0.0, "0:00"), *later]
    found = [
        lines("Short-term loudness", over_time, Axes(-48.0, 0.0, "LUFS", clock)),
        lines("Spectrum in third octaves", octaves, Axes(-60.0, 0.0, "dB", _OCTAVES)),
        area("Gain reduction", report.gain_reduction_db, Axes(low, 0.0, "dB", clock)),
    ]
    if report.goniometer:
        found.append(goniometer("Goniometer", report.goniometer))
    return found


def _steps(report: "MasterReport") -> str:
    from chorale.mastering.v1.stages_pb2 import MasterStage

    rows = "".join(
        f"<tr><td>{MasterStage.Name(step.stage).removeprefix('MASTER_STAGE_').lower()}"
        f"<td>{escape(step.action)}<td>{escape(step.reason)}"
        for step in report.steps
    )
    return f"<h2>What was done, and why</h2><table>{rows}</table>"
