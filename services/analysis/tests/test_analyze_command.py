"""`chorale analyze` against a real mesh of ingest and analysis."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import mido  # type: ignore[import-untyped]
import pytest
import signals
import soundfile
from chorale_client.command.main import cli
from click.testing import CliRunner, Result
from standing_ingest import Ingest

pytestmark = pytest.mark.asyncio(loop_scope="session")
Run = Callable[..., Any]


@pytest.fixture
def run(ingest: Ingest, address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs the command in an empty folder with a song, beside the services' own loop."""
    monkeypatch.setenv("CHORALE_INGEST_ADDRESS", ingest.address)
    monkeypatch.setenv("CHORALE_ANALYSIS_ADDRESS", address)
    monkeypatch.chdir(tmp_path)
    soundfile.write("song.wav", signals.song(120, "E", "minor", 12.0), signals.RATE_HZ)

    async def run_(*arguments: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, cli, arguments)

    return run_


async def test_a_file_is_analyzed(run: Run, channel: grpc.aio.Channel, tmp_path: Path) -> None:
    """Tempo, key and chords are printed, and the files asked for are there and open."""
    result = await run(
        "analyze",
        "song.wav",
        "--export",
        "midi,lab,json",
        "--pictures",
        "timeline",
        "--svg",
        "-o",
        "sheets",
    )
    assert result.exit_code == 0, result.output
    rows = dict(line.split("\t")[:2] for line in result.stdout.splitlines() if "\t" in line)
    assert float(rows["tempo"].split()[0]) == pytest.approx(120, rel=0.02)
    assert rows["key"] == "E minor"
    assert "E:min" in result.stdout
    files = {path.name for path in (tmp_path / "sheets").iterdir()}
    assert files == {"song.mid", "song.lab.zip", "song.json", "song.timeline.svg"}
    assert mido.MidiFile(tmp_path / "sheets" / "song.mid").length == pytest.approx(12.0, abs=0.6)


async def test_only_what_is_asked_for_is_told(run: Run) -> None:
    """One feature by one engine, as JSON for programs."""
    result = await run(
        "analyze", "song.wav", "--features", "key", "--engine", "key=chorale", "--json"
    )
    assert result.exit_code == 0, result.output
    line = json.loads(result.stdout.splitlines()[-1])["timeline"]
    assert line["key"]["key"] == "E minor"
    assert "beats" not in line
    assert line["provenance"]["key"]["engineRequested"] == "chorale"


async def test_what_cannot_be_is_said(run: Run) -> None:
    """Unknown features and forms are wrong usage; unknown engines are the mesh's error."""
    assert (await run("analyze", "song.wav", "--features", "colour")).exit_code == 2
    assert (await run("analyze", "song.wav", "--export", "pdf")).exit_code == 2
    assert (await run("analyze", "song.wav", "--engine", "mood=chorale")).exit_code == 2
    refused = await run("analyze", "song.wav", "--engine", "nobody")
    assert refused.exit_code != 0
    assert "ENGINE_UNKNOWN" in refused.output
