"""Bringing shaped sound to its loudness under its ceiling: the search, on real passes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from chorale_mastering import chain
from chorale_mastering.block import Processor, Samples, Sequenced
from chorale_mastering.brief import Format
from chorale_mastering.chain import Link
from chorale_mastering.codec import peak_after
from chorale_mastering.filtering import Gain
from chorale_mastering.limiter import Limiter
from chorale_mastering.meter import Meter
from chorale_mastering.passes import Share
from chorale_mastering.plan import LoudnessMeasure, MasteringPlan, Stage
from chorale_mastering.profile import Profile
from chorale_mastering.report import CodecPeak
from chorale_mastering.resolution import Resolution
from chorale_mastering.saturation import clipper
from chorale_mastering.scratch import Scratch
from chorale_mastering.search import Goal, Landing, Rendered, held, search
from chorale_mastering.weighting import CHANNEL_WEIGHTS

_CODEC_ROUNDS = 8
_LIMITED_ROUNDS = 3  # of those, by a lower ceiling
_CODEC_MARGIN_DB = 0.03


@dataclass(frozen=True)
class Landed:
    """Where the loudness ended, how, and what codecs make of it."""

    landing: Landing
    links: Sequence[Link]
    limiter: Limiter | None
    shaped_lufs: float | None  # before the gain
    shaped_true_peak_dbtp: float
    codecs: tuple[CodecPeak, ...]


class Levelling:
    """Renders passes of gain, clipper and limiter until one lands; the last lies in `sound`."""

    def __init__(
        self,
        plan: MasteringPlan,
        made: Format,
        resolution: Resolution,
        profile: Profile,
        shaped: Scratch,
        sound: Scratch,
    ) -> None:
        self._plan, self._made, self._profile, self._shaped = plan, made, profile, shaped
        self._rise = resolution.peak_rise
        self._times = chain.limiter_times(plan, made.sample_rate_hz)
        self._links: list[Link] = []
        self._limiter: Limiter | None = None
        self._share: Share = lambda _: None
        self.sound = sound

    def land(self, share: Share) -> Landed:
        """Searches; where codecs are to be checked, lowers the ceiling until they are clean."""
        self._share = share
        measure = self._plan.loudness_measure
        unlimited = self._profile.loudness(1.0, 1.0, None, measure)
        ceiling = self._plan.ceiling_dbtp
        landing = self._search(unlimited, ceiling)
        peaks: dict[int, CodecPeak] = {}
        for number in range(_CODEC_ROUNDS if self._plan.has(Stage.CODEC_CHECK) else 0):
            over = self._check_codecs(landing, peaks, number + 1)
            if over <= 0.0:
                break
            if number < _LIMITED_ROUNDS:
                ceiling -= over + _CODEC_MARGIN_DB
                landing = self._search(unlimited, ceiling)
            else:  # what a codec adds may follow the limiter: then only less level helps
                landing = _turned_down(landing, over + _CODEC_MARGIN_DB)
        return Landed(
            landing=landing,
            links=tuple(self._links),
            limiter=self._limiter,
            shaped_lufs=unlimited,
            shaped_true_peak_dbtp=chain.decibels(self._profile.true_peak),
            codecs=tuple(peaks.values()),
        )

    def _search(self, unlimited: float | None, ceiling_dbtp: float) -> Landing:
        plan, goal = self._plan, self._goal(ceiling_dbtp)
        if not plan.has(Stage.GAIN):
            return held(goal, 0.0, self._foretell, self._render)
        if self._times is None:
            return self._lowered(goal, unlimited)
        return search(goal, unlimited, self._foretell, self._render)

    def _goal(self, ceiling_dbtp: float) -> Goal:
        """What is to be reached under a ceiling, with room for the output and other meters."""
        margin_db = chain.peak_margin_db(self._made.sample_rate_hz)
        return Goal(
            self._plan.target_loudness_lufs,
            chain.decibels(10.0 ** (ceiling_dbtp / 20.0) - self._rise),
            chain.decibels(10.0 ** ((ceiling_dbtp - margin_db) / 20.0) - self._rise),
            self._plan.draft,
        )

    def _lowered(self, goal: Goal, unlimited: float | None) -> Landing:
        """Without a limiter: the gain asked for, or the most that the ceiling allows."""
        room = goal.inner_ceiling_dbtp - chain.decibels(max(self._profile.true_peak, 1e-10))
        wanted = 0.0 if unlimited is None else goal.loudness - unlimited
        landing = held(goal, min(wanted, room), self._foretell, self._render)
        off = 0.0 if landing.loudness is None else abs(landing.loudness - goal.loudness)
        return replace(landing, is_reached=off <= goal.tolerance_lu + 0.04)

    def _foretell(self, gain_db: float, ceiling_dbtp: float) -> float | None:
        gain, ceiling = 10.0 ** (gain_db / 20.0), 10.0 ** (ceiling_dbtp / 20.0)
        return self._profile.loudness(gain, ceiling, self._times, self._plan.loudness_measure)

    def _stages(self, gain_db: float, ceiling_dbtp: float) -> list[Link]:
        rate, channels = self._made.sample_rate_hz, self._made.channel_count
        gain, plan = 10.0 ** (gain_db / 20.0), self._plan
        links = []
        clips = plan.clip_dbfs is not None and plan.has(Stage.CLIPPER)
        if clips or self._times is None:
            links.append(Link(Stage.GAIN, Gain(gain, channels)))
            gain = 1.0
        if clips and plan.clip_dbfs is not None:
            links.append(Link(Stage.CLIPPER, clipper(channels, plan.clip_dbfs)))
        self._limiter = None
        if self._times is not None:
            ceiling = 10.0 ** (ceiling_dbtp / 20.0)
            self._limiter = Limiter(rate, channels, ceiling, self._times, gain)
            links.append(Link(Stage.LIMITER, self._limiter))
        return links

    def _render(self, gain_db: float, ceiling_dbtp: float) -> Rendered:
        """One real pass, measured."""
        self.sound.emptied(self._made.channel_count)
        self._links = self._stages(gain_db, ceiling_dbtp)
        stages: Processor = Sequenced([link.processor for link in self._links])
        gauge = _Gauge(self._made, self._plan.loudness_measure)
        for block in self._shaped.blocks():
            self._keep(stages.process(block), gauge)
            self._share(self.sound.frame_count / self._shaped.frame_count)
        self._keep(stages.flush(), gauge)
        return gauge.read()

    def _keep(self, block: Samples, gauge: "_Gauge") -> None:
        gauge.push(block)
        self.sound.append(block)

    def _check_codecs(self, landing: Landing, peaks: dict[int, CodecPeak], count: int) -> float:
        """Measures what codecs make of the pass; returns how far the worst is over, in dB."""
        trim = np.float32(10.0 ** (landing.trim_db / 20.0))
        worst = 0.0
        for number, check in enumerate(self._plan.codecs):
            blocks = (block * trim for block in self.sound.blocks())
            rate, channels = self._made.sample_rate_hz, self._made.channel_count
            found = peak_after(check, blocks, rate, channels, self.sound.directory)
            first = self._goal(self._plan.ceiling_dbtp).inner_ceiling_dbtp
            lowered = max(0.0, first - landing.limiter_ceiling_dbtp + landing.turned_down_db)
            peaks[number] = CodecPeak(check, found, lowered, count)
            worst = max(worst, found - self._plan.ceiling_dbtp)
        return worst


def _turned_down(landing: Landing, by_db: float) -> Landing:
    """The same pass, softer."""
    return replace(
        landing,
        trim_db=landing.trim_db - by_db,
        turned_down_db=landing.turned_down_db + by_db,
        loudness=None if landing.loudness is None else landing.loudness - by_db,
        true_peak_dbtp=landing.true_peak_dbtp - by_db,
    )


class _Gauge:
    """Measures what the search asks about, and the true peak."""

    def __init__(self, made: Format, measure: LoudnessMeasure) -> None:
        self._measure = measure
        count = made.channel_count
        self._meter = Meter(made.sample_rate_hz, count, CHANNEL_WEIGHTS.get(count, (1.0,) * count))
        self._squares = 0.0
        self._sample_count = 0

    def push(self, block: Samples) -> None:
        self._meter.push(block)
        if self._measure is LoudnessMeasure.RMS:
            self._squares += float(np.square(block, dtype=np.float64).sum())
        self._sample_count += block.size

    def read(self) -> Rendered:
        self._meter.finish()
        read = self._meter.read()
        loudness = {
            LoudnessMeasure.INTEGRATED: read.integrated_lufs,
            LoudnessMeasure.MAX_SHORT_TERM: read.short_term_max_lufs,
            LoudnessMeasure.RMS: self._rms_dbfs(),
        }[self._measure]
        return Rendered(loudness, max(read.true_peak_dbtp, -200.0))

    def _rms_dbfs(self) -> float | None:
        if self._squares <= 0.0:
            return None
        return 10.0 * float(np.log10(self._squares / self._sample_count))
