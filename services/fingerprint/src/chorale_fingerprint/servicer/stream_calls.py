"""The calls that listen while sound comes."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from chorale.audio.v1 import audio_pb2
from chorale.engines.v1 import engine_pb2
from chorale.fingerprint.v1 import listening_pb2, recordings_pb2
from chorale_runtime import caller
from chorale_runtime.calls import Context
from chorale_runtime.processes import QueueFull

from chorale_fingerprint import engines, messages
from chorale_fingerprint.codes import LibraryMissing
from chorale_fingerprint.engines import Engine
from chorale_fingerprint.servicer import watching
from chorale_fingerprint.servicer.searching import SURE, Hit, Searcher
from chorale_fingerprint.servicer.watching import Watch
from chorale_fingerprint.servicer.works import MATCHES_DEFAULT
from chorale_fingerprint.store.recordings import Store
from chorale_fingerprint.worker import LiveEar

# A song is named from the last so many seconds, again with every so many more.
_NAMED_FROM_SECONDS, _NAMED_EVERY_SECONDS = 20.0, 3.0
# What a watcher has not closed after so long, it closes.
_OPEN_SECONDS_MAX = 600.0
_RETRY_AFTER_SECONDS = 5.0


class StreamOutOfOrder(Exception):
    """A message of a stream comes in the wrong order."""

    def __init__(self, needed: str) -> None:
        super().__init__(needed)
        self.needed = needed

    def __str__(self) -> str:
        return f"The stream needs {self.needed}."


class StreamCalls:
    """Part of FingerprintService: one listener for every stream, and so many at once."""

    def __init__(
        self,
        store: Store,
        searcher: Searcher,
        known_engines: tuple[Engine, ...],
        streams_max: int,
    ) -> None:
        self._store, self._searcher = store, searcher
        self._engines, self._streams_max = known_engines, streams_max
        self._open_streams = 0

    async def identify(
        self, requests: AsyncIterator[listening_pb2.IdentifyStreamRequest], _: Context
    ) -> AsyncIterator[listening_pb2.IdentifyStreamResponse]:
        """Names a song while it plays; the last answer comes when the requests end."""
        first = await anext(aiter(requests), None)
        if first is None or first.WhichOneof("message") != "config":
            raise StreamOutOfOrder("config in the first message")
        config, owner = first.config, caller.current().principal
        made_by = self._made_by(config.engine)
        watch = Watch(
            min_score=config.min_score if config.HasField("min_score") else None,
            own_only=config.own_only,
        )
        limit, revision, named_at = config.limit or MATCHES_DEFAULT, 0, 0.0
        with self._listening(config.format) as ear:
            async for request in requests:
                if request.WhichOneof("message") != "frames":
                    raise StreamOutOfOrder("frames in every later message")
                await asyncio.to_thread(ear.push, request.frames)
                if ear.seconds - named_at < _NAMED_EVERY_SECONDS:
                    continue
                named_at, revision = ear.seconds, revision + 1
                hits = await self._named(ear, watch, owner)
                is_sure = bool(hits) and hits[0].likeness.false_positive_rate < SURE
                ends = is_sure and config.stop_at_first
                signed = made_by if revision == 1 or ends else None
                yield _named(ear, hits[:limit], owner, revision, signed, is_final=ends)
                if ends:
                    return
            hits = await self._named(ear, watch, owner)
            yield _named(ear, hits[:limit], owner, revision + 1, made_by, is_final=True)

    async def monitor(
        self, requests: AsyncIterator[listening_pb2.MonitorStreamRequest], _: Context
    ) -> AsyncIterator[listening_pb2.MonitorStreamResponse]:
        """Watches sound without end: an answer for every window, final where nothing runs on."""
        first = await anext(aiter(requests), None)
        if first is None or first.WhichOneof("message") != "config":
            raise StreamOutOfOrder("config in the first message")
        config, owner = first.config, caller.current().principal
        made_by, watch = self._made_by(config.engine), Watch.of(config.settings)
        revision, due, opened = 0, watch.window_seconds, 0.0
        heard: list[Hit] = []
        with self._listening(config.format) as ear:
            async for request in requests:
                if request.WhichOneof("message") != "frames":
                    raise StreamOutOfOrder("frames in every later message")
                await asyncio.to_thread(ear.push, request.frames)
                if ear.seconds < due:
                    continue
                due, revision = ear.seconds + watch.step_seconds, revision + 1
                heard += await self._heard(ear, watch, owner)
                stretches = watching.joined(heard, watch)
                is_final = _is_closed(stretches, ear.seconds, watch, opened)
                signed = made_by if revision == 1 else None
                yield _watched(ear, opened, stretches, owner, revision, signed, is_final=is_final)
                if is_final:
                    opened, heard = ear.seconds, []
            heard += await self._heard(ear, watch, owner)
            stretches = watching.joined(heard, watch)
            yield _watched(ear, opened, stretches, owner, revision + 1, made_by, is_final=True)

    async def _named(self, ear: LiveEar, watch: Watch, owner: str) -> list[Hit]:
        peaks = await asyncio.to_thread(ear.last, _NAMED_FROM_SECONDS)
        shelves = await self._store.shelves(owner)
        return await watching.heard_in(
            self._searcher, asyncio.to_thread, peaks, shelves, watch, owner
        )

    async def _heard(self, ear: LiveEar, watch: Watch, owner: str) -> list[Hit]:
        peaks = await asyncio.to_thread(ear.last, watch.window_seconds)
        shelves = await self._store.shelves(owner)
        return await watching.heard_in(
            self._searcher, asyncio.to_thread, peaks, shelves, watch, owner
        )

    def _made_by(self, engine: str) -> engine_pb2.Provenance:
        used = engines.choose(self._engines, engines.IDENTIFY, engine)
        if not used.available:
            raise LibraryMissing(used.name, used.remedy)
        return messages.provenance(engine, used, {}, 0.0)

    @contextmanager
    def _listening(self, sound: audio_pb2.PcmFormat) -> Iterator[LiveEar]:
        if self._open_streams >= self._streams_max:
            raise QueueFull("fingerprint.live", self._streams_max, _RETRY_AFTER_SECONDS)
        self._open_streams += 1
        try:
            yield LiveEar(sound.sample_rate_hz, sound.channel_count)
        finally:
            self._open_streams -= 1


def _named(
    ear: LiveEar,
    hits: list[Hit],
    owner: str,
    revision: int,
    made_by: engine_pb2.Provenance | None,
    *,
    is_final: bool,
) -> listening_pb2.IdentifyStreamResponse:
    return listening_pb2.IdentifyStreamResponse(
        span=audio_pb2.FrameSpan(start_frame=0, frame_count=ear.frame_count),
        revision=revision,
        is_final=is_final,
        matches=_matches(ear, hits, owner),
        provenance=made_by,
    )


def _watched(
    ear: LiveEar,
    opened: float,
    hits: list[Hit],
    owner: str,
    revision: int,
    made_by: engine_pb2.Provenance | None,
    *,
    is_final: bool,
) -> listening_pb2.MonitorStreamResponse:
    start = min(round(opened * ear.sample_rate_hz), ear.frame_count)
    return listening_pb2.MonitorStreamResponse(
        span=audio_pb2.FrameSpan(start_frame=start, frame_count=ear.frame_count - start),
        revision=revision,
        is_final=is_final,
        matches=_matches(ear, hits, owner),
        provenance=made_by,
    )


def _matches(ear: LiveEar, hits: list[Hit], owner: str) -> list[recordings_pb2.Match]:
    timeline = messages.Timeline(0, ear.frame_count, ear.sample_rate_hz)
    return [messages.match(hit.enrolled.recording, hit.likeness, timeline, owner) for hit in hits]


def _is_closed(stretches: list[Hit], seconds: float, watch: Watch, opened: float) -> bool:
    """Whether nothing that was heard runs on, or it has run for long."""
    ends = [hit.likeness.query_start_seconds + hit.likeness.query_seconds for hit in stretches]
    runs_on = any(end > seconds - watch.overlap_seconds for end in ends)
    return not runs_on or seconds - opened > _OPEN_SECONDS_MAX
