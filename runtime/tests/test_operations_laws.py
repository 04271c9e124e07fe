"""Every accepted operation ends exactly once in its caller's eyes, whatever is killed meanwhile.

A real service process on a real socket, a real PostgreSQL; processes are ended by SIGKILL.
Callers write down what they ask and what they are told; a checker reads the history.
"""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import operations_server
import operations_work as service
import pytest
from chorale.operations.v1 import operations_service_pb2 as operations_pb
from chorale.operations.v1 import operations_service_pb2_grpc as operations_grpc
from chorale_mesh.postgres import EmbeddedPostgres
from google.longrunning import operations_pb2 as longrunning_pb
from google.longrunning import operations_pb2_grpc as longrunning_grpc
from google.protobuf.struct_pb2 import Struct
from google.rpc import error_details_pb2

pytestmark = pytest.mark.slow

TAKE_OVER_SECONDS = 10.0
AWAY = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.ABORTED,
}


@dataclass
class Replica:
    """One process of the service."""

    database_url: str
    directory: Path
    name: str
    process: Any = None
    settings: dict[str, str] = field(default_factory=dict)

    def start(self) -> None:
        """Start it; it binds a port of its own."""
        self._announcement.unlink(missing_ok=True)
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("CHORALE_")},
            "CHORALE_DATABASE_URL": self.database_url,
            "CHORALE_ANNOUNCE_FILE": str(self._announcement),
            "CHORALE_DRAIN_SECONDS": "1",
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            **self.settings,
        }
        log = (self.directory / f"{self.name}.log").open("ab")
        with log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "operations_server"], env=environment, stderr=log, stdout=log
            )

    @property
    def _announcement(self) -> Path:
        return self.directory / f"{self.name}.json"

    @property
    def pid(self) -> int:
        """Its process."""
        return int(self.process.pid)

    def children(self) -> list[int]:
        """The processes that compute for it."""
        task = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        return [int(pid) for pid in task.read_text().split()]

    async def address(self) -> str:
        """Where it answers, once it does."""
        told = await service.read_when_written(self._announcement, 20)
        return str(json.loads(told)["address"])

    def kill(self) -> None:
        """End it as a crash does."""
        self.end(signal.SIGKILL)

    def end(self, number: int) -> int:
        """Send it a signal and wait; return the exit status."""
        self.process.send_signal(number)
        return int(self.process.wait(20))


@dataclass
class Caller:
    """A caller that asks until it is answered, as clients do, and writes everything down."""

    address: str = ""
    history: list[tuple[str, str, Any]] = field(default_factory=list)
    channel: Any = None

    async def to(self, address: str) -> None:
        """Call this address from now on."""
        await self.close()
        self.address = address
        options = [
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 300),
        ]
        self.channel = grpc.aio.insecure_channel(address, options=options)

    async def close(self) -> None:
        """Call no more."""
        if self.channel is not None:
            await self.channel.close()

    async def start(self, request_id: str, asked: Struct) -> str:
        """Start an operation, again and again with the same request_id until it is accepted."""
        given = Struct()
        given.CopyFrom(asked)
        given.update({"request_id": request_id})
        self.history.append(("invoke", request_id, None))

        async def call() -> Any:
            path = f"/{operations_server.SERVICE}/Start"
            start = self.channel.unary_unary(
                path, Struct.SerializeToString, longrunning_pb.Operation.FromString
            )
            return await start(given, timeout=5)

        operation = await self._until_answered(call)
        self.history.append(("ok", request_id, operation.name))
        return str(operation.name)

    async def look(self, name: str) -> Any:
        """Look at an operation."""

        async def call() -> Any:
            stub = longrunning_grpc.OperationsStub(self.channel)
            return await stub.GetOperation(longrunning_pb.GetOperationRequest(name=name), timeout=5)

        operation = await self._until_answered(call)
        self.history.append(("look", name, operation))
        return operation

    async def follow(self, name: str, seconds: float = 40.0) -> Any:
        """Watch an operation to its end, coming back where the stream broke."""
        after, ends = 0, time.monotonic() + seconds
        while True:
            assert time.monotonic() < ends, f"{name} did not end"
            stub = operations_grpc.OperationsServiceStub(self.channel)
            asked = operations_pb.WatchOperationRequest(name=name, after_sequence=after)
            try:
                async for told in stub.WatchOperation(asked, timeout=10):
                    if told.WhichOneof("update") == "operation":
                        self.history.append(("look", name, told.operation))
                        return told.operation
                    after = told.event.sequence
                    self.history.append(("event", name, told.event))
            except grpc.aio.AioRpcError as error:
                _away_or_raise(error)
                await asyncio.sleep(0.1)

    async def cancel(self, name: str) -> None:
        """Cancel an operation."""

        async def call() -> Any:
            stub = longrunning_grpc.OperationsStub(self.channel)
            return await stub.CancelOperation(
                longrunning_pb.CancelOperationRequest(name=name), timeout=5
            )

        await self._until_answered(call)

    async def _until_answered(self, call: Any, seconds: float = 30.0) -> Any:
        ends = time.monotonic() + seconds
        while True:
            try:
                return await call()
            except (grpc.aio.AioRpcError, grpc.aio.UsageError) as error:
                if time.monotonic() > ends:
                    raise
                _away_or_raise(error)
                await asyncio.sleep(0.1)


