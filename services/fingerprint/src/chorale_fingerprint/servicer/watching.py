"""Watching long sound: windows of it are searched, and what they find is joined to stretches."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from chorale.fingerprint.v1 import listening_pb2

from chorale_fingerprint.likeness import Likeness
from chorale_fingerprint.peaks import TIMES_PER_SECOND, Peaks
from chorale_fingerprint.servicer.searching import Hit, Run, Searcher
from chorale_fingerprint.servicer.works import is_wanted
from chorale_fingerprint.store.recordings import Shelves

_WINDOW_SECONDS, _OVERLAP_SECONDS, _SHORTEST_SECONDS = 25.0, 5.0, 3.0
_WINDOW_SECONDS_MIN = 2.0
# Two windows hear one stretch when they place it so near each other.
_DRIFT_SECONDS = 1.0


@dataclass(frozen=True)
class Watch:
    """How to watch."""

    window_seconds: float = _WINDOW_SECONDS
    overlap_seconds: float = _OVERLAP_SECONDS
    shortest_seconds: float = _SHORTEST_SECONDS
    min_score: float | None = None
    own_only: bool = False

    @classmethod
    def of(cls, settings: listening_pb2.MonitorSettings) -> "Watch":
        """As a request says, or as is usual."""
        window = max(settings.window_seconds or _WINDOW_SECONDS, _WINDOW_SECONDS_MIN)
        overlap = settings.overlap_seconds or min(_OVERLAP_SECONDS, window / 2)
        return cls(
            window,
            min(overlap, window * 0.9),
            settings.shortest_seconds or _SHORTEST_SECONDS,
            settings.min_score if settings.HasField("min_score") else None,
            settings.own_only,
        )

    @property
    def step_seconds(self) -> float:
        """How far apart two windows begin."""
        return self.window_seconds - self.overlap_seconds


def windows(watch: Watch, seconds: float) -> Iterator[tuple[float, float]]:
    """Where the windows over so much sound begin and end; the last is as long as the others."""
    start = 0.0
    while start + watch.window_seconds < seconds:
        yield start, start + watch.window_seconds
        start += watch.step_seconds
    yield max(0.0, seconds - watch.window_seconds), seconds


async def heard_in(
    searcher: Searcher, run: Run, peaks: Peaks, shelves: Shelves, watch: Watch, owner: str
) -> list[Hit]:
    """What is known of the peaks of one window."""
    only = owner if watch.own_only else None
    hits = await searcher.by_landmarks(run, peaks, shelves, only)
    return [hit for hit in hits if is_wanted(hit, watch.min_score)]


def window_of(peaks: Peaks, start_seconds: float, end_seconds: float) -> Peaks:
    """The peaks of one window."""
    return peaks.between(start_seconds * TIMES_PER_SECOND, end_seconds * TIMES_PER_SECOND)


def joined(hits: Sequence[Hit], watch: Watch) -> list[Hit]:
    """Joins what windows heard of one stretch; in order, without what is too short."""
    stretches: list[Hit] = []
    for hit in sorted(hits, key=lambda each: each.likeness.query_start_seconds):
        for number, other in enumerate(stretches):
            if _is_one(other, hit):
                stretches[number] = replace(other, likeness=_union(other.likeness, hit.likeness))
                break
        else:
            stretches.append(hit)
    return [hit for hit in stretches if hit.likeness.query_seconds >= watch.shortest_seconds]


def unknown(hits: Sequence[Hit], seconds: float) -> list[tuple[float, float]]:
    """The stretches in which nothing known was heard: where each begins and ends."""
    gaps, end = [], 0.0
    for hit in sorted(hits, key=lambda each: each.likeness.query_start_seconds):
        start = hit.likeness.query_start_seconds
        if start > end:
            gaps.append((end, start))
        end = max(end, start + hit.likeness.query_seconds)
    if end < seconds:
        gaps.append((end, seconds))
    return gaps


def _is_one(first: Hit, second: Hit) -> bool:
    """Whether a later hit goes on where an earlier one is."""
    if first.enrolled.id != second.enrolled.id:
        return False
    one, other = first.likeness, second.likeness
    passed = other.query_start_seconds - one.query_start_seconds
    expected = one.recording_start_seconds + one.speed_ratio * passed
    reach = one.query_seconds + _DRIFT_SECONDS * 2
    return abs(expected - other.recording_start_seconds) < _DRIFT_SECONDS and passed <= reach


def _union(one: Likeness, other: Likeness) -> Likeness:
    """Both stretches as one; score, speed and pitch are those of the surer."""
    surer = min(one, other, key=lambda each: each.false_positive_rate)
    end = max(each.query_start_seconds + each.query_seconds for each in (one, other))
    theirs = max(each.recording_start_seconds + each.recording_seconds for each in (one, other))
    return replace(
        surer,
        query_start_seconds=one.query_start_seconds,
        query_seconds=end - one.query_start_seconds,
        recording_start_seconds=one.recording_start_seconds,
        recording_seconds=theirs - one.recording_start_seconds,
    )
