"""Where a stretch of coded sound begins and ends, when its decoder gives more than that.

Codecs that overlap blocks bring some frames too many, at the beginning (priming) and at the
end (padding). FFmpeg removes them for most; not the end of AAC in MP4, and of Vorbis it
takes the beginning from the end. There the packets' own times say it to the frame, for
each link of a chained Ogg by itself.
"""

from dataclasses import dataclass
from typing import Any

EXTRA_FRAMES_MAX = 1 << 14  # more than that is no padding but a file that contradicts itself


@dataclass
class Link:
    """One link, as its packets come; most files have one."""

    is_trimmed: bool
    """Whether anything is to be removed here."""
    is_primed: bool
    """Whether its beginning, too."""
    told_frames: int = 0
    """What the file says of its length in a tag of iTunes; 0: nothing."""
    start: int | None = None
    end: int | None = None
    end_before: int | None = None
    before: int | None = None
    packet_count: int = 0
    frame_count: int = 0
    """Frames that the decoder gave."""
    priming_frames: int = 0
    """How many of the first of them are none of the sound."""

    @classmethod
    def of(cls, container: Any, stream: Any) -> "Link":
        """The first link of a file."""
        codec, kind = stream.codec_context.codec.name, container.format.name
        counts_frames = stream.time_base * (stream.codec_context.sample_rate or 0) == 1
        is_vorbis = codec == "vorbis" and kind == "ogg" and counts_frames
        is_aac = codec == "aac" and kind.startswith("mov") and counts_frames
        told = _told(container.metadata, stream.metadata) if is_aac else 0
        return cls(is_vorbis or is_aac, is_vorbis, told)

    def begins_anew(self, packet: Any) -> bool:
        """Whether this packet is of the next link: time starts again."""
        if not self.is_primed or None in (packet.pts, self.before) or packet.pts >= self.before:
            return False
        # The first packet of a next link still comes with a time of the link before.
        self.end = self.end_before
        return True

    def add(self, packet: Any) -> None:
        """Take note of a packet."""
        if packet.pts is None or not packet.duration:
            return
        self.before = packet.pts
        self.start = packet.pts if self.start is None else self.start
        self.end_before = self.end
        # A last page may take back more than its packet brought: that is told as if unsigned.
        taken_back = (1 << 32) if packet.duration >= 1 << 31 else 0
        self.end = packet.pts + packet.duration - taken_back
        self.packet_count += 1

    def gave(self, frame_count: int) -> None:
        """Take note of what the decoder made of the packet."""
        self.frame_count += frame_count
        if self.is_primed and self.packet_count == 1:  # the half of an overlap, no sound yet
            self.priming_frames += frame_count

    @property
    def padding_frames(self) -> int:
        """How many of its last frames are none of the sound."""
        if not self.is_trimmed or self.start is None or self.end is None:
            return 0
        extra = self.frame_count - self.priming_frames - (self.end - max(0, self.start))
        if 0 < self.told_frames <= self.frame_count:
            extra = self.frame_count - self.told_frames
        return extra if 0 < extra <= EXTRA_FRAMES_MAX else 0

    def next(self) -> "Link":
        """The link after it."""
        return Link(self.is_trimmed, self.is_primed, packet_count=1)


def _told(*sources: Any) -> int:
    """The length in `iTunSMPB`: zeros, priming, padding, frames, all hexadecimal."""
    for source in sources:
        fields = str(source.get("iTunSMPB", "")).split()
        try:
            return int(fields[3], 16)
        except (IndexError, ValueError):
            continue
    return 0
