"""An uploader's bytes in, canonical PCM out. Runs only inside the confined child process.

The format is decided by content. Only the demuxers and decoders listed here are used:
no playlists, no concatenations, nothing that could name another file or an address.
What the file claims of its length is never believed; frames are counted as they come.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import av
import numpy as np
from av.audio.fifo import AudioFifo
from av.error import FFmpegError
from av.stream import Discard

from chorale_ingest import overview, samples, sniffing
from chorale_ingest.decoded import AudioTooLong, Decoded, Undecodable
from chorale_ingest.links import EXTRA_FRAMES_MAX, Link
from chorale_ingest.samples import Samples

DEMUXERS = "wav,w64,aiff,flac,mp3,mov,ogg,matroska,asf,aac,au,caf"
DECODERS = (
    "flac,alac,mp3float,mp3,mp2float,mp2,aac,vorbis,opus,wmav1,wmav2,wmapro,wmalossless,"
    "adpcm_ms,adpcm_ima_wav,adpcm_ima_qt,pcm_alaw,pcm_mulaw,pcm_u8,pcm_s8,"
    "pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,pcm_s32le,pcm_s32be,"
    "pcm_f32le,pcm_f32be,pcm_f64le,pcm_f64be"
)
DECODER_NAMES = frozenset(DECODERS.split(","))
STREAM_COUNT_MAX = 32
TAG_COUNT_MAX = 64
TAG_CHARACTERS_MAX = 500
RATE_MIN_HZ, RATE_MAX_HZ = 8000, 192_000
CHANNEL_COUNT_MAX = 8
BATCH_FRAMES = 1 << 16  # decoders give about a thousand frames at a time: convert them together
READ_BYTES = 1 << 16
# A file that goes wrong this often without a frame in between is noise, not a damaged song.
BAD_PACKETS_MAX = 1000


class SeekableFile(Protocol):
    """What a demuxer needs of a file."""

    def read(self, size: int = -1, /) -> bytes:
        """Read up to that many bytes."""
        ...

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move."""
        ...


@dataclass(frozen=True)
class Block:
    """The next canonical frames, and the overview points that became whole with them."""

    pcm: bytes
    points: bytes


