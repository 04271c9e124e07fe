"""How often what is told early stays as it is: measured on the stream itself."""

from chorale_analysis.live.heard import Heard

_NEAR_SECONDS = 0.05
_MEMORY = 0.98  # how much of what was known counts after one more claim
_CLAIMS_MAX = 400
_BEFORE = 0.5  # nothing is known yet


class Agreement:
    """Remembers the first claim made of every moment and likens it to what is decided later."""

    def __init__(self) -> None:
        self.share = _BEFORE
        self._chords: list[tuple[float, str]] = []
        self._beats: list[float] = []

    def claim(self, told: Heard) -> None:
        """Notes what is said of the newest moment, and every new beat."""
        if told.chords:
            self._chords.append((told.end_seconds, told.chords[-1].label))
        last = self._beats[-1] if self._beats else -1.0
        self._beats += [one.seconds for one in told.beats if one.seconds > last + 0.1]
        self._chords, self._beats = self._chords[-_CLAIMS_MAX:], self._beats[-_CLAIMS_MAX:]

    def settle(self, decided: Heard) -> None:
        """Likens the claims about a stretch to what was decided of it."""
        end = decided.end_seconds
        for seconds, label in self._chords:
            if decided.start_seconds <= seconds < end:
                self._count(any(
                    chord.label == label and chord.start_seconds <= seconds < chord.end_seconds
                    for chord in decided.chords
                ))  # fmt: skip
        for seconds in self._beats:
            if decided.start_seconds <= seconds < end:
                self._count(
                    any(abs(beat.seconds - seconds) < _NEAR_SECONDS for beat in decided.beats)
                )
        self._chords = [claim for claim in self._chords if claim[0] >= end]
        self._beats = [seconds for seconds in self._beats if seconds >= end]

    def _count(self, held: bool) -> None:
        self.share = _MEMORY * self.share + (1.0 - _MEMORY) * held
