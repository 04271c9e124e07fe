"""Pictures as inline SVG, drawn by hand: nothing to load, nothing to install."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

_WIDTH, _HEIGHT = 960, 180
_COLUMNS = 480


def waveform(
    signal: NDArray[np.float32], duration_seconds: float, beats_seconds: Sequence[float] = ()
) -> str:
    """The outline of a signal (frames, channels) over time, with lines where the beats are."""
    edges = np.linspace(0, len(signal), _COLUMNS + 1).astype(int)
    middle = _HEIGHT / 2
    scale = 0.92 * middle
    bars = []
    for column, (begin, end) in enumerate(pairwise(edges)):
        piece = signal[begin:end] if end > begin else np.zeros((1, 1), np.float32)
        top, bottom = middle - scale * piece.max(), middle - scale * piece.min()
        x = (column + 0.5) * _WIDTH / _COLUMNS
        bars.append(f"M{x:.1f} {top:.1f}V{max(bottom, top + 0.6):.1f}")
    lines = "".join(
        f"M{_WIDTH * beat / duration_seconds:.1f} 0V{_HEIGHT}"
        for beat in beats_seconds
        if 0 <= beat <= duration_seconds
    )
    body = f'<path class="wave" d="{"".join(bars)}"/>'
    if lines:
        body += f'<path class="beat" d="{lines}"/>'
    return _picture(body + _time_axis(duration_seconds), "Waveform of the song")


def curve(
    values: Sequence[float], duration_seconds: float, low: float, high: float, label: str
) -> str:
    """A line of values over time, between two bounds; what lies outside is drawn at the bound."""
    if len(values) < 2 or high <= low:
        return ""
    points = []
    for index, value in enumerate(values):
        share = (min(max(float(value), low), high) - low) / (high - low)
        x = _WIDTH * index / (len(values) - 1)
        points.append(f"{x:.1f},{(_HEIGHT - 20) * (1 - share) + 4:.1f}")
    bounds = f'<text x="4" y="14">{high:g}</text><text x="4" y="{_HEIGHT - 22}">{low:g}</text>'
    line = f'<polyline class="curve" points="{" ".join(points)}"/>'
    return _picture(line + bounds + _time_axis(duration_seconds), label)


def timings(rows: Sequence[tuple[str, float]]) -> str:
    """Horizontal bars: how long each step took."""
    longest = max((seconds for _, seconds in rows), default=0.0) or 1.0
    step = 26
    body = ""
    for number, (name, seconds) in enumerate(rows):
        y = number * step
        width = max(1.0, 620 * seconds / longest)
        body += (
            f'<text x="176" y="{y + 17}" text-anchor="end">{escape(name)}</text>'
            f'<rect class="bar" x="184" y="{y + 4}" width="{width:.1f}" height="16" rx="3"/>'
            f'<text x="{192 + width:.1f}" y="{y + 17}">{seconds:.2f} s</text>'
        )
    return _picture(body, "Seconds each step took", height=step * len(rows) + 8)


def _time_axis(duration_seconds: float) -> str:
    step = 1 if duration_seconds <= 12 else 2 if duration_seconds <= 40 else 10
    return "".join(
        f'<text x="{_WIDTH * second / duration_seconds + 3:.1f}" y="{_HEIGHT - 4}">{second} s'
        "</text>"
        for second in range(step, int(duration_seconds), step)
    )


def _picture(body: str, label: str, height: int = _HEIGHT) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(label)}">'
        f"<title>{escape(label)}</title>{body}</svg>"
    )
