"""Mastering while sound comes: the same chain, with loudness followed and not searched."""

import math

import numpy as np
from numba import njit

from chorale_mastering import chain
from chorale_mastering.biquad import Cascade
from chorale_mastering.block import Hopped, Processor, Samples, Sequenced, require_finite
from chorale_mastering.brief import Format
from chorale_mastering.compressor import Compressor
from chorale_mastering.dynamics import Compression
from chorale_mastering.equalizer import equalizer, profile_bands
from chorale_mastering.filtering import DEFAULT_RUMBLE_HZ, Gain, blocker, rumble_filter
from chorale_mastering.limiter import Limiter, times
from chorale_mastering.multiband import MultibandCompressor
from chorale_mastering.plan import LimiterMode, MasteringPlan, Stage
from chorale_mastering.saturation import Saturation, clipper
from chorale_mastering.stereo import StereoWidth
from chorale_mastering.weighting import CHANNEL_WEIGHTS, highpass, shelf

# Loudness is followed over the last seconds, and the gain moves so slowly that nobody hears it.
_MEMORY_SECONDS = 6.0
_GAIN_DB_PER_SECOND = 1.5
_MOST_GAIN_DB = 24.0
_GATE_LUFS = -50.0  # what is quieter holds the gain where it is
_HOPS_PER_SECOND = 100

# Where the compressor works: the follower before it brings the programme to -20 LUFS.
_WORKING_LUFS = -20.0
_THRESHOLD_DBFS = -18.0


class Follower(Hopped):
    """Brings the loudness of the last seconds slowly to a target."""

    def __init__(self, sound: Format, target_lufs: float) -> None:
        rate, count = sound.sample_rate_hz, sound.channel_count
        hop = max(1, rate // _HOPS_PER_SECOND)
        super().__init__(count, hop, 0)
        self._weighting = Cascade((shelf(rate), highpass(rate)), count)
        self._weights = np.array(CHANNEL_WEIGHTS.get(count, (1.0,) * count), np.float32)
        share = 1.0 - math.exp(-hop / (_MEMORY_SECONDS * rate))
        gate = 10.0 ** ((_GATE_LUFS + 0.691) / 10.0)
        target = 10.0 ** ((target_lufs + 0.691) / 10.0)
        self._rule = np.array(
            [
                share,
                gate,
                target,
                10.0 ** (_GAIN_DB_PER_SECOND * hop / rate / 20.0),
                10.0 ** (_MOST_GAIN_DB / 20.0),
            ]
        )
        self._memory = np.array([0.0, 0.0, 1.0])  # power, how much of it is known, gain

    def _advance(self, line: Samples) -> Samples:
        out = np.empty_like(line)
        weighted = self._weighting.process(line)
        _follow(line, weighted, self._weights, self._hop_frames, self._rule, self._memory, out)
        return out


class LiveMaster:
    """A processor that masters sound as it comes, at a latency told beforehand.

    Filters are always on, thresholds are fixed, and loudness follows the target by at most
    1.5 dB a second: what is to come cannot be known. Never over the ceiling. `NotFinite` is
    raised on NaN and infinity.
    """

    def __init__(self, plan: MasteringPlan, sound: Format) -> None:
        self._stages = Sequenced(_stages(plan, sound))
        self._frame_count = 0

    @property
    def latency_frames(self) -> int:
        """How many frames the output may lie behind the input at most."""
        return self._stages.latency_frames

    def process(self, block: Samples) -> Samples:
        """Takes the next frames; returns those that are ready."""
        require_finite(block, self._frame_count)
        self._frame_count += len(block)
        return self._stages.process(block)

    def flush(self) -> Samples:
        """The rest."""
        return self._stages.flush()


def _stages(plan: MasteringPlan, sound: Format) -> list[Processor]:
    rate, count = sound.sample_rate_hz, sound.channel_count
    stages: list[Processor] = []
    if plan.has(Stage.FILTER):
        corner = DEFAULT_RUMBLE_HZ if plan.rumble_hz is None else plan.rumble_hz
        stages.append(rumble_filter(corner, rate, count) if corner else blocker(rate, count))
    if plan.input_gain_db:
        stages.append(Gain(10.0 ** (plan.input_gain_db / 20.0), count))
    bands = (*profile_bands(plan.eq_profile, rate), *plan.eq_bands)
    if bands and plan.has(Stage.EQ):
        stages.append(equalizer(bands, plan.eq_phase, rate, count))
    stages += _dynamics(plan, sound)
    if plan.has(Stage.GAIN):
        stages.append(Follower(sound, plan.target_loudness_lufs))
    if plan.clip_dbfs is not None and plan.has(Stage.CLIPPER):
        stages.append(clipper(count, plan.clip_dbfs))
    # Live, no level can be lowered afterwards: without a limiter the transparent one works.
    is_limited = plan.limiter_mode is not LimiterMode.NONE and plan.has(Stage.LIMITER)
    mode = plan.limiter_mode if is_limited else LimiterMode.TRANSPARENT
    limiter_times = times(mode, plan.lookahead_ms, plan.limiter_release_ms, rate)
    ceiling = 10.0 ** ((plan.ceiling_dbtp - chain.peak_margin_db(rate)) / 20.0)
    stages.append(Limiter(rate, count, ceiling, limiter_times))
    return stages


def _dynamics(plan: MasteringPlan, sound: Format) -> list[Processor]:
    rate, count = sound.sample_rate_hz, sound.channel_count
    stages: list[Processor] = []
    compression: Compression = chain.compression(plan)
    saturates = plan.saturation_percent > 0.0 and plan.has(Stage.SATURATION)
    if plan.has(Stage.GAIN) and (compression.is_on or saturates):
        stages.append(Follower(sound, _WORKING_LUFS))
    if compression.is_on:
        compression = chain.with_threshold(compression, _THRESHOLD_DBFS)
        kind = MultibandCompressor if compression.band_count > 1 else Compressor
        stages.append(kind(rate, count, compression))
    if saturates:
        drive = 10.0 ** ((chain.SATURATION_LUFS - _WORKING_LUFS) / 20.0)
        stages.append(Saturation(rate, count, plan.saturation_percent, drive))
    width = chain.width(plan)
    if count == 2 and width.is_on and plan.has(Stage.WIDTH):
        stages.append(StereoWidth(rate, count, width))
    return stages


@njit(cache=True, nogil=True)
def _follow(line, weighted, weights, hop, rule, memory, out):  # type: ignore[no-untyped-def]
    """One decision a hop: the mean power so far, and a step of gain towards the target."""
    share, gate, target, step, most = rule
    power, known, gain = memory
    for first in range(0, line.shape[0], hop):
        total = 0.0
        for n in range(np.uintp(first), np.uintp(first + hop)):
            for channel in range(np.uintp(line.shape[1])):
                total += weights[channel] * weighted[n, channel] * weighted[n, channel]
        mean = total / hop
        before = gain
        if mean > gate:
            power += share * (mean - power)
            known += share * (1.0 - known)  # an exponential mean that has only begun
            wanted = math.sqrt(target * known / power)
            wanted = min(most, max(1.0 / most, wanted))
            gain = min(gain * step, max(gain / step, wanted))
        slope = (gain - before) / hop
        for k in range(np.uintp(hop)):
            here = np.float32(before + slope * (k + np.uintp(1)))
            for channel in range(np.uintp(line.shape[1])):
                frame = np.uintp(first) + k
                out[frame, channel] = line[frame, channel] * here
    memory[0], memory[1], memory[2] = power, known, gain
