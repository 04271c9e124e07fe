"""Which files `chorale put` takes, and which stretch `chorale cut` means."""

import time
from pathlib import Path

import click
import pytest
from chorale.audio.v1.audio_pb2 import PcmFormat
from chorale.ingest.v1.audio_pb2 import Audio
from chorale_client.command import gathering, spans


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of takes, and of other things."""
    (tmp_path / "deep").mkdir()
    for name in ("b.wav", "a.MP3", "deep/c.flac", "notes.txt", ".hidden.wav"):
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


def test_a_folder_stands_for_the_sound_in_it(folder: Path) -> None:
    """To the bottom, each file once, without what is hidden or no sound by its name."""
    wanted = [str(folder / name) for name in ("a.MP3", "b.wav", "deep/c.flac")]
    assert gathering.files([str(folder), str(folder / "b.wav")]) == wanted


def test_a_pattern_stands_for_what_it_matches(folder: Path) -> None:
    """Files are taken whatever they are called; nothing at all is an error."""
    assert gathering.files([f"{folder}/n*"]) == [str(folder / "notes.txt")]
    assert gathering.files([f"{folder}/**/*.flac"]) == [str(folder / "deep" / "c.flac")]
    with pytest.raises(click.UsageError, match="no file"):
        gathering.files([str(folder / "absent.wav")])


def test_a_file_is_taken_once_it_has_stopped_growing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is still being written is left until two looks agree, then comes once."""
    new = folder / "new.wav"
    steps = iter([b"begun", b"begun, and done", None, None, b""])

    def write(_: float) -> None:
        data = next(steps)
        if data == b"":
            raise KeyboardInterrupt
        if data is not None:
            new.write_bytes(data)

    monkeypatch.setattr(time, "sleep", write)
    coming = gathering.later([str(folder)], gathering.files([str(folder)]))
    assert next(coming) == [str(new)]
    assert new.read_bytes() == b"begun, and done"
    with pytest.raises(KeyboardInterrupt):
        next(coming)


@pytest.mark.parametrize(
    ("start", "end", "first", "count"),
    [("0", "", 0, 0), ("1:30", "1:31.5", 3_969_000, 66_150), ("0:01:00", "61", 2_646_000, 44_100)],
)
def test_times_are_frames(start: str, end: str, first: int, count: int) -> None:
    """Seconds, minutes and hours fall on the frame that they mean."""
    audio = Audio(format=PcmFormat(sample_rate_hz=44_100, channel_count=2))
    found = spans.span(audio, start, end)
    assert (found.start_frame, found.frame_count) == (first, count)


@pytest.mark.parametrize(("start", "end"), [("x", ""), ("-1", ""), ("2", "1"), ("1:2:3:4", "")])
def test_what_is_no_stretch_is_refused(start: str, end: str) -> None:
    """The message says what was found."""
    audio = Audio(format=PcmFormat(sample_rate_hz=44_100, channel_count=2))
    with pytest.raises(click.UsageError, match=r"no time|must come after"):
        spans.span(audio, start, end)
