"""Two tracks through codec and cascade: finding the weights, and what the operation does."""

import asyncio
import time
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from chorale.engines.v1 import engine_pb2
from chorale.generation.v1 import tracks_pb2
from chorale_audio.reader import AudioReader
from chorale_runtime import caller
from chorale_runtime.operations import Job

from chorale_generation import worker
from chorale_generation.cascade.codec import RATE_HZ
from chorale_generation.cascade.ladder import WINDOW_SECONDS
from chorale_generation.cascade.windows import spread
from chorale_generation.engines import Engine
from chorale_generation.messages import cascade as messages
from chorale_generation.messages import tracks
from chorale_generation.mosaic.heard import Outcome
from chorale_generation.refusals import WeightsMissing
from chorale_generation.servicer import keeping
from chorale_generation.servicer.ahead import in_order
from chorale_generation.servicer.cascading import Cascading, Files
from chorale_generation.servicer.fetching import ModelFiles, weights_of, with_files
from chorale_generation.servicer.hearing import UNHEARD, Hearing
from chorale_generation.servicer.planning import MINIMUM_SECONDS, Making
from chorale_generation.servicer.rooms import room
from chorale_generation.servicer.training_asked import CODEC
from chorale_generation.store.models import Model, ModelNotFound, Store
from chorale_generation.store.pieces import Pieces, Stream
from chorale_generation.store.shelf import Shelf

_CASCADE = "models/cascade"
_Job = Job[tracks_pb2.GenerateFromTracksRequest]


@dataclass(frozen=True)
class _Given:
    """What all windows of a request are made with."""

    asked: Making
    models: tuple[Model, Model]
    files: Files
    seed: int
    directory: str


