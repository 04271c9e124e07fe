"""AcoustID over the wire, against a local server that speaks its JSON."""

import asyncio
import gzip
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import pytest
from chorale_fingerprint.servicer.acoust_id import (
    AcoustId,
    Breaker,
    ProviderNotConfigured,
    ProviderRefused,
    ProviderTimeout,
    ProviderUnavailable,
)

FOUND = {
    "status": "ok",
    "results": [
        {"id": "less-alike", "score": 0.4},
        {
            "id": "9ff43b6a",
            "score": 0.97,
            "recordings": [
                {
                    "id": "cd2e7c47-16f5-46c6-a37c-a1eb7bf599ff",
                    "title": "Song",
                    "artists": [{"name": "Ada", "joinphrase": " & "}, {"name": "Eve"}],
                }
            ],
        },
    ],
}


@dataclass
class Server:
    """A local AcoustID: what it answers, and what it was asked."""

    url: str = ""
    answer: Any = field(default_factory=lambda: FOUND)
    status: int = 200
    delay_seconds: float = 0.0
    asked: list[dict[str, list[str]]] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    """It, on a real socket."""
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            state.asked.append(parse_qs(body.decode()))
            time.sleep(state.delay_seconds)
            told = json.dumps(state.answer).encode()
            self.send_response(state.status)
            self.send_header("Content-Length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{http.server_address[1]}/v2"
    threading.Thread(target=http.serve_forever, daemon=True).start()
    yield state
    http.shutdown()
    http.server_close()


@pytest.fixture
def ask(server: Server) -> Callable[..., AcoustId]:
    """A client of it."""
    return lambda key="k", **said: AcoustId(key, server.url, said.pop("timeout", 5.0), **said)


async def test_what_is_known_is_told_best_first(
    server: Server, ask: Callable[..., AcoustId]
) -> None:
    """Scores, names and MusicBrainz recordings come over; the key and the fingerprint went."""
    best, other = await ask().known("AQAA", 213.7, "")
    assert (best.acoust_id, best.score) == ("9ff43b6a", 0.97)
    assert best.musicbrainz_ids == ("cd2e7c47-16f5-46c6-a37c-a1eb7bf599ff",)
    assert (best.title, best.artist) == ("Song", "Ada & Eve")
    assert (other.acoust_id, other.title) == ("less-alike", "")
    (asked,) = server.asked
    assert (asked["client"], asked["fingerprint"], asked["duration"]) == (["k"], ["AQAA"], ["213"])


async def test_a_key_of_the_callers_own_is_used(
    server: Server, ask: Callable[..., AcoustId]
) -> None:
    """It goes before the mesh's, and does where there is none."""
    await ask(key="").known("AQAA", 10.0, "theirs")
    assert server.asked[0]["client"] == ["theirs"]


async def test_without_a_key_nobody_is_asked(server: Server, ask: Callable[..., AcoustId]) -> None:
    """Off unless configured."""
    with pytest.raises(ProviderNotConfigured):
        await ask(key="").known("AQAA", 10.0, "")
    assert server.asked == []


@pytest.mark.parametrize(
    ("answer", "status", "error"),
    [
        ({"status": "error", "error": {"code": 4, "message": "bad key"}}, 400, ProviderRefused),
        (
            {"status": "error", "error": {"code": 5, "message": "internal"}},
            500,
            ProviderUnavailable,
        ),
        (
            {"status": "error", "error": {"code": 14, "message": "slow down"}},
            429,
            ProviderUnavailable,
        ),
        ({"status": "ok"}, 200, ProviderUnavailable),
        (["nothing"], 200, ProviderUnavailable),
        ({"status": "error", "error": "?"}, 200, ProviderUnavailable),
    ],
)
async def test_every_failure_has_its_name(
    server: Server, ask: Callable[..., AcoustId], answer: Any, status: int, error: type[Exception]
) -> None:
    """Refusals are told apart from trouble, and odd answers are trouble."""
    server.answer, server.status = answer, status
    with pytest.raises(error) as caught:
        await ask(key="secret").known("AQAA", 10.0, "")
    assert "secret" not in str(caught.value)


async def test_slowness_is_a_timeout(server: Server, ask: Callable[..., AcoustId]) -> None:
    """An answer that takes too long is not waited for."""
    server.delay_seconds = 1.0
    with pytest.raises(ProviderTimeout):
        await ask(timeout=0.2).known("AQAA", 10.0, "")


async def test_nobody_home_is_unavailable() -> None:
    """A refused connection is trouble, and says nothing of what was sent."""
    with pytest.raises(ProviderUnavailable) as caught:
        await AcoustId("secret", "http://127.0.0.1:1/", 2.0).known("AQAA", 10.0, "")
    assert "secret" not in str(caught.value)


async def test_the_circuit_opens_and_closes(server: Server, ask: Callable[..., AcoustId]) -> None:
    """After failures nobody is asked for a while; then one tries, and all may again."""
    client = ask(breaker=Breaker(failures_max=2, seconds=0.3))
    server.answer = {"status": "error", "error": {"code": 5, "message": "internal"}}
    for _ in range(4):
        with pytest.raises(ProviderUnavailable):
            await client.known("AQAA", 10.0, "")
    assert len(server.asked) == 2
    server.answer = FOUND
    await asyncio.sleep(0.35)
    for _ in range(2):
        assert await client.known("AQAA", 10.0, "")
    assert len(server.asked) == 4


async def test_refusals_leave_the_circuit_closed(
    server: Server, ask: Callable[..., AcoustId]
) -> None:
    """Wrong keys of some callers cut nobody off."""
    client = ask(breaker=Breaker(failures_max=2, seconds=30.0))
    server.answer = {"status": "error", "error": {"code": 4, "message": "bad key"}}
    for _ in range(4):
        with pytest.raises(ProviderRefused):
            await client.known("AQAA", 10.0, "")
    assert len(server.asked) == 4
