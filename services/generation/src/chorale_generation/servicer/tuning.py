"""Training at a provider: data is sent, waited for, and what came of it is registered."""

import asyncio
import contextlib
import json
import logging
import time
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from chorale.engines.v1 import engine_pb2
from chorale.generation.v1 import training_pb2
from chorale_runtime.operations import Job

from chorale_generation import messages as shelves
from chorale_generation import worker
from chorale_generation.engines import REPLICATE
from chorale_generation.messages import training as messages
from chorale_generation.messages.tracks import provenance
from chorale_generation.providers import ProviderRefused, ProviderUnavailable
from chorale_generation.servicer.entries import entry
from chorale_generation.servicer.fetching import weights_of
from chorale_generation.servicer.outside.replicate import Replicate, Seen
from chorale_generation.servicer.rooms import room
from chorale_generation.servicer.training_asked import TrainingPlanner, Tuned
from chorale_generation.store.datasets import Datasets
from chorale_generation.store.models import PREFIX, Model
from chorale_generation.store.registry import Registry
from chorale_generation.store.trainings import Trainings
from chorale_generation.store.tunings import Tuning, Tunings
from chorale_generation.training.asked import Point

logger = logging.getLogger(__name__)

_SENT, _BEGUN, _OVER = 0.1, 0.15, 0.95
_CLOSE_SECONDS = 5.0
_LINES_AT_ONCE = 100  # of a log that grew by more since the last look, the latest


@dataclass(frozen=True)
class Manner:
    """What a trainer there is told beside what a request says, and how often it is looked at."""

    poll_seconds: float
    dataset_input: str
    inputs: dict[str, Any]
    key_patience_seconds: float = 600.0


