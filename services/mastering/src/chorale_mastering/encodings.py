"""The kinds of files a master can be: their names, their grids and what they can hold."""

import enum
from dataclasses import dataclass
from importlib.util import find_spec

from chorale_mastering.plan import Codec
from chorale_mastering.refusals import CodecMissing, EncodingUnfit
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
    """How such a file is made: its samples' bits, none where it keeps floats."""

    suffix: str
    bits: int
    subtype: str = ""  # libsndfile's; WAV files are written without it
    level: float = 0.0  # how hard libsndfile compresses, in [0, 1]
    bitrate_mode: str | None = None  # libsndfile's


WRITINGS = {
    FileEncoding.WAV16: Writing("wav", 16),
    FileEncoding.WAV24: Writing("wav", 24),
    FileEncoding.WAV32: Writing("wav", 32),
    FileEncoding.WAV32F: Writing("wav", 0),
    FileEncoding.FLAC: Writing("flac", 24, "PCM_24", 5 / 8),
    FileEncoding.MP3_320: Writing("mp3", 0, "MPEG_LAYER_III", 0.0, "CONSTANT"),
    FileEncoding.MP3_V0: Writing("mp3", 0, "MPEG_LAYER_III", 0.0, "VARIABLE"),
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


def is_missing(codec: Codec) -> bool:
    """Whether nothing is installed that could check this codec: AAC is an extra."""
    return codec is Codec.AAC and find_spec("av") is None


def require_codec(codec: Codec) -> None:
    """Raises `CodecMissing` where `is_missing`."""
    if is_missing(codec):
        raise CodecMissing(codec.value)
