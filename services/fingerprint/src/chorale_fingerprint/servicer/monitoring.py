"""The operation that watches long named audio, once a worker has taken it up."""

import time

from chorale.audio.v1 import audio_pb2
from chorale.fingerprint.v1 import listening_pb2
from chorale_runtime.operations import Job

from chorale_fingerprint import engines, messages, worker
from chorale_fingerprint.servicer import watching
from chorale_fingerprint.servicer.hearing import Hearing
from chorale_fingerprint.servicer.searching import Hit, Searcher
from chorale_fingerprint.servicer.watching import Watch
from chorale_fingerprint.store.recordings import Store

Monitor = listening_pb2.MonitorRequest


class MonitorWorks:
    """Says what plays in long sound, and when nothing known does."""

    def __init__(self, hearing: Hearing, store: Store, searcher: Searcher) -> None:
        self._hearing, self._store, self._searcher = hearing, store, searcher

    async def monitor(self, job: Job[Monitor]) -> listening_pb2.MonitorResponse:
        """Listens once, and searches window after window."""
        started, asked = time.monotonic(), job.request
        source = await self._hearing.locate(asked)
        heard = await job.run(worker.listen, source)
        watch = Watch.of(asked.settings)
        shelves = await self._store.shelves(job.owner)
        parts = list(watching.windows(watch, source.duration_seconds))
        hits: list[Hit] = []
        for number, (start, end) in enumerate(parts):
            window = watching.window_of(heard.peaks, start, end)
            hits += await watching.heard_in(
                self._searcher, job.run, window, shelves, watch, job.owner
            )
            await job.progress("comparing", (number + 1) / len(parts))
        stretches = watching.joined(hits, watch)
        timeline = messages.timeline(source)
        settings = {
            "window_seconds": f"{watch.window_seconds:g}",
            "overlap_seconds": f"{watch.overlap_seconds:g}",
            "shortest_seconds": f"{watch.shortest_seconds:g}",
        }
        return listening_pb2.MonitorResponse(
            audio=source.audio,
            matches=[
                messages.match(hit.enrolled.recording, hit.likeness, timeline, job.owner)
                for hit in stretches
            ],
            unknown_spans=[
                _span(timeline, start, end)
                for start, end in watching.unknown(stretches, source.duration_seconds)
            ],
            provenance=self._hearing.made_by(engines.IDENTIFY, asked.engine, settings, started),
        )


def _span(timeline: messages.Timeline, start: float, end: float) -> audio_pb2.FrameSpan:
    first, last = (round(seconds * timeline.sample_rate_hz) for seconds in (start, end))
    last = min(last, timeline.frame_count)
    return audio_pb2.FrameSpan(
        start_frame=timeline.start_frame + first, frame_count=max(0, last - first)
    )