class CascadeWorks:
    """What the operation does for the engine `encodec-cascade`."""

    def __init__(
        self,
        models: Store,
        files: ModelFiles,
        cascading: Cascading,
        reader: AudioReader,
        hearing: Hearing,
        pieces: Pieces,
        shelf: Shelf,
        scratch_directory: str,
    ) -> None:
        self._models, self._files, self._cascading = models, files, cascading
        self._reader, self._hearing = reader, hearing
        self._pieces, self._shelf, self._scratch = pieces, shelf, scratch_directory

    async def weights(
        self, request: tracks_pb2.GenerateFromTracksRequest, engine: Engine
    ) -> tuple[Model, Model]:
        """The codec and the cascade of a request; raises `WeightsMissing`."""
        codec = await self._found(request.cascade.codec or CODEC, engine)
        return codec, await self._found(request.cascade.model or _CASCADE, engine)

    async def generate(
        self, job: _Job, asked: Making, seed: int
    ) -> tracks_pb2.GenerateFromTracksResponse:
        """Makes one track of two; both are listened to meanwhile."""
        started = time.monotonic()
        models = await self.weights(job.request, asked.engine)
        hearing = asyncio.ensure_future(self._heard(job, asked))
        try:
            async with room(self._scratch) as directory, self._files.held(models) as (one, other):
                await job.progress("reading", 0.1)
                await job.run(worker.read_pair, asked.sources, asked.output, directory)
                given = _Given(asked, models, (one, other), seed, directory)
                made = await self._windows(job, given)
                heard, problem = await hearing
                found, seconds = messages.found(made, heard), time.monotonic() - started
                made_by = _made_by(job, given, made.device, found, seconds)
                audio, url = await keeping.kept(
                    job, self._shelf, asked.output, asked.title, directory, made_by
                )
        finally:
            hearing.cancel()
        await job.progress("finishing", 0.95, "Listening to the result.")
        outcome, unheard = await self._outcome(job, asked, audio.name)
        problems = [messages.ended(asked.output, asked.sources), problem, unheard]
        judged = messages.adherence(outcome, _wanted_lufs(job), problems)
        return tracks_pb2.GenerateFromTracksResponse(
            audio=audio.name,
            provenance=made_by,
            seed=seed,
            generation=messages.generation(audio.name, url, asked.output, seed, made, judged),
            rhythm=messages.rhythm(made, heard, outcome),
            masks=messages.masks(made),
        )

    async def _windows(self, job: _Job, given: _Given) -> messages.Made:
        """Makes every window, lets what is final of it be heard, and gathers all in a file."""
        output, wishes = given.asked.output, given.asked.cascade
        windows = spread(output.frame_count, round(WINDOW_SECONDS * RATE_HZ), wishes.overlap)
        told: list[tuple[worker.MadeCascade, worker.LaidCascade]] = []
        rung, start_frame, lufs = self._cascading.top, 0, _wanted_lufs(job)

        async def made(number: int) -> tuple[worker.CascadeTask, worker.MadeCascade]:
            task = worker.CascadeTask(given.directory, wishes, windows, number, rung)
            return task, await self._cascading.make(job, given.files, task)

        making = in_order(len(windows), self._cascading.together, made)
        path = Path(given.directory, keeping.FRAMES)
        async with aclosing(making) as all_made:
            with path.open("wb") as file:  # noqa: ASYNC230 - into the page cache
                async for task, window in all_made:
                    rung = window.rung  # what did not fit once is not tried again
                    laid = await job.run(worker.lay_cascade, task, output, lufs, given.seed)
                    told.append((window, laid))
                    if not task.number:
                        await self._begin(job, given, window.rung.device)
                    kept = await self._pieces.add(
                        job.name, start_frame, laid.frames, laid.frame_count
                    )
                    file.write(kept)
                    start_frame += laid.frame_count
        return messages.Made.of(told)

    async def _begin(self, job: _Job, given: _Given, device: str) -> None:
        """Says what can be listened to from now on."""
        made_by = _made_by(job, given, device, {})
        output = given.asked.output
        stream = Stream(tracks.pcm_format(output), output.frame_count, made_by)
        await self._pieces.begin(job.name, stream)

    async def _heard(self, job: _Job, asked: Making) -> tuple[messages.Heards | None, str]:
        """Both tracks as analysis hears them; why not, where it does not."""
        key, (first, second) = f"{job.name} {job.attempt}", asked.sources
        try:
            one, other = await asyncio.gather(
                self._hearing.track(first, f"{key} 1"), self._hearing.track(second, f"{key} 2")
            )
        except UNHEARD as error:
            return None, f"The tracks were not listened to: {error}"
        return (one, other), ""

    async def _outcome(self, job: _Job, asked: Making, audio: str) -> tuple[Outcome | None, str]:
        """The result as it is heard; why not, where it is not."""
        if asked.output.frame_count < MINIMUM_SECONDS * asked.output.sample_rate_hz:
            return None, "The result is too short to be listened to."
        try:
            source = await self._reader.locate(audio)
            return await self._hearing.outcome(source, f"{job.name} {job.attempt} made"), ""
        except UNHEARD as error:
            return None, f"The result was not listened to: {error}"

    async def _found(self, name: str, engine: Engine) -> Model:
        try:
            found = await self._models.find(caller.current().principal, name)
        except ModelNotFound as error:
            raise WeightsMissing(engine.name, name, engine.remedy) from error
        return with_files(found, engine)


def _wanted_lufs(job: _Job) -> float | None:
    output = job.request.output
    return output.loudness_lufs if output.HasField("loudness_lufs") else None


def _made_by(
    job: _Job,
    given: _Given,
    device: str,
    found: Mapping[str, str],
    seconds: float = 0.0,
) -> engine_pb2.Provenance:
    asked, lufs = given.asked, _wanted_lufs(job)
    one, other = (source.duration_seconds for source in asked.sources)
    told = messages.said(asked.cascade, asked.output, given.seed, lufs, (one, other))
    made_by = tracks.provenance(job.request.engine, asked.engine, {**told, **found}, seconds)
    made_by.device = device
    made_by.weights.extend(weights_of(model) for model in given.models)
    return made_by
