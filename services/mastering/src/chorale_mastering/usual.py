"""What a preset asks for that a result may lack: its usual loudness, and its codec checks."""

from chorale_mastering.plan import Codec
from chorale_mastering.refusals import CodecMissing
from chorale_mastering.report import MasterWarning, WarningCode


def genre_loudness(
    loudness_lufs: float | None, low_lufs: float, high_lufs: float, title: str
) -> list[MasterWarning]:
    """Whether a loudness lies outside what a genre or platform usually has; 0 is not stated."""
    if loudness_lufs is None or (low_lufs == 0.0 and high_lufs == 0.0):
        return []
    if low_lufs - 0.05 <= loudness_lufs <= high_lufs + 0.05:
        return []
    message = (
        f"{loudness_lufs:.1f} LUFS lies outside what {title} usually has:"
        f" {low_lufs:.0f} to {high_lufs:.0f} LUFS."
    )
    wanted = low_lufs if loudness_lufs < low_lufs else high_lufs
    return [MasterWarning(WarningCode.GENRE_LOUDNESS, message, loudness_lufs, wanted)]


def codec_unchecked(codec: Codec) -> MasterWarning:
    """Says that a codec which the preset names was not checked: no encoder is installed."""
    message = f"The preset's check was left out. {CodecMissing(codec.value)}"
    return MasterWarning(WarningCode.CODEC_UNCHECKED, message, 0.0, 0.0)
