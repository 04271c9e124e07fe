"""FindLyrics against a local server that speaks the providers' JSON."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlparse

import grpc
import pytest
import pytest_asyncio
from analysis_calls import refused
from chorale.analysis.v1 import analysis_service_pb2_grpc, lyrics_pb2
from chorale_analysis.app import build
from chorale_analysis.lyrics.asking import Breaker
from chorale_analysis.lyrics.words import Wish, fits, synchronized
from chorale_analysis.servicer.lyrics_calls import LyricsDesk
from chorale_analysis.settings import Settings
from chorale_runtime.server import running
from chorale_runtime.settings import SettingsRefused
from standing_ingest import Ingest

_KEY = "secret-token"
_PAGE = """<html><body><div class="x">Menu</div>
<div data-lyrics-container="true">[Verse]<br/>Hello <i>you</i> &amp; me<br>
<div data-exclude-from-selection="true">You might also like</div>again</div>
<div data-lyrics-container="true">The end</div></body></html>"""


def _record(number: int, title: str, artist: str, **more: Any) -> dict[str, Any]:
    return {
        "id": number, "trackName": title, "artistName": artist, "albumName": "Record",
        "duration": 200, "instrumental": False, "plainLyrics": "One\nTwo", "syncedLyrics": None,
        **more,
    }  # fmt: skip


_SYNCED = "[ar:Band]\n[00:01.50] First\n[00:04.00][00:08.25] Again\n[00:06] <00:06.00>Third"
_SONGS = [
    _record(1, "Song (Live)", "Band", syncedLyrics=_SYNCED),
    _record(2, "Song", "Band"),
    _record(3, "Song", "Band", syncedLyrics=_SYNCED, duration=240),
    _record(4, "Song", "Band", syncedLyrics=_SYNCED, duration=201),
    _record(5, "Other", "Somebody", syncedLyrics=_SYNCED),
    _record(6, "Quiet", "Band", instrumental=True, plainLyrics=None),
]


class _Providers(BaseHTTPRequestHandler):
    """LRCLIB, Genius's API and Genius's pages, as they answer."""

    asked: list[str] = []
    state = {"lrclib": 200, "genius": 200, "wait": 0.0}

    def do_GET(self) -> None:
        """Answers one request."""
        url, state = urlparse(self.path), type(self).state
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        type(self).asked.append(url.path)
        time.sleep(float(state["wait"]))
        if url.path.startswith("/api/"):
            self._lrclib(url.path, query, int(state["lrclib"]))
        elif url.path == "/Band-nowhere-lyrics":
            assert "Authorization" not in self.headers
            self._answer(200, _PAGE.encode())
        elif self.headers.get("Authorization") != f"Bearer {_KEY}":
            self._json(401, {"error": "invalid_token"})
        else:
            self._genius(url.path, int(state["genius"]))

    def _lrclib(self, path: str, query: dict[str, str], status: int) -> None:
        if status != 200:
            self._json(status, {"message": "down"})
            return
        named = query.get("track_name", query.get("q", "")).casefold()
        found = [s for s in _SONGS if s["trackName"].casefold().startswith(named)]
        if path == "/api/search":
            self._json(200, found)
            return
        wanted = [s for s in found if abs(s["duration"] - int(query["duration"])) <= 2]
        missing = {"code": 404, "name": "TrackNotFound"}
        self._json(200 if wanted else 404, wanted[-1] if wanted else missing)

    def _genius(self, path: str, status: int) -> None:
        song = {
            "id": 77, "title": "Nowhere", "artist_names": "Band", "path": "/Band-nowhere-lyrics",
            "album": {"name": "Record"}, "release_date": "2001-02-03", "lyrics_state": "complete",
        }  # fmt: skip
        body = {"song": song} if path.startswith("/songs/") else {
            "hits": [{"type": "song", "result": {**song, "title": "Nowhere (Remix)", "id": 76}},
                     {"type": "song", "result": song}],
        }  # fmt: skip
        self._json(status, {"meta": {"status": status}, "response": body})

    def _json(self, status: int, value: Any) -> None:
        self._answer(status, json.dumps(value).encode())

    def _answer(self, status: int, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def providers() -> Iterator[str]:
    """Where the providers are."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Providers) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(autouse=True)
