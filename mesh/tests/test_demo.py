"""The demonstration: a song of its own, its way through the mesh, one page."""

import functools
import io
import json
import re
import wave
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chorale_client import (
    AsyncChorale,
    MeshNotFoundError,
    NotServedError,
    PreconditionError,
)
from chorale_mesh.demo import drawing, page
from chorale_mesh.demo.journey import Chapter, Finding, Journey, Section, travel
from chorale_mesh.demo.song import compose, quantized

_VOID = {"meta", "br", "hr", "img", "link", "input", "path", "rect", "polyline"}
# HTML lets these end by themselves.
_OPTIONAL = {"td", "th", "tr", "p", "li"}


composed = functools.cache(compose)  # for tests that ask no more than any song of a seed


class Balanced(HTMLParser):
    """Reads HTML and keeps what it refers to and what was left open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.references: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Notes an element and what it would load."""
        self.references += [text or "" for name, text in attrs if name in ("src", "href")]
        if tag not in _VOID | _OPTIONAL:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Passes over an element without content."""

    def handle_endtag(self, tag: str) -> None:
        """Notes the end of one."""
        if tag not in _OPTIONAL:
            assert self.open, f"</{tag}> ends nothing"
            assert self.open.pop() == tag


def test_a_seed_is_a_song() -> None:
    """The same seed gives the same song to the last bit; another seed gives another."""
    assert compose(7).wav() == compose(7).wav()
    assert compose(7).wav() != compose(8).wav()


@pytest.mark.parametrize("seed", [0, 1, 7, 12345])
def test_a_song_is_sound_as_music_should_be(seed: int) -> None:
    """About fifteen seconds of stereo that never clips, is not silent, and begins on a beat."""
    song = composed(seed)
    assert 13 <= song.duration_seconds <= 20
    assert song.signal.shape == (round(song.duration_seconds * song.rate_hz), 2)
    assert 0.3 < float(np.max(np.abs(song.signal))) < 0.9
    assert np.isfinite(song.signal).all()
    assert float(np.sqrt(np.mean(song.signal**2))) > 0.03
    assert len(song.chords) == 8
    first = song.signal[: song.rate_hz // 20]
    assert float(np.max(np.abs(first))) > 0.1


def test_the_file_holds_the_song() -> None:
    """The WAV file has the samples that are compared later."""
    song = composed(1)
    with wave.open(io.BytesIO(song.wav())) as reader:
        assert (reader.getnchannels(), reader.getframerate()) == (2, song.rate_hz)
        samples = np.frombuffer(reader.readframes(reader.getnframes()), "<i2").reshape(-1, 2)
    assert np.array_equal(samples, quantized(song.signal))


async def test_what_cannot_be_told_is_told_plainly() -> None:
    """A call not served, a service not set up, a failure: each a chapter that says so."""

    async def fine(journey: Journey) -> Finding:
        return Finding([("a", "b")], headline="well")

    def failing(error: Exception) -> Callable[[Journey], Any]:
        async def tell(journey: Journey) -> Finding:
            raise error

        return tell

    sections = [
        Section("Fine", "ingest", fine),
        Section("Later", "analysis", failing(NotServedError("no", reason="NOT_SERVED"))),
        Section("Away", "generation", failing(MeshNotFoundError("no", reason="MESH_NOT_FOUND"))),
        Section("Sick", "mastering", failing(PreconditionError("No.", reason="WEIGHTS_MISSING"))),
    ]
    told: list[str] = []
    async with AsyncChorale(addresses={"ingest": "127.0.0.1:1"}) as chorale:
        journey = Journey(chorale, composed(0), lambda title, fraction: told.append(title))
        chapters = await travel(journey, sections)
    assert [chapter.headline for chapter in chapters] == [
        "well",
        "not served by this build yet",
        "generation is not set up here",
        "failed: No. (WEIGHTS_MISSING)",
    ]
    assert len({chapter.trace for chapter in chapters}) == 4
    assert all(re.fullmatch("[0-9a-f]{32}", chapter.trace) for chapter in chapters)
    assert told == [section.title for section in sections for _ in range(2)]


def test_a_page_needs_nothing_but_itself_and_escapes_what_it_shows() -> None:
    """Well-formed, nothing loaded from anywhere, and text from elsewhere stays text."""
    song = composed(1)
    finding = Finding([("<b>", "<script>alert(1)</script>")], headline="<i>x</i>")
    chapters = [
        Chapter("Upload", "ingest", finding, 1.0, "0" * 32),
        Chapter("Beats", "analysis", Finding(()), 0.0, "1" * 32, "failed: <b>"),
    ]
    mesh = {"parts": {"<x>": {"address": "127.0.0.1:1", "pid": 1}}}
    text = page.render(song, None, [0.5, 1.0], chapters, mesh)
    reader = Balanced()
    reader.feed(text)
    assert not reader.open
    assert [reference[:20] for reference in reader.references] == ["data:audio/wav;base6"]
    assert "<script" not in text
    assert "<i>x" not in text
    assert "failed: &lt;b&gt;" in text


def test_a_waveform_is_drawn_inside_its_picture() -> None:
    """The loudest signal stays within the frame, and every beat has its line."""
    loud = np.ones((44_100, 2), np.float32)
    loud[::2] = -1
    picture = drawing.waveform(loud, 1.0, [0.0, 0.5, 1.0])
    heights = [float(text) for text in re.findall(r"V([\d.]+)", picture)]
    assert min(heights) >= 0
    assert max(heights) <= 180
    assert picture.count("V180") == 3


@pytest.mark.parametrize("values", [[], [1.0], [float("-inf"), -20.0, 3.0]])
def test_a_curve_is_drawn_or_left_out(values: list[float]) -> None:
    """Too few values make no picture; silence and peaks are drawn at the bounds."""
    picture = drawing.curve(values, 2.0, -40, -5, "loudness")
    assert ("polyline" in picture) is (len(values) > 1)
    assert "inf" not in picture
    assert "nan" not in picture


@pytest.mark.slow
def test_the_demonstration_runs_and_leaves_one_page(
    chorale: Callable[..., Any], tmp_path: Path
) -> None:
    """`chorale demo` puts the song through the real mesh; what was put in came out."""
    done = chorale("demo", "--page", str(tmp_path / "demo.html"), "--json", "--seed", "5")
    assert done.returncode == 0, done.stderr + done.stdout
    told = json.loads(done.stdout)
    steps = {step["step"]: step for step in told["steps"]}
    assert steps["Read back"]["result"].endswith("the same, every one")
    assert steps["Loudness"]["ok"], steps["Loudness"]
    assert steps["Generation"]["ok"], steps["Generation"]
    assert re.match(r"-\d+\.\d LUFS", steps["Loudness"]["result"])
    assert steps["Mastering"]["result"].split(" -> ")[1].startswith("-14.0 LUFS, -1.")
    assert not [step for step in told["steps"] if step["result"].startswith("failed")]
    text = Path(told["page"]).read_text()
    reader = Balanced()
    reader.feed(text)
    assert not reader.open
    assert all(step["traceId"] in text for step in told["steps"])
    assert Path(told["page"]).as_uri() in done.stderr
