"""The life of a server: bound at once, built, drained; and how its process ends."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from chorale_runtime import lifecycle, listening
from chorale_runtime.app import App
from chorale_runtime.calls import EOF
from chorale_runtime.dependencies import DependencyUnavailable
from chorale_runtime.lifecycle import running
from chorale_runtime.settings import ServerSettings
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from songs import Songs, Stubs, app, detail, info, serving, status_of

SERVER = Path(__file__).parent / "song_server.py"
INGEST = "chorale.ingest.v1.IngestService"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def free_port() -> int:
    """A port that nobody has at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


async def health(channel: Any, name: str) -> Any:
    """What health says about a name."""
    stub = health_pb2_grpc.HealthStub(channel)
    answer = await stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=5)
    return answer.status


async def page(address: str, path: str) -> tuple[int, str]:
    """A page of the side port."""

    def get() -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://{address}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    return await asyncio.to_thread(get)


@pytest.mark.parametrize("name", ["", INGEST, "chorale.mastering.v1.MasteringService", "live"])
async def test_health_is_told_by_name(name: str) -> None:
    """All of the server, each of its services, and being alive at all."""
    async with serving() as server:
        assert await health(server.channel, name) == SERVING


async def test_health_does_not_know_other_names() -> None:
    """NOT_FOUND, as the protocol has it."""
    async with serving() as server:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await health(server.channel, "no.such.Service")
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND


async def test_readiness_follows_the_probes() -> None:
    """A probe that fails makes every name NOT_SERVING, but not the process dead."""
    well = True

    async def probe() -> None:
        if not well:
            raise ConnectionError("gone")

    async with serving(probes={"database": probe}) as server:
        assert await health(server.channel, INGEST) == SERVING
        assert (await page(server.server.metrics_address, "/readyz"))[0] == 200
    well = False
    async with serving(probes={"database": probe}) as server:
        assert await health(server.channel, INGEST) == NOT_SERVING
        assert await health(server.channel, "live") == SERVING
        assert (await page(server.server.metrics_address, "/readyz"))[0] == 503
        assert (await page(server.server.metrics_address, "/livez"))[0] == 200


async def test_reflection_tells_the_contract() -> None:
    """A client without protos can list the services and learn their messages."""
    async with serving() as server:

        def ask() -> tuple[set[str], list[str]]:
            with grpc.insecure_channel(server.server.address) as channel:
                database = ProtoReflectionDescriptorDatabase(channel)
                file = database.FindFileContainingSymbol(INGEST)
                return set(database.get_services()), [service.name for service in file.service]

        names, services = await asyncio.to_thread(ask)
    assert {INGEST, "chorale.mastering.v1.MasteringService", "grpc.health.v1.Health"} <= names
    assert services == ["IngestService"]


async def test_a_server_answers_before_it_is_built() -> None:
    """Health is NOT_SERVING and calls are UNAVAILABLE/NOT_READY with a time to retry."""
    ready = asyncio.Event()

    @contextlib.asynccontextmanager
    async def build(_: ServerSettings) -> AsyncIterator[App]:
        await ready.wait()
        yield app(Songs())

    settings = ServerSettings(address=f"127.0.0.1:{free_port()}", drain_seconds=0.2)

    async def serve() -> None:
        async with running(settings, build):
            await done.wait()

    done = asyncio.Event()
    task = asyncio.create_task(serve())
    async with grpc.aio.insecure_channel(settings.address) as channel:
        await channel.channel_ready()
        assert await health(channel, INGEST) == NOT_SERVING
        assert await health(channel, "") == NOT_SERVING
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await Stubs(channel).call("unary_unary", timeout=5)
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
        assert info(raised.value).metadata["state"] == "starting"
        assert detail(status_of(raised.value), error_details_pb2.RetryInfo)
        ready.set()
        async with asyncio.timeout(5):
            while await health(channel, INGEST) != SERVING:  # noqa: ASYNC110 - over the wire
                await asyncio.sleep(0.01)
        await Stubs(channel).call("unary_unary", timeout=5)
    done.set()
    await task


