"""The operation that indexes patterns anew in another layout, once a worker has taken it up."""

import time

from chorale.audio.v1 import audio_pb2
from chorale.fingerprint.v1 import similar_pb2
from chorale_runtime.operations import Job

from chorale_fingerprint import engines, messages
from chorale_fingerprint.engines import Engine
from chorale_fingerprint.layouts import Layout, layout_of
from chorale_fingerprint.store.renewal import LayoutRenewal

# Measured: reading, weighing and laying one pattern into a graph of a million.
_SECONDS_PER_PATTERN = 0.003

Reindex = similar_pb2.ReindexPatternsRequest


class RenewalWorks:
    """Indexes all owners' patterns of an instrument in a newer layout, for operators."""

    def __init__(self, renewal: LayoutRenewal, known_engines: tuple[Engine, ...]) -> None:
        self._renewal, self._engines = renewal, known_engines

    async def estimate(self, layout: Layout, engine: Engine) -> similar_pb2.ReindexPatternsResponse:
        """What it would take."""
        left = (await self._renewal.counts(layout)).left_count
        seconds = left * _SECONDS_PER_PATTERN
        estimate = audio_pb2.Estimate(engine=engine.name, device="cpu", seconds=seconds)
        return similar_pb2.ReindexPatternsResponse(estimate=estimate)

    async def reindex(self, job: Job[Reindex]) -> similar_pb2.ReindexPatternsResponse:
        """Indexes anew what can be, while the older layout serves."""
        started = time.monotonic()

        async def told(done: int, total: int) -> None:
            await job.progress("indexing", done / max(1, total))

        renewed = await self._renewal.renew(layout_of(job.request.layout), told)
        used = engines.choose(self._engines, engines.SIMILAR, job.request.engine)
        return similar_pb2.ReindexPatternsResponse(
            pattern_count=renewed.pattern_count,
            left_count=renewed.left_count,
            provenance=messages.provenance(
                job.request.engine, used, {}, time.monotonic() - started
            ),
        )