def _away_or_raise(error: Exception) -> None:
    """Go on after what passes; raise what a caller should never be told."""
    if isinstance(error, grpc.aio.AioRpcError) and error.code() not in AWAY:
        raise error


def check(history: list[tuple[str, str, Any]]) -> None:
    """Refuse any history that no correct service could have given."""
    names: dict[str, str] = {}
    sequences: dict[str, int] = {}
    attempts: dict[str, int] = {}
    ends: dict[str, Any] = {}
    for kind, subject, what in history:
        if kind == "ok":
            assert names.setdefault(subject, what) == what, "two operations for one request_id"
        elif kind == "event":
            assert what.sequence == sequences.get(subject, 0) + 1, (
                "a sequence was skipped or told twice"
            )
            sequences[subject] = what.sequence
            assert what.attempt >= attempts.get(subject, 0), "an attempt came back"
            attempts[subject] = what.attempt
        elif kind == "look":
            if subject in ends:
                assert what == ends[subject], "an end changed"
            if what.done:
                assert what.WhichOneof("result") is not None, "an end without a result"
                ends[subject] = what
    assert len(set(names.values())) == len(names), "one operation for two request_ids"
    accepted = {subject for kind, subject, _ in history if kind == "ok"}
    lost = [names[request_id] for request_id in accepted if names[request_id] not in ends]
    assert not lost, f"accepted and never ended: {lost}"


