"""What pictures of sound are made of, gathered in one pass and never larger than the picture."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chorale_analysis.chroma import ChromaListener
from chorale_analysis.pictures import order
from chorale_analysis.spectra import RATE_HZ, Array, Windows, mel_bands

Grid = npt.NDArray[np.float64]  # (rows, columns), from 0 to 1; the first row is the lowest

WINDOW, BANDS, LOWEST_HERTZ, HIGHEST_HERTZ = 2048, 160, 30.0, 11000.0
_RANGE_DB = 80.0
_LEAST_HOP, _MOST_HOP = 64, 4096
_SIMILARITY_MOST = 600


@dataclass(frozen=True)
class Seen:
    """A grid of brightness, or the least and greatest sample of every column."""

    grid: Grid


class Watcher:
    """Takes mono sound at `RATE_HZ` and makes the grid of one kind of picture."""

    rate_hz = RATE_HZ

    def __init__(self, kind: str, columns: int, frame_count: int) -> None:
        self._kind, self._frames, self._seen = kind, max(1, frame_count), 0
        self._hop = min(_MOST_HOP, max(_LEAST_HOP, self._frames // (2 * columns)))
        self._columns = min(columns, self._frames // self._hop + 1)
        self._windows = Windows(WINDOW, self._hop)
        self._bands = mel_bands(WINDOW, BANDS, LOWEST_HERTZ, HIGHEST_HERTZ)
        self._chroma = ChromaListener()
        rows = 2 if kind == order.WAVEFORM else BANDS
        self._grid = np.zeros((rows, self._columns))
        self._hops = 0

    def push(self, block: Array) -> None:
        """Watches the next mono block."""
        if self._kind in (order.CHROMA, order.SELF_SIMILARITY):
            self._chroma.push(block)
        elif self._kind == order.WAVEFORM:
            self._wave(block)
        else:
            self._spectra(self._windows.push(block))

    def find(self) -> Seen:
        """The grid, once the sound has ended."""
        if self._kind == order.WAVEFORM:
            return Seen(self._grid)
        if self._kind == order.SPECTROGRAM:
            self._spectra(self._windows.finish())
            decibels = 20.0 * np.log10(np.maximum(self._grid, 1e-9))
            loudest = max(float(decibels.max()), -100.0)
            return Seen(np.clip((decibels - loudest) / _RANGE_DB + 1.0, 0.0, 1.0))
        classes = self._chroma.finish().classes
        if self._kind == order.CHROMA:
            return Seen(_columns(classes, min(self._columns, len(classes))).T)
        few = _columns(classes, min(len(classes), self._columns, _SIMILARITY_MOST))
        length = np.linalg.norm(few, axis=1, keepdims=True)
        few = few / np.maximum(length, 1e-9)
        return Seen(np.clip(few @ few.T, 0.0, 1.0)[::-1])

    def _spectra(self, batches: list[Array]) -> None:
        for spectra in batches:
            bands = spectra @ self._bands
            places = (self._hops + np.arange(len(bands))) * self._hop * self._columns
            columns = np.minimum(places // self._frames, self._columns - 1)
            np.maximum.at(self._grid.T, columns, bands)
            self._hops += len(bands)

    def _wave(self, block: Array) -> None:
        places = (self._seen + np.arange(len(block))) * self._columns // self._frames
        columns = np.minimum(places, self._columns - 1)
        np.minimum.at(self._grid[0], columns, block)
        np.maximum.at(self._grid[1], columns, block)
        self._seen += len(block)


def _columns(rows: Grid, count: int) -> Grid:
    """Means of successive rows, so many of them."""
    edges = np.arange(count + 1) * len(rows) // max(1, count)
    total = np.concatenate([np.zeros((1, rows.shape[1])), np.cumsum(rows, axis=0)])
    means: Grid = (total[edges[1:]] - total[edges[:-1]]) / np.diff(edges)[:, None]
    return means
