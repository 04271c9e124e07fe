"""Words between messages and values."""

from chorale.analysis.v1 import lyrics_pb2

from chorale_analysis.lyrics.words import EXCLUDED_DEFAULT, Wish, Words


def wish(request: lyrics_pb2.FindLyricsRequest) -> Wish:
    """What is wanted, defaults filled in."""
    by_query = bool(request.query)
    return Wish(
        artist="" if by_query else request.artist.strip(),
        title="" if by_query else request.title.strip(),
        query=request.query.strip(),
        album="" if by_query else request.album.strip(),
        duration_seconds=request.duration_seconds,
        exclude_terms=tuple(request.exclude_terms) or EXCLUDED_DEFAULT,
        synchronized_only=request.synchronized_only,
    )


def lyrics(value: Words) -> lyrics_pb2.Lyrics:
    """The words found."""
    message = lyrics_pb2.Lyrics(
        text=value.text,
        is_synchronized=value.is_synchronized,
        is_instrumental=value.is_instrumental,
        title=value.title,
        artist=value.artist,
        album=value.album,
        release_date=value.release_date,
        provider=value.provider,
        provider_id=value.provider_id,
        url=value.url,
        thumbnail_url=value.thumbnail_url,
        copyright_notice=value.copyright_notice,
        duration_seconds=value.duration_seconds,
    )
    for line in value.lines:
        message.lines.add(
            text=line.text,
            start_seconds=line.start_seconds,
            end_seconds=line.end_seconds,
            start_frame=-1,
        )
    return message
