"""Two tracks become one: what is asked, what it would take, and what the operation does."""

import asyncio
import shutil
import tempfile
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chorale.audio.v1 import audio_pb2
from chorale.engines.v1 import engine_pb2
from chorale.generation.v1 import outputs_pb2, tracks_pb2
from chorale.ingest.v1 import audio_pb2 as ingest_pb2
from chorale_audio.reader import AudioReader
from chorale_audio.source import Source, Span
from chorale_runtime.dependencies import DependencyUnavailable
from chorale_runtime.operations import Job

from chorale_generation import engines, worker
from chorale_generation.engines import Engine
from chorale_generation.messages import tracks as messages
from chorale_generation.mosaic.asked import Output, Wishes
from chorale_generation.mosaic.heard import Heard
from chorale_generation.refusals import SettingUnsupported, TrackSilent, TrackTooShort
from chorale_generation.servicer.hearing import Hearing
from chorale_generation.store.pieces import Pieces, Stream
from chorale_generation.store.shelf import Filed, Shelf

if TYPE_CHECKING:
    from chorale_generation.mosaic.arrangement import Arrangement
    from chorale_generation.mosaic.transfer import Transfer

GENERATE = "chorale.generation.v1.GenerationService/GenerateFromTracks"

_DEFAULT_SECONDS, _SPAN_SECONDS_MAX = 16.0, 600.0
MINIMUM_SECONDS = 2.0  # what analysis needs to hear a beat
# Measured here on one core: CPU seconds per second of sound at 24 kHz, and what starting costs.
_SECONDS_PER_SECOND, _SECONDS_AT_LEAST = 0.12, 1.0
_HEARD_SHARE, _MADE_SHARE, _FILE_SHARE = 0.2, 0.85, 0.9


@dataclass(frozen=True)
class Making:
    """A request, with all that can be known to be wrong found right."""

    engine: Engine
    sources: tuple[Source, Source]
    wishes: Wishes
    output: Output
    title: str

    @property
    def estimate(self) -> audio_pb2.Estimate:
        """What it would take."""
        made = self.output
        frames = made.frame_count * made.channel_count
        return audio_pb2.Estimate(
            engine=self.engine.name,
            device="cpu",
            seconds=_SECONDS_AT_LEAST + frames / 24000 * _SECONDS_PER_SECOND,
            output_bytes=frames * made.bit_depth // 8,
        )


class Planner:
    """Finds out what a request asks for."""

    def __init__(self, reader: AudioReader, shelf: Shelf) -> None:
        self._reader, self._shelf = reader, shelf

    async def making(self, request: tracks_pb2.GenerateFromTracksRequest) -> Making:
        """Checks a request; raises what is wrong with it."""
        engine = engines.choose(engines.TWO_TRACKS, request.engine, request.commercial_only)
        engines.require_available(engine)
        if request.HasField("cascade"):
            raise SettingUnsupported("cascade", "set", "unset, for this engine,")
        wished, made = messages.wishes(request.mosaic), messages.output(request.output)
        first, second = [await self._source(clip) for clip in (request.track_1, request.track_2)]
        title = request.output.title or await self._title(request)
        return Making(engine, (first, second), wished, made, title)

    async def _source(self, clip: audio_pb2.Clip) -> Source:
        span = Span(clip.span.start_frame, clip.span.frame_count)
        source = await self._reader.locate(clip.audio, span)
        most = _SPAN_SECONDS_MAX if clip.HasField("span") else _DEFAULT_SECONDS
        source = source.within(0, round(most * source.sample_rate_hz))
        least = round(MINIMUM_SECONDS * source.sample_rate_hz)
        if source.frame_count < least:
            raise TrackTooShort(source.audio, source.frame_count, least)
        return source

    async def _title(self, request: tracks_pb2.GenerateFromTracksRequest) -> str:
        names = [
            Path(await self._shelf.file_name(clip.audio)).stem or "track"
            for clip in (request.track_1, request.track_2)
        ]
        return " + ".join(names)[:200]


