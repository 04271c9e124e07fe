"""Pictures, shape by shape."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chorale_analysis.pictures import glyphs, hearing, order
from chorale_analysis.pictures.canvas import Canvas, Colour, DotCanvas, Dots, SvgCanvas
from chorale_analysis.pictures.hearing import Grid, Seen
from chorale_analysis.pictures.order import Order, Score, Stripe
from chorale_analysis.tonality import TONICS

_LEFT, _FOOT, _TOP, _RIGHT = 52, 18, 6, 6
_STEPS_SECONDS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600)
_LETTER_PIXELS = glyphs.ADVANCE
_TICK_PIXELS = 80  # at least between the labels of time
# Dark to bright, perceptually even: black, violet, red, orange, pale yellow.
_HEAT = np.array([[0, 0, 8], [66, 10, 104], [165, 44, 96], [237, 105, 37], [252, 255, 164]])
_GROUPS: tuple[Colour, ...] = (
    (86, 140, 200), (214, 120, 70), (104, 168, 104), (190, 100, 150), (150, 130, 200),
    (180, 160, 80), (90, 170, 170), (160, 120, 100),
)  # fmt: skip
_HERTZ = ((100, "100"), (500, "500"), (1000, "1k"), (2000, "2k"), (5000, "5k"))
_LOUDEST_LUFS, _SOFTEST_LUFS = 0.0, -60.0


@dataclass(frozen=True)
class _Paper:
    ground: Colour
    ink: Colour
    faint: Colour
    line: Colour


_LIGHT = _Paper((255, 255, 255), (30, 30, 30), (205, 205, 205), (40, 90, 170))
_DARK = _Paper((18, 18, 22), (225, 225, 225), (60, 60, 66), (120, 180, 255))


def of_sound(wanted: Order, seen: Seen, start_seconds: float, end_seconds: float) -> bytes:
    """A picture of what a `Watcher` saw."""
    drawing = _Drawing(wanted, start_seconds, end_seconds)
    if wanted.kind == order.WAVEFORM:
        drawing.waveform(seen.grid)
    else:
        drawing.grid(seen.grid)
    drawing.time()
    return drawing.canvas.written()


def of_score(wanted: Order, score: Score) -> bytes:
    """A picture of what was found."""
    drawing = _Drawing(wanted, score.start_seconds, score.end_seconds)
    if wanted.kind == order.TEMPO:
        drawing.tempo(score.tempo)
    else:
        drawing.timeline(score)
    drawing.time()
    return drawing.canvas.written()


class _Drawing:
    def __init__(self, wanted: Order, start_seconds: float, end_seconds: float) -> None:
        self._wanted, self._start = wanted, start_seconds
        self._seconds = max(1e-6, end_seconds - start_seconds)
        self.paper = _DARK if wanted.is_dark else _LIGHT
        kind = SvgCanvas if wanted.is_svg else DotCanvas
        self.canvas: Canvas = kind(wanted.width, wanted.height, self.paper.ground)
        small = wanted.width < 4 * _LEFT or wanted.height < 4 * _FOOT
        self._left, self._foot = (0, 0) if small else (_LEFT, _FOOT)
        self._width = wanted.width - self._left - (0 if small else _RIGHT)
        self._top = 0 if small else _TOP
        self._height = wanted.height - self._foot - self._top

    def grid(self, grid: Grid) -> None:
        """Brightness over time and whatever lies upwards."""
        dots = heat(grid[::-1])
        self.canvas.image(self._left, self._top, self._width, self._height, dots)
        marks: list[tuple[float, str]] = []
        if self._wanted.kind == order.SPECTROGRAM:
            marks = [(_height_of(hertz), name) for hertz, name in _HERTZ]
        elif self._wanted.kind == order.CHROMA:
            marks = [((n + 0.5) / 12.0, name) for n, name in enumerate(TONICS)]
        for share, name in marks:
            y = self._top + self._height * (1.0 - share)
            self._beside(y - 5, name)

    def waveform(self, grid: Grid) -> None:
        """The least and greatest sample of each column."""
        middle, half = self._top + self._height / 2.0, self._height / 2.0
        wide = self._width / grid.shape[1]
        for column, (low, high) in enumerate(np.clip(grid, -1.0, 1.0).T):
            top = middle - half * float(high)
            rise = half * float(high - low)
            self.canvas.box(self._left + column * wide, top, wide, rise, self.paper.line)
        for level, name in ((1.0, "1"), (0.0, "0"), (-1.0, "-1")):
            self._beside(middle - half * 0.95 * level - 5, name)

    def tempo(self, curve: Sequence[tuple[float, float]]) -> None:
        """Beats per minute over time; nothing where there is no beat."""
        if not curve:
            self.canvas.text(self._left + 8, self._top + 8, "NO BEAT", self.paper.ink)
            return
        speeds = [bpm for _, bpm in curve]
        low, high = 0.9 * min(speeds), 1.1 * max(speeds)
        self._levels(low, high, "{:.0f}", self._top, self._height)
        points = [(self._across(at), self._up(bpm, low, high, self._top, self._height))
                  for at, bpm in curve]  # fmt: skip
        self.canvas.curve(points, self.paper.line)

    def timeline(self, score: Score) -> None:
        """Rows of sections, keys, chords, beats and loudness, of those that there are."""
        all_rows = (
            ("PART", score.sections, 2.0),
            ("KEY", score.keys, 1.0),
            ("CHORD", score.chords, 2.0),
        )
        rows = [row for row in all_rows if row[1]]
        shares = sum(share for *_, share in rows) + (1.0 if score.beats else 0.0)
        shares += 3.0 if score.loudness else 0.0
        unit, y = self._height / max(1.0, shares), float(self._top)
        for name, stripes, share in rows:
            self._stripes(name, stripes, y, unit * share - 2.0)
            y += unit * share
        if score.beats:
            self._beside(y, "BEAT")
            for at, is_first in score.beats:
                high = unit - 2.0 if is_first else 0.5 * unit
                self.canvas.box(self._across(at), y, 1.0, high, self.paper.ink)
            y += unit
        if score.loudness:
            self._levels(_SOFTEST_LUFS, _LOUDEST_LUFS, "{:.0f}", y, 3.0 * unit)
            points = [
                (self._across(at), self._up(level, _SOFTEST_LUFS, _LOUDEST_LUFS, y, 3.0 * unit))
                for at, level in score.loudness
            ]
            self.canvas.curve(points, self.paper.line)

    def time(self) -> None:
        """Marks of time along the foot."""
        if not self._foot:
            return
        most = max(1, self._width // _TICK_PIXELS)
        step = next((s for s in _STEPS_SECONDS if self._seconds / s <= most), _STEPS_SECONDS[-1])
        first = int(np.ceil(self._start / step))
        for number in range(first, int((self._start + self._seconds) / step) + 1):
            x = self._across(number * step)
            self.canvas.box(x, self._top + self._height, 1.0, 4.0, self.paper.ink)
            y = self._top + self._height + 6
            self.canvas.text(x + 3, y, _clock(number * step), self.paper.ink)

    def _stripes(self, name: str, stripes: Sequence[Stripe], y: float, height: float) -> None:
        self._beside(y, name)
        for stripe in stripes:
            left, right = self._across(stripe.start_seconds), self._across(stripe.end_seconds)
            colour = _GROUPS[stripe.group % len(_GROUPS)]
            self.canvas.box(left, y, max(1.0, right - left - 1.0), height, colour)
            # Whole or not at all: the beginning of a chord's name is another chord's name.
            if len(stripe.label) * _LETTER_PIXELS <= right - left - 4:
                self.canvas.text(left + 3, y + 3, stripe.label, self.paper.ground)

    def _levels(self, low: float, high: float, form: str, y: float, height: float) -> None:
        for share in (0.1, 0.5, 0.9):
            level = low + (high - low) * share
            at = self._up(level, low, high, y, height)
            self.canvas.box(self._left, at, self._width, 1.0, self.paper.faint)
            self._beside(at - 5, form.format(level))

    def _beside(self, y: float, text: str) -> None:
        if self._left:
            self.canvas.text(2, y, text[:6], self.paper.ink)

    def _across(self, seconds: float) -> float:
        share = min(1.0, max(0.0, (seconds - self._start) / self._seconds))
        return self._left + self._width * share

    @staticmethod
    def _up(value: float, low: float, high: float, y: float, height: float) -> float:
        share = min(1.0, max(0.0, (value - low) / max(1e-9, high - low)))
        return y + (height - 1.0) * (1.0 - share)


def heat(grid: Grid) -> Dots:
    """Brightness as colour."""
    steps = np.linspace(0.0, 1.0, len(_HEAT))
    channels = [np.interp(grid, steps, _HEAT[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).astype(np.uint8)


def _height_of(hertz: float) -> float:
    """How far up a spectrogram a frequency lies, as a share: its rows are even in mel."""
    low, here, high = (
        2595.0 * np.log10(1.0 + one / 700.0)
        for one in (hearing.LOWEST_HERTZ, hertz, hearing.HIGHEST_HERTZ)
    )
    return float((here - low) / (high - low))


def _clock(seconds: float) -> str:
    whole = int(seconds)
    tenths = f".{round(seconds * 10) % 10}" if abs(seconds - whole) > 0.01 else ""
    return f"{whole // 60}:{whole % 60:02}{tenths}"
