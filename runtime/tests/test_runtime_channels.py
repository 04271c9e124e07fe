"""Channels to other services carry what the running call knows."""

import contextlib
from typing import Any

import grpc
from chorale_runtime import caller, channels, deadline, traces
from chorale_runtime.settings import ServerSettings
from songs import Songs, Stubs, serving


async def test_deadline_trace_and_caller_travel_on(monkeypatch: Any) -> None:
    """A service that calls another hands on what is left, whose trace, and for whom."""
    seen: dict[str, Any] = {}

    async def inner(_: Any, context: Any) -> None:
        seen["who"] = caller.current()
        seen["left"] = deadline.seconds_left()
        seen["trace"] = traces.trace_id()

    async def outer(*_: Any) -> None:
        seen["outer_trace"] = traces.trace_id()
        async with channels.channel(behind.server.address) as channel:
            await Stubs(channel).call("unary_unary")

    acting = (("chorale-on-behalf-of", "ada"), ("chorale-on-behalf-of-tier", "studio"))
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    context = (("traceparent", f"00-{trace}-00f067aa0ba902b7-01"),)
    async with serving(Songs(before=inner)) as behind, serving(Songs(before=outer)) as front:
        await front.stubs.call("unary_unary", metadata=acting + context, timeout=3)
    assert seen["who"] == caller.Caller("ada", "studio", is_service=True)
    assert 0 < seen["left"] <= 3.1  # rounded up on the wire
    assert seen["trace"] == seen["outer_trace"] == trace


async def test_the_sooner_deadline_counts() -> None:
    """Neither the call's own nor the running one's is stretched by the other."""
    lefts: list[float] = []

    async def look(*_: Any) -> None:
        left = deadline.seconds_left()
        assert left is not None
        lefts.append(left)

    async with serving(Songs(before=look), channel=channels.channel) as running:
        with deadline.bounded(2):
            await running.stubs.call("unary_unary", timeout=50)
            await running.stubs.call("unary_unary", timeout=1)
            with deadline.bounded(80):
                await running.stubs.call("unary_unary")
    # On the wire a timeout is rounded up, by a percent at most.
    assert 1 < lefts[0] <= 2.1
    assert 0 < lefts[1] <= 1.1
    assert 1 < lefts[2] <= 2.1


async def test_every_cardinality_goes_through_a_channel() -> None:
    """Stubs take it for grpc's own."""
    async with serving(channel=channels.channel) as running:
        for cardinality in ("unary_unary", "unary_stream", "stream_unary", "stream_stream"):
            assert await running.stubs.call(cardinality, timeout=9)
        assert running.channel.get_state() is grpc.ChannelConnectivity.READY


async def test_a_service_shows_its_token() -> None:
    """Where services know each other by tokens, the channel adds its own."""
    seen: list[Any] = []

    async def look(_: Any, context: Any) -> None:
        seen.append(dict(context.invocation_metadata()).get("authorization"))

    settings = ServerSettings(service_token="secret-token")
    opened = lambda address: channels.channel(address, settings)  # noqa: E731
    async with serving(Songs(before=look), channel=opened) as running:
        await running.stubs.call("unary_unary", timeout=9)
    assert seen == ["Bearer secret-token"]


async def test_calls_spread_over_replicas_and_survive_one() -> None:
    """round_robin over all addresses; when one drains, no call fails."""
    counts = [0, 0]

    def counting(number: int) -> Any:
        async def count(*_: Any) -> None:
            counts[number] += 1

        return count

    async with contextlib.AsyncExitStack() as stack, contextlib.AsyncExitStack() as first:
        servers = [
            await owner.enter_async_context(serving(Songs(before=counting(number))))
            for number, owner in enumerate((first, stack))
        ]
        addresses = ",".join(server.server.address for server in servers)
        async with channels.channel(f"ipv4:{addresses}") as channel:
            stubs = Stubs(channel)
            await channel.channel_ready()
            for _ in range(40):
                await stubs.call("unary_unary", timeout=5)
            assert min(counts) >= 10
            await first.aclose()
            for _ in range(40):
                await stubs.call("unary_unary", timeout=5)
    assert sum(counts) == 80
