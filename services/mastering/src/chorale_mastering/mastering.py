"""A master, from blocks of frames to blocks of frames."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from types import TracebackType

from chorale_mastering import chain, passes, telling
from chorale_mastering.block import Samples
from chorale_mastering.brief import Brief, Format
from chorale_mastering.inspecting import Rules
from chorale_mastering.levelling import Levelling
from chorale_mastering.matching import correction_taps, followed, suitability
from chorale_mastering.passes import Share
from chorale_mastering.profile import Profile
from chorale_mastering.report import MasterReport, MasterWarning
from chorale_mastering.scratch import BLOCK_FRAMES, Scratch
from chorale_mastering.work import Work

Tell = Callable[[str, float], None]  # the stage, and the share of the whole work that is done

_GONIOMETER_POINTS = 1000
_TELL_EVERY = 0.01


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
        pair = [rooms.enter_context(Scratch(0, directory)) for _ in range(2)]
        profile = Profile(brief.made.sample_rate_hz, brief.made.channel_count, directory)
        try:
            work = _worked(blocks, brief, tell, (pair[0], pair[1]), profile)
        finally:
            profile.close()
        result = Mastered(work.written.sound, brief.made, telling.report(work))
        rooms.pop_all()
    next(room for room in pair if room is not work.written.sound).close()
    return result


def _worked(
    blocks: Iterable[Samples],
    brief: Brief,
    tell: Tell,
    rooms: tuple[Scratch, Scratch],
    profile: Profile,
) -> Work:
    """All passes, from one room to the other and back."""
    plan, sound, made = brief.plan, brief.sound, brief.made

    def other(room: Scratch, channel_count: int) -> Scratch:
        return rooms[room is rooms[0]].emptied(channel_count)

    heard = passes.heard(
        blocks,
        sound,
        brief.curve_points,
        rooms[0].emptied(sound.channel_count),
        _share(tell, "measuring", 0.0, 0.2, brief.frame_count),
        _rules(brief),
    )
    taps: Samples | None = None
    warnings: tuple[MasterWarning, ...] = ()
    if brief.match is not None:
        taps = correction_taps(brief.match, heard.facts)
        warnings = suitability(brief.match.reference, heard.facts)
        plan = followed(brief.match, plan, heard.facts)
    room = other(heard.sound, sound.channel_count)
    toned = passes.toned(heard, plan, sound, taps, room, _share(tell, "tone", 0.2, 0.3))
    shaped = passes.shaped(
        toned,
        chain.dynamics_links(plan, toned.levels, heard.before.integrated_lufs, sound),
        sound,
        made,
        profile,
        other(toned.sound, made.channel_count),
        _share(tell, "dynamics", 0.3, 0.5),
    )
    room = other(shaped.sound, made.channel_count)
    levelling = Levelling(plan, made, brief.output.resolution, profile, shaped.sound, room)
    landed = levelling.land(_share(tell, "loudness", 0.5, 0.85))
    written = passes.written(
        room,
        10.0 ** (landed.landing.trim_db / 20.0),
        brief.output.resolution,
        made,
        brief.span(room.frame_count),
        brief.curve_points,
        _GONIOMETER_POINTS if brief.curve_points else 0,
        other(room, made.channel_count),
        _share(tell, "writing", 0.85, 1.0),
    )
    resolution = brief.output.resolution
    return Work(plan, sound, made, resolution, heard, toned, shaped, landed, written, warnings)


def _rules(brief: Brief) -> Rules:
    """How the input is heard: as its reference is."""
    if brief.match is None:
        return Rules()
    settings = brief.match.settings
    return Rules(piece_seconds=settings.piece_seconds, epsilon=settings.epsilon)


def _share(tell: Tell, stage: str, first: float, last: float, whole: float = 1.0) -> Share:
    """Tells the share of the whole work from the share of one pass, now and then."""
    told = [first - 1.0]

    def share(done: float) -> None:
        now = first + (last - first) * min(1.0, done / max(whole, 1e-9))
        if now >= told[0] + _TELL_EVERY:
            told[0] = now
            tell(stage, now)

    return share
