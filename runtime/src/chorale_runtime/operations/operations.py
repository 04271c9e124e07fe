"""Everything of a service's long work, opened and closed together."""

import asyncio
import dataclasses
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Self

from google.longrunning import operations_pb2 as longrunning_pb
from google.protobuf.message import Message

from chorale_runtime import caller, draining, traces
from chorale_runtime.app import Service
from chorale_runtime.database import Database
from chorale_runtime.draining import Draining
from chorale_runtime.errors import ErrorTable
from chorale_runtime.operations import schema, service
from chorale_runtime.operations.errors import OperationNotFound
from chorale_runtime.operations.failures import Speaker
from chorale_runtime.operations.hub import Hub
from chorale_runtime.operations.ledger import Ledger
from chorale_runtime.operations.measures import Measures
from chorale_runtime.operations.queue import JobQueue
from chorale_runtime.operations.queues import Queues
from chorale_runtime.operations.records import Record, identity_of
from chorale_runtime.operations.store import Draft, Store
from chorale_runtime.operations.sweep import Purge, Sweeper
from chorale_runtime.operations.transitions import Policy, success
from chorale_runtime.operations.work import Work
from chorale_runtime.operations.worker import Worker
from chorale_runtime.processes import CPU, Processes

SLOTS = 4  # of a queue, when neither its slots nor processes are given
RECANCEL_SECONDS = 0.5
QUEUE_CHARACTERS_MAX = 40  # procrastinate makes a PostgreSQL channel name of it


class Operations:
    """The long work of one service: accepts it, runs it, and answers about it."""

    def __init__(self, store: Store, hub: Hub, works: Sequence[Work], ending: Draining) -> None:
        self._store, self._hub, self._draining = store, hub, ending
        self._queues = {work.method: work.queue for work in works}

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        database: Database,
        works: Sequence[Work],
        errors: ErrorTable,
        domain: str,
        *,
        queue_limit: int | None = None,
        processes: Processes | None = None,
        slots: Mapping[str, int] | None = None,
        policy: Policy | None = None,
        purge: Purge | None = None,
        queues: Queues | None = None,
    ) -> AsyncIterator[Self]:
        """Bring the tables up to date and begin to work.

        `slots` says how many operations of each queue run here at once; a queue it does
        not name gets one per process, or one if its work is a device's, and one with 0
        is left to other replicas, as are those that `queues` says. It may name queues of no
        work, which single operations are started into. `purge` is called with
        the name of each operation that is forgotten, before its row goes. A server that
        drains takes no more work from then on; closing hands back what does not end within
        `policy.drain_seconds`.
        """
        policy = policy or Policy()
        if queue_limit is not None:
            policy = dataclasses.replace(policy, queue_limit=queue_limit)
        await schema.migrate(database)
        speaker = Speaker(errors, domain)
        queue = await JobQueue.open(database)
        hub = Hub(database)
        ledger = Ledger(database, queue, policy, speaker)
        every = _slots(works, slots or {}, processes)
        if queues is not None:
            every = queues.every(works, every)
            works = [queues.routed(work) for work in works]
        mine = {
            name: count
            for name, count in every.items()
            if count > 0 and (queues is None or queues.is_worked_on(name))
        }
        measures = Measures(domain.partition(".")[0], sorted(every))
        worker = Worker(
            queue,
            ledger,
            hub,
            speaker,
            works,
            mine,
            processes,
            policy,
            measures,
        )
        sweeper = Sweeper(ledger, policy, worker.attempts_max, purge, measures)
        always = (
            hub.listen(),
            worker.live(),
            sweeper.take_over(),
            sweeper.expire(),
            sweeper.measure(),
        )
        around = [asyncio.create_task(each) for each in always]
        serving = [asyncio.create_task(each) for each in worker.serving()]
        ending = draining.current()
        around.append(asyncio.create_task(_leave_to_others(ending, serving, hub)))
        try:
            yield cls(Store(database, queue, policy, speaker), hub, works, ending)
        finally:
            await _end(serving)
            await worker.leave(min(policy.drain_seconds, ending.seconds_left()))
            await _end(around)

    async def start(
        self,
        work: Work,
        request: Message,
        request_id: str = "",
        *,
        audio: Sequence[str] = (),
        priority: int = 0,
        queue: str = "",
        answer: Message | None = None,
    ) -> longrunning_pb.Operation:
        """Accept a piece of work for the current caller, or return what its request_id began.

        When this returns, the operation is in the database and will end. Raises
        `RequestIdReused` if the request_id stands for a different request, `QueueFull`
        if too much is waiting. Of higher `priority` is run first. `queue`, one of the slots
        given to `open`, is for work that does not want what its work's queue is for. With an
        `answer` that is known already the operation has ended when it is returned.
        """
        if work.method not in self._queues:
            raise ValueError(f"{work.method} is not among the works of these operations")
        asking = caller.current()
        draft = Draft(
            owner=asking.principal,
            tier=asking.tier,
            method=work.method,
            request_id=request_id or str(uuid.uuid4()),
            request=bytes(request.SerializeToString(deterministic=True)),
            queue=queue or self._queues[work.method],
            priority=priority,
            traceparent=traces.traceparent(),
            audio=audio,
            ending=None if answer is None else success(answer),
        )
        return (await self._store.start(draft)).operation()

    async def find(self, name: str) -> Record:
        """An operation of the current caller's, with its request; raises `OperationNotFound`."""
        identity = identity_of(name)
        if identity is None:
            raise OperationNotFound(name)
        return await self._store.get(identity, caller.current().principal)

    async def forget_audio(self, audio: str) -> int:
        """Cancel and forget the caller's operations about an audio; return how many."""
        return await self._store.forget_audio(audio, caller.current().principal)

    def services(self) -> list[Service]:
        """The two gRPC services that answer about operations, for the app."""
        return service.services(self._store, self._hub, self._draining)


def _slots(
    works: Sequence[Work], given: Mapping[str, int], processes: Processes | None
) -> dict[str, int]:
    on_cpu = processes.count if processes else SLOTS
    slots = dict(given) | {
        work.queue: given.get(work.queue, on_cpu if work.device == CPU else 1) for work in works
    }
    for queue in slots:
        if len(queue) > QUEUE_CHARACTERS_MAX:
            raise ValueError(
                f"the queue name {queue!r} has {len(queue)} characters;"
                f" {QUEUE_CHARACTERS_MAX} are the most"
            )
    return slots


async def _leave_to_others(
    ending: Draining, serving: Sequence["asyncio.Task[None]"], hub: Hub
) -> None:
    """Takes no new work once the server drains, and lets watchers go when it is closed."""
    await ending.begun.wait()
    await _end(serving)
    await ending.closed.wait()
    hub.wake_all()


async def _end(tasks: Sequence["asyncio.Task[None]"]) -> None:
    """Cancel tasks until they have ended: a library below may lose a cancellation."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=RECANCEL_SECONDS)
