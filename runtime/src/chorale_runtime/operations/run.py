"""One attempt at one operation: the work, its steps, and the reasons to stop it."""

import asyncio
import enum
import logging

import psycopg
from google.protobuf.message import Message

from chorale_runtime import caller, deadline, traces
from chorale_runtime.dependencies import DependencyUnavailable, StorageFull
from chorale_runtime.operations.errors import OperationCancelled
from chorale_runtime.operations.failures import Retry, Speaker, detail_of, judge
from chorale_runtime.operations.ledger import Ledger, RunKey
from chorale_runtime.operations.records import Record
from chorale_runtime.operations.transitions import Ending, success
from chorale_runtime.operations.work import Job, Notes, Step, Work
from chorale_runtime.processes import Processes
from chorale_runtime.refusals import DeadlineExceeded

logger = logging.getLogger(__name__)

STEP_SECONDS = 0.1  # between two writes of steps
STOP_SECONDS = 0.5  # what a work that is stopped may take before it is left to itself
STOP_TRIES = 2
WRITE_RETRY_SECONDS = 0.5

STORE_AWAY = (DependencyUnavailable, StorageFull, psycopg.OperationalError)


class Reason(enum.Enum):
    """Why a run is stopped before its work is done."""

    CANCELLED = "its owner cancelled it"
    LOST = "another attempt has begun"
    TIMEOUT = "it took too long"
    HANDED_BACK = "the server is shutting down"


class Run:
    """Runs the work of one attempt and writes what came of it."""

    def __init__(
        self,
        record: Record,
        work: Work,
        ledger: Ledger,
        speaker: Speaker,
        processes: Processes | None,
    ) -> None:
        self.record, self.work = record, work
        self._ledger, self._speaker, self._processes = ledger, speaker, processes
        self.told_trace_id = ""
        self._notes = Notes()
        self._stopping = asyncio.Event()
        self._reason: Reason | None = None
        self._writing = asyncio.Lock()

    @property
    def key(self) -> RunKey:
        """Which attempt at which operation."""
        return self.record.id, self.record.attempt

    def stop(self, reason: Reason) -> None:
        """Stop the work; the first reason counts."""
        if self._reason is None:
            self._reason = reason
            self._stopping.set()

    async def attempt(self) -> str:
        """Run the work to whichever end, write it, and return how it ended."""
        record = self.record
        with traces.continued(record.traceparent, record.method, operation=record.name) as span:
            span.attributes["attempt"] = record.attempt
            self.told_trace_id = span.told_trace_id
            ending = await self._attempt()
            span.attributes["ending"] = ending
            return ending

    async def _attempt(self) -> str:
        body = asyncio.create_task(self._work(), name=self.record.name)
        pump = asyncio.create_task(self._write_steps())
        try:
            await self._ended_or_stopped(body)
        finally:
            async with self._writing:  # a step that is being written is written
                pump.cancel()
        if self._reason is Reason.LOST:
            return "lost"
        verdict = self._verdict(body)
        try:
            is_ours = await self._write(verdict)
        except Exception as error:
            # Nothing of ours could be stored, not even the failure: what was stored is unfit.
            logger.exception("operation_end_refused", extra={"operation": self.record.name})
            self._notes.take()
            is_ours = await self._write(judge(error, self.record, self.work, self._speaker))
        if not is_ours:
            return "lost"
        return verdict.state if isinstance(verdict, Ending) else "put_back"

    async def _work(self) -> Message:
        record = self.record
        request = self.work.request.FromString(record.request)
        job: Job[Message] = Job(
            record.name,
            record.owner,
            record.attempt,
            request,
            self._notes,
            self._processes,
            self.work.device,
        )
        with (
            caller.acting(caller.Caller(record.owner, record.tier)),
            deadline.bounded(self.work.timeout_seconds),
        ):
            return await self.work.run(job)

    async def _ended_or_stopped(self, body: "asyncio.Task[Message]") -> None:
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait(
                {body, stopping},
                timeout=self.work.timeout_seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            stopping.cancel()
        if not body.done():
            self.stop(Reason.TIMEOUT)
            for _ in range(STOP_TRIES):  # a library below may lose one
                body.cancel()
                if (await asyncio.wait({body}, timeout=STOP_SECONDS / STOP_TRIES))[0]:
                    break
        if not body.done():
            # It swallows its cancellation. What it may still write is refused from now on.
            logger.error("operation_unstoppable", extra={"operation": self.record.name})
            body.add_done_callback(lambda done: done.cancelled() or done.exception())

    def _verdict(self, body: "asyncio.Task[Message]") -> Ending | Retry:
        if body.done() and not body.cancelled() and body.exception() is None:
            # Done is done, even if it was to be stopped in the same moment.
            return success(body.result())
        if self._reason is Reason.CANCELLED:
            error = OperationCancelled(self.record.name)
            return Ending(
                "cancelled", Step("cancelled", 0.0, str(error)), error=self._speaker(error)
            )
        if self._reason is Reason.HANDED_BACK:
            return Retry(0.0, "The server shut down; another one begins again.")
        failure: BaseException = DeadlineExceeded(self.work.timeout_seconds)
        if self._reason is None and body.cancelled():
            failure = RuntimeError("the work cancelled itself")
        elif self._reason is None:
            failure = body.exception() or failure
        return judge(failure, self.record, self.work, self._speaker)

    async def _write(self, verdict: Ending | Retry) -> bool:
        """Write how it ended, for as long as it takes the database to come back."""
        steps = self._notes.take()
        while True:
            try:
                if isinstance(verdict, Ending):
                    return await self._ledger.end(self.record, verdict, steps)
                return await self._ledger.put_back(
                    self.record,
                    verdict.message,
                    verdict.delay_seconds,
                    is_failure=self._reason is not Reason.HANDED_BACK,
                )
            except STORE_AWAY as error:
                logger.warning(
                    "operation_end_waits",
                    extra={"operation": self.record.name, "detail": detail_of(error)},
                )
            await asyncio.sleep(WRITE_RETRY_SECONDS)

    async def _write_steps(self) -> None:
        while True:
            await self._notes.changed.wait()
            async with self._writing:
                steps = self._notes.take()
                try:
                    if not await self._ledger.note(self.record, steps):
                        self.stop(Reason.LOST)
                        return
                except STORE_AWAY:
                    self._notes.restore(steps)
            await asyncio.sleep(STEP_SECONDS)
