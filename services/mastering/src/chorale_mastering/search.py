"""Finding the gain that lands on a loudness after limiting, in as few passes as can be."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

# Gain past what would do without limiting: beyond this, limiting is destruction.
MOST_DRIVE_DB = 18.0
MOST_GAIN_DB = 40.0  # what is quieter is noise to be left alone
_LEAST_GAIN_DB = -60.0

TOLERANCE_LU = 0.01
_DRAFT_TOLERANCE_LU = 0.3
_ROUNDS = 9
_MODEL_ROUNDS = 2  # so often the model is believed

# A finished pass may be turned down this much to land exactly, which is far cheaper than another;
# beyond, the pass was limited harder than it had to be.
_TRIM_DB = 0.15
_TRIM_UP_DB = 0.02

_STEPS = 40
_FINE_DB = 1e-3


@dataclass(frozen=True)
class Rendered:
    """What one pass through the limiter measured."""

    loudness: float | None
    true_peak_dbtp: float


@dataclass(frozen=True)
class Goal:
    """What is to be reached."""

    loudness: float
    ceiling_dbtp: float  # for the result
    inner_ceiling_dbtp: float  # for the limiter: less what the output may add
    is_draft: bool = False

    @property
    def tolerance_lu(self) -> float:
        """How near is near enough."""
        return _DRAFT_TOLERANCE_LU if self.is_draft else TOLERANCE_LU


@dataclass(frozen=True)
class Landing:
    """Where a search ended; the last pass rendered is the one to keep, times `trim_db`."""

    gain_db: float
    limiter_ceiling_dbtp: float
    trim_db: float
    loudness: float | None
    true_peak_dbtp: float
    pass_count: int
    is_reached: bool
    foretold: float | None  # what the model said of the first pass
    turned_down_db: float = 0.0  # part of the trim that was no part of the search


Foretell = Callable[[float, float], float | None]  # gain and ceiling in dB -> loudness
Render = Callable[[float, float], Rendered]


def search(goal: Goal, unlimited: float | None, foretell: Foretell, render: Render) -> Landing:
    """Lands on the goal's loudness under its ceiling.

    `foretell` is cheap and a little wrong; its error hardly changes with the gain, so what one
    pass measures corrects the next. `unlimited` is the loudness at no gain. Without one, nothing
    is loud enough to be brought anywhere, and the gain is 0 dB.
    """
    if unlimited is None:
        return held(goal, 0.0, foretell, render)
    first = goal.loudness - unlimited
    most = max(_LEAST_GAIN_DB, min(first + MOST_DRIVE_DB, MOST_GAIN_DB))
    error, ceiling, best = 0.0, goal.inner_ceiling_dbtp, None
    bracket = _Bracket(goal.loudness)
    for number in range(_ROUNDS):
        gain = _solved(foretell, ceiling, goal.loudness - error, min(first, most), most)
        gain = bracket.within(gain)
        foretold = foretell(gain, ceiling)
        rendered = render(gain, ceiling)
        landing = _landed(goal, gain, ceiling, rendered, number + 1)
        landing = replace(landing, foretold=best.foretold if best else foretold)
        best = landing
        if landing.is_reached or rendered.loudness is None or foretold is None:
            break
        if gain >= most and rendered.loudness < goal.loudness:
            break
        error = rendered.loudness - foretold
        bracket.learn(gain, rendered.loudness)
        ceiling -= max(0.0, rendered.true_peak_dbtp - goal.ceiling_dbtp)
        if goal.is_draft:
            break
    assert best is not None
    return best


class _Bracket:
    """The nearest real passes below and above the goal: where a model misleads, they do not."""

    def __init__(self, wanted: float) -> None:
        self._wanted = wanted
        self._below: tuple[float, float] | None = None
        self._above: tuple[float, float] | None = None
        self._count = 0

    def learn(self, gain_db: float, loudness: float) -> None:
        """Takes what a pass measured."""
        self._count += 1
        if loudness < self._wanted:
            self._below = (gain_db, loudness)
        else:
            self._above = (gain_db, loudness)

    def within(self, gain_db: float) -> float:
        """The gain, or between two passes what a straight line through both says."""
        if self._below is None or self._above is None or self._count < _MODEL_ROUNDS:
            return gain_db
        (low, soft), (high, loud) = self._below, self._above
        return low + (high - low) * (self._wanted - soft) / max(loud - soft, 1e-9)


def held(goal: Goal, gain_db: float, foretell: Foretell, render: Render) -> Landing:
    """Keeps a gain, whatever loudness it makes; only the ceiling counts."""
    ceiling = goal.inner_ceiling_dbtp
    rendered = render(gain_db, ceiling)
    landing = _landed(goal, gain_db, ceiling, rendered, 1)
    over = max(0.0, rendered.true_peak_dbtp - goal.ceiling_dbtp)
    foretold = foretell(gain_db, ceiling)
    return replace(landing, trim_db=-over, is_reached=True, foretold=foretold)


def _landed(
    goal: Goal, gain_db: float, ceiling_dbtp: float, rendered: Rendered, count: int
) -> Landing:
    """The pass with the trim that brings it nearest to the goal, under the ceiling."""
    room = goal.ceiling_dbtp - rendered.true_peak_dbtp
    wanted = 0.0 if rendered.loudness is None else goal.loudness - rendered.loudness
    # Upwards hardly at all: what the limiter kept free is for meters that look elsewhere.
    trim = min(room, max(min(wanted, _TRIM_UP_DB), -_TRIM_DB))
    left = math.inf if rendered.loudness is None else abs(wanted - trim)
    return Landing(
        gain_db=gain_db,
        limiter_ceiling_dbtp=ceiling_dbtp,
        trim_db=trim,
        loudness=None if rendered.loudness is None else rendered.loudness + trim,
        true_peak_dbtp=rendered.true_peak_dbtp + trim,
        pass_count=count,
        is_reached=left <= goal.tolerance_lu,
        foretold=None,
    )


def _solved(foretell: Foretell, ceiling: float, wanted: float, low: float, high: float) -> float:
    """The gain whose foretold loudness is `wanted`, by regula falsi; else the nearest."""

    def miss(gain: float) -> float:
        told = foretell(gain, ceiling)
        return (-100.0 if told is None else told) - wanted

    at_low = miss(low)
    if at_low >= 0.0:  # the model errs by so little that the gain is a step away
        return low - at_low
    if -at_low < _FINE_DB:
        return low
    # Limiting takes a little of each dB: try a near end first, so that few steps are needed.
    while low < high:
        near = min(high, low - 1.5 * at_low + 0.05)
        at_near = miss(near)
        if at_near >= 0.0:
            return _between(miss, low, at_low, near, at_near)
        if near >= high:
            return high
        low, at_low = near, at_near
    return high


def _between(
    miss: Callable[[float], float], low: float, at_low: float, high: float, at_high: float
) -> float:
    """Regula falsi, the Illinois way: an end that stays counts half."""
    side = 0
    for _ in range(_STEPS):
        middle = (low * at_high - high * at_low) / (at_high - at_low)
        at_middle = miss(middle)
        if abs(at_middle) < _FINE_DB or high - low < _FINE_DB:
            return middle
        if at_middle < 0.0:
            low, at_low = middle, at_middle
            at_high = at_high / 2.0 if side < 0 else at_high
            side = -1
        else:
            high, at_high = middle, at_middle
            at_low = at_low / 2.0 if side > 0 else at_low
            side = 1
    return (low + high) / 2.0