class MosaicWorks:
    """What the operation does, once a worker has taken it up."""

    def __init__(
        self,
        planner: Planner,
        reader: AudioReader,
        hearing: Hearing,
        pieces: Pieces,
        shelf: Shelf,
        scratch_directory: str,
    ) -> None:
        self._planner, self._reader, self._hearing = planner, reader, hearing
        self._pieces, self._shelf, self._scratch = pieces, shelf, scratch_directory

    async def generate(
        self, job: Job[tracks_pb2.GenerateFromTracksRequest]
    ) -> tracks_pb2.GenerateFromTracksResponse:
        """Makes one track of two."""
        started, request = time.monotonic(), job.request
        await job.progress("reading", 0.0)
        asked = await self._planner.making(request)
        seed = request.seed if request.HasField("seed") else _drawn(job.name)
        await job.progress("encoding", 0.05, "Listening to both tracks.")
        heard = await self._heard(asked, f"{job.name} {job.attempt}")
        arrangement = await job.run(worker.arrange, heard, asked.wishes, asked.output, seed)
        told = messages.said(asked.wishes, asked.output, seed)
        told |= messages.chosen(heard, arrangement)
        made_by = messages.provenance(request.engine, asked.engine, told)
        stream = Stream(messages.pcm_format(asked.output), asked.output.frame_count, made_by)
        await self._pieces.begin(job.name, stream)
        async with _room(self._scratch) as room:
            transfers = await self._sections(job, asked, arrangement, seed, room)
            made_by = messages.provenance(
                request.engine, asked.engine, told, time.monotonic() - started
            )
            audio, url = await self._filed(job, asked, room, made_by)
        await job.progress("finishing", 0.95, "Listening to the result.")
        adherence, rhythm = await self._judged(job, arrangement, audio.name, asked, transfers)
        generation = outputs_pb2.Generation(
            audio=audio.name,
            url=url,
            seed=seed,
            format=messages.pcm_format(asked.output),
            frame_count=asked.output.frame_count,
            adherence=adherence,
        )
        return tracks_pb2.GenerateFromTracksResponse(
            audio=audio.name, provenance=made_by, seed=seed, generation=generation, rhythm=rhythm
        )

    async def _heard(self, asked: Making, key: str) -> tuple[Heard, Heard]:
        first, second = asked.sources
        one, other = await asyncio.gather(
            self._hearing.track(first, f"{key} 1"), self._hearing.track(second, f"{key} 2")
        )
        return one, other

    async def _sections(
        self,
        job: Job[tracks_pb2.GenerateFromTracksRequest],
        asked: Making,
        arrangement: "Arrangement",
        seed: int,
        room: str,
    ) -> "list[Transfer]":
        """Makes every section, lets it be heard, and gathers all in a file of the room."""
        transfers, tail, start_frame = [], b"", 0
        count = len(arrangement.sections)
        with Path(room, "frames").open("wb") as file:  # noqa: ASYNC230 - into the page cache
            for number in range(count):
                share = _HEARD_SHARE + (_MADE_SHARE - _HEARD_SHARE) * number / count
                await job.progress("generating", share, f"Section {number + 1} of {count}.")
                made = await job.run(
                    worker.make_piece, asked.sources, arrangement, number, asked.output, tail, seed
                )
                file.write(made.frames)
                if made.frame_count:
                    await self._pieces.add(job.name, start_frame, made.frames, made.frame_count)
                transfers.append(made.transfer)
                start_frame, tail = start_frame + made.frame_count, made.tail
        return transfers

    async def _filed(
        self,
        job: Job[tracks_pb2.GenerateFromTracksRequest],
        asked: Making,
        room: str,
        made_by: engine_pb2.Provenance,
    ) -> tuple[ingest_pb2.Audio, str]:
        """Writes the file and makes it the owner's audio."""
        await job.progress("decoding", _MADE_SHARE, "Writing the file.")
        path = str(Path(room, "made.wav"))
        await job.run(worker.write_wave, str(Path(room, "frames")), asked.output, path)
        await job.progress("finishing", _FILE_SHARE, "Storing the file.")
        parents = list(dict.fromkeys(source.audio for source in asked.sources))
        file_name = "generated_music.wav"
        audio = await self._shelf.keep(Filed(path, file_name, asked.title, parents, made_by))
        return audio, await self._shelf.sign(audio.name, file_name)

    async def _judged(
        self,
        job: Job[tracks_pb2.GenerateFromTracksRequest],
        arrangement: "Arrangement",
        audio: str,
        asked: Making,
        transfers: "list[Transfer]",
    ) -> tuple[outputs_pb2.Adherence, tracks_pb2.RhythmTransfer]:
        """Listens to the result; what cannot be heard now is left out, and said."""
        heard, problem = None, ""
        if asked.output.frame_count >= MINIMUM_SECONDS * asked.output.sample_rate_hz:
            source = await self._reader.locate(audio)
            try:
                heard = await self._hearing.outcome(source, f"{job.name} {job.attempt} made")
            except (DependencyUnavailable, TrackSilent) as error:
                problem = f"The result was not listened to: {error}"
        return (
            messages.adherence(arrangement, heard, asked.output, problem),
            messages.rhythm(arrangement, heard, transfers),
        )


@asynccontextmanager
async def _room(directory: str) -> AsyncIterator[str]:
    """Lends a directory that is gone afterwards."""
    room = await asyncio.to_thread(
        tempfile.mkdtemp, prefix="chorale-generation-", dir=directory or None
    )
    try:
        yield room
    finally:
        await asyncio.shield(asyncio.to_thread(shutil.rmtree, room, ignore_errors=True))


def _drawn(operation: str) -> int:
    """A seed that another attempt at the same operation draws again."""
    return uuid.UUID(operation.removeprefix("operations/")).int % (1 << 53)
