"""Why audio could not be read or written, as exceptions with fields."""

from chorale_runtime.dependencies import DependencyUnavailable
from chorale_runtime.errors import ErrorTable
from grpc import StatusCode


class AudioNotFound(Exception):
    """No stored audio has this name, or it is not the caller's."""

    def __init__(self, audio: str) -> None:
        super().__init__(audio)
        self.audio = audio

    def __str__(self) -> str:
        return f"No audio {self.audio} is stored for you; upload it first."


class SpanPastEnd(Exception):
    """The span begins at or after the end."""

    def __init__(self, start_frame: int, frame_count: int) -> None:
        super().__init__(start_frame, frame_count)
        self.start_frame, self.frame_count = start_frame, frame_count

    def __str__(self) -> str:
        return (
            f"The span starts at frame {self.start_frame};"
            f" the audio has {self.frame_count} frames, counted from 0."
        )


class IngestUnavailable(DependencyUnavailable):
    """Ingest refused, broke or did not answer in time."""

    def __init__(self, detail: str) -> None:
        super().__init__("ingest", detail)


class IngestRefused(Exception):
    """Ingest turned the call away for a reason that means nothing to this service's caller."""

    def __init__(self, code: str, reason: str, message: str) -> None:
        super().__init__(code, reason, message)
        self._code, self._reason, self._message = code, reason, message

    def __str__(self) -> str:
        return f"Ingest answered {self._code} ({self._reason}): {self._message}"


AUDIO_ERRORS: ErrorTable = {
    AudioNotFound: (StatusCode.NOT_FOUND, "AUDIO_NOT_FOUND"),
    SpanPastEnd: (StatusCode.OUT_OF_RANGE, "SPAN_PAST_END"),
}
"""For the ERRORS table of every service that reads audio. IngestRefused is INTERNAL on purpose."""
