"""Two tracks become one: what is asked, what it would take, and what the operation does."""

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING

from chorale.generation.v1 import outputs_pb2, tracks_pb2
from chorale_audio.reader import AudioReader
from chorale_runtime.dependencies import DependencyUnavailable
from chorale_runtime.operations import Job

from chorale_generation import engines, worker
from chorale_generation.messages import tracks as messages
from chorale_generation.mosaic.heard import Heard
from chorale_generation.refusals import TrackSilent
from chorale_generation.servicer import keeping
from chorale_generation.servicer.cascades import CascadeWorks
from chorale_generation.servicer.hearing import Hearing
from chorale_generation.servicer.planning import MINIMUM_SECONDS, Making, Planner
from chorale_generation.servicer.rooms import room
from chorale_generation.servicer.training_asked import drawn
from chorale_generation.store.pieces import Pieces, Stream
from chorale_generation.store.shelf import Shelf

if TYPE_CHECKING:
    from chorale_generation.mosaic.arrangement import Arrangement
    from chorale_generation.mosaic.transfer import Transfer

GENERATE = "chorale.generation.v1.GenerationService/GenerateFromTracks"

_HEARD_SHARE = 0.2


class MosaicWorks:
    """What the operation does, once a worker has taken it up."""

    def __init__(
        self,
        planner: Planner,
        reader: AudioReader,
        hearing: Hearing,
        pieces: Pieces,
        shelf: Shelf,
        cascades: CascadeWorks,
        scratch_directory: str,
    ) -> None:
        self._planner, self._reader, self._hearing = planner, reader, hearing
        self._cascades = cascades
        self._pieces, self._shelf, self._scratch = pieces, shelf, scratch_directory

    async def generate(
        self, job: Job[tracks_pb2.GenerateFromTracksRequest]
    ) -> tracks_pb2.GenerateFromTracksResponse:
        """Makes one track of two."""
        started, request = time.monotonic(), job.request
        await job.progress("reading", 0.0)
        asked = await self._planner.making(request)
        seed = request.seed if request.HasField("seed") else drawn(job.name)
        if asked.engine.name == engines.CASCADE:
            return await self._cascades.generate(job, asked, seed)
        await job.progress("encoding", 0.05, "Listening to both tracks.")
        heard = await self._heard(asked, f"{job.name} {job.attempt}")
        arrangement = await job.run(
            worker.arrange, asked.sources, heard, asked.wishes, asked.output, seed
        )
        told = messages.said(asked.wishes, asked.output, seed)
        told |= messages.chosen(heard, arrangement)
        made_by = messages.provenance(request.engine, asked.engine, told)
        stream = Stream(messages.pcm_format(asked.output), asked.output.frame_count, made_by)
        await self._pieces.begin(job.name, stream)
        async with room(self._scratch) as directory:
            transfers = await self._sections(job, asked, arrangement, seed, directory)
            made_by = messages.provenance(
                request.engine, asked.engine, told, time.monotonic() - started
            )
            audio, url = await keeping.kept(
                job, self._shelf, asked.output, asked.title, directory, made_by
            )
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
        directory: str,
    ) -> "list[Transfer]":
        """Makes every section, lets it be heard, and gathers all in a file."""
        transfers, tail, start_frame = [], b"", 0
        count = len(arrangement.sections)
        with Path(directory, keeping.FRAMES).open("wb") as file:  # noqa: ASYNC230 - into the page cache
            for number in range(count):
                share = _HEARD_SHARE + (keeping.MADE_SHARE - _HEARD_SHARE) * number / count
                await job.progress("generating", share, f"Section {number + 1} of {count}.")
                made = await job.run(
                    worker.make_piece, asked.sources, arrangement, number, asked.output, tail, seed
                )
                if made.frame_count:
                    kept = await self._pieces.add(
                        job.name, start_frame, made.frames, made.frame_count
                    )
                    file.write(kept)
                transfers.append(made.transfer)
                start_frame, tail = start_frame + made.frame_count, made.tail
        return transfers

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
