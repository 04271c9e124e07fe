"""Removes what nobody needs any more: expired audio, dead uploads, objects without a row."""

import asyncio
import logging
from datetime import UTC, datetime, timedelta

from chorale_runtime.dependencies import DependencyUnavailable
from chorale_runtime.objects import Objects

from chorale_ingest.store.exporting import Exporter
from chorale_ingest.store.removing import Remover
from chorale_ingest.store.uploads import Uploads

logger = logging.getLogger(__name__)

BATCH = 200
STRAY_AGE = timedelta(hours=1)  # a part is put a moment before its row: leave fresh ones alone


class Sweeper:
    """Works in small batches, so that replicas share the work and none waits for another."""

    def __init__(
        self, remover: Remover, uploads: Uploads, exporter: Exporter, objects: Objects
    ) -> None:
        self._remover, self._uploads = remover, uploads
        self._exporter, self._objects = exporter, objects

    async def run(self, every_seconds: float) -> None:
        """Sweep for ever; an outage postpones a round."""
        while True:
            await asyncio.sleep(every_seconds)
            try:
                await self.sweep()
            except DependencyUnavailable as error:
                logger.warning("sweep_postponed", extra={"why": error.detail})
            except Exception:  # a sweep that ended for good would fill the disk in silence
                logger.exception("sweep_failed")

    async def sweep(self) -> None:
        """One round."""
        expired = 0
        while count := await self._remover.expire(BATCH):
            expired += count
        ended = 0
        while upload_ids := await self._uploads.ended(BATCH):
            for upload_id in upload_ids:
                await self._uploads.clean(upload_id)
            ended += len(upload_ids)
        await self._uploads.forget()
        collected = await self._remover.collect_garbage(BATCH)
        exports = 0
        while count := await self._exporter.collect():
            exports += count
        strays = await self._remove_strays() + await self._remove_staged()
        if expired or ended or collected or exports or strays:
            logger.info(
                "swept",
                extra={
                    "expired": expired,
                    "uploads": ended,
                    "collected": collected,
                    "exports": exports,
                    "strays": strays,
                },
            )

    async def _remove_strays(self) -> int:
        """Remove parts whose upload has no row: put by a writer that was cut off late."""
        stray_before = datetime.now(UTC) - STRAY_AGE
        keys: dict[str, list[str]] = {}
        async for stored in self._objects.list("uploads/"):
            if stored.store_time is not None and stored.store_time < stray_before:
                keys.setdefault(stored.key.split("/")[1], []).append(stored.key)
        known = await self._uploads.known(list(keys)) if keys else set()
        strays = [key for upload_id in keys.keys() - known for key in keys[upload_id]]
        for key in strays:
            await self._objects.delete(key)
        return len(strays)

    async def _remove_staged(self) -> int:
        """Remove sound that a maker, or a cut, was copying into its place when it died."""
        stray_before = datetime.now(UTC) - STRAY_AGE
        strays = [
            stored.key
            async for stored in self._objects.list("staging/")
            if stored.store_time is not None and stored.store_time < stray_before
        ]
        for key in strays:
            await self._objects.delete(key)
        return len(strays)
