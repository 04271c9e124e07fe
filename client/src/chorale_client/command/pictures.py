"""Pictures of a master as inline SVG: plain text, no library, nothing fetched."""

from collections.abc import Sequence
from dataclasses import dataclass

_WIDTH, _HEIGHT, _LEFT, _FOOT = 720.0, 220.0, 44.0, 22.0


@dataclass(frozen=True)
class Line:
    """One curve: a name for the legend, a class for its colour, and its values."""

    name: str
    kind: str
    values: Sequence[float]


def lines(
    title: str, curves: Sequence[Line], low: float, high: float, unit: str, ends: tuple[str, str]
) -> str:
    """Curves over one axis; `ends` are told under its first and last point."""
    parts = [_axes(low, high, unit, ends)]
    for curve in curves:
        points = " ".join(
            f"{_across(number, len(curve.values)):.1f},{_up(value, low, high):.1f}"
            for number, value in enumerate(curve.values)
        )
        parts.append(f'<polyline class="{curve.kind}" points="{points}"/>')
    legend = "".join(
        f'<text class="{curve.kind}" x="{_LEFT + 8 + 90 * number}" y="14">{curve.name}</text>'
        for number, curve in enumerate(curves)
    )
    return _picture(title, "".join(parts) + legend, _WIDTH, _HEIGHT)


def area(title: str, values: Sequence[float], low: float, unit: str, ends: tuple[str, str]) -> str:
    """What hangs down from zero, as a filled curve."""
    points = [
        f"{_across(number, len(values)):.1f},{_up(value, low, 0.0):.1f}"
        for number, value in enumerate(values)
    ]
    top = _up(0.0, low, 0.0)
    edge = f"{_LEFT:.1f},{top:.1f} {' '.join(points)} {_WIDTH:.1f},{top:.1f}"
    body = f'{_axes(low, 0.0, unit, ends)}<polygon class="after" points="{edge}"/>'
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
    return _picture(title, f'{cross}<g class="dots">{dots}</g>', _HEIGHT, _HEIGHT)


def _picture(title: str, body: str, width: float, height: float) -> str:
    return (
        f'<figure><figcaption>{title}</figcaption><svg viewBox="0 0 {width:g} {height:g}"'
        f' width="{width:g}" role="img" aria-label="{title}">{body}</svg></figure>'
    )


def _axes(low: float, high: float, unit: str, ends: tuple[str, str]) -> str:
    marks = []
    for quarter in range(5):
        value = low + (high - low) * quarter / 4.0
        y = _up(value, low, high)
        marks.append(
            f'<path class="grid" d="M{_LEFT} {y:.1f}H{_WIDTH}"/>'
            f'<text x="{_LEFT - 4}" y="{y + 4:.1f}" text-anchor="end">{value:.0f}</text>'
        )
    foot = _HEIGHT - 4
    return "".join(marks) + (
        f'<text x="{_LEFT}" y="{foot}">{ends[0]}</text>'
        f'<text x="{_WIDTH}" y="{foot}" text-anchor="end">{ends[1]}</text>'
        f'<text x="2" y="12">{unit}</text>'
    )


def _across(number: int, count: int) -> float:
    return _LEFT + (_WIDTH - _LEFT) * number / max(1, count - 1)


def _up(value: float, low: float, high: float) -> float:
    share = (min(high, max(low, value)) - low) / (high - low)
    return 18.0 + (1.0 - share) * (_HEIGHT - _FOOT - 18.0)
