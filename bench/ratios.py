"""What a benchmark says: ratios of ours to a yardstick, each with the goal it is held to.

Wall time and CPU of a busy machine mean little by themselves; the ratio of two things measured
in turns in one run means something. A run with a miss exits 1.
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Ratio:
    """Ours over the yardstick, by the medians of rounds measured in turns.

    Wall time on a shared machine is told by `typical=max` (of speeds): the least disturbed round.
    """

    name: str
    ours: Sequence[float]
    yardstick: Sequence[float]
    unit: str
    at_most: float | None = None
    at_least: float | None = None
    typical: Callable[[Sequence[float]], float] = statistics.median

    @property
    def value(self) -> float:
        """The ratio of what is typical of each."""
        return self.typical(self.ours) / self.typical(self.yardstick)

    @property
    def is_met(self) -> bool:
        """Whether the goal, if there is one, is reached."""
        low = self.at_least is None or self.value >= self.at_least
        return low and (self.at_most is None or self.value <= self.at_most)

    @property
    def goal(self) -> str:
        """The goal in words."""
        if self.at_most is not None:
            return f"<= {self.at_most:g}"
        return "" if self.at_least is None else f">= {self.at_least:g}"


@dataclass(frozen=True)
class Bound:
    """One figure that must stay under a limit."""

    name: str
    value: float
    unit: str
    at_most: float

    @property
    def is_met(self) -> bool:
        """Whether it does."""
        return self.value <= self.at_most


def report(figures: Sequence[Ratio | Bound]) -> int:
    """Prints a line for each figure; returns the exit code of the benchmark."""
    for figure in figures:
        verdict = "ok  " if figure.is_met else "MISS"
        if isinstance(figure, Bound):
            limit = f"(goal <= {figure.at_most:g})"
            print(f"{verdict} {figure.name:46} {figure.value:8.1f} {figure.unit} {limit}")
            continue
        goal = f"(goal {figure.goal})" if figure.goal else "(no goal)"
        ours, yardstick = figure.typical(figure.ours), figure.typical(figure.yardstick)
        print(
            f"{verdict} {figure.name:46} {figure.value:6.2f}x {goal:15}"
            f" {ours:9.2f} against {yardstick:9.2f} {figure.unit}",
            flush=True,
        )
    return 0 if all(figure.is_met for figure in figures) else 1
