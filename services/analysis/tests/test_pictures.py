"""RenderPicture over the wire: files that open and show what was played."""

import struct
import zlib
from typing import Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
import pytest
import signals
from analysis_calls import asking, refused
from chorale.analysis.v1 import timeline_pb2
from chorale.audio.v1 import audio_pb2
from chorale.engines.v1 import engine_pb2
from chorale_analysis import worker
from operation_calls import ended
from standing_ingest import Ingest

pytestmark = pytest.mark.asyncio(loop_scope="session")
_SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def song(ingest: Ingest) -> str:
    """Eight seconds of chords over a beat."""
    name: str = ingest.put(signals.song(120, "E", "minor", 8.0)).name
    return name


async def _picture(analysis: Any, audio: str, kind: str, **fields: Any) -> tuple[str, bytes, Any]:
    request = timeline_pb2.RenderPictureRequest(
        audio=audio, kind=f"PICTURE_KIND_{kind.upper()}", **fields
    )
    bodies = [body async for body in analysis.RenderPicture(request)]
    made_by = engine_pb2.Provenance()
    assert bodies[0].extensions[0].Unpack(made_by)
    return bodies[0].content_type, b"".join(body.data for body in bodies), made_by


def _dots(png: bytes) -> npt.NDArray[np.uint8]:
    """The dots of a PNG without filters."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", png[16:24])
    length = struct.unpack(">I", png[33:37])[0]
    rows = np.frombuffer(zlib.decompress(png[41 : 41 + length]), np.uint8)
    return rows.reshape(height, 1 + 3 * width)[:, 1:].reshape(height, width, 3)


async def test_a_spectrogram_shows_where_the_sound_is(analysis: Any, ingest: Ingest) -> None:
    """A tone of 1 kHz is a bright row at its height, and nothing else is bright."""
    audio = ingest.put(signals.sine(-6, 2, hertz=1000.0)).name
    content_type, data, made_by = await _picture(
        analysis, audio, "spectrogram", width_pixels=160, height_pixels=96, dark=True
    )
    assert content_type == "image/png"
    assert made_by.settings["kind"] == "spectrogram"
    dots = _dots(data)
    assert dots.shape == (96, 160, 3)
    bright = dots.astype(int).sum(axis=2)[:, 60:150].mean(axis=1)
    mel = [2595.0 * np.log10(1.0 + hertz / 700.0) for hertz in (30.0, 1000.0, 11000.0)]
    row = 96 * (1.0 - (mel[1] - mel[0]) / (mel[2] - mel[0]))
    assert abs(int(bright.argmax()) - row) < 5


async def test_a_short_sound_fills_its_picture(analysis: Any, ingest: Ingest) -> None:
    """A second of a tone is bright up to the right edge, however wide the picture is."""
    audio = ingest.put(signals.sine(-6, 1, hertz=1000.0)).name
    _, data, _ = await _picture(
        analysis, audio, "spectrogram", width_pixels=1600, height_pixels=96, dark=True
    )
    columns = _dots(data).astype(int).sum(axis=2).max(axis=0)
    left, right = columns[200:600].mean(), columns[1200:1560].mean()
    assert right > 0.9 * left


@pytest.mark.parametrize("kind", ["chroma", "tempo", "timeline", "self_similarity", "waveform"])
async def test_every_kind_is_an_svg_that_opens(analysis: Any, song: str, kind: str) -> None:
    """It is well-formed, of the size asked for, and holds more than paper."""
    content_type, data, _ = await _picture(
        analysis, song, kind, format="PICTURE_FORMAT_SVG", width_pixels=640, height_pixels=240
    )
    assert content_type == "image/svg+xml"
    root = ElementTree.fromstring(data)
    assert (root.get("width"), root.get("height")) == ("640", "240")
    assert len(list(root)) > 5
    if kind == "timeline":
        texts = {element.text for element in root.iter(f"{_SVG}text")}
        assert {"PART", "KEY", "CHORD", "BEAT", "Em"} <= texts


async def test_an_operation_is_drawn_from(channel: Any, analysis: Any, song: str) -> None:
    """What was analysed is drawn without being heard again; of other audio it is refused."""
    request = asking(timeline_pb2.AnalyzeRequest, song, features=["FEATURE_BEATS"])
    operation = await analysis.Analyze(request)
    await ended(channel, operation)
    _, data, _ = await _picture(
        analysis, song, "tempo", operation=operation.name, format="PICTURE_FORMAT_SVG"
    )
    curves = list(ElementTree.fromstring(data).iter(f"{_SVG}polyline"))
    assert len(curves) == 1
    other = song[:-1] + ("0" if song[-1] != "0" else "1")
    _, info = await refused(_picture(analysis, other, "tempo", operation=operation.name))
    assert info.reason == "AUDIO_NOT_FOUND"


def _deaf(*_: Any, **__: Any) -> Any:
    raise AssertionError("it is heard again")


async def test_what_is_kept_is_drawn(
    channel: Any, analysis: Any, song: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After Analyze the time line is drawn without hearing anything, loudness and all."""
    await ended(channel, await analysis.Analyze(asking(timeline_pb2.AnalyzeRequest, song)))
    monkeypatch.setattr(worker, "listen", _deaf)
    _, data, _ = await _picture(analysis, song, "timeline", format="PICTURE_FORMAT_SVG")
    assert len(list(ElementTree.fromstring(data).iter(f"{_SVG}polyline"))) == 1


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"kind": "tempo", "span": audio_pb2.FrameSpan(frame_count=100)}, "AUDIO_TOO_SHORT"),
        ({"kind": "chroma", "span": audio_pb2.FrameSpan(start_frame=1 << 40)}, "SPAN_PAST_END"),
        ({"kind": "waveform", "width_pixels": 8}, "SETTING_UNSUPPORTED"),
        (
            {"kind": "tempo", "operation": "operations/00000000-0000-4000-8000-000000000000"},
            "OPERATION_NOT_FOUND",
        ),
    ],
)
async def test_what_cannot_be_drawn_is_refused(
    analysis: Any, song: str, fields: Any, reason: str
) -> None:
    """Each refusal says why."""
    _, info = await refused(_picture(analysis, song, fields.pop("kind"), **fields))
    assert info.reason == reason


async def test_one_frame_has_pictures(analysis: Any, song: str) -> None:
    """The shortest sound there is has a waveform and a spectrogram."""
    span = audio_pb2.FrameSpan(frame_count=1)
    for kind in ("waveform", "spectrogram", "chroma", "self_similarity"):
        _, data, _ = await _picture(
            analysis, song, kind, span=span, width_pixels=64, height_pixels=64
        )
        assert _dots(data).shape == (64, 64, 3)
