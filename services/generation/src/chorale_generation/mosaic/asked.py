"""What is asked of a mosaic, and how it is written."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Wishes:
    """What the caller asks of a mosaic. Zeros and empty text let the engine choose."""

    influence: float = 0.5
    rhythm_track: int = 0
    bpm: float = 0.0
    key: str = ""
    crossfade_seconds: float = 0.0
    section_bars: int = 4


@dataclass(frozen=True)
class Output:
    """How a mosaic is written."""

    sample_rate_hz: int = 24000
    channel_count: int = 1
    frame_count: int = 384_000
    loudness_lufs: float = -14.0
    bit_depth: int = 16
