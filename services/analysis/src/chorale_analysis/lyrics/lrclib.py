"""LRCLIB: words with times, free of charge and without a key."""

from collections.abc import Mapping
from typing import Any

from chorale_analysis.lyrics.asking import Failed, NotFound, Web
from chorale_analysis.lyrics.words import Wish, Words, alike, fits, plain, synchronized

NAME = "lrclib"
NOTICE = (
    "The words belong to those who wrote them. Found at LRCLIB (lrclib.net), which collects what"
    " its users send; showing them may need a licence."
)
_SAME_SECONDS = 3.0  # recordings whose length is nearer are the same


class Lrclib:
    """Asks LRCLIB."""

    name = NAME
    needs_key = False

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")

    def find(self, web: Web, wish: Wish, _key: str) -> Words:
        """The words, those with times first; raises what `Web` raises, and `NotFound`."""
        for look in (self._exact, self._searched):
            for record in look(web, wish):
                words = _words(record, wish)
                if words is not None:
                    return words
        raise NotFound("no song of this name with words")

    def _exact(self, web: Web, wish: Wish) -> list[Mapping[str, Any]]:
        """The one recording that is meant, when enough is known of it."""
        if not (wish.title and wish.artist and wish.duration_seconds):
            return []
        fields = {"track_name": wish.title, "artist_name": wish.artist, "album_name": wish.album}
        fields["duration"] = f"{round(wish.duration_seconds)}"
        try:
            record = web.json(f"{self._url}/api/get", fields)
        except NotFound:
            return []
        has_times = isinstance(record, Mapping) and record.get("syncedLyrics")
        return [record] if has_times and _fits(wish, record) else []

    def _searched(self, web: Web, wish: Wish) -> list[Mapping[str, Any]]:
        """All that fit: with times first, then nearest in length, then most alike."""
        fields = {"q": wish.query}
        if wish.title:
            fields = {"track_name": wish.title}
            fields |= {"artist_name": wish.artist} if wish.artist else {}
            fields |= {"album_name": wish.album} if wish.album else {}
        try:
            found = web.json(f"{self._url}/api/search", fields)
        except NotFound:
            return []
        if not isinstance(found, list):
            raise Failed("its answer is no list")
        records = [one for one in found if isinstance(one, Mapping) and _fits(wish, one)]
        return sorted(records, key=lambda one: _order(one, wish))


def _fits(wish: Wish, record: Mapping[str, Any]) -> bool:
    return fits(wish, _text(record, "trackName"), _text(record, "artistName"))


def _order(record: Mapping[str, Any], wish: Wish) -> tuple[bool, float, float]:
    away = abs(_seconds(record) - wish.duration_seconds) if wish.duration_seconds else 0.0
    unlike = 2.0 - alike(wish.title, _text(record, "trackName"))
    unlike -= alike(wish.artist, _text(record, "artistName"))
    return not record.get("syncedLyrics"), max(0.0, away - _SAME_SECONDS), unlike


def _words(record: Mapping[str, Any], wish: Wish) -> Words | None:
    """A record as words; None when it has none that are wanted."""
    duration = _seconds(record)
    timed = synchronized(_text(record, "syncedLyrics"), duration)
    lines = timed or plain(_text(record, "plainLyrics"))
    instrumental = record.get("instrumental") is True
    if (wish.synchronized_only and not timed) or not (lines or instrumental):
        return None
    return Words(
        provider=NAME,
        provider_id=str(record.get("id", ""))[:64],
        title=_text(record, "trackName")[:200],
        artist=_text(record, "artistName")[:200],
        album=_text(record, "albumName")[:200],
        lines=lines,
        is_synchronized=bool(timed),
        is_instrumental=instrumental,
        duration_seconds=duration,
        copyright_notice=NOTICE,
    )


def _text(record: Mapping[str, Any], name: str) -> str:
    value = record.get(name)
    return value if isinstance(value, str) else ""


def _seconds(record: Mapping[str, Any]) -> float:
    value = record.get("duration")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    return float(value) if 0 <= value < 1e6 else 0.0
