"""What each exception of this service is to a caller."""

from chorale_runtime import pages
from chorale_runtime.errors import ErrorTable
from grpc import StatusCode

from chorale_ingest import messages, sounds
from chorale_ingest.decoded import AudioTooLong, Undecodable
from chorale_ingest.store import reading
from chorale_ingest.store.cutting import AudioTooShort
from chorale_ingest.store.finishing import ChecksumMismatch, UploadSizeMismatch
from chorale_ingest.store.importing import ImportNotFound
from chorale_ingest.store.receiving import StreamOutOfOrder, UploadGap
from chorale_ingest.store.uploads import RequestIdReused, UploadContended, UploadNotFound
from chorale_ingest.tiers import AudioTooLarge, QuotaExceeded
from chorale_ingest.worker.decoders import QueueFull

ERRORS: ErrorTable = {
    sounds.AudioExists: (StatusCode.ALREADY_EXISTS, "AUDIO_EXISTS"),
    ImportNotFound: (StatusCode.NOT_FOUND, "AUDIO_NOT_FOUND"),
    sounds.CoverNotFound: (StatusCode.NOT_FOUND, "AUDIO_NOT_FOUND"),
    sounds.AudioNotFound: (StatusCode.NOT_FOUND, "AUDIO_NOT_FOUND"),
    messages.PrivacyForbidden: (StatusCode.PERMISSION_DENIED, "CALL_FORBIDDEN"),
    AudioTooLarge: (StatusCode.RESOURCE_EXHAUSTED, "AUDIO_TOO_LARGE"),
    AudioTooLong: (StatusCode.FAILED_PRECONDITION, "AUDIO_TOO_LONG"),
    ChecksumMismatch: (StatusCode.DATA_LOSS, "CHECKSUM_MISMATCH"),
    pages.PageTokenInvalid: (StatusCode.INVALID_ARGUMENT, "PAGE_TOKEN_INVALID"),
    QueueFull: (StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL"),
    QuotaExceeded: (StatusCode.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED"),
    AudioTooShort: (StatusCode.FAILED_PRECONDITION, "AUDIO_TOO_SHORT"),
    reading.SpanPastEnd: (StatusCode.OUT_OF_RANGE, "SPAN_PAST_END"),
    RequestIdReused: (StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED"),
    StreamOutOfOrder: (StatusCode.INVALID_ARGUMENT, "STREAM_OUT_OF_ORDER"),
    Undecodable: (StatusCode.INVALID_ARGUMENT, "UNDECODABLE"),
    UploadContended: (StatusCode.ABORTED, "UPLOAD_CONTENDED"),
    UploadGap: (StatusCode.OUT_OF_RANGE, "UPLOAD_GAP"),
    UploadNotFound: (StatusCode.NOT_FOUND, "UPLOAD_NOT_FOUND"),
    UploadSizeMismatch: (StatusCode.FAILED_PRECONDITION, "UPLOAD_SIZE_MISMATCH"),
}
