"""A server that ends leaves new work to others, and sends those who wait to them."""

import asyncio
import contextlib
import time
from functools import partial
from typing import Any

import grpc
import pytest
from chorale_runtime import caller, channels, draining
from chorale_runtime.draining import Draining
from chorale_runtime.processes import Processes
from chorale_runtime.refusals import NotReady
from chorale_runtime.settings import ServerSettings
from grpc_health.v1 import health_pb2, health_pb2_grpc
from operations_work import answer_of, request, serving
from processes_work import sleep
from songs import Songs, Stubs
from songs import serving as serving_songs

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
ADA = caller.Caller("p1", "free")


async def _taking(channel: grpc.aio.Channel) -> int:
    stub = health_pb2_grpc.HealthStub(channel)
    return int((await stub.Check(health_pb2.HealthCheckRequest(service="taking"))).status)


async def test_whether_calls_are_taken_is_no_matter_of_the_probes() -> None:
    """A dependency that is away has an error of its own to tell; a drain sends callers away."""

    async def probe() -> None:
        raise ConnectionError("gone")

    settings = ServerSettings(endpoint_pause_seconds=0.5, drain_seconds=1)
    async with contextlib.AsyncExitStack() as stack:
        entered = contextlib.AsyncExitStack()
        opened = serving_songs(settings=settings, probes={"database": probe})
        server = await entered.enter_async_context(opened)
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(server.server.address))
        assert await _taking(channel) == SERVING
        leaving = asyncio.create_task(entered.aclose())
        await asyncio.sleep(0.2)
        assert await _taking(channel) == NOT_SERVING
        await leaving


async def test_services_pass_over_a_replica_that_drains() -> None:
    """While it pauses it would still answer; nobody asks it any more."""
    counts = [0, 0]

    def counting(number: int) -> Any:
        async def count(*_: Any) -> None:
            counts[number] += 1

        return count

    settings = ServerSettings(endpoint_pause_seconds=1.0, drain_seconds=0.2)
    async with contextlib.AsyncExitStack() as stack, contextlib.AsyncExitStack() as first:
        servers = [
            await owner.enter_async_context(serving_songs(Songs(before=counting(number)), settings))
            for number, owner in enumerate((first, stack))
        ]
        addresses = ",".join(server.server.address for server in servers)
        async with channels.channel(f"ipv4:{addresses}") as channel:
            await channel.channel_ready()
            while not all(counts):
                await Stubs(channel).call("unary_unary", timeout=5)
            leaving = asyncio.create_task(first.aclose())
            await asyncio.sleep(0.4)
            before = counts[0]
            for _ in range(20):
                await Stubs(channel).call("unary_unary", timeout=5)
            assert counts[0] == before
            assert not leaving.done()
            await leaving


async def test_a_draining_replica_takes_no_more_work(database_url: str) -> None:
    """What it runs goes on, what comes waits for another replica, and who waits is sent there."""
    ending = Draining()
    draining.use(ending)
    async with serving(database_url, slots=1) as leaving:
        draining.use(Draining())
        with caller.acting(ADA):
            running = await leaving.start(request("steps", to=6, pause=0.1))
            first = asyncio.create_task(leaving.wait(running.name))
            await asyncio.sleep(0.2)
            ending.begin(5.0)
            await asyncio.sleep(0.1)
            waiting = await leaving.start(request("echo", value=1))
            assert answer_of(await first)["attempt"] == 1
            watching = asyncio.create_task(leaving.watch(waiting.name))
            await asyncio.sleep(0.3)
            assert not (await leaving.get(waiting.name)).done
            ending.close()
            with pytest.raises(NotReady, match="draining"):
                await watching
            with pytest.raises(NotReady, match="draining"):
                await leaving.wait(waiting.name)
            async with serving(database_url) as other:
                assert answer_of(await other.wait(waiting.name))["value"] == 1


async def test_what_is_left_of_the_drain_bounds_the_handing_back(database_url: str) -> None:
    """However long work may go on otherwise: the process has to be gone by then."""
    ending = Draining()
    draining.use(ending)
    async with contextlib.AsyncExitStack() as stack:
        leaving = await stack.enter_async_context(serving(database_url))
        with caller.acting(ADA):
            begun = await leaving.start(request("sleep", seconds=30))
            await asyncio.sleep(0.2)
        ending.begin(0.0)
        started = time.monotonic()
        await stack.aclose()
        assert time.monotonic() - started < 3
    draining.use(Draining())
    async with serving(database_url) as other:
        with caller.acting(ADA):
            assert not (await other.get(begun.name)).done


async def test_the_cold_let_the_warm_begin(database_url: str) -> None:
    """A new replica whose processes still warm up takes nothing while another could."""
    async with (
        serving(database_url),
        Processes.open(1, warm=partial(sleep, 60)) as cold,
        serving(database_url, processes=cold) as new,
    ):
        await asyncio.sleep(0.5)
        with caller.acting(ADA):
            begun = [await new.start(request("echo", value=number)) for number in range(3)]
            for operation in begun:
                assert answer_of(await new.wait(operation.name))["attempt"] == 1
        assert not cold.warmed.is_set()
