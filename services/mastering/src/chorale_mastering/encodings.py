"""The kinds of files a master can be: their names, their grids and what they can hold."""

import enum
from dataclasses import dataclass

from chorale_mastering.refusals import EncodingUnfit
from chorale_mastering.resolution import Dither, Resolution

_MP3_RATES_HZ = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)


class FileEncoding(enum.Enum):
    """How a file is written."""

    WAV16 = "wav16"
    WAV24 = "wav24"
    WAV32 = "wav32"
    WAV32F = "wav32f"
    FLAC = "flac"
    MP3_320 = "mp3_320"
    MP3_V0 = "mp3_v0"


@dataclass(frozen=True)
class Writing:
    """What FFmpeg is asked for."""

    suffix: str
    codec: str
    sample_format: str
    bits: int
    options: tuple[tuple[str, str], ...] = ()


WRITINGS = {
    FileEncoding.WAV16: Writing("wav", "pcm_s16le", "s16", 16),
    FileEncoding.WAV24: Writing("wav", "pcm_s24le", "s32", 24),
    FileEncoding.WAV32: Writing("wav", "pcm_s32le", "s32", 32),
    FileEncoding.WAV32F: Writing("wav", "pcm_f32le", "flt", 0),
    FileEncoding.FLAC: Writing("flac", "flac", "s32", 24, (("compression_level", "5"),)),
    FileEncoding.MP3_320: Writing("mp3", "libmp3lame", "fltp", 0, (("b", "320000"),)),
    FileEncoding.MP3_V0: Writing("mp3", "libmp3lame", "fltp", 0, (("global_quality", "0"),)),
}


def is_lossy(encoding: FileEncoding) -> bool:
    """Whether reading the file again gives other samples."""
    return encoding in (FileEncoding.MP3_320, FileEncoding.MP3_V0)


def suffix(encoding: FileEncoding) -> str:
    """The end of the file's name."""
    return WRITINGS[encoding].suffix


def resolution(encoding: FileEncoding, dither: Dither | None) -> Resolution:
    """The grid on which samples of such a file lie."""
    bits = WRITINGS[encoding].bits
    return Resolution(bits, dither=dither) if bits else Resolution(32, is_float=True)


def fitting_rate_hz(encoding: FileEncoding, asked_hz: int, sound_hz: int) -> int:
    """The rate to write at: what was asked, or the input's, or the nearest that MP3 knows.

    Raises `EncodingUnfit` for a rate that was asked for and that the file cannot have.
    """
    rate = asked_hz or sound_hz
    if not is_lossy(encoding) or rate in _MP3_RATES_HZ:
        return rate
    if asked_hz:
        raise EncodingUnfit("sample_rate_hz", asked_hz, encoding.value)
    family = 44100 if sound_hz % 11025 == 0 else 48000
    return family if sound_hz > 48000 else min(r for r in _MP3_RATES_HZ if r >= sound_hz)


def require_channels(encoding: FileEncoding, channel_count: int) -> None:
    """Raises `EncodingUnfit` where a file of this kind cannot hold so many channels."""
    if channel_count > (2 if is_lossy(encoding) else 8):
        raise EncodingUnfit("channel_count", channel_count, encoding.value)
