"""Operations that are over before they began: what `validate_only` answers with."""

from google.longrunning import operations_pb2
from google.protobuf.message import Message


def done(response: Message) -> operations_pb2.Operation:
    """A finished operation of which nothing is kept."""
    operation = operations_pb2.Operation(done=True)
    operation.response.Pack(response)
    return operation
