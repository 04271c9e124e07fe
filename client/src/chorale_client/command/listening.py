"""The same passage before and after, as loud as each other, to be put into a page."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chorale.mastering.v1.loudness_pb2 import LoudnessCurve
    from chorale.mastering.v1.report_pb2 import Master

    from chorale_client.sync import Chorale

SECONDS = 15.0  # what a preview holds at most
_WINDOW_SECONDS = 3.0  # of short-term loudness, which ends at its point


@dataclass(frozen=True)
class Passage:
    """A passage as FLAC, and how loud the sound it comes from is."""

    title: str
    flac: bytes
    integrated_lufs: float


@dataclass(frozen=True)
class Comparison:
    """Where the passages lie in the master, and both of them."""

    start_seconds: float
    end_seconds: float
    passages: tuple[Passage, Passage]

    @property
    def volumes(self) -> tuple[float, ...]:
        """For players: the louder is turned down, so nothing is driven over full scale."""
        levels = [passage.integrated_lufs for passage in self.passages]
        return tuple(10.0 ** ((min(levels) - level) / 20.0) for level in levels)


def comparison(
    chorale: "Chorale", audio: str, master: "Master", preview_start_frame: int = 0
) -> Comparison:
    """The passage where the master is loudest, of the input and of the master."""
    before, after = master.report.before, master.report.after
    start, length = _loudest(
        master.report.curve_after, after.sample_rate_hz, after.frame_count / after.sample_rate_hz
    )
    came = start + preview_start_frame / before.sample_rate_hz
    return Comparison(
        start,
        start + length,
        (
            Passage(
                "Before",
                _flac(chorale, audio, before.sample_rate_hz, came, length),
                before.integrated_lufs,
            ),
            Passage(
                "After",
                _flac(chorale, master.audio, after.sample_rate_hz, start, length),
                after.integrated_lufs,
            ),
        ),
    )


def _loudest(curve: "LoudnessCurve", rate_hz: int, seconds: float) -> tuple[float, float]:
    """Where the loudest passage begins, and how long it is, in seconds."""
    values = list(curve.short_term_lufs)
    length = min(SECONDS, seconds)
    if not values:
        return 0.0, length
    point = (values.index(max(values)) + 1) * curve.hop_frames / rate_hz
    middle = point - _WINDOW_SECONDS / 2.0
    return min(max(0.0, middle - length / 2.0), seconds - length), length


def _flac(
    chorale: "Chorale", audio: str, rate_hz: int, start_seconds: float, seconds: float
) -> bytes:
    from chorale.audio.v1.audio_pb2 import FrameSpan
    from chorale.ingest.v1.reading_pb2 import GetPreviewRequest

    span = FrameSpan(
        start_frame=round(start_seconds * rate_hz), frame_count=max(1, int(seconds * rate_hz))
    )
    request = GetPreviewRequest(audio=audio, span=span, encoding="ENCODING_FLAC")
    return b"".join(part.data for part in chorale.ingest.GetPreview(request))
