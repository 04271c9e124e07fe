"""Genius: words without times. Its API names songs; the words stand on their pages."""

from collections.abc import Mapping
from html.parser import HTMLParser
from typing import Any

from chorale_analysis.lyrics.asking import Failed, NotFound, Web
from chorale_analysis.lyrics.words import Wish, Words, fits, plain

NAME = "genius"
NOTICE = (
    "The words belong to those who wrote them. Found at Genius (genius.com), licensed to it for"
    " its own site; showing them elsewhere may need a licence."
)
_HITS_MAX = 10


class Genius:
    """Asks Genius."""

    name = NAME
    needs_key = True

    def __init__(self, url: str, pages_url: str) -> None:
        self._url, self._pages_url = url.rstrip("/"), pages_url.rstrip("/")

    def find(self, web: Web, wish: Wish, key: str) -> Words:
        """The words; raises what `Web` raises, and `NotFound`."""
        if wish.synchronized_only:
            raise NotFound("it has no lines with times")
        signed = {"Authorization": f"Bearer {key}"}
        answer = web.json(f"{self._url}/search", {"q": wish.searched_for}, signed)
        hit = next((one for one in _hits(answer) if _fits(wish, one)), None)
        if hit is None:
            raise NotFound("no song of this name")
        answer = web.json(f"{self._url}/songs/{_number(hit)}", {"text_format": "plain"}, signed)
        song = _within(answer, "response", "song")
        path = _text(song, "path") or _text(hit, "path")
        # Pages are asked for where they are known to be, never where an answer says they are; and
        # without the key, which they have no need of.
        if not path.startswith("/") or path.startswith("//"):
            raise Failed("its song has no page")
        lines = plain(_lyrics_of(web.text(self._pages_url + path)))
        if not lines and song.get("lyrics_state") != "complete":
            raise NotFound("the song is there without words")
        return Words(
            provider=NAME,
            provider_id=f"{_number(hit)}",
            title=_text(song, "title")[:200] or _text(hit, "title")[:200],
            artist=_artist(song) or _artist(hit),
            album=_text(_mapping(song.get("album")), "name")[:200],
            release_date=_text(song, "release_date")[:10],
            url=(self._pages_url + path)[:1000],
            thumbnail_url=_text(song, "song_art_image_thumbnail_url")[:1000],
            lines=lines,
            is_instrumental=song.get("instrumental") is True,
            copyright_notice=NOTICE,
        )


def _hits(answer: Any) -> list[Mapping[str, Any]]:
    hits = _within(answer, "response").get("hits")
    if not isinstance(hits, list):
        raise Failed("its answer has no hits")
    songs = [_mapping(one) for one in hits[:_HITS_MAX]]
    results = [_mapping(one.get("result")) for one in songs if one.get("type", "song") == "song"]
    return [one for one in results if isinstance(one.get("id"), int)]


def _fits(wish: Wish, hit: Mapping[str, Any]) -> bool:
    return fits(wish, _text(hit, "title"), _artist(hit))


def _number(hit: Mapping[str, Any]) -> int:
    return int(hit["id"])


def _artist(song: Mapping[str, Any]) -> str:
    names = _text(song, "artist_names") or _text(_mapping(song.get("primary_artist")), "name")
    return names[:200]


def _within(answer: Any, *names: str) -> Mapping[str, Any]:
    """What lies within an answer; raises `Failed` where it does not."""
    for name in names:
        answer = answer.get(name) if isinstance(answer, Mapping) else None
    if not isinstance(answer, Mapping):
        raise Failed(f"its answer has no {'.'.join(names)}")
    return answer


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(record: Mapping[str, Any], name: str) -> str:
    value = record.get(name)
    return value if isinstance(value, str) else ""


class _Containers(HTMLParser):
    """Gathers the text of `<div data-lyrics-container="true">`, of which a page has several."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._depth, self._left_out, self.parts = 0, 0, list[str]()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Goes in, counts, and ends lines."""
        given = dict(attrs)
        if tag == "br" and self._depth and not self._left_out:
            self.parts.append("\n")
        elif tag == "div":
            if self._depth:
                self._depth += 1
                if self._left_out or given.get("data-exclude-from-selection") == "true":
                    self._left_out += 1
            elif given.get("data-lyrics-container") == "true":
                self._depth = 1
                if self.parts:
                    self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        """Goes out."""
        if tag == "div" and self._depth:
            self._depth -= 1
            self._left_out = max(0, self._left_out - 1)

    def handle_data(self, data: str) -> None:
        """Keeps what is inside."""
        if self._depth and not self._left_out:
            self.parts.append(data.replace("\n", " "))


def _lyrics_of(page: str) -> str:
    reader = _Containers()
    reader.feed(page)
    return "".join(reader.parts)
