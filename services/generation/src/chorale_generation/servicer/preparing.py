"""Audio made ready to train on: what is asked, and what the operation does."""

import asyncio
import hashlib
import time
from dataclasses import dataclass

from chorale.audio.v1 import audio_pb2
from chorale.engines.v1 import engine_pb2
from chorale.generation.v1 import datasets_pb2
from chorale_audio.reader import AudioReader
from chorale_audio.source import Source
from chorale_runtime.operations import Job

from chorale_generation import worker
from chorale_generation.messages import training as messages
from chorale_generation.refusals import (
    DatasetTooSmall,
    SettingUnsupported,
    TrackSilent,
    TrackTooShort,
)
from chorale_generation.servicer.hearing import Hearing
from chorale_generation.store.datasets import Datasets, Draft, Item, Rejection, identity_of

PREPARE = "chorale.generation.v1.GenerationService/PrepareDataset"

_LEAST_COUNT, _LEAST_SECONDS, _RATE_HZ, _VALIDATION_SHARE = 9, 30.0, 44100, 0.1
_MOST_SECONDS = 1200.0  # of one file; what comes after is not learned from
_AT_ONCE = 16
_ESTIMATE, _LABEL_ESTIMATE = 0.02, 0.06  # CPU seconds per second of sound, measured on one core


@dataclass(frozen=True)
class Preparing:
    """What is fit to be learned from, and what is not."""

    sources: tuple[Source, ...]
    rejections: tuple[Rejection, ...]
    sample_rate_hz: int
    validation_share: float
    labels: bool

    @property
    def estimate(self) -> audio_pb2.Estimate:
        """What it would take."""
        seconds = sum(min(source.duration_seconds, _MOST_SECONDS) for source in self.sources)
        cost = _ESTIMATE + _LABEL_ESTIMATE * self.labels
        return audio_pb2.Estimate(
            engine="chorale",
            device="cpu",
            seconds=1.0 + cost * seconds,
            output_bytes=round(2 * self.sample_rate_hz * seconds),
        )


class PrepareWorks:
    """What the operation does, once a worker has taken it up."""

    def __init__(self, reader: AudioReader, hearing: Hearing, datasets: Datasets) -> None:
        self._reader, self._hearing, self._datasets = reader, hearing, datasets

    async def preparing(self, request: datasets_pb2.PrepareDatasetRequest) -> Preparing:
        """Checks a request; raises `DatasetTooSmall` and what is wrong with any audio."""
        if request.drop_vocals or not request.HasField("drop_vocals"):
            # To leave voices in although they were to go would be a lie about the data.
            raise SettingUnsupported("drop_vocals", "true", "false")
        needed = request.minimum_count or _LEAST_COUNT
        least = request.minimum_seconds or _LEAST_SECONDS
        gate = asyncio.Semaphore(_AT_ONCE)

        async def located(audio: str) -> Source:
            async with gate:
                return await self._reader.locate(audio)

        sources = await asyncio.gather(*(located(audio) for audio in request.audio))
        rejections = [
            Rejection(each.audio, f"It is {each.duration_seconds:.1f} s long, under {least:g} s.")
            for each in sources
            if each.duration_seconds < least
        ]
        kept = [each for each in sources if each.duration_seconds >= least]
        if len(kept) < needed:
            raise DatasetTooSmall(len(kept), needed, least)
        share = request.validation_share
        return Preparing(
            tuple(kept),
            tuple(rejections),
            request.sample_rate_hz or _RATE_HZ,
            share if request.HasField("validation_share") else _VALIDATION_SHARE,
            not request.HasField("auto_label") or request.auto_label,
        )

    async def prepare(
        self, job: Job[datasets_pb2.PrepareDatasetRequest]
    ) -> datasets_pb2.PrepareDatasetResponse:
        """Makes a dataset, or nothing."""
        begun, request = time.monotonic(), job.request
        asked = await self.preparing(request)
        identity = identity_of(job.name)
        kept_back = _kept_back(asked)
        items, rejections = [], list(asked.rejections)
        for number, source in enumerate(asked.sources):
            share = number / len(asked.sources)
            await job.progress("reading", share, f"File {number + 1} of {len(asked.sources)}.")
            try:
                bpm, key = await self._heard(source, asked, f"{job.name} {job.attempt}")
            except (TrackSilent, TrackTooShort) as error:
                rejections.append(Rejection(source.audio, str(error)))
                continue
            made = await job.run(worker.prepare, source, asked.sample_rate_hz, _MOST_SECONDS)
            await self._datasets.keep_sound(identity, source.audio, made.data)
            label = _label(request.label, bpm, key)
            held_back = source.audio in kept_back
            items.append(Item(source.audio, made.frame_count, bpm, key, label, held_back))
        least = request.minimum_seconds or _LEAST_SECONDS
        needed = request.minimum_count or _LEAST_COUNT
        if len(items) < needed:
            await self._datasets.forget_unborn(job.name)
            raise DatasetTooSmall(len(items), needed, least)
        told = _said(request, asked, least, needed)
        draft = Draft(
            identity,
            request.title,
            asked.sample_rate_hz,
            tuple(items),
            tuple(rejections),
            told,
        )
        dataset = await self._datasets.add(job.owner, draft)
        made_by = engine_pb2.Provenance(
            engine_requested="auto",
            engine_used="chorale",
            engine_version="1",
            settings=told,
            device="cpu",
        )
        made_by.processing_time.FromMilliseconds(round(1000 * (time.monotonic() - begun)))
        return datasets_pb2.PrepareDatasetResponse(
            dataset=messages.dataset(dataset), provenance=made_by
        )

    async def _heard(self, source: Source, asked: Preparing, key: str) -> tuple[float, str]:
        if not asked.labels:
            return 0.0, ""
        heard = await self._hearing.track(source, key)
        return heard.bpm, heard.key


def _kept_back(asked: Preparing) -> set[str]:
    """Which audio validates: the same whatever its order, and whoever asks."""
    count = round(asked.validation_share * len(asked.sources))
    if asked.validation_share > 0.0 and len(asked.sources) > 1:
        count = max(1, count)
    names = [source.audio for source in asked.sources]
    names.sort(key=lambda name: hashlib.sha256(name.encode()).digest())
    return set(names[:count])


def _label(given: str, bpm: float, key: str) -> str:
    heard = [f"{bpm:.0f} BPM"] if bpm else []
    return ", ".join([*([given] if given else []), *heard, *([key] if key else [])])


def _said(
    request: datasets_pb2.PrepareDatasetRequest, asked: Preparing, least: float, needed: int
) -> dict[str, str]:
    return {
        "sample_rate_hz": str(asked.sample_rate_hz),
        "validation_share": f"{asked.validation_share:g}",
        "auto_label": str(asked.labels).lower(),
        "drop_vocals": "false",
        "label": request.label,
        "minimum_count": str(needed),
        "minimum_seconds": f"{least:g}",
        "maximum_seconds": f"{_MOST_SECONDS:g}",
    }
