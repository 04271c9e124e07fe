"""Two ways to draw the same few shapes: as dots, and as SVG."""

import base64
import struct
import zlib
from collections.abc import Sequence
from typing import Protocol
from xml.sax.saxutils import escape

import numpy as np
import numpy.typing as npt

from chorale_analysis.pictures import glyphs

Colour = tuple[int, int, int]
Dots = npt.NDArray[np.uint8]  # (height, width, 3)


class Canvas(Protocol):
    """What pictures are drawn on; places are in pixels from the top left."""

    def image(self, x: int, y: int, width: int, height: int, dots: Dots) -> None:
        """Dots, stretched over a rectangle."""

    def box(self, x: float, y: float, width: float, height: float, colour: Colour) -> None:
        """A filled rectangle."""

    def curve(self, points: Sequence[tuple[float, float]], colour: Colour) -> None:
        """Straight lines from point to point, from left to right."""

    def text(self, x: float, y: float, text: str, colour: Colour) -> None:
        """A line of text whose top left is here."""

    def written(self) -> bytes:
        """The file."""


def png(dots: Dots) -> bytes:
    """Dots as a PNG file."""
    height, width, _ = dots.shape
    rows = np.zeros((height, 1 + 3 * width), np.uint8)
    rows[:, 1:] = dots.reshape(height, 3 * width)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 6)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


class DotCanvas:
    """Draws dots."""

    def __init__(self, width: int, height: int, ground: Colour) -> None:
        self._dots = np.empty((height, width, 3), np.uint8)
        self._dots[:] = ground

    def image(self, x: int, y: int, width: int, height: int, dots: Dots) -> None:
        """Dots, stretched over a rectangle."""
        rows = np.arange(height) * len(dots) // height
        columns = np.arange(width) * dots.shape[1] // width
        self._dots[y : y + height, x : x + width] = dots[rows][:, columns]

    def box(self, x: float, y: float, width: float, height: float, colour: Colour) -> None:
        """A filled rectangle, at least a dot wide and high."""
        left, top = max(0, round(x)), max(0, round(y))
        right, foot = max(left + 1, round(x + width)), max(top + 1, round(y + height))
        self._dots[top:foot, left:right] = colour

    def curve(self, points: Sequence[tuple[float, float]], colour: Colour) -> None:
        """Straight lines from point to point, from left to right."""
        if not points:
            return
        xs, ys = np.array(points, np.float64).T
        columns = np.arange(int(xs[0]), int(xs[-1]) + 1)
        at = np.interp(columns, xs, ys)
        for column, here, after in zip(columns, at, np.append(at[1:], at[-1]), strict=True):
            self.box(float(column), min(here, after), 1.0, abs(after - here) + 1.0, colour)

    def text(self, x: float, y: float, text: str, colour: Colour) -> None:
        """A line of text, cut where the picture ends."""
        left, top = max(0, round(x)), max(0, round(y))
        part = self._dots[top : top + glyphs.HEIGHT, left : left + glyphs.ADVANCE * len(text)]
        part[glyphs.mask(text)[: part.shape[0], : part.shape[1]]] = colour

    def written(self) -> bytes:
        """The file, PNG."""
        return png(self._dots)


class SvgCanvas:
    """Writes SVG; images are PNG within it."""

    def __init__(self, width: int, height: int, ground: Colour) -> None:
        self._parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
            f' viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11">'
        ]
        self.box(0, 0, width, height, ground)

    def image(self, x: int, y: int, width: int, height: int, dots: Dots) -> None:
        """Dots, stretched over a rectangle."""
        data = base64.b64encode(png(dots)).decode()
        self._parts.append(
            f'<image x="{x}" y="{y}" width="{width}" height="{height}" preserveAspectRatio="none"'
            f' style="image-rendering:pixelated" href="data:image/png;base64,{data}"/>'
        )

    def box(self, x: float, y: float, width: float, height: float, colour: Colour) -> None:
        """A filled rectangle."""
        self._parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 1.0):.1f}"'
            f' height="{max(height, 1.0):.1f}" fill="{_hex(colour)}"/>'
        )

    def curve(self, points: Sequence[tuple[float, float]], colour: Colour) -> None:
        """Straight lines from point to point."""
        at = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self._parts.append(f'<polyline points="{at}" fill="none" stroke="{_hex(colour)}"/>')

    def text(self, x: float, y: float, text: str, colour: Colour) -> None:
        """A line of text."""
        self._parts.append(
            f'<text x="{x:.1f}" y="{y + 10:.1f}" fill="{_hex(colour)}">{escape(text)}</text>'
        )

    def written(self) -> bytes:
        """The file, SVG."""
        return ("".join(self._parts) + "</svg>").encode()


def _hex(colour: Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