@pytest.fixture(scope="module")
def own_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL of this module alone, to be killed."""
    with EmbeddedPostgres(tmp_path_factory.mktemp("laws")) as server:
        yield server


@asynccontextmanager
async def replicas(url: str, directory: Path, count: int) -> AsyncIterator[list[Replica]]:
    """Run replicas of the service and end them."""
    running = [Replica(url, directory, f"replica{number}") for number in range(count)]
    try:
        for replica in running:
            replica.start()
        yield running
    finally:
        for replica in running:
            if replica.process is not None and replica.process.poll() is None:
                replica.kill()


@pytest.fixture
async def replica(database_url: str, tmp_path: Path) -> AsyncIterator[Replica]:
    """One replica."""
    async with replicas(database_url, tmp_path, 1) as running:
        yield running[0]


@pytest.fixture
async def caller(replica: Replica) -> AsyncIterator[Caller]:
    """A caller of that replica."""
    made = Caller()
    await made.to(await replica.address())
    yield made
    await made.close()


def _reason(operation: Any) -> str:
    info = error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(info) for detail in operation.error.details), operation
    return str(info.reason)


def _attempts(caller: Caller) -> set[int]:
    return {what.attempt for kind, _, what in caller.history if kind == "event"} - {0}


def _mixed(count: int, seed: int) -> list[Struct]:
    """Work of every kind that ends in about a second."""
    chooser = random.Random(seed)
    kinds = [
        lambda: service.request("echo", value=1),
        lambda: service.request("steps", to=4, pause=0.1),
        lambda: service.request("count", to=200),
        lambda: service.request("spin", seconds=0.3, path=""),
        lambda: service.request("fail"),
        lambda: service.request("crash once"),
    ]
    return [chooser.choice(kinds)() for _ in range(count)]


async def _accept(caller: Caller, asked: list[Struct]) -> dict[str, Struct]:
    ids = [str(uuid.uuid4()) for _ in asked]
    names = await asyncio.gather(*map(caller.start, ids, asked))
    return dict(zip(names, asked, strict=True))


async def _all_end(caller: Caller, accepted: dict[str, Struct]) -> None:
    ended = await asyncio.gather(*map(caller.follow, accepted))
    for operation in ended:
        kind = accepted[operation.name]["kind"]
        if kind == "fail":
            assert _reason(operation) == "AUDIO_TOO_SHORT"
        else:
            assert service.answer_of(operation)["principal"] == "local"
    for operation in await asyncio.gather(*map(caller.look, accepted)):
        assert operation.done
    check(caller.history)


async def test_killing_the_worker_process_loses_nothing(replica: Replica, caller: Caller) -> None:
    """kill -9 of the processes that compute, again and again: everything ends, once."""
    accepted = await _accept(caller, _mixed(20, seed=1))

    async def kill_children() -> None:
        chooser = random.Random(1)
        for _ in range(4):
            await asyncio.sleep(0.4)
            os.kill(chooser.choice(replica.children()), signal.SIGKILL)

    await asyncio.gather(kill_children(), _all_end(caller, accepted))


async def test_killing_the_service_loses_nothing(replica: Replica, caller: Caller) -> None:
    """kill -9 of the service in the middle of its work, and a restart: everything ends, once."""
    accepted = await _accept(caller, _mixed(12, seed=2))
    slow = await _accept(caller, [service.request("sleep", seconds=1.5)] * 2)
    await asyncio.sleep(0.5)
    replica.kill()
    killed = time.monotonic()
    replica.start()
    await caller.to(await replica.address())
    await _all_end(caller, accepted | slow)
    assert time.monotonic() - killed < TAKE_OVER_SECONDS + 5


async def test_another_replica_takes_over(database_url: str, tmp_path: Path) -> None:
    """What a killed replica ran is begun again by another within ten seconds."""
    async with replicas(database_url, tmp_path, 2) as (first, second):
        caller = Caller()
        await asyncio.gather(first.address(), second.address())
        await caller.to(await first.address())
        accepted = await _accept(caller, [service.request("sleep", seconds=2.0)] * 6)
        await asyncio.sleep(0.7)
        first.kill()
        killed = time.monotonic()
        await caller.to(await second.address())
        await _all_end(caller, accepted)
        assert time.monotonic() - killed < TAKE_OVER_SECONDS + 4
        await caller.close()
    assert 2 in _attempts(caller), "nothing was taken over"


async def test_a_sleeper_that_wakes_up_is_not_believed(database_url: str, tmp_path: Path) -> None:
    """A replica that is frozen and taken over, and then goes on, changes nothing any more."""
    async with replicas(database_url, tmp_path, 2) as (first, second):
        caller = Caller()
        await asyncio.gather(first.address(), second.address())
        await caller.to(await first.address())
        accepted = await _accept(caller, [service.request("sleep", seconds=1.5)] * 6)
        await asyncio.sleep(0.5)
        first.process.send_signal(signal.SIGSTOP)
        await caller.to(await second.address())
        following = asyncio.ensure_future(_all_end(caller, accepted))
        await asyncio.sleep(5.0)
        first.process.send_signal(signal.SIGCONT)
        await following
        await asyncio.sleep(0.5)
        for name in accepted:
            await caller.look(name)
        check(caller.history)
        await caller.close()
    assert _attempts(caller) == {1, 2}, "nothing was taken over"


async def test_killing_postgresql_loses_nothing(
    own_postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    """kill -9 of PostgreSQL, twice, while calls come in and work goes on: all ends, once."""
    async with replicas(own_postgres.url, tmp_path, 1) as (replica,):
        caller = Caller()
        await caller.to(await replica.address())
        accepted = await _accept(caller, _mixed(6, seed=3))
        accepted |= await _accept(caller, [service.request("sleep", seconds=4.0)])

        async def kill_and_start() -> None:
            for _ in range(2):
                await asyncio.sleep(0.5)
                own_postgres.kill()
                await asyncio.sleep(0.5)
                await asyncio.to_thread(own_postgres.start)

        more, _ = await asyncio.gather(_accept(caller, _mixed(12, seed=4)), kill_and_start())
        await _all_end(caller, accepted | more)
        await caller.close()
    # The service itself lived through it, and the long run with it: one attempt was enough.
    long_run = list(accepted)[-1]
    ends = [what for kind, name, what in caller.history if kind == "look" and name == long_run]
    assert service.answer_of(ends[-1])["attempt"] == 1


async def test_a_politely_stopped_service_hands_its_work_on(
    database_url: str, tmp_path: Path
) -> None:
    """SIGTERM: another replica goes on at once, and the process ends with status 0."""
    async with replicas(database_url, tmp_path, 2) as (first, second):
        caller = Caller()
        await asyncio.gather(first.address(), second.address())
        await caller.to(await second.address())
        accepted = await _accept(caller, [service.request("sleep", seconds=8.0)] * 4)
        await asyncio.sleep(0.5)
        assert await asyncio.to_thread(first.end, signal.SIGTERM) == 0
        for name in accepted:
            await caller.cancel(name)
        ended = [await caller.follow(name) for name in accepted]
        assert {_reason(operation) for operation in ended} == {"OPERATION_CANCELLED"}
        check(caller.history)
        await caller.close()


async def test_fifty_duplicates_over_the_wire_are_one_operation(caller: Caller) -> None:
    """Fifty concurrent calls with one request_id are answered with one operation."""
    request_id = str(uuid.uuid4())
    asked = service.request("steps", to=2, pause=0.1)
    names = await asyncio.gather(*(caller.start(request_id, asked) for _ in range(50)))
    assert len(set(names)) == 1
    await caller.follow(names[0])
    check(caller.history)


async def test_cancelling_over_the_wire_frees_the_process(caller: Caller, tmp_path: Path) -> None:
    """From the call to the end of the computing process passes less than a second."""
    path = tmp_path / "pid"
    name = await caller.start(
        str(uuid.uuid4()), service.request("spin", seconds=60, path=str(path))
    )
    pid = int(await service.read_when_written(path))
    started = time.perf_counter()
    await caller.cancel(name)
    await service.until(lambda: not service.is_alive(pid))
    took_seconds = time.perf_counter() - started
    operation = await caller.follow(name)
    assert took_seconds < 1.0
    assert _reason(operation) == "OPERATION_CANCELLED"


async def test_errors_of_operations_reach_the_wire(caller: Caller) -> None:
    """Unknown operations, reused request_ids and bad tokens are told with code and reason."""
    request_id = str(uuid.uuid4())
    await caller.start(request_id, service.request("echo", value=1))
    stub = longrunning_grpc.OperationsStub(caller.channel)
    unknown = f"operations/{uuid.uuid4()}"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.GetOperation(longrunning_pb.GetOperationRequest(name=unknown), timeout=5)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.ListOperations(longrunning_pb.ListOperationsRequest(page_token="x"), timeout=5)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(grpc.aio.AioRpcError, match="ALREADY_EXISTS"):
        await caller.start(request_id, service.request("echo", value=2))


def test_the_checker_notices_what_must_not_happen() -> None:
    """A history with a lost, doubled or changed operation is refused: the judge is awake."""
    done = longrunning_pb.Operation(name="o", done=True)
    done.response.Pack(Struct())
    other = longrunning_pb.Operation(name="o", done=True)
    other.error.code = 13
    event = operations_pb.OperationEvent
    good = [("ok", "r", "o"), ("event", "o", event(sequence=1)), ("look", "o", done)]
    check(good)
    for bad in (
        good[:2],
        [*good, ("ok", "r", "p")],
        [*good, ("ok", "s", "o")],
        [*good, ("look", "o", other)],
        [*good, ("event", "o", event(sequence=3))],
        [*good, ("event", "o", event(sequence=1))],
    ):
        with pytest.raises(AssertionError):
            check(bad)
