"""What mastering takes, from figures that were measured."""

from collections.abc import Iterable

from chorale_mastering.brief import Brief
from chorale_mastering.encodings import is_lossy
from chorale_mastering.orders import Order

# CPU seconds on one core, measured on stereo music: per sample in and out, per sample and codec,
# and what starting costs.
SECONDS_PER_SAMPLE, SECONDS_PER_CODEC_SAMPLE, SECONDS_AT_LEAST = 130e-9, 400e-9, 0.2
_SECONDS_PER_SAMPLE_HEARD = 30e-9
_LOSSY_BYTES_PER_SECOND = 40_000


def seconds_of(briefs: Iterable[Brief]) -> float:
    """How long these masters take."""
    return SECONDS_AT_LEAST + sum(map(_seconds, briefs))


def output_bytes(order: Order) -> int:
    """About how large the file will be."""
    brief, resolution = order.brief, order.brief.output.resolution
    count = brief.preview_frame_count or brief.frame_count
    seconds = min(count, brief.frame_count) / brief.sound.sample_rate_hz
    if is_lossy(order.encoding):
        return round(seconds * _LOSSY_BYTES_PER_SECOND)
    made = brief.made
    return round(seconds * made.sample_rate_hz) * made.channel_count * resolution.bits // 8


def _seconds(brief: Brief) -> float:
    seconds = brief.frame_count / brief.sound.sample_rate_hz
    samples = seconds * max(
        sound.sample_rate_hz * sound.channel_count for sound in (brief.sound, brief.made)
    )
    codecs = len(brief.plan.codecs)
    return float(samples * (SECONDS_PER_SAMPLE + codecs * SECONDS_PER_CODEC_SAMPLE))


def hearing_seconds(sample_count: int) -> float:
    """How long inspecting so many samples takes."""
    return SECONDS_AT_LEAST + sample_count * _SECONDS_PER_SAMPLE_HEARD