def _well() -> None:
    _Providers.state.update(lrclib=200, genius=200, wait=0.0)
    _Providers.asked.clear()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def desk(ingest: Ingest, providers: str) -> AsyncIterator[Any]:
    """A service that asks both providers."""
    settings = Settings(
        processes=1, live_processes=1, lyrics_providers="lrclib,genius", lrclib_url=providers,
        genius_url=providers, genius_pages_url=providers, genius_key=_KEY,
        lyrics_timeout_seconds=0.5, **ingest.settings(),
    )  # fmt: skip
    async with (
        running(settings, build) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        yield analysis_service_pb2_grpc.AnalysisServiceStub(channel)


def _request(**fields: Any) -> lyrics_pb2.FindLyricsRequest:
    return lyrics_pb2.FindLyricsRequest(**fields)


def _tried(answer: Any) -> list[tuple[str, str]]:
    return [(one.provider, one.outcome) for one in answer.providers_tried]


pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_lines_with_times_come_first(desk: Any) -> None:
    """Of many recordings the one with times and nearest in length is told, and whose it is."""
    request = _request(title="Song", artist="band", duration_seconds=206)
    answer = await desk.FindLyrics(request)
    assert answer.found
    assert answer.lyrics.provider_id == "4"
    assert answer.lyrics.is_synchronized
    assert [(line.text, line.start_seconds) for line in answer.lyrics.lines] == [
        ("First", 1.5), ("Again", 4.0), ("Third", 6.0), ("Again", 8.25),
    ]  # fmt: skip
    assert answer.lyrics.lines[0].end_seconds == 4.0
    assert "belong" in answer.lyrics.copyright_notice
    assert _tried(answer) == [("lrclib", "found")]
    assert answer.provenance.engine_used == "lrclib"
    assert answer.searched_for == "band Song"


async def test_the_next_provider_is_asked(desk: Any) -> None:
    """What LRCLIB has not, Genius has; its key goes to its API and never to its pages."""
    answer = await desk.FindLyrics(_request(title="Nowhere", artist="Band"))
    assert _tried(answer) == [("lrclib", "not_found"), ("genius", "found")]
    assert answer.lyrics.text == "[Verse]\nHello you & me\nagain\nThe end"
    assert (answer.lyrics.album, answer.lyrics.release_date) == ("Record", "2001-02-03")
    assert not answer.lyrics.is_synchronized
    assert _KEY not in str(answer)


async def test_providers_are_asked_in_the_order_that_is_set() -> None:
    """Those set up in their order, the preferred one before them; an unknown one is refused."""
    desk = LyricsDesk(Settings(lyrics_providers="genius, lrclib"))
    assert desk.order("", False) == ["genius", "lrclib"]
    assert desk.order("lrclib", False) == ["lrclib", "genius"]
    assert desk.order("lrclib", True) == ["lrclib"]
    with pytest.raises(SettingsRefused, match="lrc-lib"):
        Settings(lyrics_providers="lrc-lib")


async def test_not_finding_is_an_answer(desk: Any) -> None:
    """Neither has a song with times of this name: nothing is made up, and both are named."""
    request = _request(title="Nowhere", artist="Band", synchronized_only=True)
    answer = await desk.FindLyrics(request)
    assert not answer.found
    assert not answer.HasField("lyrics")
    assert _tried(answer) == [("lrclib", "not_found"), ("genius", "not_found")]


async def test_an_instrumental_has_no_words(desk: Any) -> None:
    """It is found, and says so."""
    answer = await desk.FindLyrics(_request(query="quiet"))
    assert answer.found
    assert answer.lyrics.is_instrumental
    assert not answer.lyrics.lines


async def test_a_provider_that_is_slow_is_not_waited_for(desk: Any) -> None:
    """After its time the next is asked; when none is left, that is the error."""
    _Providers.state["wait"] = 0.7
    started = time.monotonic()
    request = _request(title="Song", preferred_provider="lrclib", only_preferred=True)
    code, info = await refused(desk.FindLyrics(request))
    assert (code, info.reason) == ("DEADLINE_EXCEEDED", "PROVIDER_TIMEOUT")
    assert time.monotonic() - started < 3.0


async def test_a_wrong_key_is_told_and_never_shown(desk: Any) -> None:
    """A caller's own key goes before the mesh's, and what refuses it is no failure to retry."""
    request = _request(
        title="Song", preferred_provider="genius", only_preferred=True, provider_key="wrong-key"
    )
    code, info = await refused(desk.FindLyrics(request))
    assert (code, info.reason) == ("FAILED_PRECONDITION", "PROVIDER_REFUSED")
    assert "wrong-key" not in str(info)


async def test_a_provider_that_fails_is_left_alone(desk: Any) -> None:
    """After five failures in a row it is not asked any more, and the other still is."""
    _Providers.state["genius"] = 503
    request = _request(title="Song", preferred_provider="genius", only_preferred=True)
    for _ in range(5):
        _, info = await refused(desk.FindLyrics(request))
        assert info.reason == "PROVIDER_UNAVAILABLE"
    asked = len(_Providers.asked)
    _, info = await refused(desk.FindLyrics(request))
    assert info.metadata["state"] == "circuit_open"
    assert len(_Providers.asked) == asked
    answer = await desk.FindLyrics(_request(title="Song", preferred_provider="genius"))
    assert _tried(answer) == [("genius", "circuit_open"), ("lrclib", "found")]


async def test_nobody_is_asked_unless_configured(analysis: Any) -> None:
    """A service without providers says how to set one up, and an unknown one is not there."""
    for name in ("", "lrclib", "genius", "nobody"):
        request = _request(title="Song", preferred_provider=name)
        _, info = await refused(analysis.FindLyrics(request))
        assert info.reason == "PROVIDER_NOT_CONFIGURED"
        assert info.metadata["remedy"]
    assert not _Providers.asked


async def test_a_breaker_lets_one_try_after_a_while() -> None:
    """Open after two failures, it lets one through when its time is over, and closes on success."""
    breaker = Breaker(failures_max=2, open_seconds=0.05)
    breaker.note(False)
    assert breaker.wait_seconds() == 0.0
    breaker.note(False)
    assert breaker.wait_seconds() > 0.0
    await asyncio.sleep(0.06)
    assert breaker.wait_seconds() == 0.0
    assert breaker.wait_seconds() > 0.0
    breaker.note(True)
    assert breaker.wait_seconds() == 0.0


@pytest.mark.parametrize(
    ("title", "artist", "is_one"),
    [("Song", "Band", True), ("SONG (Remastered)", "the band", True),
     ("Song - Live", "Band", False), ("Something", "Band", False), ("Song", "Others", False)],
)  # fmt: skip
async def test_names_are_likened_loosely(title: str, artist: str, is_one: bool) -> None:
    """Case, brackets and more words do not matter; another song, singer or a live take does."""
    assert fits(Wish(artist="Band" if artist != "the band" else "The Band", title="Song"),
                title, artist) == is_one  # fmt: skip


async def test_times_that_are_none_are_left_out() -> None:
    """What is no LRC has no lines; the last line ends with the song where that is known."""
    assert synchronized("no times at all", 10.0) == ()
    assert synchronized("[00:02.0] a", 9.0)[0].end_seconds == 9.0
    assert synchronized("[00:02.0] a", 0.0)[0].end_seconds == -1.0
