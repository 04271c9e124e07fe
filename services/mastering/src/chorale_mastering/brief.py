"""What a master is made from, beside the sound itself."""

from dataclasses import dataclass, field

from chorale_mastering.following import Match
from chorale_mastering.plan import MasteringPlan
from chorale_mastering.resolution import Resolution


@dataclass(frozen=True)
class Format:
    """Frames per second and samples per frame."""

    sample_rate_hz: int
    channel_count: int


@dataclass(frozen=True)
class Output:
    """How a master is written. 0 means as the input."""

    resolution: Resolution = field(default_factory=Resolution)
    sample_rate_hz: int = 0
    channel_count: int = 0


@dataclass(frozen=True)
class Brief:
    """All that a master is made from, beside the sound itself."""

    plan: MasteringPlan
    sound: Format
    frame_count: int  # of the input
    output: Output = field(default_factory=Output)
    match: Match | None = None
    preview_start_frame: int = 0  # in the input
    preview_frame_count: int = 0  # 0: to the end
    curve_points: int = 0

    @property
    def made(self) -> Format:
        """The format of what is made."""
        return Format(
            self.output.sample_rate_hz or self.sound.sample_rate_hz,
            self.output.channel_count or self.sound.channel_count,
        )

    def span(self, made_frame_count: int) -> tuple[int, int]:
        """First frame and count of the preview in what is made; of the whole without one."""
        ratio = self.made.sample_rate_hz / self.sound.sample_rate_hz
        first = min(round(self.preview_start_frame * ratio), made_frame_count)
        count = round(self.preview_frame_count * ratio) or made_frame_count
        return first, min(count, made_frame_count - first)
