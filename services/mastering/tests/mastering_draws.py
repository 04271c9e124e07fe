"""Random settings of a master, for its law: the same for the same name and number."""

import random

from chorale_mastering.dynamics import Compression
from chorale_mastering.plan import LimiterMode, MasteringPlan
from chorale_mastering.resolution import Dither, Resolution
from chorale_mastering.tone import EqBand, EqPhase, EqProfile, EqShape


def settings(track: str, draw: int) -> tuple[MasteringPlan, Resolution]:
    """A draw over all that a caller may set; the same for the same track and number."""
    dice = random.Random(f"{track} {draw}")
    bands = tuple(
        EqBand(dice.choice(list(EqShape)[:3]), dice.uniform(40, 3000), dice.uniform(-6, 6))
        for _ in range(dice.choice((0, 0, 1, 3)))
    )
    plan = MasteringPlan(
        target_loudness_lufs=dice.uniform(-20.0, -10.0),
        compression=Compression(
            ratio=dice.choice((1.0, 4.0, dice.uniform(1.0, 10.0))),
            attack_ms=dice.uniform(0.5, 60.0),
            release_ms=dice.uniform(20.0, 600.0),
            knee_db=dice.uniform(0.0, 12.0),
            band_count=dice.choice((1, 1, 2, 3, 4)),
            mix_percent=dice.choice((100.0, dice.uniform(0.0, 100.0))),
        ),
        eq_profile=dice.choice(list(EqProfile)),
        eq_bands=bands,
        eq_phase=dice.choice(list(EqPhase)),
        stereo_width_percent=dice.choice((100.0, dice.uniform(0.0, 200.0))),
        mono_below_hz=dice.choice((None, dice.uniform(0.0, 300.0))),
        saturation_percent=dice.choice((0.0, 0.0, dice.uniform(0.0, 100.0))),
        limiter_mode=dice.choice(list(LimiterMode)),
        ceiling_dbtp=dice.choice((-1.0, dice.uniform(-3.0, 0.0))),
        lookahead_ms=dice.uniform(0.5, 20.0),
        limiter_release_ms=dice.uniform(10.0, 500.0),
        rumble_hz=dice.choice((None, dice.uniform(0.0, 60.0))),
        input_gain_db=dice.choice((0.0, dice.uniform(-12.0, 12.0))),
        clip_dbfs=dice.choice((None, None, dice.uniform(-6.0, 0.0))),
        preserve_dynamics=dice.choice((0.0, dice.random())),
    )
    bits = dice.choice((16, 24, 32))
    return plan, Resolution(bits, bits == 32 and dice.random() < 0.5, dice.choice(list(Dither)))
