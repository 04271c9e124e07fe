"""Which error is told how."""

from chorale_audio.failures import AUDIO_ERRORS
from chorale_runtime.errors import ErrorTable
from chorale_runtime.operations import ERRORS as OPERATION_ERRORS
from chorale_runtime.processes import ProcessDied
from grpc import StatusCode

from chorale_analysis import engines, harmony, listening, messages, sheet, structure, weights
from chorale_analysis.live import room
from chorale_analysis.servicer import lyrics_calls
from chorale_analysis.servicer.live_calls import StreamOutOfOrder
from chorale_analysis.servicer.live_rooms import FramesTorn

ERRORS: ErrorTable = {
    **OPERATION_ERRORS,
    **AUDIO_ERRORS,
    listening.TooShort: (StatusCode.FAILED_PRECONDITION, "AUDIO_TOO_SHORT"),
    listening.TooLong: (StatusCode.FAILED_PRECONDITION, "AUDIO_TOO_LONG"),
    listening.TooLongForEngine: (StatusCode.FAILED_PRECONDITION, "AUDIO_TOO_LONG"),
    listening.Silent: (StatusCode.FAILED_PRECONDITION, "AUDIO_SILENT"),
    engines.EngineUnknown: (StatusCode.INVALID_ARGUMENT, "ENGINE_UNKNOWN"),
    engines.EngineUnavailable: (StatusCode.FAILED_PRECONDITION, "ENGINE_UNAVAILABLE"),
    engines.WeightsMissing: (StatusCode.FAILED_PRECONDITION, "WEIGHTS_MISSING"),
    weights.WeightsRefused: (StatusCode.FAILED_PRECONDITION, "WEIGHTS_MISSING"),
    engines.EngineNoncommercial: (StatusCode.FAILED_PRECONDITION, "ENGINE_NONCOMMERCIAL"),
    harmony.ChordsUnparsable: (StatusCode.INVALID_ARGUMENT, "CHORDS_UNPARSABLE"),
    sheet.OperationNotDone: (StatusCode.FAILED_PRECONDITION, "OPERATION_NOT_DONE"),
    sheet.OperationUnfit: (StatusCode.INVALID_ARGUMENT, "OPERATION_UNFIT"),
    lyrics_calls.ProviderNotConfigured: (
        StatusCode.FAILED_PRECONDITION,
        "PROVIDER_NOT_CONFIGURED",
    ),
    lyrics_calls.ProviderUnavailable: (StatusCode.UNAVAILABLE, "PROVIDER_UNAVAILABLE"),
    lyrics_calls.ProviderRefused: (StatusCode.FAILED_PRECONDITION, "PROVIDER_REFUSED"),
    lyrics_calls.ProviderTimeout: (StatusCode.DEADLINE_EXCEEDED, "PROVIDER_TIMEOUT"),
    structure.NotDistinctive: (StatusCode.FAILED_PRECONDITION, "NOT_DISTINCTIVE"),
    StreamOutOfOrder: (StatusCode.INVALID_ARGUMENT, "STREAM_OUT_OF_ORDER"),
    FramesTorn: (StatusCode.INVALID_ARGUMENT, "FRAMES_INVALID"),
    room.NotFinite: (StatusCode.INVALID_ARGUMENT, "FRAMES_INVALID"),
    room.EarLost: (StatusCode.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE"),
    ProcessDied: (StatusCode.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE"),
    messages.SettingUnsupported: (StatusCode.INVALID_ARGUMENT, "SETTING_UNSUPPORTED"),
}
