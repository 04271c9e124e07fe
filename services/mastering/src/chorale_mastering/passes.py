"""The passes of a master: each reads sound from disk, and leaves sound and facts behind."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from chorale_mastering import chain
from chorale_mastering.block import Samples, Sequenced
from chorale_mastering.brief import Format
from chorale_mastering.chain import Link
from chorale_mastering.channels import mixed_to
from chorale_mastering.detector import Detector, LevelStatistics, hop_frames
from chorale_mastering.dither import Quantizer
from chorale_mastering.dynamics import Levels
from chorale_mastering.inspecting import Inspector, Rules
from chorale_mastering.inspection import Inspection
from chorale_mastering.loudness import Loudness
from chorale_mastering.meter import Meter
from chorale_mastering.multiband import Crossover, bands_of
from chorale_mastering.plan import MasteringPlan
from chorale_mastering.profile import Profile
from chorale_mastering.refusals import NoFrames
from chorale_mastering.resampling import resampled_to
from chorale_mastering.resolution import Resolution
from chorale_mastering.scratch import BLOCK_FRAMES, Scratch
from chorale_mastering.weighting import CHANNEL_WEIGHTS

Share = Callable[[float], None]  # told the share of this pass that is done


@dataclass(frozen=True)
class Heard:
    """The input as it came."""

    before: Loudness
    facts: Inspection
    sound: Scratch


@dataclass(frozen=True)
class Toned:
    """After filters and equalizers; `levels` has a row per band of the compressor."""

    links: Sequence[Link]
    levels: Sequence[Levels]
    sound: Scratch


@dataclass(frozen=True)
class Shaped:
    """After compression, saturation and width, in the output's format."""

    links: Sequence[Link]
    sound: Scratch


@dataclass(frozen=True)
class Written:
    """The result, measured as it lies there."""

    after: Loudness
    facts: Inspection
    goniometer: tuple[float, ...]
    first_frame: int  # of the sound before the cut
    sound: Scratch


def heard(
    blocks: Iterable[Samples],
    sound: Format,
    curve_points: int,
    room: Scratch,
    share: Share,
    rules: Rules,
) -> Heard:
    """Measures the input and keeps it; raises `NotFinite` and `NoFrames`."""
    meter = _meter(sound, curve_points)
    inspector = Inspector(sound.sample_rate_hz, sound.channel_count, rules)
    for block in blocks:
        for start in range(0, len(block), BLOCK_FRAMES):
            piece = np.ascontiguousarray(block[start : start + BLOCK_FRAMES], np.float32)
            meter.push(piece)
            inspector.push(piece)
            room.append(piece)
        share(float(meter.frame_count))
    if not meter.frame_count:
        raise NoFrames
    meter.finish()
    return Heard(meter.read(), inspector.read(), room)


def toned(
    source: Heard,
    plan: MasteringPlan,
    sound: Format,
    match_taps: Samples | None,
    room: Scratch,
    share: Share,
) -> Toned:
    """Filters and equalizes, and hears how loud the result is to a compressor."""
    links = chain.tone_links(plan, source.facts, sound, match_taps)
    listener = _Listener(plan, sound) if chain.needs_levels(plan) else None
    if not links and listener is None:
        return Toned((), (), source.sound)
    for block in _through(links, source.sound, share):
        if listener is not None:
            listener.push(block)
        if links:
            room.append(block)
    levels = listener.read() if listener is not None else ()
    return Toned(links, levels, room if links else source.sound)


def shaped(
    source: Toned,
    links: Sequence[Link],
    sound: Format,
    made: Format,
    profile: Profile,
    room: Scratch,
    share: Share,
) -> Shaped:
    """Compresses, bends and widens; takes the profile that the loudness search works on."""
    blocks = _through(links, source.sound, share)
    blocks = (mixed_to(block, made.channel_count) for block in blocks)
    for block in resampled_to(
        blocks, sound.sample_rate_hz, made.sample_rate_hz, made.channel_count
    ):
        profile.push(block)
        room.append(block)
    profile.finish()
    return Shaped(links, room)


def written(
    source: Scratch,
    trim: float,
    resolution: Resolution,
    made: Format,
    span: tuple[int, int],
    curve_points: int,
    goniometer_points: int,
    room: Scratch,
    share: Share,
) -> Written:
    """Brings a span of the sound to its resolution and measures what a reader will find."""
    first, count = span
    quantizer = Quantizer(resolution, made.sample_rate_hz, made.channel_count)
    meter = _meter(made, curve_points)
    inspector = Inspector(made.sample_rate_hz, made.channel_count)
    stride = max(1, count // goniometer_points) if goniometer_points else 0
    points: list[Samples] = []
    for block in source.blocks(first_frame=first):
        cut = block[: count - room.frame_count]
        if not len(cut):
            break
        out = quantizer.process(cut * np.float32(trim))
        meter.push(out)
        inspector.push(out)
        if stride:
            points.append(out[-room.frame_count % stride :: stride])
        room.append(out)
        share(room.frame_count / count)
    meter.finish()
    return Written(meter.read(), inspector.read(), _goniometer(points), first, room)


def _meter(sound: Format, curve_points: int) -> Meter:
    count = sound.channel_count
    weights = CHANNEL_WEIGHTS.get(count, (1.0,) * count)
    return Meter(sound.sample_rate_hz, count, weights, curve_points)


def _through(links: Sequence[Link], source: Scratch, share: Share) -> Iterator[Samples]:
    stages = Sequenced([link.processor for link in links])
    done = 0
    for block in source.blocks():
        yield stages.process(block)
        done += len(block)
        share(done / source.frame_count)
    if links:
        yield stages.flush()


class _Listener:
    """Hears the level of each band, as the compressor will."""

    def __init__(self, plan: MasteringPlan, sound: Format) -> None:
        settings = chain.compression(plan)
        rate, channels = sound.sample_rate_hz, sound.channel_count
        is_parted = settings.band_count > 1
        self._crossover = Crossover(rate, channels, settings.band_count) if is_parted else None
        count = self._crossover.band_count if self._crossover else 1
        highpass = settings.sidechain_highpass_hz
        self._detectors = [Detector(rate, channels, highpass) for _ in range(count)]
        self._statistics = [LevelStatistics() for _ in range(count)]
        self._hop = hop_frames(rate)
        self._pending = np.zeros((0, channels), np.float32)

    def push(self, block: Samples) -> None:
        line = np.concatenate([self._pending, block])
        whole = len(line) // self._hop * self._hop
        self._pending = line[whole:].copy()
        bands = bands_of(self._crossover, line[:whole])
        for detector, statistics, band in zip(
            self._detectors, self._statistics, bands, strict=True
        ):
            statistics.push(detector.levels(band))

    def read(self) -> tuple[Levels, ...]:
        return tuple(row.read() for row in self._statistics)


def _goniometer(points: Sequence[Samples]) -> tuple[float, ...]:
    if not points:
        return ()
    frames = np.concatenate(points)
    left, right = frames[:, 0], frames[:, min(1, frames.shape[1] - 1)]
    pairs = np.stack([(left + right) / 2.0, (left - right) / 2.0], axis=1)
    return tuple(np.clip(pairs, -1.0, 1.0).ravel().tolist())