class Decoding:
    """One file being decoded: iterate `blocks`, then ask for the `result`."""

    def __init__(self, file: SeekableFile, limit_seconds: float) -> None:
        self._limit_seconds = limit_seconds
        self._found = sniffing.media_type(file.read(sniffing.HEAD_BYTES))
        file.seek(0)
        self._container = opened(file, self._found)
        self._stream = self._chosen()
        self._shape: tuple[str, int, int] | None = None  # format, channels, rate of the first frame
        self._overview = overview.Building()
        self._queue = AudioFifo()
        self._layout = ""
        self._link, self._is_primed = Link.of(self._container, self._stream), True
        if self._link.is_primed:  # FFmpeg would remove the wrong frames
            self._stream.codec_context.options = {"flags2": "+skip_manual"}
        self._frame_count = 0
        self._bad_packets = 0
        self._left_out = 0
        self._warnings: list[str] = []

    def blocks(self) -> Iterator[Block]:
        """Decode to the end, a batch of frames at a time."""
        for frame in self._frames():
            if frame is None:
                yield from self._link_ended()
                continue
            if frame.layout.name != self._layout:  # as many channels, called something else
                yield from self._taken(self._queue.samples)
                self._queue, self._layout = AudioFifo(), frame.layout.name
            frame.pts = None  # a queue insists on times without gaps
            self._queue.write(frame)
            self._link.gave(frame.samples)
            if self._queue.samples >= BATCH_FRAMES + 2 * EXTRA_FRAMES_MAX:
                yield from self._taken(BATCH_FRAMES)
        yield from self._link_ended()
        if self._frame_count == 0:
            raise Undecodable(self._found, "it holds no frame of sound")
        last = b"".join(self._overview.finish())
        self._check_samples()
        yield Block(b"", last)

    def result(self) -> Decoded:
        """What the file turned out to be, once all blocks were taken."""
        if self._shape is None:
            raise Undecodable(self._found, "it holds no frame of sound")
        sample_format, channel_count, rate = self._shape
        codec = self._stream.codec_context
        if self._bad_packets:
            self._warnings.append(f"{self._bad_packets} damaged packets were left out.")
        if self._left_out:
            self._warnings.append(
                f"{self._left_out} frames of another rate or number of channels were left out."
            )
        return Decoded(
            container=self._container.format.name,
            codec=codec.codec.name.removesuffix("float"),
            sample_rate_hz=rate,
            channel_count=channel_count,
            frame_count=self._frame_count,
            encoding=samples.encoding_of(sample_format).value,
            bit_depth=_bit_depth(codec),
            bit_rate_bps=int(self._stream.bit_rate or self._container.bit_rate or 0),
            sample_peak=self._peak(),
            tags=_tags(self._container.metadata, self._stream.metadata),
            warnings=tuple(self._warnings),
        )

    def _chosen(self) -> Any:
        # The whitelist given to the demuxer does not bind the decoders opened here.
        streams = [
            stream
            for stream in self._container.streams.audio
            if stream.codec_context and stream.codec_context.codec.name in DECODER_NAMES
        ]
        if not streams:
            raise Undecodable(self._found, "it holds no audio stream that is known here")
        best = self._container.streams.best("audio")
        stream = best if best in streams else streams[0]
        stream.codec_context.thread_count = 1
        for other in self._container.streams:
            if other.index != stream.index:
                other.discard = Discard.all  # pictures and further tracks are not even read
        return stream

    def _link_ended(self) -> Iterator[Block]:
        padding = min(self._link.padding_frames, self._queue.samples)
        yield from self._taken(self._queue.samples - padding)
        if self._queue.samples:
            self._queue.read(self._queue.samples)
        self._link, self._is_primed = self._link.next(), True

    def _taken(self, count: int) -> Iterator[Block]:
        if self._is_primed and self._queue.samples:  # what is queued by now has its first frames
            priming = min(self._link.priming_frames, count)
            count -= priming
            self._is_primed = False
            if priming:
                self._queue.read(priming)
        while count > 0:
            block: Any = self._queue.read(min(count, BATCH_FRAMES))
            count -= block.samples
            self._count(block.samples)
            yield self._block(block)

    def _frames(self) -> Iterator[Any]:
        """Frames in order; None where the link they belong to is over."""
        bad_in_a_row = 0
        for packet in self._packets():
            if self._link.is_primed and self._link.begins_anew(packet):
                yield None
            if self._link.is_trimmed:
                self._link.add(packet)
            try:
                decoded = packet.decode()
            except FFmpegError:
                self._bad_packets += 1
                bad_in_a_row += 1
                if bad_in_a_row > BAD_PACKETS_MAX:
                    raise Undecodable(self._found, "too much of it is damaged") from None
                continue
            for frame in decoded:
                if self._fits(frame):
                    bad_in_a_row = 0
                    yield frame

    def _packets(self) -> Iterator[Any]:
        try:
            yield from self._container.demux(self._stream)
        except FFmpegError as error:
            # A broken end is common: what came before it is kept, and the reader told.
            self._warnings.append(f"The file breaks off: {_reason(error)}.")

    def _fits(self, frame: Any) -> bool:
        shape = (frame.format.name, frame.layout.nb_channels, frame.sample_rate)
        if self._shape is None:
            self._check_shape(shape)
            self._shape = shape
        if shape == self._shape:
            return bool(frame.samples)
        self._left_out += frame.samples
        return False

    def _check_shape(self, shape: tuple[str, int, int]) -> None:
        _, channel_count, rate = shape
        if not RATE_MIN_HZ <= rate <= RATE_MAX_HZ:
            raise Undecodable(
                self._found,
                f"its rate is {rate} Hz, between {RATE_MIN_HZ} and {RATE_MAX_HZ} are needed",
            )
        if not 1 <= channel_count <= CHANNEL_COUNT_MAX:
            raise Undecodable(
                self._found,
                f"it has {channel_count} channels, between 1 and {CHANNEL_COUNT_MAX} are needed",
            )

    def _count(self, frame_count: int) -> None:
        self._frame_count += frame_count
        rate = self._shape[2] if self._shape else 1
        if self._frame_count > self._limit_seconds * rate:
            raise AudioTooLong(self._frame_count / rate, self._limit_seconds)

    def _block(self, frame: Any) -> Block:
        assert self._shape is not None  # there was a frame
        sample_format, channel_count, _ = self._shape
        stored = samples.canonical(interleaved(frame, channel_count), sample_format)
        points = b"".join(self._overview.add(stored))
        self._check_samples()
        return Block(stored.tobytes(), points)

    def _check_samples(self) -> None:
        if not self._peak() <= samples.SAMPLE_MAX:  # NaN compares false
            raise Undecodable(self._found, "it holds samples that are no finite sound")

    def _peak(self) -> float:
        return float(np.maximum(abs(self._overview.least), abs(self._overview.greatest)))


