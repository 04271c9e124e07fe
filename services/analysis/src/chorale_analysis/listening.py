"""What there must be to listen to, whatever is listened for."""

SILENCE_DBFS = -70.0  # peaks below are noise of the medium, not music


class TooShort(Exception):
    """The audio holds less than one window of this work."""

    def __init__(self, frame_count: int, minimum_frame_count: int) -> None:
        super().__init__(frame_count, minimum_frame_count)
        self.frame_count, self.minimum_frame_count = frame_count, minimum_frame_count

    def __str__(self) -> str:
        return (
            f"The audio has {self.frame_count} frames;"
            f" at least {self.minimum_frame_count} are needed."
        )


class TooLong(Exception):
    """The audio is longer than the engine takes."""

    def __init__(self, duration_seconds: float, limit_seconds: float) -> None:
        super().__init__(duration_seconds, limit_seconds)
        self.duration_seconds, self.limit_seconds = duration_seconds, limit_seconds

    def __str__(self) -> str:
        return (
            f"The audio lasts {self.duration_seconds:.1f} s;"
            f" at most {self.limit_seconds:.0f} s are taken."
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
    frame_count: int, sample_rate_hz: int, least_seconds: float, most_seconds: float
) -> None:
    """Raises `TooShort` or `TooLong` unless the audio can be listened to."""
    minimum = round(least_seconds * sample_rate_hz)
    if frame_count < minimum:
        raise TooShort(frame_count, minimum)
    if frame_count > most_seconds * sample_rate_hz:
        raise TooLong(frame_count / sample_rate_hz, most_seconds)
