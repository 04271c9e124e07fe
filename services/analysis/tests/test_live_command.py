"""`chorale live` against a real mesh of ingest and analysis."""

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest
import signals
from chorale_client.command.main import cli
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
    sound = signals.cadence("C", "major", 2, 0.8, rate_hz=22050)
    frames = np.ascontiguousarray(sound[:, :1], "<f4").tobytes()
    arguments = ["live", "-", "--rate", "22050", "--channels", "1"]
    result = await asyncio.to_thread(CliRunner().invoke, cli, arguments, input=frames)
    assert result.exit_code == 0, result.output
    rows = dict(line.split("\t")[:2] for line in result.stdout.splitlines())
    assert rows["key"] == "C major"
    assert rows["tempo"].endswith(("BPM", "none"))
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
