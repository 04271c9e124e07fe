"""A master's report as one HTML file: pictures, reasons and two players; nothing is fetched."""

import base64
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from chorale_client.command import naming
from chorale_client.command.pictures import Line, area, goniometer, lines

if TYPE_CHECKING:
    from chorale.mastering.v1.loudness_pb2 import Loudness
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
_KINDS = {b"RIFF": "audio/wav", b"RF64": "audio/wav", b"fLaC": "audio/flac"}
_ROWS = (
    ("Integrated", "integrated_lufs", "LUFS"),
    ("True peak", "true_peak_dbtp", "dBTP"),
    ("Loudness range", "loudness_range_lu", "LU"),
    ("Peak to loudness", "peak_to_loudness_lu", "LU"),
    ("Most short-term", "max_short_term_lufs", "LUFS"),
    ("Correlation", "stereo_correlation", ""),
)


def page(master: "Master", sounds: Sequence[bytes]) -> str:
    """The page; `sounds` are the input at the master's loudness, and the master."""
    report = master.report
    title = escape(master.file_name)
    seconds = report.after.frame_count / max(1, report.after.sample_rate_hz)
    body = [
        f"<h1>{title}</h1><p>Quality {report.quality_score:.0f} of 100.</p>",
        _figures(report.before, report.after),
        _players(report, sounds),
        *(f"<p>⚠ {escape(warning.message)}</p>" for warning in report.warnings),
        *_pictures(report, naming.clock(seconds)),
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


def _players(report: "MasterReport", sounds: Sequence[bytes]) -> str:
    """Both at one loudness; as much softer as keeps the louder peaks of the input whole."""
    gain_db = report.after.integrated_lufs - report.before.integrated_lufs
    over_db = max(0.0, report.before.true_peak_dbtp + gain_db)
    volume = 10.0 ** (-over_db / 20.0)
    players = "".join(
        f'<p>{name}<br><audio controls preload="none" src="{_data(sound)}"></audio>'
        for name, sound in zip(("Before, as loud as the master", "After"), sounds, strict=True)
    )
    script = (
        "const p=[...document.querySelectorAll('audio')];"
        f"p.forEach(a=>{{a.volume={volume:.4f};"
        "a.onplay=()=>p.forEach(b=>{if(b!==a&&!b.paused){b.pause();a.currentTime=b.currentTime}})})"
    )
    return f"{players}<script>{script}</script>"


def _data(sound: bytes) -> str:
    kind = _KINDS.get(sound[:4], "audio/mpeg")
    return f"data:{kind};base64,{base64.b64encode(sound).decode()}"


def _pictures(report: "MasterReport", end: str) -> list[str]:
    before, after = report.curve_before, report.curve_after
    over_time = [
        Line("before", "before", before.short_term_lufs),
        Line("after", "after", after.short_term_lufs),
    ]
    octaves = [
        Line("before", "before", report.before.spectrum_db),
        Line("after", "after", report.after.spectrum_db),
    ]
    deepest = min(report.gain_reduction_db, default=0.0)
    low = min(-6.0, deepest)
    found = [
        lines("Short-term loudness", over_time, -50.0, 0.0, "LUFS", ("0:00", end)),
        lines("Spectrum in third octaves", octaves, -60.0, 0.0, "dB", ("20 Hz", "20 kHz")),
        area("Gain reduction", report.gain_reduction_db, low, "dB", ("0:00", end)),
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
