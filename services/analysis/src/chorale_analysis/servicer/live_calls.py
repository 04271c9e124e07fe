"""The call that listens while sound plays."""

import time
from collections.abc import AsyncIterator

from chorale.analysis.v1 import live_pb2
from chorale.engines.v1 import engine_pb2
from chorale_runtime.calls import Context

from chorale_analysis import engines, messages
from chorale_analysis.messages import live
from chorale_analysis.servicer.live_rooms import LiveRooms


class StreamOutOfOrder(Exception):
    """A message of a stream comes in the wrong order."""

    def __init__(self, needed: str) -> None:
        super().__init__(needed)
        self.needed = needed

    def __str__(self) -> str:
        return f"The stream needs {self.needed}."


class LiveCalls:
    """Part of AnalysisService."""

    _live: LiveRooms

    async def StreamAnalysis(
        self, requests: AsyncIterator[live_pb2.StreamAnalysisRequest], _: Context
    ) -> AsyncIterator[live_pb2.StreamAnalysisResponse]:
        """Listens while it plays; the last answer comes when the requests end."""
        first = await anext(aiter(requests), None)
        if first is None or first.WhichOneof("message") != "config":
            raise StreamOutOfOrder("config in the first message")
        config, started = first.config, time.monotonic()
        engine = engines.choose(engines.LIVE, config.engine, config.commercial_only)
        wanted, every = live.wanted(config, engine), live.every_seconds(config, engine)
        told = messages.told(wanted.rhythm) | messages.told(wanted.chords)
        rate_hz, revision = wanted.sample_rate_hz, 0
        async with self._live.open(wanted, every) as ear:
            async for request in requests:
                if request.WhichOneof("message") != "frames":
                    raise StreamOutOfOrder("frames in every later message")
                async for heard in ear.push(request.frames):
                    revision += 1
                    answer = live.response(heard, rate_hz, revision, ear.frame_count)
                    if revision == 1:
                        answer.provenance.CopyFrom(_made_by(config, engine, told, started))
                    yield answer
            news, whole = await ear.finish()
            for heard in news:
                revision += 1
                yield live.response(heard, rate_hz, revision, ear.frame_count)
            made_by = _made_by(config, engine, told, started)
            yield live.last_response(whole, wanted, revision + 1, ear.frame_count, made_by)


def _made_by(
    config: live_pb2.StreamAnalysisConfig,
    engine: engines.Engine,
    told: dict[str, str],
    started: float,
) -> engine_pb2.Provenance:
    return messages.provenance(config.engine, engine, told, time.monotonic() - started)
