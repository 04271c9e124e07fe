"""Operations that are done when they are answered."""

from google.longrunning import operations_pb2
from google.protobuf.message import Message


def done(answer: Message) -> operations_pb2.Operation:
    """An operation without a name that has ended: what `validate_only` returns."""
    operation = operations_pb2.Operation(done=True)
    operation.response.Pack(answer)
    return operation
