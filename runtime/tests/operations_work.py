"""A small service of long work for the laws: what each operation does is said in its request."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import processes_work
from chorale.operations.v1 import operations_service_pb2 as operations_pb
from chorale_runtime import caller
from chorale_runtime.database import Database
from chorale_runtime.operations import Job, Operations, Policy, Work
from chorale_runtime.processes import Processes
from google.longrunning import operations_pb2 as longrunning_pb
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

METHOD = "test.v1.TestService/Start"
QUICK = Policy(
    heartbeat_seconds=0.3, stalled_seconds=1.5, sweep_seconds=0.3, poll_seconds=1.0,
    expiry_seconds=0.2, drain_seconds=0.2,
)  # fmt: skip


class Unavailable(Exception):
    """A temporary failure."""


class Unfit(Exception):
    """A permanent failure, with a field."""

    def __init__(self, frame_count: int) -> None:
        super().__init__(frame_count)
        self.frame_count = frame_count

    def __str__(self) -> str:
        return f"The audio has {self.frame_count} frames."


ERRORS: Mapping[type[BaseException], tuple[grpc.StatusCode, str]] = {
    Unavailable: (grpc.StatusCode.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE"),
    Unfit: (grpc.StatusCode.FAILED_PRECONDITION, "AUDIO_TOO_SHORT"),
}


def request(kind: str, **fields: Any) -> Struct:
    """Ask for a piece of work of some kind."""
    made = Struct()
    made.update({"kind": kind, **fields})
    return made


async def run(job: Job[Struct]) -> Struct:
    """Do what the request says, and answer who did it."""
    asked: dict[str, Any] = dict(job.request)
    answer = Struct()
    kind = asked["kind"]
    answer.update({"attempt": job.attempt, "principal": caller.current().principal})
    if kind == "echo":
        answer.update({"value": asked["value"]})
    elif kind == "count":
        await job.run(processes_work.count, int(asked["to"]))
    elif kind == "steps":
        for number in range(int(asked["to"])):
            await job.progress(f"step {number}", number / asked["to"])
            await asyncio.sleep(asked["pause"])
    elif kind == "spin":
        await job.run(processes_work.spin, float(asked["seconds"]), asked["path"])
    elif kind == "sleep":
        await asyncio.sleep(asked["seconds"])
    elif kind == "stubborn":
        await _stubborn(float(asked["seconds"]))
    elif kind == "crash":
        await job.run(processes_work.killed)
    elif kind == "crash once" and job.attempt == 1:
        await job.run(processes_work.crash)
    elif kind == "fail":
        raise Unfit(7)
    elif kind == "break":
        raise RuntimeError("a secret of the inside")
    elif kind == "fail until" and job.attempt < asked["attempt"]:
        raise Unavailable("gone for a moment")
    return answer


async def _stubborn(seconds: float) -> None:
    """Swallow every cancellation, as code that catches too much does."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0.05)


def work(**options: Any) -> Work:
    """The work of this service."""
    settings = {"run": run, "queue": "test.cpu", "backoff_seconds": 0.1, **options}
    return Work(METHOD, Struct, Struct, **settings)


@dataclass
class Mesh:
    """A running service without its server: what a caller would reach over the wire."""

    operations: Operations
    work: Work
    purged: list[str] = field(default_factory=list)

    @property
    def longrunning(self) -> Any:
        """Answers google.longrunning.Operations."""
        return self.operations.services()[0].servicer

    @property
    def watching(self) -> Any:
        """Answers OperationsService."""
        return self.operations.services()[1].servicer

    async def start(self, asked: Struct, request_id: str = "", **options: Any) -> Any:
        """Start an operation."""
        return await self.operations.start(self.work, asked, request_id, **options)

    async def get(self, name: str) -> Any:
        """Look at an operation."""
        return await self.longrunning.GetOperation(
            longrunning_pb.GetOperationRequest(name=name), None
        )

    async def cancel(self, name: str) -> None:
        """Cancel an operation."""
        await self.longrunning.CancelOperation(
            longrunning_pb.CancelOperationRequest(name=name), None
        )

    async def wait(self, name: str, seconds: float = 10.0) -> Any:
        """Wait for an operation."""
        asked = longrunning_pb.WaitOperationRequest(name=name)
        asked.timeout.FromMilliseconds(int(seconds * 1000))
        return await self.longrunning.WaitOperation(asked, None)

    async def watch(self, name: str, after: int = 0) -> list[Any]:
        """Everything a watcher is told, until the end."""
        asked = operations_pb.WatchOperationRequest(name=name, after_sequence=after)
        return [told async for told in self.watching.WatchOperation(asked, None)]


@asynccontextmanager
async def serving(
    url: str,
    processes: Processes | None = None,
    policy: Policy = QUICK,
    slots: int = 2,
    works: Any = None,
    queue_limit: int | None = None,
) -> AsyncIterator[Mesh]:
    """Run one replica of the service."""
    purged: list[str] = []

    async def purge(name: str) -> None:
        purged.append(name)

    only = works or work()
    async with (
        Database.open(url, "test", wait_seconds=20) as database,
        Operations.open(
            database,
            [only],
            ERRORS,
            "test.chorale",
            queue_limit=queue_limit,
            processes=processes,
            slots={only.queue: slots},
            policy=policy,
            purge=purge,
        ) as operations,
    ):
        yield Mesh(operations, only, purged)


def answer_of(operation: Any) -> dict[str, Any]:
    """Unpack the answer of an operation that succeeded."""
    unpacked = Struct()
    assert operation.response.Unpack(unpacked), operation
    return dict(unpacked)


def metadata_of(operation: Any) -> operations_pb.OperationMetadata:
    """Unpack what an operation says of itself."""
    unpacked = operations_pb.OperationMetadata()
    assert operation.metadata.Unpack(unpacked)
    return unpacked


def moment(timestamp: Timestamp) -> float:
    """A timestamp in seconds."""
    return timestamp.ToDatetime().timestamp()


async def until(condition: Callable[[], Any], seconds: float = 10.0) -> float:
    """Wait until something holds; return how long that took."""
    started = time.perf_counter()
    while not condition():
        assert time.perf_counter() - started < seconds, "waited too long"
        await asyncio.sleep(0.01)
    return time.perf_counter() - started


async def read_when_written(path: Path, seconds: float = 10.0) -> str:
    """Wait for a file with something in it."""
    await until(lambda: path.exists() and path.read_text(), seconds)
    return await asyncio.to_thread(path.read_text)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that waits to be reaped does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return status != "Z"
