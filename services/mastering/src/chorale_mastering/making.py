"""Files from named sound: each a master of its own, written and heard again."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from chorale_mastering import files
from chorale_mastering.album import album_lufs, powers_of, targets
from chorale_mastering.block import Samples
from chorale_mastering.brief import Brief, Format
from chorale_mastering.encodings import FileEncoding, is_lossy, suffix
from chorale_mastering.following import Match, MatchSettings, ReferenceFacts
from chorale_mastering.gating import integrated_lufs
from chorale_mastering.inspecting import Inspector
from chorale_mastering.loudness import Loudness
from chorale_mastering.mastering import Mastered, master
from chorale_mastering.matching import suitability
from chorale_mastering.meter import Meter
from chorale_mastering.orders import Album, AlbumRelation, Matched, Order, Outcome
from chorale_mastering.plan import Codec, CodecCheck
from chorale_mastering.refusals import ReferenceUnsuitable
from chorale_mastering.report import MasterReport, MasterWarning, WarningCode
from chorale_mastering.usual import codec_unchecked, genre_loudness
from chorale_mastering.weighting import CHANNEL_WEIGHTS

Reading = Callable[[], Iterable[Samples]]  # reads the input, from its start
Tell = Callable[[str, float], None]

_ALBUM_SHARE = 0.1  # of the work: hearing all tracks before the first is made
_LOSSY_ROUNDS = 6
_LOSSY_MARGIN_DB = 0.03


def made_files(
    sound: Reading, orders: Sequence[Order], directory: str, compare: bool, tell: Tell
) -> tuple[Outcome, ...]:
    """Makes every file of one input; `tell` hears the share of all of them."""
    outcomes = []
    for number, order in enumerate(orders):
        share = _part(tell, number, len(orders))
        outcomes.append(made_file(sound, order, f"{directory}/{number}", compare, share))
    return tuple(outcomes)


def made_file(sound: Reading, order: Order, stem: str, compare: bool, tell: Tell) -> Outcome:
    """Masters the input into one file, and stores the input at its loudness where asked to."""
    path = f"{stem}.{suffix(order.encoding)}"
    brief = _with_its_codec(order)
    directory = stem.rpartition("/")[0]
    with master(sound(), brief, tell, directory) as mastered:
        report = _written(mastered, path, order.encoding, brief)
    report = replace(report, warnings=(*report.warnings, *_of_the_preset(order, report)))
    if not compare:
        return Outcome(path, report)
    matched = f"{stem}-input.wav"
    gain = np.float32(10.0 ** (_matching_db(sound, brief, report) / 20.0))
    blocks = (block * gain for block in _previewed(sound(), brief))
    files.write(matched, blocks, brief.sound, FileEncoding.WAV32F)
    return Outcome(path, report, matched)


def matched_files(
    sound: Reading,
    orders: Sequence[Order],
    directory: str,
    facts: ReferenceFacts,
    settings: MatchSettings,
    tell: Tell,
) -> Matched:
    """Makes every file towards a reference; raises `ReferenceUnsuitable`."""
    if facts.facts.spectrum.is_silent:
        raise ReferenceUnsuitable("silent")
    match = Match(facts, settings)
    towards = [replace(order, brief=replace(order.brief, match=match)) for order in orders]
    outcomes = made_files(sound, towards, directory, False, tell)
    theirs = facts.facts.spectrum.third_octaves_db()
    after = outcomes[0].report.spectrum_after_db
    return Matched(
        outcomes,
        facts.loudness,
        theirs,
        suitability(facts),
        tuple(ours - their for ours, their in zip(after, theirs, strict=False)),
    )


def album_files(
    sounds: Sequence[Reading],
    orders: Sequence[Order],
    relation: AlbumRelation,
    directory: str,
    tell: Tell,
) -> Album:
    """Masters one track per order, each at the loudness that the album's relation gives it."""
    powers = []
    for number, (sound, order) in enumerate(zip(sounds, orders, strict=True)):
        tell("album", _ALBUM_SHARE * number / len(orders))
        powers.append(powers_of(sound(), order.brief.sound))
    wanted = targets(powers, relation.target_lufs, relation.loudness)
    outcomes = []
    for number, (sound, order, target) in enumerate(zip(sounds, orders, wanted, strict=True)):
        plan = replace(order.brief.plan, target_loudness_lufs=min(-5.0, max(-36.0, target)))
        aimed = replace(order, brief=replace(order.brief, plan=plan))
        first = _ALBUM_SHARE + (1.0 - _ALBUM_SHARE) * number / len(orders)
        share = _between(tell, first, (1.0 - _ALBUM_SHARE) / len(orders))
        outcomes.append(made_file(sound, aimed, f"{directory}/{number}", False, share))
    heard = [integrated_lufs(power) for power in powers]
    made = [
        powers_of(files.read(outcome.path), order.brief.made)
        for outcome, order in zip(outcomes, orders, strict=True)
    ]
    gains = [
        0.0 if level is None else target - level
        for level, target in zip(heard, wanted, strict=True)
    ]
    return Album(tuple(outcomes), album_lufs(made), tuple(gains))


