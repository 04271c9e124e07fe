"""A small sample of the law of a master; `python -m bench.mastering_law` holds all of it."""

import numpy as np
import pytest
import signals
from chorale_mastering.brief import Brief, Format, Output
from chorale_mastering.mastering import master
from chorale_mastering.meter import Meter
from chorale_mastering.report import WarningCode
from mastering_draws import settings
from signals import RATE_HZ, Signal


def track(seed: int) -> Signal:
    """Noise with a bass, clicks far over the rest, and a side signal."""
    sound = 0.1 * signals.pink_noise(3, seed=seed) + signals.sine(-14.0, 3.0, hertz=80.0)
    sound[:: RATE_HZ // 3] = 0.95
    return np.ascontiguousarray(np.clip(sound, -1.0, 1.0), np.float32)


@pytest.mark.parametrize("draw", range(12))
def test_any_settings_hold_the_law(draw: int) -> None:
    """At the target or told why not, never over the ceiling, nothing clipped."""
    sound = track(draw % 3)
    plan, resolution = settings("sample", draw)
    brief = Brief(plan, Format(RATE_HZ, 2), len(sound), Output(resolution))
    with master([sound], brief, lambda _stage, _share: None) as made:
        out, report = np.concatenate(list(made.blocks())), made.report
    meter = Meter(RATE_HZ, 2)
    meter.push(out)
    meter.finish()
    heard = meter.read()
    assert heard.true_peak_dbtp <= plan.ceiling_dbtp
    assert np.abs(out).max() < 1.0
    assert heard.integrated_lufs is not None
    told = [w for w in report.warnings if w.code is WarningCode.TARGET_UNREACHABLE]
    wanted = told[0].found if told else plan.target_loudness_lufs
    assert heard.integrated_lufs == pytest.approx(wanted, abs=0.1)
