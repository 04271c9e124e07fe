"""Takes work out of the queues, runs it, and knows at every moment what is its own."""

import asyncio
import logging
import time
import uuid
from collections.abc import Coroutine, Mapping, Sequence

from procrastinate.jobs import Job as QueuedJob

from chorale_runtime.operations.failures import Speaker, detail_of
from chorale_runtime.operations.hub import Hub
from chorale_runtime.operations.ledger import Ledger, RunKey
from chorale_runtime.operations.measures import Measures
from chorale_runtime.operations.queue import JobQueue
from chorale_runtime.operations.run import STORE_AWAY, Reason, Run
from chorale_runtime.operations.transitions import Policy
from chorale_runtime.operations.work import Work
from chorale_runtime.processes import Processes

logger = logging.getLogger(__name__)

ATTEMPTS_MAX = 3  # of a method that this build does not know
FETCH_RETRY_SECONDS = 0.5
LEAVE_SECONDS = 5.0
UNKNOWN_RETRY_SECONDS = 5.0
WARM_SECONDS_MAX = 60.0
EARLY_CANCELS_MAX = 1000


class Worker:
    """Runs operations, so many at once from each queue.

    Survives the database: runs go on while it is away, and write their ends when it
    is back. What others took over meanwhile is noticed at the next heartbeat.
    """

    def __init__(
        self,
        queue: JobQueue,
        ledger: Ledger,
        hub: Hub,
        speaker: Speaker,
        works: Sequence[Work],
        slots: Mapping[str, int],
        processes: Processes | None,
        policy: Policy,
        measures: Measures,
    ) -> None:
        self._queue, self._ledger, self._hub, self._speaker = queue, ledger, hub, speaker
        self._works = {work.method: work for work in works}
        self._slots, self._processes, self._policy = slots, processes, policy
        self._measures = measures
        self._id = 0
        self._registered = asyncio.Event()
        self._runs: dict[RunKey, Run] = {}
        self._jobs: set[int] = set()  # taken and not yet written off
        self._unheard: frozenset[int] = frozenset()
        self._early_cancels: set[uuid.UUID] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        hub.on_cancel = self._cancel

    def attempts_max(self, method: str) -> int:
        """How often an operation of this method may fail for a temporary reason."""
        work = self._works.get(method)
        return work.attempts_max if work else ATTEMPTS_MAX

    def serving(self) -> list[Coroutine[None, None, None]]:
        """Take and run work, one coroutine per queue, each until cancelled."""
        return [self._serve_queue(queue, count) for queue, count in self._slots.items()]

    async def live(self) -> None:
        """Give a sign of life now and then, and learn what is still ours, until cancelled."""
        while True:
            try:
                await self._beat()
            except STORE_AWAY as error:
                logger.warning("operations_heartbeat_failed", extra={"detail": detail_of(error)})
            except Exception:
                logger.exception("operations_heartbeat_broke")
            await asyncio.sleep(self._policy.heartbeat_seconds)

    async def leave(self, drain_seconds: float) -> None:
        """Finish what ends within `drain_seconds`, hand the rest back, and leave.

        Called when nothing new is taken any more; `live` goes on until this is done.
        """
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=drain_seconds)
        for run in self._runs.values():
            run.stop(Reason.HANDED_BACK)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=LEAVE_SECONDS)
        for task in self._tasks:
            task.cancel()
        if not self._registered.is_set():
            return
        try:
            async with asyncio.timeout(LEAVE_SECONDS):
                await self._queue.leave(self._id)
        except (*STORE_AWAY, TimeoutError):
            # Then others find it by our silence.
            logger.warning("operations_left_unsaid", exc_info=True)

    async def _serve_queue(self, queue: str, count: int) -> None:
        await self._let_the_warm_begin()
        free = asyncio.Semaphore(count)
        while True:
            await free.acquire()
            job = await self._next(queue)
            self._jobs.add(job.id or 0)
            task = asyncio.create_task(self._run(job))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            task.add_done_callback(lambda _: free.release())

    async def _let_the_warm_begin(self) -> None:
        """Waits until our processes are warm, if others are there to take the work meanwhile."""
        if self._processes is None or self._processes.warmed.is_set():
            return
        await self._registered.wait()
        try:
            if await self._ledger.is_alone(self._id):
                return
            async with asyncio.timeout(WARM_SECONDS_MAX):
                await self._processes.warmed.wait()
        except (*STORE_AWAY, TimeoutError):
            return  # better cold than never

    async def _next(self, queue: str) -> QueuedJob:
        """Wait for a job of the queue."""
        announced = self._hub.queue(queue)
        while True:
            await self._registered.wait()
            announced.clear()
            wait_seconds = self._policy.poll_seconds
            try:
                job = await self._queue.fetch(queue, self._id)
                if job is not None:
                    return job
            except Exception:
                # The database is away; or our worker was struck off, which a heartbeat mends.
                logger.warning("operations_fetch_failed", exc_info=True)
                wait_seconds = FETCH_RETRY_SECONDS
            try:
                async with asyncio.timeout(wait_seconds):
                    await announced.wait()
            except TimeoutError:
                pass

    async def _run(self, job: QueuedJob) -> None:
        identity = uuid.UUID(str(job.task_kwargs["operation"]))
        try:
            run = await self._claim(job.id or 0, identity)
            if run is None:
                return
            self._runs[run.key] = run
            if identity in self._early_cancels:
                run.stop(Reason.CANCELLED)
            try:
                await self._attempt(run)
            finally:
                del self._runs[run.key]
        except Exception:
            logger.exception("operation_run_broke", extra={"operation": str(identity)})
        finally:
            # If it was not written off, the heartbeat finds it unheard of and puts it back.
            self._jobs.discard(job.id or 0)

    async def _attempt(self, run: Run) -> None:
        record, ending, began = run.record, "broken", time.monotonic()
        self._measures.began(record.queue)
        try:
            ending = await run.attempt()
        finally:
            seconds = time.monotonic() - began
            trace_id = run.told_trace_id
            self._measures.ended(record.queue, record.method, ending, seconds, trace_id)
        logger.info(
            "operation_attempted",
            extra={
                "operation": record.name,
                "method": record.method,
                "attempt": record.attempt,
                "ending": ending,
                "seconds": round(seconds, 3),
            },
        )
        if ending == "put_back":
            self._wake_later(run)

    async def _claim(self, job: int, identity: uuid.UUID) -> Run | None:
        while True:
            try:
                record = await self._ledger.claim(job, identity)
                break
            except STORE_AWAY:
                await asyncio.sleep(FETCH_RETRY_SECONDS)
        if record is None:
            return None
        work = self._works.get(record.method)
        if work is None:
            # A newer replica accepted it: leave it to that one.
            message = "Waiting for a server that knows this method."
            await self._ledger.put_back(record, message, UNKNOWN_RETRY_SECONDS, is_failure=False)
            return None
        return Run(record, work, self._ledger, self._speaker, self._processes)

    def _wake_later(self, run: Run) -> None:
        """Look into the queue when the next attempt is due, instead of at the next poll."""
        announced = self._hub.queue(run.record.queue)
        delay_seconds = run.work.delay_seconds(run.record.failures + 1) * 1.25
        asyncio.get_running_loop().call_later(delay_seconds, announced.set)

    def _cancel(self, identity: uuid.UUID) -> None:
        for (running, _), run in list(self._runs.items()):
            if running == identity:
                run.stop(Reason.CANCELLED)
        # Heard of in the moment between its claim and its run: kept for the run to see.
        if len(self._early_cancels) >= EARLY_CANCELS_MAX:
            self._early_cancels.clear()
        self._early_cancels.add(identity)

    async def _beat(self) -> None:
        if not self._registered.is_set():
            self._id = await self._queue.register()
            self._registered.set()
        # What begins while the question is on its way is no matter of the answer.
        runs, jobs = dict(self._runs), set(self._jobs)
        standing = await self._ledger.beat(self._id)
        if standing is None:
            logger.error("operations_worker_struck_off", extra={"worker": self._id})
            self._registered.clear()
        for key, run in runs.items():
            if standing is None or key not in standing.runs:
                run.stop(Reason.LOST)
            elif standing.runs[key]:
                run.stop(Reason.CANCELLED)
        unheard = standing.jobs - jobs - self._jobs if standing else frozenset()
        # Twice in a row: the first time the answer may still be on its way.
        for job in unheard & self._unheard:
            await self._ledger.release(job, self.attempts_max)
        self._unheard = frozenset(unheard)
