"""Pictures of a master as inline SVG: plain text, no library, nothing fetched."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

_WIDTH, _HEIGHT, _LEFT, _FOOT = 720.0, 220.0, 44.0, 22.0
_SILENT = -70.0  # what was not measured, or not heard, is a gap


@dataclass(frozen=True)
class Line:
    """One curve: a name for the legend, a class for its colour, and its values."""

    name: str
    kind: str
    values: Sequence[float]


@dataclass(frozen=True)
class Axes:
    """What the picture reaches over: from low to high, and what is told along its foot."""

    low: float
    high: float
    unit: str
    foot: Sequence[tuple[float, str]]  # a share of the width, and what lies there


def lines(title: str, curves: Sequence[Line], axes: Axes) -> str:
    """Curves over the same axes."""
    low, high = axes.low, axes.high
    parts = [_grid(axes)]
    for curve in curves:
        points = [
            (value, f"{_across(number, len(curve.values)):.1f},{_up(value, low, high):.1f}")
            for number, value in enumerate(curve.values)
        ]
        for is_heard, run in groupby(points, key=lambda point: point[0] > _SILENT):
            if is_heard:
                shown = " ".join(point for _, point in run)
                parts.append(f'<polyline class="{curve.kind}" points="{shown}"/>')
    legend = "".join(
        f'<text class="{curve.kind}" x="{_LEFT + 8 + 90 * number}" y="14">{curve.name}</text>'
        for number, curve in enumerate(curves)
    )
    return _picture(title, "".join(parts) + legend, _WIDTH, _HEIGHT)


def area(title: str, values: Sequence[float], axes: Axes) -> str:
    """What hangs down from zero, as a filled curve."""
    low = axes.low
    points = [
        f"{_across(number, len(values)):.1f},{_up(value, low, 0.0):.1f}"
        for number, value in enumerate(values)
    ]
    top = _up(0.0, low, 0.0)
    edge = f"{_LEFT:.1f},{top:.1f} {' '.join(points)} {_WIDTH:.1f},{top:.1f}"
    body = f'{_grid(axes)}<polygon class="after" points="{edge}"/>'
    return _picture(title, body, _WIDTH, _HEIGHT)


def goniometer(title: str, pairs: Sequence[float]) -> str:
    """Middle upwards and side sideways: a line is mono, a circle is wide."""
    half = _HEIGHT / 2.0
    most = max((abs(value) for value in pairs), default=0.0) or 1.0
    dots = "".join(
        f'<circle cx="{half + side / most * half * 0.95:.1f}"'
        f' cy="{half - middle / most * half * 0.95:.1f}" r="1"/>'
        for middle, side in zip(pairs[::2], pairs[1::2], strict=True)
    )
    cross = f'<path class="grid" d="M0 0L{_HEIGHT} {_HEIGHT}M{_HEIGHT} 0L0 {_HEIGHT}"/>'
    told = "".join(
        f'<text x="{x:g}" y="12" text-anchor="{anchor}">{name}</text>'
        for name, x, anchor in (("L", 2, "start"), ("M", half, "middle"), ("R", _HEIGHT - 2, "end"))
    )
    return _picture(title, f'{cross}<g class="dots">{dots}</g>{told}', _HEIGHT, _HEIGHT)


def _picture(title: str, body: str, width: float, height: float) -> str:
    return (
        f'<figure><figcaption>{title}</figcaption><svg viewBox="0 0 {width:g} {height:g}"'
        f' width="{width:g}" role="img" aria-label="{title}">{body}</svg></figure>'
    )


def _grid(axes: Axes) -> str:
    parts = []
    for quarter in range(5):
        value = axes.low + (axes.high - axes.low) * quarter / 4.0
        y = _up(value, axes.low, axes.high)
        parts.append(
            f'<path class="grid" d="M{_LEFT} {y:.1f}H{_WIDTH}"/>'
            f'<text x="{_LEFT - 4}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>'
        )
    for share, text in axes.foot:
        anchor = "start" if share < 0.02 else "end" if share > 0.98 else "middle"
        x = _LEFT + (_WIDTH - _LEFT) * share
        parts.append(f'<text x="{x:.1f}" y="{_HEIGHT - 4}" text-anchor="{anchor}">{text}</text>')
    return "".join(parts) + f'<text x="2" y="12">{axes.unit}</text>'


def _across(number: int, count: int) -> float:
    return _LEFT + (_WIDTH - _LEFT) * number / max(1, count - 1)


def _up(value: float, low: float, high: float) -> float:
    share = (min(high, max(low, value)) - low) / (high - low)
    return 18.0 + (1.0 - share) * (_HEIGHT - _FOOT - 18.0)
