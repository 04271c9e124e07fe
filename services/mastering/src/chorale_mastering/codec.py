"""What lossy codecs make of peaks: encode, decode, measure. Memory does not grow with the length.

MP3 and Opus by libsndfile; AAC, which it lacks, by the process that `aac` describes.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import IO

import numpy as np
import soundfile

from chorale_mastering import files
from chorale_mastering.block import Samples
from chorale_mastering.brief import Format
from chorale_mastering.encodings import require_codec
from chorale_mastering.meter import Meter
from chorale_mastering.plan import Codec, CodecCheck
from chorale_mastering.resampling import resampled_to

DEFAULT_KBPS = {Codec.MP3: 320, Codec.AAC: 256, Codec.OPUS: 160}

# The rates each encoder takes.
_RATES_HZ = {
    Codec.MP3: (32000, 44100, 48000),
    Codec.AAC: (8000, 16000, 22050, 32000, 44100, 48000, 88200, 96000),
    Codec.OPUS: (48000,),
}
_BLOCK_FRAMES = 1 << 15
# libsndfile knows a share in [0, 1] instead of a bit rate: from the first of these to the second.
_MP3_KBPS = (320.0, 32.0)
_OPUS_KBPS = (256.0, 6.0)  # for each channel
_SHARE_MAX = 0.999  # at 1, MP3 is refused


def peak_after(
    check: CodecCheck,
    blocks: Iterable[Samples],
    sample_rate_hz: int,
    channel_count: int,
    directory: str | None = None,
) -> float:
    """The true peak in dBTP after encoding and decoding; -200 in silence.

    Mono or stereo; the encoder's nearest rate is taken where it does not know this one. What is
    encoded lies in a temporary file in `directory`. Raises `CodecMissing`.
    """
    require_codec(check.codec)
    rates = _RATES_HZ[check.codec]
    rate = min(rates, key=lambda known: (abs(known - sample_rate_hz), -known))
    kbps = check.bitrate_kbps or DEFAULT_KBPS[check.codec]
    # Peaks over full scale are clipped here as any encoder's integer input would clip them.
    sound = (
        np.clip(block, -1.0, 1.0)
        for block in resampled_to(blocks, sample_rate_hz, rate, channel_count)
    )
    through = _through_aac if check.codec is Codec.AAC else _through_libsndfile
    meter = Meter(rate, channel_count)
    with tempfile.TemporaryFile(dir=directory) as file:
        coded = Format(rate, channel_count)
        for block in through(CodecCheck(check.codec, kbps), sound, file, coded):
            meter.push(block)
    if not meter.frame_count:
        return -200.0
    meter.finish()
    return max(-200.0, meter.read().true_peak_dbtp)


def compression_level(codec: Codec, kbps: int, channel_count: int) -> float:
    """The share by which libsndfile names a bit rate; the nearest that the codec has."""
    most, least = _MP3_KBPS if codec is Codec.MP3 else _OPUS_KBPS
    each = kbps if codec is Codec.MP3 else kbps / channel_count
    return min(_SHARE_MAX, max(0.0, (most - each) / (most - least)))


def _through_libsndfile(
    check: CodecCheck, sound: Iterable[Samples], file: IO[bytes], coded: Format
) -> Iterator[Samples]:
    is_mp3 = check.codec is Codec.MP3
    container, subtype = ("MP3", "MPEG_LAYER_III") if is_mp3 else ("OGG", "OPUS")
    with soundfile.SoundFile(
        file,
        "w",
        coded.sample_rate_hz,
        coded.channel_count,
        subtype,
        format=container,
        compression_level=compression_level(check.codec, check.bitrate_kbps, coded.channel_count),
        bitrate_mode="CONSTANT" if is_mp3 else None,
    ) as target:
        for block in sound:
            target.write(block)
    file.seek(0)
    yield from files.read(file)


def _through_aac(
    check: CodecCheck, sound: Iterable[Samples], file: IO[bytes], coded: Format
) -> Iterator[Samples]:
    command = [sys.executable, "-I", "-m", "chorale_mastering.aac"]
    told = (coded.sample_rate_hz, coded.channel_count, check.bitrate_kbps)
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(  # noqa: S603  # this package's own
            [*command, *map(str, told)],
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=said,
            env={},  # it needs nothing, and the service's holds secrets
        )
        try:
            assert process.stdin is not None  # a pipe
            # If it is broken, the process has ended, and has said why.
            with suppress(BrokenPipeError), process.stdin as pipe:
                for block in sound:
                    pipe.write(np.ascontiguousarray(block, "<f4").tobytes())
            process.wait()
        finally:
            process.kill()
            process.wait()
        if process.returncode:
            said.seek(0)
            text = said.read().decode(errors="replace")
            raise RuntimeError(f"The AAC process ended with {process.returncode}: {text}")
    file.seek(0)
    frame_bytes = 4 * coded.channel_count
    while data := file.read(_BLOCK_FRAMES * frame_bytes):
        yield np.frombuffer(data, "<f4").reshape(-1, coded.channel_count).astype(np.float32)
