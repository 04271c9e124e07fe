"""Channels to other services carry what the running call knows."""

import contextlib
from typing import Any

import grpc
import pytest
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


async def test_a_proxy_for_the_world_is_none_for_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """With proxies in the environment that nobody serves, services still reach each other."""
    for name in ("grpc_proxy", "https_proxy", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("no_grpc_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    async with serving(channel=channels.channel) as running:
        await running.stubs.call("unary_unary", timeout=5)
        # gRPC does heed these variables: without the option the same address is out of reach.
        async with grpc.aio.insecure_channel(running.server.address) as heeding:
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await Stubs(heeding).call("unary_unary", timeout=5)
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(
    ("address", "is_direct"),
    [
        ("127.0.0.1:7401", True),
        ("localhost:7401", True),
        ("dns:///[::1]:7401", True),
        ("ipv4:127.0.0.1:1,127.0.0.2:2", True),
        ("unix:/run/ingest.sock", True),
        ("ipv4:127.0.0.1:1,10.0.0.1:2", False),
        ("dns:///ingest.chorale.svc:7401", False),
    ],
)
def test_only_addresses_beyond_this_machine_go_through_a_proxy(
    address: str, is_direct: bool
) -> None:
    """What `http_proxy` says counts for them, as it does for every gRPC client."""
    assert (("grpc.enable_http_proxy", 0) in channels.options_for(address)) is is_direct