async def test_building_is_tried_again_while_something_is_away() -> None:
    """A database that cannot be reached at the start delays the start and does not end it."""
    attempts: list[int] = []

    @contextlib.asynccontextmanager
    async def build(_: ServerSettings) -> AsyncIterator[App]:
        attempts.append(1)
        if len(attempts) < 3:
            raise DependencyUnavailable("database", "connection refused")
        yield app(Songs())

    async with running(ServerSettings(), build):
        assert len(attempts) == 3


async def test_a_mistake_while_building_is_not_retried() -> None:
    """What waiting cannot cure is told at once."""

    @contextlib.asynccontextmanager
    async def build(_: ServerSettings) -> AsyncIterator[App]:
        raise ValueError("wrong")
        yield

    with pytest.raises(ValueError, match="wrong"):
        async with running(ServerSettings(), build):
            pass


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "192.0.2.1:7401", "example.org:7401"])
async def test_only_loopback_is_bound_without_authentication(address: str) -> None:
    """A mesh on a laptop is not open to its network by mistake."""
    with pytest.raises(listening.AddressRefused, match="CHORALE_JWT_KEYS_FILE"):
        async with lifecycle.bound(ServerSettings(address=address)):
            pass


@pytest.mark.parametrize("address", ["127.0.0.1:0", "localhost:0", "[::1]:0"])
async def test_loopback_is_bound(address: str) -> None:
    """By number and by name, and the port it got is told."""
    async with serving(settings=ServerSettings(address=address)) as server:
        assert listening.split(server.server.address)[1] > 0
        await server.stubs.call("unary_unary", timeout=5)


@pytest.mark.parametrize("address", ["", "7401", "127.0.0.1", "127.0.0.1:99999", ":80"])
async def test_an_address_that_is_none_is_refused(address: str) -> None:
    """With what an address looks like."""
    with pytest.raises(listening.AddressRefused, match="host:port"):
        async with lifecycle.bound(ServerSettings(address=address)):
            pass


async def test_a_taken_port_is_refused() -> None:
    """Two servers never share a port in silence."""
    async with serving() as server:
        taken = server.server.address
        with pytest.raises(listening.AddressInUse, match="another process"):
            async with lifecycle.bound(ServerSettings(address=taken)):
                pass


async def test_draining_lets_calls_in_flight_end() -> None:
    """What had begun is answered; what comes then is refused."""
    begun = asyncio.Event()

    async def wait(*_: Any) -> None:
        begun.set()
        await asyncio.sleep(0.3)

    settings = ServerSettings(drain_seconds=5)
    async with contextlib.AsyncExitStack() as stack:
        channel: Any = None
        async with serving(Songs(before=wait), settings) as server:
            address = server.server.address
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(address))
            in_flight = asyncio.create_task(Stubs(channel).call("unary_unary", timeout=5))
            await begun.wait()
        assert (await in_flight)[0].upload.name
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await Stubs(channel).call("unary_unary", timeout=1)
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_calls_that_outlast_the_grace_are_told_why() -> None:
    """UNAVAILABLE/NOT_READY with state draining, so that the caller goes elsewhere."""

    async def wait(*_: Any) -> None:
        await asyncio.sleep(30)

    settings = ServerSettings(drain_seconds=0.2)
    async with contextlib.AsyncExitStack() as stack:
        async with serving(Songs(before=wait), settings) as server:
            address = server.server.address
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(address))
            in_flight = asyncio.create_task(Stubs(channel).call("stream_stream", timeout=9))
            await asyncio.sleep(0.2)
            started = time.monotonic()
        assert time.monotonic() - started < 2
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await in_flight
    assert info(raised.value).metadata["state"] == "draining"


async def test_watchers_of_health_hear_of_the_drain_and_do_not_delay_it() -> None:
    """SERVING, then NOT_SERVING, then the end of the stream, long before the grace is over."""
    async with contextlib.AsyncExitStack() as stack:
        async with serving(settings=ServerSettings(drain_seconds=20)) as server:
            channel = await stack.enter_async_context(
                grpc.aio.insecure_channel(server.server.address)
            )
            watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
            assert (await watch.read()).status == SERVING
            # Reading goes on meanwhile: grpc.aio drops what is unread when the stream has ended.
            news = asyncio.create_task(watch.read())
            await asyncio.sleep(0)
            started = time.monotonic()
        assert time.monotonic() - started < 5
        assert (await news).status == NOT_SERVING
        assert await watch.read() is EOF


