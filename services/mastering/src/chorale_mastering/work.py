"""Everything one master came through, for those who tell of it."""

from dataclasses import dataclass

import numpy as np

from chorale_mastering.brief import Format
from chorale_mastering.chain import Link
from chorale_mastering.levelling import Landed
from chorale_mastering.passes import Heard, Shaped, Toned, Written
from chorale_mastering.plan import MasteringPlan, Stage
from chorale_mastering.report import MasterWarning
from chorale_mastering.resolution import Resolution


@dataclass(frozen=True)
class Work:
    """What was asked for, and what each pass found."""

    plan: MasteringPlan
    sound: Format
    made: Format
    resolution: Resolution
    heard: Heard
    toned: Toned
    shaped: Shaped
    landed: Landed
    written: Written
    reference_warnings: tuple[MasterWarning, ...] = ()

    @property
    def links(self) -> tuple[Link, ...]:
        """Every stage that worked, in order."""
        return (*self.toned.links, *self.shaped.links, *self.landed.links)

    def link(self, stage: Stage) -> Link | None:
        """The first link of a stage; None where it did nothing."""
        return next((link for link in self.links if link.stage is stage), None)

    @property
    def limited_db(self) -> float:
        """The most that the limiter took, at least 0."""
        return self.landed.limiter.reductions.greatest_db if self.landed.limiter else 0.0

    def gain_reduction_db(self) -> tuple[float, ...]:
        """What compressor and limiter took together, at the points of the curve after."""
        curve = self.written.after.curve
        if curve is None:
            return ()
        count = self.written.after.frame_count * 10 // self.made.sample_rate_hz
        first = self.written.first_frame * 10 // self.made.sample_rate_hz
        total = np.zeros(first + count, np.float32)
        compressor = self.link(Stage.COMPRESSOR)
        if compressor is not None:
            total += compressor.processor.reductions.by_tenth(len(total))  # type: ignore[attr-defined]
        if self.landed.limiter is not None:
            total += self.landed.limiter.reductions.by_tenth(len(total))
        tenths = max(1, round(curve.hop_frames * 10 / self.made.sample_rate_hz))
        least = np.minimum.reduceat(total[first:], np.arange(0, count, tenths))
        return tuple(least.tolist())
