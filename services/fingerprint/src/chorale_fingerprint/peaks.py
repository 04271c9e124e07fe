"""Where sound stands out: the loudest points of its spectrum in time and pitch.

Noise, codecs, equalisers and telephones move few of them, and a change of speed or pitch moves
all alike: along time, along pitch, or both. A. Wang, "An Industrial-Strength Audio Search
Algorithm" (ISMIR 2003); pitch is counted in semitones, as in J. Six, M. Leman, "Panako" (ISMIR
2014), so that a transposition is a shift.

Conventions: sound goes in as float32 mono in [-1, 1], in blocks of any size and at any rate.
Times are counted in eighths of a hop of 256 frames at 11025 Hz, pitches in 1/64 semitone above
250 Hz: whole numbers, so that what is made of them is the same on every machine. Silence has no
peaks.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import soxr

RATE_HZ = 11025
WINDOW_FRAMES, HOP_FRAMES = 2048, 256
TIMES_PER_HOP, PITCHES_PER_SEMITONE = 8, 64
TIMES_PER_SECOND = RATE_HZ / HOP_FRAMES * TIMES_PER_HOP
# What a telephone and 8 kHz sound both keep: four octaves, three rows a semitone.
LOWEST_HZ, ROWS_PER_OCTAVE, ROWS = 250.0, 36, 145
# A peak is the loudest within so many hops and rows on each side.
_AROUND_HOPS, _AROUND_ROWS = 5, 4
# It stands out from the mean over so many hops and rows on each side, by so much at least (nepers).
_MEAN_HOPS, _MEAN_ROWS, _PROMINENCE_MIN = 20, 10, 0.7
# So many peaks are kept of each second, those that stand out most.
PEAKS_PER_SECOND = 20
_QUOTA_HOPS = RATE_HZ / HOP_FRAMES / 2
# Power below which nothing stands out: about -90 dB of full scale, under 16-bit noise.
_FLOOR = 1e-4
# Hops picked at once, and how far on each side they depend on others.
_CHUNK_HOPS, _REACH_HOPS = 2048, 64

Integers = npt.NDArray[np.int32]
Mono = npt.NDArray[np.float32]
Levels = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Peaks:
    """Peaks in order of time; `strengths` say how much each stands out, in 1/256 nepers."""

    times: Integers
    pitches: Integers
    strengths: Integers

    def __len__(self) -> int:
        return len(self.times)

    @property
    def seconds(self) -> float:
        """How far the last lies from the first."""
        return float(self.times[-1] - self.times[0]) / TIMES_PER_SECOND if len(self) else 0.0

    def packed(self) -> bytes:
        """As bytes: times as uint32, pitches and strengths as uint16, little-endian."""
        rows = np.empty(len(self), dtype=_ROW)
        rows["time"], rows["pitch"], rows["strength"] = self.times, self.pitches, self.strengths
        return rows.tobytes()

    @classmethod
    def unpacked(cls, packed: bytes) -> "Peaks":
        """What `packed` wrote."""
        rows = np.frombuffer(packed, _ROW)
        return cls(*(rows[name].astype(np.int32) for name in ("time", "pitch", "strength")))

    def between(self, start: float, end: float) -> "Peaks":
        """Those from one time to another."""
        first, last = np.searchsorted(self.times, [start, end])
        return Peaks(*(each[first:last] for each in (self.times, self.pitches, self.strengths)))

    def sampled(self, seconds: float, parts: int) -> "Peaks":
        """All of them where they are few; of long sound so many parts, spread over it."""
        length = float(self.times[-1]) if len(self) else 0.0
        part = seconds * TIMES_PER_SECOND
        if length <= 2 * parts * part:
            return self
        starts = np.linspace(0, length - part, parts)
        return _joined([self.between(start, start + part) for start in starts])


_ROW = np.dtype([("time", "<u4"), ("pitch", "<u2"), ("strength", "<u2")])


class PeakWriter:
    """Turns blocks of mono sound into peaks; how the sound was cut makes no difference."""

    def __init__(self, sample_rate_hz: int) -> None:
        self._resampler = (
            None
            if sample_rate_hz == RATE_HZ
            else soxr.ResampleStream(sample_rate_hz, RATE_HZ, 1, dtype="float32")
        )
        self._sound = np.zeros(0, np.float32)
        self._levels = np.zeros((0, ROWS), np.float32)
        self._first_hop = 0  # of `_levels`
        self._picked_hops = 0
        self._found: list[Peaks] = []

    def push(self, block: Mono) -> None:
        """Takes the next frames."""
        self._feed(block, last=False)
        while self._first_hop + len(self._levels) >= self._picked_hops + _CHUNK_HOPS + _REACH_HOPS:
            self._pick(self._picked_hops + _CHUNK_HOPS)

    def finish(self) -> Peaks:
        """Takes the end of the sound and returns its peaks."""
        self._feed(np.zeros(0, np.float32), last=True)
        self._pick(self._first_hop + len(self._levels))
        return _joined(self._found)

    def so_far(self, since: float) -> Peaks:
        """The peaks from a time on of what has come; earlier ones are forgotten.

        Those of the last half second may change with what comes next.
        """
        # Whole chunks are dropped: of sound without end only so much is kept.
        self._found = [each for each in self._found if len(each) and each.times[-1] >= since]
        last = _peaks(self._levels, self._first_hop)
        last = last.between((self._picked_hops - 0.5) * TIMES_PER_HOP, np.inf)
        return _joined([*self._found, last]).between(since, np.inf)

    def _feed(self, block: Mono, last: bool) -> None:
        if self._resampler is not None:
            block = self._resampler.resample_chunk(block, last=last)
        sound = np.concatenate([self._sound, np.clip(block, -1.0, 1.0)])
        levels = [self._levels, *_levels(sound)]
        self._levels = np.concatenate(levels)
        whole_hops = max(0, (len(sound) - WINDOW_FRAMES) // HOP_FRAMES + 1)
        self._sound = sound[whole_hops * HOP_FRAMES :]

    def _pick(self, end_hop: int) -> None:
        """Picks the peaks up to `end_hop`, and keeps of the levels what later ones depend on."""
        found = _peaks(self._levels[: end_hop + _REACH_HOPS - self._first_hop], self._first_hop)
        start, end = (
            hop * TIMES_PER_HOP - TIMES_PER_HOP // 2 for hop in (self._picked_hops, end_hop)
        )
        self._found.append(found.between(start, end))
        self._picked_hops = end_hop
        kept_from = max(0, end_hop - 2 * _REACH_HOPS)
        self._levels = self._levels[max(0, kept_from - self._first_hop) :]
        self._first_hop = max(self._first_hop, kept_from)


def _joined(parts: Sequence[Peaks]) -> Peaks:
    fields = ("times", "pitches", "strengths")
    return Peaks(*(np.concatenate([getattr(each, name) for each in parts]) for name in fields))


def _bank() -> tuple[slice, Levels]:
    """Which bins of a spectrum are used, and how much of each goes to which row of pitch."""
    bins_hz = np.fft.rfftfreq(WINDOW_FRAMES, 1 / RATE_HZ)
    rows = np.arange(ROWS)
    centres_hz = LOWEST_HZ * 2.0 ** (rows / ROWS_PER_OCTAVE)
    used = slice(
        int(np.searchsorted(bins_hz, LOWEST_HZ * 0.97)),
        int(np.searchsorted(bins_hz, centres_hz[-1] * 1.03)),
    )
    at = ROWS_PER_OCTAVE * np.log2(bins_hz[used] / LOWEST_HZ)
    # Triangles, no narrower than a bin of the spectrum.
    bin_rows = ROWS_PER_OCTAVE * np.log2(1 + RATE_HZ / WINDOW_FRAMES / centres_hz)
    shares = np.maximum(0, 1 - np.abs(at[:, None] - rows) / np.maximum(1.0, bin_rows))
    return used, (shares / shares.sum(axis=0)).astype(np.float32)


_BINS, _SHARES = _bank()
_WINDOW = np.hanning(WINDOW_FRAMES + 1)[:-1].astype(np.float32)


def _levels(sound: Mono) -> Iterator[Levels]:
    """Levels of whole windows by hop and row, in nepers of power, some hops at a time."""
    if len(sound) < WINDOW_FRAMES:
        return
    windows = np.lib.stride_tricks.sliding_window_view(sound, WINDOW_FRAMES)[::HOP_FRAMES]
    for first in range(0, len(windows), 256):
        spectra = np.fft.rfft(windows[first : first + 256] * _WINDOW, axis=1)[:, _BINS]
        power = (spectra.real**2 + spectra.imag**2).astype(np.float32) @ _SHARES
        yield np.log(power + np.float32(_FLOOR))


def _peaks(levels: Levels, first_hop: int) -> Peaks:
    if len(levels) < 3:
        nothing = np.zeros(0, np.int32)
        return Peaks(nothing, nothing, nothing)
    mean = _mean_around(_mean_around(levels, _MEAN_HOPS, 0), _MEAN_ROWS, 1)
    prominence = levels - mean
    greatest = _greatest_around(_greatest_around(levels, _AROUND_HOPS, 0), _AROUND_ROWS, 1)
    is_peak = (levels >= greatest) & (prominence > _PROMINENCE_MIN)
    is_peak[[0, -1]] = False
    is_peak[:, [0, -1]] = False
    hops, rows = np.nonzero(is_peak)
    kept = _strongest(hops, prominence[hops, rows])
    hops, rows = hops[kept], rows[kept]
    by_hop = _vertex(levels[hops - 1, rows], levels[hops, rows], levels[hops + 1, rows])
    by_row = _vertex(levels[hops, rows - 1], levels[hops, rows], levels[hops, rows + 1])
    times = np.rint((hops + by_hop) * TIMES_PER_HOP).astype(np.int32) + first_hop * TIMES_PER_HOP
    semitones = (rows + by_row) * 12 / ROWS_PER_OCTAVE
    pitches = np.rint(semitones * PITCHES_PER_SEMITONE).astype(np.int32)
    strengths = np.minimum(prominence[hops, rows] * 256, 65535).astype(np.int32)
    order = np.lexsort((pitches, times))
    return Peaks(times[order], pitches[order], strengths[order])


def _strongest(hops: npt.NDArray[np.intp], strengths: Levels) -> npt.NDArray[np.bool_]:
    """Says which peaks are among the most prominent of the second around them."""
    first = np.searchsorted(hops, hops - _QUOTA_HOPS)
    last = np.searchsorted(hops, hops + _QUOTA_HOPS, side="right")
    if not len(hops):
        return np.zeros(0, np.bool_)
    offsets = np.arange(int((last - first).max()))
    nearby = first[:, None] + offsets
    rivals = np.where(nearby < last[:, None], strengths[np.minimum(nearby, len(hops) - 1)], -1.0)
    kept: npt.NDArray[np.bool_] = (rivals > strengths[:, None]).sum(axis=1) < PEAKS_PER_SECOND
    return kept


def _vertex(before: Levels, at: Levels, after: Levels) -> Levels:
    """Where the parabola through three neighbouring levels is highest, within half a step."""
    bend = np.minimum(before - 2 * at + after, np.float32(-1e-9))
    vertex: Levels = np.clip(0.5 * (before - after) / bend, -0.5, 0.5)
    return vertex


def _greatest_around(levels: Levels, reach: int, axis: int) -> Levels:
    greatest = np.moveaxis(levels.copy(), axis, 0)
    source = np.moveaxis(levels, axis, 0)
    for step in range(1, min(reach, len(source) - 1) + 1):
        np.maximum(greatest[:-step], source[step:], out=greatest[:-step])
        np.maximum(greatest[step:], source[:-step], out=greatest[step:])
    return np.moveaxis(greatest, 0, axis)


def _mean_around(levels: Levels, reach: int, axis: int) -> Levels:
    """The mean over `reach` neighbours on each side, fewer at the edges."""
    source = np.moveaxis(levels, axis, 0)
    sums = np.concatenate([np.zeros((1, source.shape[1])), np.cumsum(source, axis=0, dtype=float)])
    at = np.arange(len(source))
    first, last = np.maximum(0, at - reach), np.minimum(len(source), at + reach + 1)
    mean = (sums[last] - sums[first]) / (last - first)[:, None]
    return np.moveaxis(mean.astype(np.float32), 0, axis)
