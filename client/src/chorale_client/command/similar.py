"""`chorale similar`."""

import click

from chorale_client.command.session import Session, subcommand

_COLUMNS = ("pattern", "song", "title", "section", "bpm", "key", "genre", "likeness")


@subcommand("similar")
@click.argument("pattern")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 200))
@click.option(
    "--least", default=0.7, show_default=True, type=click.FloatRange(0, 1), help="Least likeness."
)
@click.option("--bpm", "bpm_range", type=(float, float), help="Slowest and fastest tempo.")
@click.option("--genre", "genres", multiple=True, help="One of these. May be repeated.")
@click.option("--key", "keys", multiple=True, help="One of these. May be repeated.")
@click.option("--own", is_flag=True, help="Only among your own patterns.")
@click.option("--other-songs", is_flag=True, help="Not among those of its own song.")
def command(
    session: Session,
    pattern: str,
    limit: int,
    least: float,
    bpm_range: tuple[float, float] | None,
    genres: tuple[str, ...],
    keys: tuple[str, ...],
    own: bool,
    other_songs: bool,
) -> None:
    """Find patterns like PATTERN (patterns/{uuid}), likest first."""
    from chorale.audio.v1 import audio_pb2
    from chorale.fingerprint.v1 import similar_pb2

    slowest, fastest = bpm_range or (0.0, 0.0)
    request = similar_pb2.SearchSimilarRequest(
        pattern=pattern if pattern.startswith("patterns/") else f"patterns/{pattern}",
        limit=limit,
        min_similarity=least,
        filter=similar_pb2.SimilarFilter(
            bpm_min=slowest,
            bpm_max=fastest,
            genres=genres,
            keys=keys,
            own_only=own,
            other_songs_only=other_songs,
        ),
    )
    with session.chorale() as chorale:
        answer = chorale.fingerprint.SearchSimilar(request)
    if session.as_json:
        session.say(answer)
        return
    found = [(song, one) for song in answer.songs for one in song.patterns]
    rows = [
        (
            one.pattern.name,
            song.song,
            song.title,
            audio_pb2.SectionLabel.Name(one.pattern.section).rpartition("_")[2].lower(),
            f"{one.pattern.bpm:g}",
            one.pattern.key,
            one.pattern.genre,
            f"{one.similarity:.3f}",
        )
        for song, one in sorted(found, key=lambda pair: -pair[1].similarity)
    ]
    session.table(_COLUMNS, rows)
