"""A master, from blocks of frames to blocks of frames."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType

from chorale_mastering import chain, facts, passes
from chorale_mastering.block import Samples
from chorale_mastering.chain import Format
from chorale_mastering.levelling import Levelling
from chorale_mastering.matching import Match
from chorale_mastering.passes import Share, Written
from chorale_mastering.plan import MasteringPlan
from chorale_mastering.profile import Profile
from chorale_mastering.report import MasterReport
from chorale_mastering.resolution import Resolution
from chorale_mastering.scratch import BLOCK_FRAMES, Scratch

Tell = Callable[[str, float], None]  # the stage, and the share of the whole work that is done

_GONIOMETER_POINTS = 1000
_TELL_EVERY = 0.01


@dataclass(frozen=True)
class Output:
    """How a master is written. 0 means as the input."""

    resolution: Resolution = Resolution()  # noqa: RUF009  # frozen
    sample_rate_hz: int = 0
    channel_count: int = 0


@dataclass(frozen=True)
class Brief:
    """All that a master is made from, beside the sound itself."""

    plan: MasteringPlan
    sound: Format
    frame_count: int  # of the input
    output: Output = Output()  # noqa: RUF009  # frozen
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


class Mastered:
    """A finished master on disk. Closing it gives the room back."""

    def __init__(self, sound: Scratch, made: Format, report: MasterReport) -> None:
        self._sound = sound
        self.format, self.report = made, report

    @property
    def frame_count(self) -> int:
        """How long it is."""
        return self._sound.frame_count

    def blocks(self, block_frames: int = BLOCK_FRAMES) -> Iterator[Samples]:
        """Yields the frames, on the grid of the resolution asked for; as often as wanted."""
        return self._sound.blocks(block_frames)

    def close(self) -> None:
        """Gives the room back."""
        self._sound.close()

    def __enter__(self) -> "Mastered":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def master(
    blocks: Iterable[Samples], brief: Brief, tell: Tell, directory: str | None = None
) -> Mastered:
    """Masters float32 blocks `(frames, channels)`, which are read once.

    Sound between passes lies in temporary files in `directory`; memory does not grow with the
    length, but for the meter's 200 bytes a second. Silence comes back as silence; sound shorter
    than 400 ms or below -70 LUFS keeps its level, under the ceiling. Raises `NotFinite`,
    `NoFrames` and `BandTooHigh`.
    """
    with ExitStack() as rooms:
        result = _mastered(blocks, brief, tell, directory, rooms)
        rooms.pop_all()
    return result


def _mastered(
    blocks: Iterable[Samples], brief: Brief, tell: Tell, directory: str | None, rooms: ExitStack
) -> Mastered:
    plan, sound, made = brief.plan, brief.sound, brief.made
    result = rooms.enter_context(Scratch(made.channel_count, directory))
    with ExitStack() as passing:

        def room(channel_count: int) -> Scratch:
            return passing.enter_context(Scratch(channel_count, directory))

        heard = passes.heard(
            blocks,
            sound,
            brief.curve_points,
            room(sound.channel_count),
            _share(tell, "measuring", 0.0, 0.2, brief.frame_count),
        )
        taps = brief.match.taps(heard.facts) if brief.match else None
        toned = passes.toned(
            heard, plan, sound, taps, room(sound.channel_count), _share(tell, "tone", 0.2, 0.3)
        )
        if toned.sound is not heard.sound:
            heard.sound.close()
        links = chain.dynamics_links(plan, toned.levels, heard.before.integrated_lufs, sound)
        profile = Profile(made.sample_rate_hz, made.channel_count, directory)
        passing.callback(profile.close)
        shaped = passes.shaped(
            toned,
            links,
            sound,
            made,
            profile,
            room(made.channel_count),
            _share(tell, "dynamics", 0.3, 0.5),
        )
        toned.sound.close()
        levelling = Levelling(plan, made, brief.output.resolution, profile, shaped.sound, directory)
        passing.callback(levelling.close)
        landed = levelling.land(_share(tell, "loudness", 0.5, 0.85))
        written = passes.written(
            levelling.sound,
            10.0 ** (landed.landing.trim_db / 20.0),
            brief.output.resolution,
            made,
            brief.span(levelling.sound.frame_count),
            brief.curve_points,
            _GONIOMETER_POINTS if brief.curve_points else 0,
            result,
            _share(tell, "writing", 0.85, 1.0),
        )
        report = facts.report(plan, sound, made, brief.output, heard, toned, shaped, landed, written)
    return Mastered(result, made, report)


def _share(tell: Tell, stage: str, first: float, last: float, whole: float = 1.0) -> Share:
    """Tells the share of the whole work from the share of one pass, now and then."""
    told = [first - 1.0]

    def share(done: float) -> None:
        now = first + (last - first) * min(1.0, done / max(whole, 1e-9))
        if now >= told[0] + _TELL_EVERY:
            told[0] = now
            tell(stage, now)

    return share


__all__ = ["Brief", "Mastered", "Output", "Written", "master"]
