"""An index of excerpts without a database: the same landmarks, votes and places."""

from collections.abc import Sequence

import numpy as np
from chorale_fingerprint import likeness, placing
from chorale_fingerprint.codes import SECONDS_PER_CODE
from chorale_fingerprint.landmarks import Landmarks, landmarks, looks
from chorale_fingerprint.likeness import Likeness
from chorale_fingerprint.peaks import Peaks, PeakWriter
from chorale_fingerprint.placing import Hits

FALSE_POSITIVES_MAX = 1 / 200
SURE = 1e-6


def peaks_of(signal: np.ndarray, rate_hz: int) -> Peaks:
    """The peaks of mono sound."""
    writer = PeakWriter(rate_hz)
    writer.push(signal.astype(np.float32))
    return writer.finish()


class MemoryIndex:
    """Recordings by number, in the order they were given."""

    def __init__(self, recordings: Sequence[Peaks]) -> None:
        self.recordings = dict(enumerate(recordings))
        found = [landmarks(each) for each in recordings]
        hashes = np.concatenate([each.hashes for each in found])
        order = np.argsort(hashes, kind="stable")
        self._hashes = hashes[order]
        owners = [np.full(len(each), number) for number, each in enumerate(found)]
        self._recordings = np.concatenate(owners)[order]
        self._times = np.concatenate([each.times for each in found])[order]
        self._pitches = np.concatenate([each.pitches for each in found])[order]
        seconds = sum(float(each.times[-1]) / 344.53 for each in recordings)
        self._codes = round(seconds / SECONDS_PER_CODE)

    def search(self, query: Peaks) -> list[tuple[int, Likeness]]:
        """What is known of a query at the usual threshold, surest first: number and likeness."""
        found: dict[int, placing.Place] = {}
        for looked_up in looks(query.sampled(20.0, 3), 20.0):
            voted = placing.candidates(self._hits(looked_up))
            found = placing.places(query, self.recordings, voted)
            rates = [self._likeness(place, query).false_positive_rate for place in found.values()]
            if rates and min(rates) < SURE:
                break
        ranked = sorted(found.items(), key=lambda each: -each[1].evidence)
        told = [(number, self._likeness(place, query)) for number, place in ranked]
        return [each for each in told if each[1].false_positive_rate <= FALSE_POSITIVES_MAX]

    def _likeness(self, place: placing.Place, query: Peaks) -> Likeness:
        return likeness.of_place(place, query.seconds, self._codes)

    def _hits(self, query: Landmarks) -> Hits:
        first = np.searchsorted(self._hashes, query.hashes)
        count = np.searchsorted(self._hashes, query.hashes, side="right") - first
        probe = np.repeat(np.arange(len(query)), count)
        within = np.arange(len(probe)) - np.repeat(np.cumsum(count) - count, count)
        at = np.repeat(first, count) + within
        return Hits(
            self._recordings[at],
            self._times[at],
            self._pitches[at],
            query.times[probe],
            query.pitches[probe],
        )
