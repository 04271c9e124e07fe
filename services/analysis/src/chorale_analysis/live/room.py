"""Where streams are listened to: the inside of a process that holds the ears of many."""

from typing import TYPE_CHECKING

from chorale_analysis.harmony import ChordSettings
from chorale_analysis.live.heard import BEATS, CHORDS, DYNAMICS, KEY, Heard, Wanted, Whole
from chorale_analysis.rhythm import RhythmSettings

if TYPE_CHECKING:
    from chorale_analysis.live.ear import Ear

# What listens is imported where it runs: the service's own process names these functions only.

# By stream. Each is used by one call at a time, in the order in which its frames came.
_EARS: dict[str, "Ear"] = {}


class EarLost(Exception):
    """The process that listened to the stream is gone, and with it what it had heard."""

    def __init__(self) -> None:
        super().__init__()
        self.dependency = "listening process"

    def __str__(self) -> str:
        return "The process that listened to this stream ended. Begin the stream again."


class NotFinite(Exception):
    """A frame holds a number that is no number."""

    def __init__(self, frame: int) -> None:
        super().__init__(frame)
        self.reason, self.frame = "not_finite", frame

    def __str__(self) -> str:
        return f"Frame {self.frame} holds NaN or infinity; finite numbers are needed."


def warm() -> None:
    """Compiles what listening will need, by doing a little of it."""
    import numpy as np

    from chorale_analysis.live.ear import Ear

    features = frozenset({BEATS, CHORDS, KEY, DYNAMICS})
    ear = Ear(Wanted(44100, 1, features, RhythmSettings(), ChordSettings()))
    ear.push(np.random.default_rng(0).standard_normal((66150, 1)).astype(np.float32))
    ear.told()
    ear.finish()


def begin(stream: str, wanted: Wanted) -> None:
    """Begins to listen to a stream."""
    from chorale_analysis.live.ear import Ear

    _EARS[stream] = Ear(wanted)


def push(stream: str, data: bytes, channel_count: int) -> list[Heard]:
    """Listens to the next whole frames of float samples; what is new."""
    import numpy as np

    ear = _EARS.get(stream)
    if ear is None:
        raise EarLost
    frames = np.frombuffer(data, "<f4").reshape(-1, channel_count)
    if not np.isfinite(frames).all():
        bad = int(np.flatnonzero(~np.isfinite(frames).all(axis=1))[0])
        raise NotFinite(ear.frame_count + bad)
    ear.push(frames)
    return ear.told()


def finish(stream: str) -> Whole:
    """Ends a stream; all that was heard in it."""
    ear = _EARS.get(stream)
    if ear is None:
        raise EarLost
    return ear.finish()


def end(stream: str) -> None:
    """Forgets a stream, however it went."""
    _EARS.pop(stream, None)