def _of_the_preset(order: Order, report: MasterReport) -> list[MasterWarning]:
    """What there is to know where a preset was asked for."""
    warnings = [codec_unchecked(codec) for codec in order.unchecked]
    if order.usual is not None:
        usual, loudness = order.usual, report.after.integrated_lufs
        warnings += genre_loudness(loudness, usual.low_lufs, usual.high_lufs, usual.title)
    return warnings


def _with_its_codec(order: Order) -> Brief:
    """A lossy file is checked for its own codec before it is written."""
    brief = order.brief
    own = CodecCheck(Codec.MP3, 320)
    if not is_lossy(order.encoding) or own in brief.plan.codecs:
        return brief
    return replace(brief, plan=replace(brief.plan, codecs=(*brief.plan.codecs, own)))


def _written(mastered: Mastered, path: str, encoding: FileEncoding, brief: Brief) -> MasterReport:
    """Writes the file; of a lossy one the report tells what a reader hears."""
    report, made = mastered.report, mastered.format
    if not is_lossy(encoding):
        files.write(path, mastered.blocks(), made, encoding)
        return report
    ceiling, lowered = brief.plan.ceiling_dbtp, 0.0
    for _ in range(_LOSSY_ROUNDS):
        trim = np.float32(10.0 ** (-lowered / 20.0))
        files.write(path, (block * trim for block in mastered.blocks()), made, encoding)
        after, spectrum = _heard(path, made, brief.curve_points)
        over = after.true_peak_dbtp - ceiling
        if over <= 0.0:
            break
        lowered += over + _LOSSY_MARGIN_DB
    warnings = report.warnings
    if lowered > 0.0:
        message = f"The level is {lowered:.2f} dB lower, to stay under the ceiling in this file."
        warnings += (MasterWarning(WarningCode.CODEC_LOWERED, message, lowered, 0.0),)
    return replace(report, after=after, spectrum_after_db=spectrum, warnings=warnings)


def _heard(path: str, made: Format, curve_points: int) -> tuple[Loudness, tuple[float, ...]]:
    """The loudness and third octaves of a file as a reader hears it."""
    inspector = Inspector(made.sample_rate_hz, made.channel_count)

    def inspected() -> Iterator[Samples]:
        for block in files.read(path):
            inspector.push(block)
            yield block

    loudness = _measured(inspected(), made, curve_points)
    return loudness, inspector.read().spectrum.third_octaves_db()


def _measured(blocks: Iterable[Samples], sound: Format, curve_points: int = 0) -> Loudness:
    count = sound.channel_count
    weights = CHANNEL_WEIGHTS.get(count, (1.0,) * count)
    meter = Meter(sound.sample_rate_hz, count, weights, curve_points)
    for block in blocks:
        meter.push(block)
    meter.finish()
    return meter.read()


def _matching_db(sound: Reading, brief: Brief, report: MasterReport) -> float:
    """The gain that brings the input to the loudness of its master; none without loudness."""
    before, after = report.before.integrated_lufs, report.after.integrated_lufs
    if brief.preview_start_frame or brief.preview_frame_count:
        before = _measured(_previewed(sound(), brief), brief.sound).integrated_lufs
    return 0.0 if before is None or after is None else after - before


def _previewed(blocks: Iterable[Samples], brief: Brief) -> Iterator[Samples]:
    """The frames of the preview, of all the input."""
    first, left = brief.preview_start_frame, brief.preview_frame_count or brief.frame_count
    for block in blocks:
        part = block[min(first, len(block)) :][:left]
        first, left = max(0, first - len(block)), left - len(part)
        if len(part):
            yield part
        if left <= 0:
            return


def _part(tell: Tell, number: int, count: int) -> Tell:
    return _between(tell, number / count, 1.0 / count)


def _between(tell: Tell, first: float, length: float) -> Tell:
    def told(stage: str, share: float) -> None:
        tell(stage, first + share * length)

    return told
