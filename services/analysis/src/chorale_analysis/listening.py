"""What there must be to listen to, whatever is listened for."""

SILENCE_DBFS = -70.0  # peaks below are noise of the medium, not music


class TooShort(Exception):
    """The audio holds less than one window of this work."""

    def __init__(self, frame_count: int, minimum_frame_count: int, needed_by: str) -> None:
        super().__init__(frame_count, minimum_frame_count, needed_by)
        self.frame_count, self.minimum_frame_count = frame_count, minimum_frame_count
        self.needed_by = needed_by

    def __str__(self) -> str:
        return (
            f"The audio has {self.frame_count} frames;"
            f" {self.needed_by} needs {self.minimum_frame_count} at least."
        )


class TooLong(Exception):
    """The audio is longer than this service takes."""

    def __init__(self, duration_seconds: float, limit_seconds: float) -> None:
        super().__init__(duration_seconds, limit_seconds)
        self.duration_seconds, self.limit_seconds = duration_seconds, limit_seconds

    def __str__(self) -> str:
        return (
            f"The audio lasts {self.duration_seconds:.1f} s;"
            f" at most {self.limit_seconds:.0f} s are taken."
        )


class TooLongForEngine(TooLong):
    """The audio is longer than the engine's own limit; others may take it."""

    def __init__(
        self, duration_seconds: float, limit_seconds: float, engine: str, alternatives: str
    ) -> None:
        super().__init__(duration_seconds, limit_seconds)
        self.args = duration_seconds, limit_seconds, engine, alternatives
        self.engine, self.alternatives = engine, alternatives

    def __str__(self) -> str:
        return (
            f"The audio lasts {self.duration_seconds:.1f} s; the engine {self.engine!r} takes at"
            f" most {self.limit_seconds:.0f} s. Take {self.alternatives or 'a shorter span'}, or"
            " set force."
        )


class Silent(Exception):
    """Nothing in the audio rises above the gate."""

    def __init__(self, audio: str, peak_dbfs: float) -> None:
        super().__init__(audio, peak_dbfs)
        self.audio, self.peak_dbfs = audio, peak_dbfs

    def __str__(self) -> str:
        return (
            f"The greatest sample of {self.audio} is {self.peak_dbfs:.1f} dBFS;"
            f" music is above {SILENCE_DBFS:.0f} dBFS."
        )


def require_length(
    frame_count: int,
    sample_rate_hz: int,
    least_seconds: float,
    most_seconds: float,
    needed_by: str = "this",
) -> None:
    """Raises `TooShort` or `TooLong` unless the audio can be listened to."""
    minimum = round(least_seconds * sample_rate_hz)
    if frame_count < minimum:
        raise TooShort(frame_count, minimum, needed_by)
    if frame_count > most_seconds * sample_rate_hz:
        raise TooLong(frame_count / sample_rate_hz, most_seconds)
