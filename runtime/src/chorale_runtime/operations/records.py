"""An operation as its row has it, and as the wire tells it."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from chorale.operations.v1 import operations_service_pb2 as operations_pb
from google.longrunning import operations_pb2 as longrunning_pb
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import status_pb2

PREFIX = "operations/"
ENDED = frozenset({"succeeded", "failed", "cancelled"})

# The columns of a record, `o` being an operation and `e` its latest event.
SELECT = """
    SELECT o.id, o.owner, o.tier, o.method, o.request_id, o.request_digest, o.request, o.queue,
        o.state, o.attempt, o.failures, o.job_id, o.cancel_requested, o.response, o.error,
        o.traceparent, o.audio, o.create_time, o.start_time, o.end_time, o.expire_time,
        o.sequence, e.stage, e.fraction, e.message, e.attempt AS event_attempt, e.event_time
    FROM operations o
    LEFT JOIN operation_events e ON e.operation_id = o.id AND e.sequence = o.sequence
"""


@dataclass(frozen=True)
class Event:
    """One step of the work."""

    sequence: int
    stage: str
    fraction: float
    message: str
    attempt: int
    event_time: datetime

    def message_of(self) -> operations_pb.OperationEvent:
        """The event as the wire tells it."""
        return operations_pb.OperationEvent(
            sequence=self.sequence,
            stage=self.stage,
            fraction=self.fraction,
            message=self.message,
            attempt=self.attempt,
            event_time=_timestamp(self.event_time),
        )


@dataclass(frozen=True)
class Record:
    """One operation as it stood when it was read."""

    id: uuid.UUID
    owner: str
    tier: str
    method: str
    request_id: str
    request_digest: bytes
    request: bytes
    queue: str
    state: str
    attempt: int
    failures: int
    job_id: int | None
    cancel_requested: bool
    response: bytes | None
    error: bytes | None
    traceparent: str
    audio: list[str]
    create_time: datetime
    start_time: datetime | None
    end_time: datetime | None
    expire_time: datetime | None
    event: Event | None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        """Read a row of `SELECT`."""
        fields = {name: row[name] for name in cls.__dataclass_fields__ if name != "event"}
        event = None
        if row["stage"] is not None:
            event = Event(
                sequence=row["sequence"],
                stage=row["stage"],
                fraction=row["fraction"],
                message=row["message"],
                attempt=row["event_attempt"],
                event_time=row["event_time"],
            )
        return cls(event=event, **fields)

    @property
    def name(self) -> str:
        """Its name on the wire."""
        return name_of(self.id)

    @property
    def is_done(self) -> bool:
        """Whether it has ended, in whatever way."""
        return self.state in ENDED

    def operation(self) -> longrunning_pb.Operation:
        """The operation as the wire tells it."""
        operation = longrunning_pb.Operation(name=self.name, done=self.is_done)
        operation.metadata.Pack(self._metadata())
        if self.response is not None:
            operation.response.ParseFromString(self.response)
        elif self.error is not None:
            operation.error.CopyFrom(status_pb2.Status.FromString(self.error))
        return operation

    def _metadata(self) -> operations_pb.OperationMetadata:
        return operations_pb.OperationMetadata(
            method=self.method,
            event=self.event.message_of() if self.event else None,
            create_time=_timestamp(self.create_time),
            start_time=_timestamp(self.start_time),
            end_time=_timestamp(self.end_time),
            expire_time=_timestamp(self.expire_time),
            audio=self.audio,
            request_id=self.request_id,
            cancel_requested=self.cancel_requested,
        )


def name_of(identity: uuid.UUID) -> str:
    """The name of an operation on the wire."""
    return f"{PREFIX}{identity}"


def identity_of(name: str) -> uuid.UUID | None:
    """Read an operation's name; None for what cannot be one."""
    try:
        identity = uuid.UUID(name.removeprefix(PREFIX))
    except ValueError:
        return None
    return identity if name == name_of(identity) else None


def _timestamp(moment: datetime | None) -> Timestamp | None:
    if moment is None:
        return None
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp
