"""Probes: asked often, run seldom."""

import asyncio
import logging

import pytest
from chorale_runtime.probes import Readiness


async def test_a_probe_runs_once_for_many_who_ask() -> None:
    """At once and within the time its finding is kept."""
    runs = 0

    async def probe() -> None:
        nonlocal runs
        runs += 1
        await asyncio.sleep(0.05)

    readiness = Readiness({"database": probe})
    assert all(await asyncio.gather(*(readiness.is_ready() for _ in range(50))))
    assert await readiness.is_ready()
    assert runs == 1


async def test_a_finding_grows_old() -> None:
    """After its time the probe runs again, and recovery is seen."""
    well = False

    async def probe() -> None:
        if not well:
            raise OSError("refused")

    readiness = Readiness({"database": probe}, cache_seconds=0.05)
    assert await readiness.problems() == {"database": "OSError: refused"}
    well = True
    assert not await readiness.is_ready()
    await asyncio.sleep(0.06)
    assert await readiness.is_ready()


async def test_a_probe_that_hangs_has_failed() -> None:
    """Nobody who asks waits longer than the time it has."""

    async def probe() -> None:
        await asyncio.sleep(30)

    readiness = Readiness({"objects": probe}, timeout_seconds=0.1)
    async with asyncio.timeout(1):
        assert await readiness.problems() == {"objects": "no answer within 0.1 s"}


async def test_one_who_gives_up_does_not_spoil_it_for_others() -> None:
    """Cancelling one asker leaves the probe running for the rest."""
    begun, release = asyncio.Event(), asyncio.Event()

    async def probe() -> None:
        begun.set()
        await release.wait()

    readiness = Readiness({"database": probe})
    impatient = asyncio.create_task(readiness.is_ready())
    patient = asyncio.create_task(readiness.is_ready())
    await begun.wait()
    impatient.cancel()
    release.set()
    assert await patient


async def test_every_probe_must_be_well() -> None:
    """One of two is not enough, and the unwell one is named."""

    async def well() -> None:
        pass

    async def unwell() -> None:
        raise ValueError("no")

    readiness = Readiness({"a": well, "b": unwell})
    assert list(await readiness.problems()) == ["b"]


async def test_only_changes_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A dependency that is away for an hour is two lines, not seven hundred."""
    well = True

    async def probe() -> None:
        if not well:
            raise OSError

    readiness = Readiness({"database": probe}, cache_seconds=0.0)
    with caplog.at_level(logging.INFO, "chorale_runtime.probes"):
        for finding in (True, False, False, False, True, True):
            well = finding
            await readiness.is_ready()
    assert [record.message for record in caplog.records] == ["probe_failed", "probe_recovered"]
