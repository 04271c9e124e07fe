"""A request to listen: checked before any work, then done or remembered."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from chorale_audio.reader import AudioReader
from chorale_audio.source import Source
from chorale_runtime.answers import Answers
from google.protobuf.message import Message

from chorale_analysis import engines, listening, messages, worker
from chorale_analysis.engines import Engine
from chorale_analysis.servicer.kinds import Kind
from chorale_analysis.wishes import Settings

M = TypeVar("M", bound=Message)
Run = Callable[..., Awaitable[Any]]

_SECONDS_AT_LEAST = 0.05  # what starting costs


@dataclass(frozen=True)
class Asked:
    """One kind of listening to one source, with all that can be known to be wrong found right."""

    kind: Kind
    engine: Engine
    requested: str
    source: Source
    settings: Settings

    @property
    def question(self) -> tuple[object, ...]:
        """What decides the answer, and nothing else."""
        run = self.source.start_frame, self.source.frame_count
        made_by = self.engine.name, self.engine.version
        settings = sorted(messages.told(self.settings).items())
        return self.kind.method, self.source.audio, *run, *made_by, *settings

    @property
    def seconds(self) -> float:
        """What it will take, about."""
        price = self.engine.price or self.kind.price
        return _SECONDS_AT_LEAST + self.source.duration_seconds * price


class Listening:
    """Checks requests, and answers them from what was heard before or by listening."""

    def __init__(
        self,
        reader: AudioReader,
        answers: Answers,
        listen_seconds_max: float,
        weights_directory: str = "",
    ) -> None:
        self._reader, self._answers = reader, answers
        self._listen_seconds_max = listen_seconds_max
        self.weights_directory = weights_directory

    async def asked(self, kind: Kind, request: Any) -> Asked:
        """What a request for one kind will need."""
        return await self.asked_of(await self.source(request), kind, request, request.engine)

    async def asked_of(self, source: Source, kind: Kind, request: Any, engine_name: str) -> Asked:
        """What one kind of listening to a source will need."""
        engine = await self.choose(
            kind.capability, engine_name, request.commercial_only, source.duration_seconds
        )
        settings = kind.wished(request, engine)
        await self.require_length(source, engine, kind, getattr(request, "force", False))
        return Asked(kind, engine, engine_name, source, settings)

    async def choose(
        self, capability: str, name: str, commercial_only: bool, duration_seconds: float = 0.0
    ) -> Engine:
        """The engine for this; in a thread, for files of weights may be read for their digests."""
        directory = self.weights_directory
        return await asyncio.to_thread(
            engines.choose, capability, name, commercial_only, directory, duration_seconds
        )

    async def known(self) -> tuple[Engine, ...]:
        """Every engine, and whether it can work here; in a thread, as `choose` is."""
        return await asyncio.to_thread(engines.known, self.weights_directory)

    async def source(self, request: Any) -> Source:
        """The sound that a request is about."""
        span = messages.span(request.span) if request.HasField("span") else None
        return await self._reader.locate(request.audio, span)

    async def require_length(
        self, source: Source, engine: Engine, kind: Kind, force: bool = False
    ) -> None:
        """Raises `TooShort` or `TooLong` unless the engine can listen to it.

        `force` is above the engine's own limit, and not above that of the service.
        """
        self.require_seconds(source, kind.least_seconds, kind.capability)
        seconds = source.duration_seconds
        if not force and not engine.takes(seconds):
            others = await asyncio.to_thread(
                engines.long_enough, kind.capability, seconds, self.weights_directory
            )
            raise listening.TooLongForEngine(
                seconds, engine.limit_seconds, engine.name, ",".join(others)
            )

    def require_seconds(self, source: Source, least_seconds: float, needed_by: str) -> None:
        """Raises `TooShort` or `TooLong` unless this service can listen to it."""
        rate, longest = source.sample_rate_hz, self._listen_seconds_max
        listening.require_length(source.frame_count, rate, least_seconds, longest, needed_by)

    async def answer(self, question: tuple[object, ...], kind: type[M]) -> M | None:
        """What was answered to a question before."""
        return await self._answers.find(question, kind)

    async def keep(self, question: tuple[object, ...], answer: Message) -> None:
        """Keeps an answer, so that asking again costs nothing."""
        await self._answers.keep(question, answer)

    async def found(self, run: Run, asked: Sequence[Asked]) -> dict[str, Any]:
        """The response to each, by capability: kept ones, and the rest by listening once.

        `run` runs it off the event loop: a job's own, or the process pool's for who just waits.
        """
        answers = await self.all_kept(asked)
        left = [one for one in asked if one.kind.capability not in answers]
        if left:
            wishes = {one.kind.capability: one.settings for one in left}
            makers = {one.kind.capability: one.engine.name for one in left}
            weights = {one.engine.name: one.engine.path for one in left if one.engine.path}
            started = time.monotonic()
            heard = await run(worker.listen, left[0].source, wishes, makers, weights)
            seconds = time.monotonic() - started
            for one in left:
                answer = _answer(one, heard[one.kind.capability], seconds)
                await self._answers.keep(one.question, answer)
                answers[one.kind.capability] = answer
        return answers

    async def all_kept(self, asked: Sequence[Asked]) -> dict[str, Any]:
        """What was answered to the same questions before, by capability."""
        answers = await self._answers.find_all([(one.question, one.kind.response) for one in asked])
        found: dict[str, Any] = {}
        for one, answer in zip(asked, cast(Sequence[Any], answers), strict=True):
            if answer is not None:
                answer.provenance.from_cache = True
                answer.provenance.engine_requested = one.requested or engines.AUTO
                found[one.kind.capability] = answer
        return found

    async def kept(self, asked: Asked) -> Any | None:
        """What was answered to the same question before."""
        return (await self.all_kept([asked])).get(asked.kind.capability)


def _answer(asked: Asked, found: Any, seconds: float) -> Any:
    told = messages.told(asked.settings)
    kind = asked.kind
    message: Any = kind.response(
        **cast(Mapping[str, Any], {kind.field: kind.told(asked.source, found, asked.settings)}),
        provenance=messages.provenance(asked.requested, asked.engine, told, seconds),
        audio=asked.source.audio,
    )
    return message
