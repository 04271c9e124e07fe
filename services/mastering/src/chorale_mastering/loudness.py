"""The measures of loudness, as they are told; `meter` finds them."""

from dataclasses import dataclass, field

ABSOLUTE_GATE_LUFS = -70.0  # BS.1770-5, Annex 1: what is quieter is not programme
MINIMUM_SECONDS = 0.4  # one momentary window, BS.1770-5


class TooShort(Exception):
    """The audio holds less than one window of 400 ms."""

    def __init__(self, frame_count: int, minimum_frame_count: int) -> None:
        super().__init__(frame_count, minimum_frame_count)
        self.frame_count, self.minimum_frame_count = frame_count, minimum_frame_count

    def __str__(self) -> str:
        return (
            f"The audio has {self.frame_count} frames;"
            f" at least {self.minimum_frame_count} (400 ms) are needed."
        )


class NotFinite(Exception):
    """The sound holds NaN or infinity, of which no loudness can be told."""

    def __init__(self, frame: int) -> None:
        super().__init__(frame)
        self.reason, self.frame = "not_finite", frame

    def __str__(self) -> str:
        return f"Frame {self.frame} is not a finite number; every sample must be."


@dataclass(frozen=True)
class Curve:
    """Loudness over time, evenly spaced; -inf where nothing sounds."""

    hop_frames: int
    momentary_lufs: tuple[float, ...]  # the greatest since the point before
    short_term_lufs: tuple[float, ...]  # the greatest since the point before
    true_peak_dbtp: tuple[float, ...]  # the greatest since the point before


@dataclass(frozen=True)
class Loudness:
    """What was measured. None: nothing was loud enough, or there was too little of it."""

    frame_count: int
    sample_rate_hz: int
    channel_true_peaks_dbtp: tuple[float, ...]  # -inf in digital silence
    sample_peak_dbfs: float  # -inf in digital silence
    integrated_lufs: float | None
    range_lu: float | None
    momentary_max_lufs: float | None
    short_term_max_lufs: float | None
    peak_to_short_term_lu: float | None  # the least, over 3 s windows, of sample peaks
    stereo_correlation: float
    dynamic_range_db: float
    third_octaves_db: tuple[float, ...] = ()  # relative to the whole; empty where not gathered
    curve: Curve | None = field(default=None, repr=False)

    @property
    def channel_count(self) -> int:
        """Samples per frame of what was measured."""
        return len(self.channel_true_peaks_dbtp)

    @property
    def true_peak_dbtp(self) -> float:
        """Greatest true peak of any channel."""
        return max(self.channel_true_peaks_dbtp)

    @property
    def peak_to_loudness_lu(self) -> float | None:
        """True peak less integrated loudness."""
        return None if self.integrated_lufs is None else self.true_peak_dbtp - self.integrated_lufs


@dataclass(frozen=True)
class Reading:
    """What a live meter shows after so many frames."""

    momentary_lufs: float
    short_term_lufs: float
    loudness: Loudness


def require_window(frame_count: int, sample_rate_hz: int) -> None:
    """Raises `TooShort` unless there is one window of 400 ms to measure."""
    minimum = round(MINIMUM_SECONDS * sample_rate_hz)
    if frame_count < minimum:
        raise TooShort(frame_count, minimum)
