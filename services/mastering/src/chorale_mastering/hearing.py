"""Hearing a programme without changing it: as itself, and as a reference for others."""

from collections.abc import Callable, Iterable

from chorale_mastering.block import Samples
from chorale_mastering.brief import Format
from chorale_mastering.cautions import compression_level, of_input
from chorale_mastering.following import MatchSettings, ReferenceFacts
from chorale_mastering.inspecting import Inspector, Rules
from chorale_mastering.matching import suitability
from chorale_mastering.meter import Meter
from chorale_mastering.orders import Heard
from chorale_mastering.reference_pack import packed
from chorale_mastering.weighting import CHANNEL_WEIGHTS

Share = Callable[[float], None]


def heard(
    blocks: Iterable[Samples], sound: Format, frame_count: int, curve_points: int, share: Share
) -> Heard:
    """All that is to be told of a programme."""
    found = _facts(blocks, sound, frame_count, curve_points, Rules(), share)
    facts, spectrum = found.facts, found.facts.spectrum
    return Heard(
        loudness=found.loudness,
        centroid_hz=spectrum.centroid_hz,
        bandwidth_hz=spectrum.bandwidth_hz,
        rolloff_hz=spectrum.rolloff_hz(),
        lowpass_hz=spectrum.lowpass_hz(),
        rms_dbfs=max(facts.rms_dbfs, -200.0),
        zero_crossing_rate=facts.zero_crossing_rate,
        crest_factor_db=facts.crest_factor_db,
        third_octaves_db=spectrum.third_octaves_db(),
        compression=compression_level(facts),
        warnings=tuple(of_input(found.loudness, facts)),
        reference_warnings=suitability(found),
        packed=packed(found),
    )


def listened(
    blocks: Iterable[Samples],
    sound: Format,
    frame_count: int,
    settings: MatchSettings,
    share: Share,
) -> ReferenceFacts:
    """A reference, heard by the rules that its follower sets."""
    rules = Rules(settings.piece_seconds, settings.clip_threshold, settings.epsilon)
    return _facts(blocks, sound, frame_count, 0, rules, share)


def _facts(
    blocks: Iterable[Samples],
    sound: Format,
    frame_count: int,
    curve_points: int,
    rules: Rules,
    share: Share,
) -> ReferenceFacts:
    count = sound.channel_count
    weights = CHANNEL_WEIGHTS.get(count, (1.0,) * count)
    meter = Meter(sound.sample_rate_hz, count, weights, curve_points)
    inspector = Inspector(sound.sample_rate_hz, count, rules)
    for block in blocks:
        meter.push(block)
        inspector.push(block)
        share(meter.frame_count / frame_count)
    meter.finish()
    return ReferenceFacts(meter.read(), inspector.read())
