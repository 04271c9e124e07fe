"""What lossy codecs make of peaks: encode, decode, measure. Nothing touches a disk."""

import io
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import av
import numpy as np

from chorale_mastering.block import Samples
from chorale_mastering.meter import Meter
from chorale_mastering.plan import Codec, CodecCheck
from chorale_mastering.refusals import CodecMissing
from chorale_mastering.resampling import resampled_to

DEFAULT_KBPS = {Codec.MP3: 320, Codec.AAC: 256, Codec.OPUS: 160}

# Encoder and container that PyAV's own FFmpeg carries, and the rates each encoder takes.
_ENCODERS = {
    Codec.MP3: ("libmp3lame", "mp3", (32000, 44100, 48000)),
    Codec.AAC: ("aac", "adts", (8000, 16000, 22050, 32000, 44100, 48000, 88200, 96000)),
    Codec.OPUS: ("libopus", "ogg", (48000,)),
}


def peak_after(
    check: CodecCheck, blocks: Iterable[Samples], sample_rate_hz: int, channel_count: int
) -> float:
    """The true peak in dBTP after encoding and decoding; -200 in silence.

    Mono or stereo; the encoder's nearest rate is taken where it does not know this one.
    """
    encoder, container, rates = _ENCODERS[check.codec]
    rate = min(rates, key=lambda known: (abs(known - sample_rate_hz), -known))
    bitrate = 1000 * (check.bitrate_kbps or DEFAULT_KBPS[check.codec])
    sound = resampled_to(blocks, sample_rate_hz, rate, channel_count)
    encoded = io.BytesIO()
    with av.open(encoded, "w", format=container) as target:
        try:
            stream: Any = target.add_stream(encoder, rate=rate)
        except ValueError as error:
            raise CodecMissing(check.codec.value) from error
        stream.bit_rate = bitrate
        stream.layout = "mono" if channel_count == 1 else "stereo"
        _encode(sound, target, stream, rate, stream.layout.name)
    encoded.seek(0)
    return _measured(encoded, channel_count)


def _encode(sound: Iterable[Samples], target: Any, stream: Any, rate: int, layout: str) -> None:
    position = 0
    for block in sound:
        if not len(block):
            continue
        # Peaks over full scale are clipped here as any encoder's integer input would clip them.
        data = np.ascontiguousarray(np.clip(block, -1.0, 1.0).T)
        frame = av.AudioFrame.from_ndarray(data, format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, position, Fraction(1, rate)
        position += len(block)
        for packet in stream.encode(frame):
            target.mux(packet)
    for packet in stream.encode(None):
        target.mux(packet)


def _measured(encoded: io.BytesIO, channel_count: int) -> float:
    meter = None
    source: Any
    with av.open(encoded, "r") as source:
        layout = "mono" if channel_count == 1 else "stereo"
        converter = av.AudioResampler(format="flt", layout=layout)
        for frame in source.decode(audio=0):
            for piece in converter.resample(frame):
                if meter is None:
                    meter = Meter(piece.sample_rate, channel_count)
                meter.push(piece.to_ndarray().reshape(-1, channel_count).astype(np.float32))
    if meter is None:
        return -200.0
    meter.finish()
    return max(-200.0, meter.read().true_peak_dbtp)
