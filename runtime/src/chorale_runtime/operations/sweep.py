"""Looks after what nobody looks after: the work of the dead, and results whose time is over."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from chorale_runtime.operations.failures import detail_of
from chorale_runtime.operations.ledger import Ledger
from chorale_runtime.operations.measures import Measures
from chorale_runtime.operations.records import identity_of
from chorale_runtime.operations.run import STORE_AWAY
from chorale_runtime.operations.transitions import Policy

logger = logging.getLogger(__name__)

MEASURE_SECONDS = 5.0

Purge = Callable[[str], Awaitable[None]]


class Sweeper:
    """Every replica sweeps; rows that another holds are skipped, so they never collide."""

    def __init__(
        self,
        ledger: Ledger,
        policy: Policy,
        attempts_max: Callable[[str], int],
        purge: Purge | None,
        measures: Measures,
    ) -> None:
        self._ledger, self._policy, self._measures = ledger, policy, measures
        self._attempts_max, self._purge = attempts_max, purge

    async def take_over(self) -> None:
        """Put back the work of dead workers, until cancelled."""
        await self._forever(self._policy.sweep_seconds, self._take_over_all)

    async def expire(self) -> None:
        """Forget ended operations when their time is over, until cancelled."""
        await self._forever(self._policy.expiry_seconds, self._expire_all)

    async def measure(self) -> None:
        """Tell how much waits, until cancelled."""
        await self._forever(MEASURE_SECONDS, self._measure)

    async def _measure(self) -> None:
        self._measures.wait(await self._ledger.waiting())

    async def _forever(self, seconds: float, sweep: Callable[[], Awaitable[None]]) -> None:
        while True:
            # Spread out, so that replicas started together do not sweep together.
            await asyncio.sleep(seconds * random.uniform(0.7, 1.0))  # noqa: S311
            try:
                await sweep()
            except STORE_AWAY as error:
                logger.warning("operations_sweep_failed", extra={"detail": detail_of(error)})
            except Exception:
                logger.exception("operations_sweep_broke")

    async def _take_over_all(self) -> None:
        count = 0
        while await self._ledger.take_over(self._attempts_max):
            count += 1
        if count:
            self._measures.took_over(count)
            logger.warning("operations_taken_over", extra={"count": count})

    async def _expire_all(self) -> None:
        await self._ledger.strike_off()
        if mended := await self._ledger.mend():
            logger.error("operations_without_job", extra={"count": mended})
        while names := await self._ledger.expired():
            purged = [name for name in names if await self._purged(name)]
            identities = [identity_of(name) for name in purged]
            await self._ledger.forget([identity for identity in identities if identity])
            if len(purged) < len(names):
                return

    async def _purged(self, name: str) -> bool:
        """Let go what the service keeps beside the row, while the row still says that it does."""
        if self._purge is None:
            return True
        try:
            await self._purge(name)
        except Exception:
            logger.exception("operation_purge_failed", extra={"operation": name})
            return False
        return True