def opened(file: SeekableFile, found: str) -> Any:
    """Open a file by the demuxers that are known here; `found` is what it looks like."""
    options = {
        "format_whitelist": DEMUXERS,
        "codec_whitelist": DECODERS,
        "protocol_whitelist": "",
        "max_streams": str(STREAM_COUNT_MAX),
        "max_size": "32768",  # wav: its own choice of 4096 bytes per packet is slow
        # wav: it looks for DTS in PCM. Four packets took longer than half a minute of sound.
        "max_probe_packets": "1",
    }
    try:
        return av.open(
            file, "r", options=options, metadata_errors="replace", buffer_size=READ_BYTES
        )
    except (FFmpegError, OSError, ValueError, IndexError) as error:
        raise Undecodable(found, _reason(error)) from error


def interleaved(frame: Any, channel_count: int) -> Samples:
    """View a frame as `(frames, channels)`, or copy it so where it has a plane per channel."""
    name = frame.format.name
    dtype = samples.DECODED_DTYPES[name.removesuffix("p")]
    if not name.endswith("p") or channel_count == 1:
        whole = np.frombuffer(frame.planes[0], dtype, frame.samples * channel_count)
        return whole.reshape(-1, channel_count)
    whole = np.empty((frame.samples, channel_count), dtype)
    for channel, plane in enumerate(frame.planes):
        whole[:, channel] = np.frombuffer(plane, dtype, frame.samples)
    return whole


def _bit_depth(codec: Any) -> int:
    """Bits per sample of the original, 0 where the codec has none."""
    name, head = codec.codec.name, codec.extradata or b""
    if name == "flac" and len(head) >= 14:  # STREAMINFO: five bits, less one, at bit 103
        return ((head[12] & 1) << 4 | head[13] >> 4) + 1
    if name == "alac" and len(head) >= 18:
        return int(head[17])
    if name in ("pcm_alaw", "pcm_mulaw"):
        return 8
    if name.startswith("pcm_"):
        return int("".join(character for character in name if character.isdigit()))
    return 0


def _tags(*sources: Any) -> dict[str, str]:
    """Collect what the file says of itself: bounded, printable, the first word on each counts."""
    tags: dict[str, str] = {}
    for source in sources:
        for key, value in source.items():
            name = _printable(key)[:TAG_CHARACTERS_MAX].strip().lower()
            if name and name not in tags and len(tags) < TAG_COUNT_MAX:
                tags[name] = _printable(value)[:TAG_CHARACTERS_MAX]
    return tags


def _printable(text: str) -> str:
    # PostgreSQL takes no NUL, logs and headers no line ends, UTF-8 no lone surrogates.
    plain = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(character for character in plain if character.isprintable())


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text)[:200].rstrip(".").lower()
