"""What a file turned out to be, or why it was refused; known without any decoder."""

from dataclasses import dataclass, field


class Undecodable(Exception):
    """The bytes are not sound that can be decoded."""

    def __init__(self, found: str, detail: str) -> None:
        super().__init__(found, detail)
        self.found, self.detail = found, detail

    def __str__(self) -> str:
        return f"The bytes are no sound that can be decoded ({self.found}): {self.detail}."


class AudioTooLong(Exception):
    """The audio is longer than the tier allows."""

    def __init__(self, duration_seconds: float, limit_seconds: float) -> None:
        super().__init__(duration_seconds, limit_seconds)
        self.duration_seconds, self.limit_seconds = duration_seconds, limit_seconds

    def __str__(self) -> str:
        return (
            f"The audio lasts at least {self.duration_seconds:.1f} s;"
            f" at most {self.limit_seconds:.1f} s are allowed."
        )


@dataclass(frozen=True)
class Decoded:
    """What a file turned out to be."""

    container: str
    codec: str
    sample_rate_hz: int
    channel_count: int
    frame_count: int
    encoding: str
    bit_depth: int
    bit_rate_bps: int
    sample_peak: float
    """Greatest absolute sample, 1.0 is full scale."""
    tags: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
