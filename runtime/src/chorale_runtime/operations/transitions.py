"""The steps between an operation's states, inside a transaction of whoever makes them.

queued --claim--> running --end--> succeeded | failed | cancelled
   ^                 |
   +----put back-----+        queued --end--> cancelled
"""

import uuid
from dataclasses import dataclass

from google.longrunning import operations_pb2 as longrunning_pb
from google.protobuf.message import Message

from chorale_runtime.database import Connection
from chorale_runtime.operations.work import Step


@dataclass(frozen=True)
class Ending:
    """How an operation ends: with an answer or an error, both as the wire has them."""

    state: str
    step: Step
    response: bytes | None = None
    error: bytes | None = None


@dataclass(frozen=True)
class Policy:
    """How the operations of a service are kept and run."""

    queue_limit: int = 1000
    """Operations that may wait in one queue."""
    retention_seconds: float = 86_400.0
    """How long the result of an ended operation is kept."""
    heartbeat_seconds: float = 1.5
    """Between two signs of life of a worker."""
    stalled_seconds: float = 6.0
    """After how long a silence a worker is taken for dead and others do its work."""
    sweep_seconds: float = 1.5
    """Between two looks for the work of dead workers."""
    expiry_seconds: float = 30.0
    """Between two looks for results whose time is over."""
    poll_seconds: float = 5.0
    """Between two looks into an idle queue; work is otherwise announced."""
    drain_seconds: float = 5.0
    """How long running work may go on at shutdown before it is handed back."""


def success(response: Message) -> Ending:
    """The ending of what gave this answer."""
    packed = longrunning_pb.Operation()
    packed.response.Pack(response)
    return Ending(
        "succeeded", Step("done", 1.0, ""), response=bytes(packed.response.SerializeToString())
    )


async def tell(connection: Connection, identity: uuid.UUID, step: Step) -> None:
    """Write the next event of an operation."""
    await connection.execute(
        "SELECT operations_tell(%s, %s, %s, %s)",
        (identity, step.stage, step.fraction, step.message),
    )


async def wake(connection: Connection, queue: str) -> None:
    """Let the workers of a queue look for work when the transaction is committed."""
    await connection.execute("SELECT operations_notify(%s)", (f"work {queue}",))


async def end(
    connection: Connection, identity: uuid.UUID, ending: Ending, retention_seconds: float
) -> None:
    """End an operation that the transaction has locked: its state, its last event, its job."""
    await tell(connection, identity, ending.step)
    await connection.execute(
        """
        WITH ended AS (
            UPDATE operations SET state = %s, response = %s, error = %s, end_time = now(),
                expire_time = now() + make_interval(secs => %s)
            WHERE id = %s RETURNING job_id
        )
        DELETE FROM procrastinate_jobs USING ended WHERE procrastinate_jobs.id = ended.job_id
        """,
        (ending.state, ending.response, ending.error, retention_seconds, identity),
    )