async def test_the_announcement_tells_where_everything_is(tmp_path: Path) -> None:
    """Supervisors learn ports and process from a file that is never half written."""
    file = tmp_path / "songs.json"
    async with serving(settings=ServerSettings(announce_file=str(file))) as server:
        assert json.loads(file.read_text()) == {
            "address": server.server.address,
            "metrics_address": server.server.metrics_address,
            "pid": os.getpid(),
        }
    assert os.listdir(tmp_path) == ["songs.json"]


async def test_the_side_port_serves_metrics_and_nothing_else() -> None:
    """What was called is counted under its method and code; other pages are 404."""
    async with serving() as server:
        await server.stubs.call("unary_unary", timeout=5)
        status, text = await page(server.server.metrics_address, "/metrics")
        assert status == 200
        method = f'method="/{INGEST}/GetUpload"'
        assert f'chorale_songs_calls_total{{code="OK",{method}}}' in text.replace(
            f'{method},code="OK"', f'code="OK",{method}'
        )
        assert f'chorale_songs_call_duration_seconds_bucket{{le="+Inf",{method}}}' in text
        assert "chorale_songs_calls_in_flight" in text
        assert "process_resident_memory_bytes" in text or sys.platform != "linux"
        assert (await page(server.server.metrics_address, "/etc/passwd"))[0] == 404


async def test_the_side_port_survives_bad_guests() -> None:
    """Silence, garbage and endless headers do not hurt it."""
    async with serving() as server:
        host, port = listening.split(server.server.metrics_address)
        for garbage in (b"", b"\0\xff\r\n\r\n", b"GET " + b"x" * 100_000):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(garbage)
            with contextlib.suppress(OSError):
                await writer.drain()
                writer.write_eof()
                await reader.read()
            writer.close()
        assert (await page(server.server.metrics_address, "/livez"))[0] == 200


class Process:
    """A server in a process of its own."""

    def __init__(self, process: "subprocess.Popen[str]", announced: Path) -> None:
        self.process, self._announced = process, announced

    def address(self) -> str:
        """Where it serves; waits until it does."""
        for _ in range(1000):
            if self._announced.exists():
                return str(json.loads(self._announced.read_text())["address"])
            assert self.process.poll() is None, self.process.communicate()[1]
            time.sleep(0.02)
        raise TimeoutError

    def end(self, seconds: float = 15) -> tuple[int, str]:
        """Waits for its end: exit code and what it said."""
        _, said = self.process.communicate(timeout=seconds)
        return self.process.returncode, said


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    """Starts server processes, and leaves none behind."""
    started: list[subprocess.Popen[str]] = []

    def begin(*arguments: str, **rows: str) -> Process:
        announced = tmp_path / f"{len(started)}.json"
        environ = {key: value for key, value in os.environ.items() if "CHORALE" not in key}
        environ |= {f"CHORALE_{name.upper()}": value for name, value in rows.items()}
        environ.setdefault("CHORALE_ANNOUNCE_FILE", str(announced))
        process = subprocess.Popen(
            [sys.executable, str(SERVER), *arguments],
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return Process(process, announced)

    yield begin
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_and_exits_0(start: Any, number: int) -> None:
    """The call in flight is answered; then the process ends by itself."""
    server = start(slow_seconds="0.7")
    async with grpc.aio.insecure_channel(await asyncio.to_thread(server.address)) as channel:
        await channel.channel_ready()
        in_flight = asyncio.create_task(
            Stubs(channel).call("unary_unary", timeout=9, wait_for_ready=True)
        )
        await asyncio.sleep(0.4)
        server.process.send_signal(number)
        assert (await in_flight)[0].upload.name
    code, said = await asyncio.to_thread(server.end)
    assert code == 0
    assert "Traceback" not in said
    assert [json.loads(line)["event"] for line in said.splitlines()][-1] == "stopped"


async def test_a_second_signal_leaves_at_once(start: Any) -> None:
    """Whoever insists does not wait for the grace."""
    server = start(slow_seconds="60", drain_seconds="60")
    async with grpc.aio.insecure_channel(await asyncio.to_thread(server.address)) as channel:
        call = asyncio.create_task(Stubs(channel).call("unary_unary", timeout=60))
        await asyncio.sleep(1)
        server.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.5)
        assert server.process.poll() is None
        server.process.send_signal(signal.SIGTERM)
        assert (await asyncio.to_thread(server.end, 2))[0] == 130
        with pytest.raises(grpc.aio.AioRpcError):
            await call


