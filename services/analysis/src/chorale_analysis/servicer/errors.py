"""Which error is told how."""

from chorale_audio.failures import AUDIO_ERRORS
from chorale_runtime.errors import ErrorTable
from chorale_runtime.operations import ERRORS as OPERATION_ERRORS
from grpc import StatusCode

from chorale_analysis import engines, harmony, listening, messages, sheet

ERRORS: ErrorTable = {
    **OPERATION_ERRORS,
    **AUDIO_ERRORS,
    listening.TooShort: (StatusCode.FAILED_PRECONDITION, "AUDIO_TOO_SHORT"),
    listening.TooLong: (StatusCode.FAILED_PRECONDITION, "AUDIO_TOO_LONG"),
    listening.Silent: (StatusCode.FAILED_PRECONDITION, "AUDIO_SILENT"),
    engines.EngineUnknown: (StatusCode.INVALID_ARGUMENT, "ENGINE_UNKNOWN"),
    engines.EngineUnavailable: (StatusCode.FAILED_PRECONDITION, "ENGINE_UNAVAILABLE"),
    engines.EngineNoncommercial: (StatusCode.FAILED_PRECONDITION, "ENGINE_NONCOMMERCIAL"),
    harmony.ChordsUnparsable: (StatusCode.INVALID_ARGUMENT, "CHORDS_UNPARSABLE"),
    sheet.OperationNotDone: (StatusCode.FAILED_PRECONDITION, "OPERATION_NOT_DONE"),
    sheet.OperationUnfit: (StatusCode.INVALID_ARGUMENT, "OPERATION_UNFIT"),
    messages.SettingUnsupported: (StatusCode.INVALID_ARGUMENT, "SETTING_UNSUPPORTED"),
}
