"""What an answer of ingest means: from a gRPC status to our exceptions."""

from typing import Any, NoReturn

import grpc
from google.rpc import error_details_pb2, status_pb2

from chorale_audio.failures import AudioNotFound, IngestRefused, IngestUnavailable

_AWAY = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.CANCELLED,
}


def raise_typed(error: grpc.aio.AioRpcError, audio: str) -> NoReturn:
    """Raises what `error`, with which ingest answered about `audio`, means to us."""
    info = error_info(error)
    if info.reason == "AUDIO_NOT_FOUND":
        raise AudioNotFound(info.metadata.get("audio", audio)) from error
    if error.code() in _AWAY:
        raise IngestUnavailable(f"{error.code().name}: {error.details()}") from error
    raise IngestRefused(error.code().name, info.reason, error.details() or "") from error


def error_info(error: grpc.aio.AioRpcError) -> error_details_pb2.ErrorInfo:
    """The `ErrorInfo` that came with an error; an empty one when none did."""
    info = error_details_pb2.ErrorInfo()
    trailers: Any = error.trailing_metadata() or ()
    for key, value in trailers:
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            for detail in status_pb2.Status.FromString(value).details:
                if detail.Unpack(info):
                    return info
    return info