def test_a_signal_while_building_exits_0(start: Any) -> None:
    """A server that is still waiting for its database can be stopped like any other."""
    server = start(build="wait")
    server.address()
    server.process.send_signal(signal.SIGTERM)
    code, said = server.end(5)
    assert code == 0
    assert "Traceback" not in said


def test_a_taken_port_ends_with_a_sentence(start: Any) -> None:
    """Exit code 3, what is wrong, what to do, and no traceback."""
    address = start().address()
    code, said = start(address=address).end()
    assert code == 3
    assert f"{address} cannot be served: another process listens there." in said
    assert "Traceback" not in said


def test_a_public_address_without_authentication_ends_with_a_sentence(start: Any) -> None:
    """Exit code 3 and the rows that would allow it."""
    code, said = start(address="0.0.0.0:0").end()
    assert code == 3
    assert "without authentication only loopback" in said
    assert "Traceback" not in said


def test_wrong_settings_end_with_a_sentence(start: Any) -> None:
    """Exit code 2 and the nearest name."""
    code, said = start(slow_second="1").end()
    assert code == 2
    assert said == (
        "CHORALE_SLOW_SECOND is not a setting of this service. Did you mean CHORALE_SLOW_SECONDS?\n"
    )


def test_settings_that_contradict_end_with_a_sentence(start: Any) -> None:
    """Keys that cannot be read and keys without a database are told before anything starts."""
    code, said = start(jwt_keys_file="/nowhere").end()
    assert (code, "Traceback" in said) == (2, False)
    assert "/nowhere cannot be used: No such file" in said
    code, said = start(api_keys="true").end()
    assert (code, "Traceback" in said) == (2, False)
    assert "CHORALE_DATABASE_URL" in said
    code, said = start(tls_cert_file="/nowhere").end()
    assert (code, "Traceback" in said) == (2, False)
    assert "CHORALE_TLS_KEY_FILE" in said


def test_a_failure_while_building_exits_1_and_keeps_secrets(start: Any) -> None:
    """What went wrong is told, the password in it is not."""
    code, said = start(build="fail").end()
    assert code == 1
    assert "RuntimeError: cannot reach postgresql://***@db/x" in said
    assert "swordfish" not in said


def test_the_table_of_settings_is_printed(start: Any) -> None:
    """`--settings` prints what the README embeds; `--help` says so."""
    server = start("--settings")
    told, _ = server.process.communicate(timeout=15)
    assert "| `CHORALE_SLOW_SECONDS` | `0` | seconds | How long calls take. |" in told
    server = start("--help")
    told, _ = server.process.communicate(timeout=15)
    assert "--settings" in told
    assert server.process.returncode == 0


async def test_while_balancers_notice_calls_are_still_accepted() -> None:
    """In the pause health is NOT_SERVING, and a call that still comes here is answered."""
    settings = ServerSettings(endpoint_pause_seconds=0.6, drain_seconds=1)
    async with contextlib.AsyncExitStack() as stack:
        entered = contextlib.AsyncExitStack()
        server = await entered.enter_async_context(serving(settings=settings))
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(server.server.address))
        await channel.channel_ready()
        leaving = asyncio.create_task(entered.aclose())
        await asyncio.sleep(0.2)
        assert await health(channel, INGEST) == NOT_SERVING
        await Stubs(channel).call("unary_unary", timeout=1)
        await leaving


async def test_connections_grow_old_without_failing_a_call() -> None:
    """Clients are asked to reconnect in time for new replicas, and no call notices."""
    settings = ServerSettings(max_connection_age_seconds=0.3, drain_seconds=0.2)
    async with serving(settings=settings) as server:
        started = time.monotonic()
        while time.monotonic() - started < 1.5:
            await server.stubs.call("unary_unary", timeout=5)
            await asyncio.sleep(0.01)
