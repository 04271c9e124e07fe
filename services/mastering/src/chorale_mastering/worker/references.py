"""References and inspections, heard in a process of the pool."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from chorale_audio.source import Source

from chorale_mastering.worker.masters import MADE_SHARE

if TYPE_CHECKING:
    from chorale_mastering.brief import Format
    from chorale_mastering.following import MatchSettings
    from chorale_mastering.orders import Album, AlbumRelation, Heard, Matched, Order

Progress = Callable[[str, float], None]

_LISTENING_SHARE = 0.15


def hear(source: Source, curve_points: int, *, progress: Progress) -> "Heard":
    """Inspects a source, as itself and as a reference."""
    from chorale_mastering.hearing import heard

    progress("reading", 0.0)
    share = _share(progress, "inspecting", 0.0, 1.0)
    return heard(source.blocks(), _sound(source), source.frame_count, curve_points, share)


def match(
    source: Source,
    reference: Source | bytes,
    settings: "MatchSettings",
    orders: "Sequence[Order]",
    directory: str,
    *,
    progress: Progress,
) -> "Matched":
    """Masters the source towards a reference: other named audio, or what was kept of it."""
    from chorale_mastering.hearing import listened
    from chorale_mastering.making import matched_files
    from chorale_mastering.reference_pack import unpacked

    progress("reading", 0.0)
    if isinstance(reference, bytes):
        facts = unpacked(reference)
    else:
        share = _share(progress, "reference", 0.0, _LISTENING_SHARE)
        facts = listened(
            reference.blocks(), _sound(reference), reference.frame_count, settings, share
        )

    def tell(stage: str, share: float) -> None:
        first = _LISTENING_SHARE
        progress(stage, first + share * (MADE_SHARE - first))

    return matched_files(source.blocks, orders, directory, facts, settings, tell)


def master_album(
    sources: Sequence[Source],
    orders: "Sequence[Order]",
    relation: "AlbumRelation",
    directory: str,
    *,
    progress: Progress,
) -> "Album":
    """Masters every track at the loudness that the relation gives it."""
    from chorale_mastering.making import album_files

    progress("reading", 0.0)

    def tell(stage: str, share: float) -> None:
        progress(stage, share * MADE_SHARE)

    sounds = [source.blocks for source in sources]
    return album_files(sounds, orders, relation, directory, tell)


def _sound(source: Source) -> "Format":
    from chorale_mastering.brief import Format

    return Format(source.sample_rate_hz, source.channel_count)


def _share(progress: Progress, stage: str, first: float, last: float) -> Callable[[float], None]:
    return lambda share: progress(stage, first + (last - first) * share)
