"""`chorale live` against a real mesh of ingest and analysis."""

import asyncio
import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import signals
from chorale_client.command.main import cli
from chorale_client.command.microphone import RecorderFailed, RecorderMissing, recording
from click.testing import CliRunner
from standing_ingest import Ingest

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture(autouse=True)
def _mesh(ingest: Ingest, address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CHORALE_INGEST_ADDRESS", ingest.address)
    monkeypatch.setenv("CHORALE_ANALYSIS_ADDRESS", address)
    monkeypatch.chdir(tmp_path)


async def test_a_sound_is_followed_from_the_standard_input() -> None:
    """Chords are told as they become sure, and tempo, key and loudness at the end."""
    sound = signals.song(120, "C", "major", 8)
    frames = np.ascontiguousarray(sound[:, :1], "<f4").tobytes()
    arguments = ["live", "-", "--rate", "44100", "--channels", "1"]
    result = await asyncio.to_thread(CliRunner().invoke, cli, arguments, input=frames)
    assert result.exit_code == 0, result.output
    rows = dict(line.split("\t")[:2] for line in result.stdout.splitlines())
    assert rows["key"] == "C major"
    tempo, unit = rows["tempo"].split()
    assert unit == "BPM"
    assert [line for line in result.stdout.splitlines() if line.startswith("0:00.0\t")]
    told = [row for row in rows if row[0].isdigit()]
    assert sum(clock > "0:05" for clock in told), "chords of the end are told too"
    assert float(tempo) == pytest.approx(120, abs=0.2)
    assert rows["loudness"].endswith("LUFS")


async def test_every_answer_is_a_line_of_json() -> None:
    """What programs read has revisions, and the whole in its last line."""
    frames = np.zeros((22050, 1), "<f4").tobytes() + b"\0"
    arguments = ["live", "-", "--rate", "22050", "--channels", "1", "--json"]
    result = await asyncio.to_thread(CliRunner().invoke, cli, arguments, input=frames)
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [int(line["revision"]) for line in lines] == list(range(1, len(lines) + 1))
    assert lines[-1]["timeline"]["beats"].get("bpm", 0) == 0


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="there are no terminals here")
async def test_a_microphone_is_heard_until_ctrl_c(
    ingest: Ingest, address: str, tmp_path: Path
) -> None:
    """Without a name what records here is heard; Ctrl-C ends the sound, and the whole is told."""
    sound = signals.song(120, "C", "major", 9)
    (tmp_path / "sound").write_bytes(np.ascontiguousarray(sound[:, :1], "<f4").tobytes())
    recorder = tmp_path / "arecord"
    recorder.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\ncat sound\nexec sleep 400\n')
    recorder.chmod(0o755)
    keyboard, terminal = os.openpty()
    words = [sys.executable, "-m", "chorale_client", "live", "--channels", "1"]
    process = await asyncio.create_subprocess_exec(
        *words, stdin=terminal, stdout=asyncio.subprocess.PIPE, cwd=tmp_path,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert process.stdout is not None
    try:
        first = await asyncio.wait_for(process.stdout.readline(), 180)
        assert first.startswith(b"0:00.0\t")
        process.send_signal(signal.SIGINT)
        rest = (await asyncio.wait_for(process.stdout.read(), 180)).decode()
        assert await process.wait() == 0
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        os.close(keyboard)
        os.close(terminal)
    rows = dict(line.split("\t")[:2] for line in rest.splitlines())
    assert rows["key"] == "C major"
    assert (tmp_path / "asked").read_text() == "-q -t raw -f FLOAT_LE -r 44100 -c 1\n"


async def test_without_a_recorder_it_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where nothing records, the command says what would, and does not wait."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RecorderMissing, match="arecord"), recording(44100, 2):
        pass


async def test_a_recorder_without_a_microphone_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A program that ends before it wrote anything is named with its status."""
    (tmp_path / "rec").write_text("#!/bin/sh\nexit 3\n")
    (tmp_path / "rec").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RecorderFailed, match="status 3"), recording(44100, 2) as frames:
        assert frames.read(1) == b""
