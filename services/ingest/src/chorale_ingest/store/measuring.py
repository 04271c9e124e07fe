"""Loudness and true peak of what is stored, found out after it got its name.

Nobody waits for it: a sound is read once more, by a confined process, when there is time.
Until then its row says neither. Replicas draw among the oldest, so that they rarely meet.
"""

import asyncio
import json
import logging

from chorale_runtime.database import Database
from chorale_runtime.dependencies import DependencyUnavailable
from chorale_runtime.objects import ObjectNotFound, Objects

from chorale_ingest.forms import Order
from chorale_ingest.sounds import Sound, pcm_key
from chorale_ingest.store.casting import InOrder
from chorale_ingest.store.catalogue import sound_of
from chorale_ingest.worker.encoders import Encoders, EncodingFailed

logger = logging.getLogger(__name__)

AT_ONCE = 16
METER = "ebur128"


class Measurer:
    """Measures one sound at a time."""

    def __init__(self, database: Database, objects: Objects, encoders: Encoders) -> None:
        self._database, self._objects, self._encoders = database, objects, encoders

    async def run(self, every_seconds: float) -> None:
        """Measure for ever; an outage postpones it."""
        while True:
            try:
                while await self.measure_one():
                    pass
            except DependencyUnavailable as error:
                logger.info("measuring_postponed", extra={"why": error.detail})
            except Exception:  # one that ended for good would be missed in silence
                logger.exception("measuring_failed")
            await asyncio.sleep(every_seconds)

    async def measure_one(self) -> bool:
        """Measure one of the oldest that were not; whether there was any."""
        query = """SELECT * FROM (SELECT * FROM sound WHERE NOT measured ORDER BY create_time
            LIMIT %s) AS oldest ORDER BY random() LIMIT 1"""
        async with self._database.connection() as connection:
            row = await (await connection.execute(query, (AT_ONCE,))).fetchone()
        if row is None:
            return False
        sound = sound_of(row)
        integrated_lufs, true_peak_dbtp = await self._measured(sound)
        async with self._database.connection() as connection:
            await connection.execute(
                """UPDATE sound SET measured = true, integrated_lufs = %s, true_peak_dbtp = %s
                   WHERE sha256 = %s""",
                (integrated_lufs, true_peak_dbtp, sound.sha256),
            )
        return True

    async def _measured(self, sound: Sound) -> tuple[float | None, float | None]:
        order = Order(METER, "", sound.sample_rate_hz, sound.layout, 32, False, 0)
        chunks = self._objects.read(pcm_key(sound.sha256))
        source = InOrder(chunks, sound.frame_count * sound.layout.frame_bytes)
        try:
            told = json.loads(await self._encoders.encode(source, order, _nothing))
            return told["integrated_lufs"], told["true_peak_dbtp"]
        except ObjectNotFound:  # deleted meanwhile
            return None, None
        except (EncodingFailed, ValueError, KeyError) as error:
            logger.warning("unmeasurable", extra={"sha256": sound.sha256, "why": str(error)})
            return None, None


async def _nothing(_: bytes) -> None:
    """A meter has no body."""