class TuneWorks:
    """What the operation does, and what is left to do when nobody waits for it any more."""

    def __init__(
        self,
        planner: TrainingPlanner,
        datasets: Datasets,
        trainings: Trainings,
        tunings: Tunings,
        registry: Registry,
        replicate: Replicate,
        manner: Manner,
        scratch_directory: str,
    ) -> None:
        self._planner, self._datasets, self._registry = planner, datasets, registry
        self._trainings, self._tunings = trainings, tunings
        self._replicate, self._manner = replicate, manner
        self._scratch = scratch_directory
        self._left = asyncio.Event()
        self._beginning: dict[str, asyncio.Task[str]] = {}

    async def tune(
        self, job: Job[training_pb2.TrainModelRequest]
    ) -> training_pb2.TrainModelResponse:
        """Trains there and registers what came of it, once in all attempts."""
        model = await self._planner.trained(job.request.details, job.name)
        try:
            model = model or await self._tuned(job)
        except asyncio.CancelledError:
            self._left.set()  # whether it was cancelled or only handed on, `sweep` finds out
            raise
        tuning = await self._tunings.find(job.name)
        if tuning is not None:
            await self._let_go(tuning)
        made_by = engine_pb2.Provenance.FromString(model.provenance or b"")
        return training_pb2.TrainModelResponse(
            model=shelves.model(model),
            provenance=made_by,
            report=messages.tuning_report(made_by.settings),
        )

    async def sweep(self) -> None:
        """Stops what runs there for operations that were cancelled, failed or are forgotten.

        So it is stopped although the replica that waited for it is gone.
        """
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._left.wait(), self._manner.poll_seconds)
            self._left.clear()
            if self._replicate.remedy:
                continue  # nothing can be stopped without a key
            try:
                abandoned = await self._tunings.abandoned()
            except Exception as error:  # the database is away; the next round tries again
                logger.warning("tuning_sweep_failed", extra={"error": type(error).__name__})
                continue
            for tuning in abandoned:
                try:
                    await self._stop(tuning)
                except Exception as error:
                    told = {"operation": tuning.operation, "error": type(error).__name__}
                    logger.warning("tuning_not_stopped", extra=told)

    async def close(self) -> None:
        """Waits a while for what is being begun; what is lost the next attempt has to look for."""
        tasks = list(self._beginning.values())
        if tasks:
            await asyncio.wait(tasks, timeout=_CLOSE_SECONDS)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _tuned(self, job: Job[training_pb2.TrainModelRequest]) -> Model:
        begun = time.monotonic()
        asked = await self._planner.tuning(job.request)
        tuning = await self._tunings.resume(job.name) or await self._sent(job, asked)
        if not tuning.training_id:
            await job.progress("starting", _SENT)
            tuning = replace(tuning, training_id=await self._begun(asked, tuning))
        seen = await self._over(job, tuning)
        if seen.status != "succeeded" or not seen.version:
            await self._let_go(tuning)
            said = seen.error or (seen.log[-1] if seen.log else "")
            raise ProviderRefused(REPLICATE.name, seen.status, said or "it names no version")
        await job.progress("registering", _OVER)
        return await self._kept(job, asked, tuning, seen, time.monotonic() - begun)

    async def _sent(self, job: Job[Any], asked: Tuned) -> Tuning:
        """The data set, on its way as one archive."""
        await job.progress("reading", 0.0)
        dataset = asked.dataset
        sources = [self._datasets.source(dataset, item) for item in asked.learned]
        told: list[dict[str, str | float]] = [
            {
                "file": f"{item.audio.removeprefix('audio/')}.wav",
                "duration_seconds": item.frame_count / dataset.sample_rate_hz,
                "sample_rate_hz": dataset.sample_rate_hz,
                "bpm": item.bpm,
                "key": item.key,
                "label": item.label,
            }
            for item in asked.learned
        ]
        async with room(self._scratch) as directory:
            path = Path(directory, "dataset.zip")
            packed = await job.run(worker.pack, sources, told, str(path))
            await job.progress("uploading", _SENT / 2.0, f"{packed.size_bytes} bytes.")
            digests = {"dataset_sha256": dataset.sha256, "sha256": packed.sha256}
            stored = await self._replicate.upload(path, "dataset.zip", digests)
        tuning = Tuning(
            job.name, REPLICATE.name, stored.id, stored.url, packed.sha256, packed.size_bytes
        )
        await self._tunings.keep(tuning)
        return tuning

    async def _begun(self, asked: Tuned, tuning: Tuning) -> str:
        """Begins the training, and keeps its identity even where nobody waits any more."""
        task = asyncio.create_task(self._begin(asked, tuning))
        self._beginning[tuning.operation] = task
        task.add_done_callback(lambda _: self._beginning.pop(tuning.operation, None))
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(task)

    async def _begin(self, asked: Tuned, tuning: Tuning) -> str:
        # An attempt before may have begun it, and not have lived to hear its identity.
        training = await self._replicate.begun_with(tuning.file_url)
        if not training:
            owner = await self._replicate.account(tries=3)
            name = f"chorale-{asked.details.model.removeprefix(PREFIX)}"
            destination = await self._replicate.require_model(owner, name)
            training = await self._replicate.begin(
                asked.trainer, self._given(asked, tuning.file_url), destination
            )
        if not await self._tunings.begun(tuning.operation, training):
            # Another replica found it cancelled meanwhile, and knew of nothing to stop.
            await self._replicate.cancel(training)
        self._left.set()
        return training

    def _given(self, asked: Tuned, file_url: str) -> dict[str, Any]:
        given = self._manner.inputs | messages.tuning_input(asked.settings)
        return given | {self._manner.dataset_input: file_url}

    async def _over(self, job: Job[Any], tuning: Tuning) -> Seen:
        """How the training ended, looked at again and again."""
        curve = await self._trainings.curve(job.name)
        told = curve[-1].point.step if curve else 0
        refused_at: float | None = None
        while True:
            is_away, wait = False, self._manner.poll_seconds
            try:
                seen = await self._replicate.seen(tuning.training_id)
            except ProviderUnavailable as error:
                # It goes on there, whether or not it can be seen.
                is_away, wait = True, max(wait, error.retry_after_seconds)
                said = f"{error} It is asked again in {wait:.0f} s."
                await job.progress("training", _BEGUN, said)
            except ProviderRefused as error:
                # A key is being changed, perhaps: what is paid for is not given up for that.
                refused_at = refused_at or time.monotonic()
                patience = refused_at + self._manner.key_patience_seconds - time.monotonic()
                if not error.is_about_key or patience < 0.0:
                    raise
                is_away = True
                await job.progress("training", _BEGUN, f"{error} It is asked again.")
            else:
                refused_at = None
                told = await self._tell(job, seen, told)
                if seen.status in ("succeeded", "failed", "canceled"):
                    return seen
            with self._replicate.health.waiting() if is_away else contextlib.nullcontext():
                await asyncio.sleep(wait)

    async def _tell(self, job: Job[Any], seen: Seen, told: int) -> int:
        """Adds new lines of the log to the curve, whose steps they are; how many there are."""
        told = max(told, len(seen.log) - _LINES_AT_ONCE)
        for number, line in enumerate(seen.log[told:], told + 1):
            await self._trainings.tell(job.name, [Point(number, 0.0, 0.0, 0.0, 0.0)], False, line)
        said = seen.log[-1] if seen.log else ""
        await job.progress("training", _BEGUN, f"{REPLICATE.name}: {seen.status}. {said}".strip())
        return max(told, len(seen.log))

    async def _kept(
        self, job: Job[Any], asked: Tuned, tuning: Tuning, seen: Seen, seconds: float
    ) -> Model:
        """Registers what was trained, with all that it came from."""
        sent = self._given(asked, "")
        told = {f"input.{name}": json.dumps(value) for name, value in sent.items() if value != ""}
        told |= {
            "provider": REPLICATE.name,
            "provider_id": seen.version,
            "trainer": asked.trainer,
            "training": seen.id,
            "dataset": asked.dataset.name,
            "dataset.sha256": asked.dataset.sha256,
            "archive.sha256": tuning.sha256,
            "archive.bytes": str(tuning.size_bytes),
            "archive.items": str(len(asked.learned)),
            "licence": asked.details.licence,
            "source": asked.details.source,
            "code_version": metadata.version("chorale-generation"),
            "ended_by": "epochs",
            "resumed_count": str(tuning.resumed_count),
        }
        made_by = provenance(asked.details.engine, REPLICATE, told, seconds)
        made_by.device = REPLICATE.devices[0]
        if asked.base is not None:
            made_by.weights.append(weights_of(asked.base))
        packed = made_by.SerializeToString(deterministic=True)
        made = entry(asked.details, REPLICATE, (), packed)
        made = replace(
            made,
            # What it was trained from binds it too; a trainer that is only set tells no licence.
            commercial_use=made.commercial_use and bool(asked.base and asked.base.commercial_use),
            provider=REPLICATE.name,
            provider_id=seen.version,
            trained_by=job.name,
            dataset=asked.dataset.name,
            parent=asked.base.name if asked.base else "",
        )
        return await self._registry.register(job.owner, made)

    async def _stop(self, tuning: Tuning) -> None:
        if tuning.operation in self._beginning:
            return  # it comes again as soon as its identity is known
        training = tuning.training_id or await self._replicate.begun_with(tuning.file_url)
        if training:
            await self._replicate.cancel(training)
        await self._let_go(tuning)
        logger.info("tuning_stopped", extra={"operation": tuning.operation, "training": training})

    async def _let_go(self, tuning: Tuning) -> None:
        """Of the data that lies there; then of the row, so that no data is forgotten."""
        await self._replicate.forget(tuning.file_id)
        await self._tunings.drop(tuning.operation)
