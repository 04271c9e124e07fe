"""How loud sound is, by ITU-R BS.1770-5 and EBU R 128, while it comes."""

import numpy as np
import numpy.typing as npt

from chorale_mastering.balance import Balance
from chorale_mastering.energy import STEPS_PER_SECOND, Energy
from chorale_mastering.gating import (
    Energies,
    integrated_lufs,
    loudness_of,
    mean_square_of,
    range_lu,
)
from chorale_mastering.loudness import ABSOLUTE_GATE_LUFS, Curve, Loudness, NotFinite
from chorale_mastering.true_peak import TruePeak
from chorale_mastering.weighting import CHANNEL_WEIGHTS, highpass, shelf
from chorale_mastering.windows import MOMENTARY_STEPS, SHORT_TERM_STEPS, Windows

# Blocks are measured in pieces, so that memory stays flat whatever the caller pushes.
_PIECE_FRAMES = 1 << 16

_SHORT_TERM_TENTHS = 30


class Meter:
    """A loudness meter: push blocks of frames, read at any time, `finish` and read the end.

    Exact over any chunking: the same frames give the same bits. Memory grows by 200 bytes a
    second of sound, 2 MB for three hours, because the gates can only be set at the end.
    """

    def __init__(
        self,
        sample_rate_hz: int,
        channel_count: int,
        weights: tuple[float, ...] | None = None,
        curve_points: int = 0,
    ) -> None:
        self.sample_rate_hz, self.channel_count = sample_rate_hz, channel_count
        self._energy = Energy(
            sample_rate_hz,
            weights or CHANNEL_WEIGHTS[channel_count],
            (shelf(sample_rate_hz), highpass(sample_rate_hz)),
        )
        self._windows = Windows(sample_rate_hz)
        self._peak = TruePeak(sample_rate_hz, channel_count, tenths=curve_points > 0)
        self._balance = Balance(sample_rate_hz, channel_count)
        self._curve_points = curve_points
        self._frame_count = 0

    def push(self, block: npt.NDArray[np.float32]) -> None:
        """Measures the next frames, shaped `(frames, channels)`.

        Raises `NotFinite` on NaN and infinity; the meter is of no use after that.
        """
        for start in range(0, len(block), _PIECE_FRAMES):
            self._push(np.ascontiguousarray(block[start : start + _PIECE_FRAMES], np.float32))

    def finish(self) -> None:
        """Says that no more frames come."""
        self._peak.finish()

    @property
    def frame_count(self) -> int:
        """How many frames were measured so far."""
        return self._frame_count

    @property
    def momentary_lufs(self) -> float:
        """Loudness of the last 400 ms; -inf in silence and before 400 ms have come."""
        return loudness_of(self._windows.momentary_now)

    @property
    def short_term_lufs(self) -> float:
        """Loudness of the last 3 s; -inf in silence and before 3 s have come."""
        return loudness_of(self._windows.short_term_now)

    def read(self) -> Loudness:
        """All measures of the frames so far."""
        momentary, short_term = self._windows.momentary(), self._windows.short_term()
        step_count = self._frame_count * STEPS_PER_SECOND // self.sample_rate_hz
        return Loudness(
            frame_count=self._frame_count,
            sample_rate_hz=self.sample_rate_hz,
            channel_true_peaks_dbtp=tuple(_decibels(self._peak.true_peaks).tolist()),
            sample_peak_dbfs=float(_decibels(self._peak.sample_peaks).max()),
            integrated_lufs=integrated_lufs(momentary),
            range_lu=range_lu(short_term),
            momentary_max_lufs=_maximum(self._windows.momentary_max, step_count, MOMENTARY_STEPS),
            short_term_max_lufs=_maximum(
                self._windows.short_term_max, step_count, SHORT_TERM_STEPS
            ),
            peak_to_short_term_lu=self._peak_to_short_term(short_term),
            stereo_correlation=self._balance.correlation(),
            dynamic_range_db=self._balance.dynamic_range_db(),
            curve=self._curve(momentary, short_term) if self._curve_points else None,
        )

    def _push(self, piece: npt.NDArray[np.float32]) -> None:
        steps = self._energy.push(piece)
        if not (self._energy.is_finite and np.isfinite(steps.weighted).all()):
            first = int(np.flatnonzero(~np.isfinite(piece).all(axis=1))[0])
            raise NotFinite(self._frame_count + first)
        self._windows.push(steps.weighted)
        self._peak.push(piece)
        self._balance.push(steps)
        self._frame_count += len(piece)

    def _peak_to_short_term(self, short_term: Energies) -> float | None:
        """The least distance from the greatest sample of 3 s to their loudness."""
        if not len(short_term):
            return None
        tenths = self._peak.sample_peaks_by_tenth(len(short_term) + _SHORT_TERM_TENTHS - 1)
        peaks = np.lib.stride_tricks.sliding_window_view(tenths, _SHORT_TERM_TENTHS).max(axis=1)
        heard = short_term > mean_square_of(ABSOLUTE_GATE_LUFS)
        if not heard.any():
            return None
        loudness = -0.691 + 10.0 * np.log10(short_term[heard])
        return float((_decibels(peaks[heard]) - loudness).min())

    def _curve(self, momentary: Energies, short_term: Energies) -> Curve | None:
        """At most as many points as asked for, each a whole number of tenths of a second."""
        count = self._frame_count * 10 // self.sample_rate_hz
        if not count:
            return None
        tenths = -(-count // self._curve_points)
        peaks = _decibels(self._peak.true_peaks_by_tenth(count))
        return Curve(
            hop_frames=tenths * self.sample_rate_hz // 10,
            momentary_lufs=_greatest(_at_tenths(momentary, count), tenths),
            short_term_lufs=_greatest(_at_tenths(short_term, count), tenths),
            true_peak_dbtp=_greatest(peaks, tenths),
        )


def _maximum(mean_square: float, step_count: int, window_steps: int) -> float | None:
    """The loudness of the loudest window; None when there was none, or nothing in it."""
    if step_count < window_steps or mean_square <= 0.0:
        return None
    return loudness_of(mean_square)


def _at_tenths(windows: Energies, count: int) -> Energies:
    """Loudness of the window that ends at each tenth of a second; -inf before the first."""
    with np.errstate(divide="ignore"):
        loudness = -0.691 + 10.0 * np.log10(windows)
    return np.concatenate([np.full(count - len(loudness), -np.inf), loudness])


def _greatest(values: Energies, group: int) -> tuple[float, ...]:
    """The greatest of every `group` values; the last group may be smaller."""
    return tuple(np.maximum.reduceat(values, np.arange(0, len(values), group)).tolist())


def _decibels(peaks: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    with np.errstate(divide="ignore"):
        return 20.0 * np.log10(peaks.astype(np.float64))
