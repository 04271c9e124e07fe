"""Recognising by the `chorale` command: enrolled once, known again from an excerpt."""

import io
import json
import uuid
from pathlib import Path

import numpy as np
import pytest
import soundfile
from chorale.audio.v1 import audio_pb2
from chorale.fingerprint.v1 import patterns_pb2
from chorale_client import Chorale
from running_mesh import RunningMesh

RATE_HZ = 22050


@pytest.fixture(autouse=True)
def _needs_fingerprint(mesh: RunningMesh) -> None:
    if "fingerprint" not in mesh.record()["services"]:
        pytest.skip("NOT TESTED: fingerprint is not set up")


def _song(seconds: int, seed: int = 71) -> np.ndarray:
    """Chords of random triads, one a third of a second: nothing repeats."""
    draw = np.random.default_rng(seed)
    time = np.arange(RATE_HZ // 3) / RATE_HZ
    parts = []
    for _ in range(3 * seconds):
        pitches = draw.integers(45, 80, 3)
        tones = [np.sin(2 * np.pi * 440 * 2 ** ((p - 69) / 12) * time) for p in pitches]
        parts.append(np.sum(tones, axis=0) * np.exp(-3 * time) * 0.2)
    return np.concatenate(parts)


def _wav(path: Path, signal: np.ndarray) -> Path:
    file = io.BytesIO()
    soundfile.write(file, signal, RATE_HZ, format="WAV", subtype="PCM_16")
    path.write_bytes(file.getvalue())
    return path


def test_an_excerpt_is_named(mesh: RunningMesh, tmp_path: Path) -> None:
    """`enroll` stores a file and says it is new; `identify` names it, with the place."""
    song = _song(30)
    whole = _wav(tmp_path / "song.wav", song)
    enrolled = mesh.run("enroll", str(whole), "--title", "Triads", "--artist", "Ada", "--json")
    recording = json.loads(enrolled)["recording"]["name"]
    again = mesh.run("enroll", str(whole))
    assert again.split("\t")[:2] == [recording, "known already"]

    clip = _wav(tmp_path / "clip.wav", song[9 * RATE_HZ : 19 * RATE_HZ])
    (line,) = mesh.run("identify", str(clip)).splitlines()
    name, title, artist, heard_at, is_at, score, _ = line.split("\t")
    assert (name, title, artist) == (recording, "Triads", "Ada")
    assert heard_at.startswith("0:00")
    assert is_at == "0:09"
    assert float(score) > 0.5


def test_what_is_enrolled_twice_is_told(mesh: RunningMesh, tmp_path: Path) -> None:
    """`dups` knows a quieter copy before and after it is enrolled, and names what was first."""
    song = _song(20, seed=5)
    first, copy = _wav(tmp_path / "first.wav", song), _wav(tmp_path / "copy.wav", song * 0.5)
    recording = json.loads(mesh.run("enroll", str(first), "--json"))["recording"]["name"]
    (checked,) = mesh.run("dups", str(copy)).splitlines()
    assert checked.split("\t")[1:3] == ["acoustic", recording]
    mesh.run("enroll", str(copy))
    reported = [line.split("\t") for line in mesh.run("dups").splitlines()]
    assert recording in [cells[0] for cells in reported]


def test_long_sound_is_monitored(mesh: RunningMesh, tmp_path: Path) -> None:
    """`monitor` says when an enrolled song plays, and nothing of what is unknown."""
    song = _song(20, seed=6)
    whole = _wav(tmp_path / "aired.wav", song)
    recording = json.loads(mesh.run("enroll", str(whole), "--json"))["recording"]["name"]
    sound = np.concatenate([_song(10, seed=7), song, _song(10, seed=8)])
    (line,) = mesh.run("monitor", str(_wav(tmp_path / "air.wav", sound))).splitlines()
    start, _, name, *_ = line.split("\t")
    assert name == recording
    assert start in ("0:09", "0:10", "0:11")


def test_patterns_alike_are_listed(mesh: RunningMesh, chorale: Chorale) -> None:
    """`similar` prints what is like a pattern, likest first."""
    draw = np.random.default_rng(72)
    values = draw.uniform(0, 1, 60)
    names = []
    for noise in (0.0, 0.02, 0.1):
        near = np.clip(values + draw.normal(0, noise, 60), 0, 1)
        vector = audio_pb2.PatternVector(layout="layouts/drums/1", values=list(near))
        pattern = patterns_pb2.Pattern(
            instrument=audio_pb2.INSTRUMENT_DRUMS, vector=vector, bpm=120, genre="dub"
        )
        request = patterns_pb2.IndexPatternRequest(pattern=pattern, request_id=str(uuid.uuid4()))
        names.append(chorale.fingerprint.IndexPattern(request).pattern.name)
    lines = mesh.run("similar", names[0], "--own", "--genre", "dub").splitlines()
    assert [line.split("\t")[0] for line in lines] == names[1:]
