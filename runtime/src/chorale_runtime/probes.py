"""Probes: whether what a service stands on is well, asked often and checked seldom.

Health checks come from many places every second. A probe runs at most once in five seconds
and once at a time, whoever asks, and counts as failed when it has not answered in two.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

Probe = Callable[[], Awaitable[None]]
"""Raises when unwell."""

CACHE_SECONDS = 5.0
TIMEOUT_SECONDS = 2.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Finding:
    """What a probe last found; `problem` is empty when all is well."""

    name: str
    problem: str
    found_at: float


class Readiness:
    """All probes of a service; it is ready when every one is well."""

    def __init__(
        self,
        probes: Mapping[str, Probe],
        *,
        cache_seconds: float = CACHE_SECONDS,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self._probes = dict(probes)
        self._cache_seconds, self._timeout_seconds = cache_seconds, timeout_seconds
        self._findings: dict[str, Finding] = {}
        self._running: dict[str, asyncio.Task[Finding]] = {}

    async def is_ready(self) -> bool:
        """Says whether every probe is well, by findings of at most five seconds ago."""
        return not await self.problems()

    async def problems(self) -> dict[str, str]:
        """Tells what is unwell, by the name of the probe."""
        findings = await asyncio.gather(*(self._finding(name) for name in self._probes))
        return {finding.name: finding.problem for finding in findings if finding.problem}

    async def close(self) -> None:
        """Ends probes that are still running."""
        for task in self._running.values():
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _finding(self, name: str) -> Finding:
        known = self._findings.get(name)
        if known is not None and time.monotonic() - known.found_at < self._cache_seconds:
            return known
        running = self._running.get(name)
        if running is None:
            running = self._running[name] = asyncio.create_task(self._run(name))
            running.add_done_callback(lambda _: self._running.pop(name, None))
        # Shielded: one impatient asker must not spoil the answer for the others.
        return await asyncio.shield(running)

    async def _run(self, name: str) -> Finding:
        problem = ""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await self._probes[name]()
        except TimeoutError:
            problem = f"no answer within {self._timeout_seconds:g} s"
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
        finding = Finding(name, problem, time.monotonic())
        self._tell_change(self._findings.get(name), finding)
        self._findings[name] = finding
        return finding

    def _tell_change(self, before: Finding | None, after: Finding) -> None:
        if after.problem and (before is None or not before.problem):
            _log.warning("probe_failed", extra={"probe": after.name, "problem": after.problem})
        elif before is not None and before.problem and not after.problem:
            _log.info("probe_recovered", extra={"probe": after.name})
