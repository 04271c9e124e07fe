"""How well a master meets what was asked for: a score of parts, each with a stated rule."""

from collections.abc import Mapping

from chorale_mastering.plan import Stage
from chorale_mastering.work import Work

# What each part weighs in the whole.
WEIGHTS = {"loudness": 0.3, "true_peak": 0.25, "dynamics": 0.2, "stereo": 0.1, "distortion": 0.15}


def quality_parts(work: Work) -> Mapping[str, float]:
    """Each part in [0, 100].

    `loudness`: 100 within 0.05 LU of the target, 25 less for each LU. `true_peak`: 100 under the
    ceiling, 0 from 1 dB over. `dynamics`: 100 where the peak to loudness ratio is at least 12
    LU, 10 less for each LU missing. `stereo`: 100 where the correlation is at least 0, 0 at -1.
    `distortion`: 100 where the limiter took at most 3 dB at once, 8 less for each dB more.
    """
    after, plan = work.written.after, work.plan
    ratio = after.peak_to_loudness_lu
    reached = work.landed.landing.loudness
    off = 100.0 if reached is None else abs(reached - plan.target_loudness_lufs)
    misses = {
        "loudness": 25.0 * max(0.0, off - 0.05) if plan.has(Stage.GAIN) else 0.0,
        "true_peak": 100.0 * max(0.0, after.true_peak_dbtp - plan.ceiling_dbtp),
        "dynamics": 0.0 if ratio is None else 10.0 * max(0.0, 12.0 - ratio),
        "stereo": 100.0 * max(0.0, -after.stereo_correlation),
        "distortion": 8.0 * max(0.0, work.limited_db - 3.0),
    }
    return {name: min(100.0, max(0.0, 100.0 - miss)) for name, miss in misses.items()}


def quality_score(parts: Mapping[str, float]) -> float:
    """The weighted mean of the parts, in [0, 100]."""
    return sum(WEIGHTS[name] * value for name, value in parts.items())
