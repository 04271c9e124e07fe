"""`chorale generate` and `chorale models` against the real service."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import signals
import soundfile
from chorale_client.command.main import cli
from click.testing import CliRunner, Result
from standing_ingest import Ingest

pytestmark = pytest.mark.asyncio(loop_scope="session")

Run = Callable[..., Awaitable[Result]]


@pytest.fixture
def run(address: str, ingest: Ingest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs the command in a directory with two songs, on a thread: the service needs the loop."""
    monkeypatch.setenv("CHORALE_INGEST_ADDRESS", ingest.address)
    monkeypatch.setenv("CHORALE_GENERATION_ADDRESS", address)
    monkeypatch.chdir(tmp_path)
    soundfile.write("a.flac", signals.song(110, "C", "major", 6, seed=3), signals.RATE_HZ)
    soundfile.write("b.flac", signals.song(110, "G", "major", 6, seed=4), signals.RATE_HZ)

    async def run_(*arguments: str) -> Result:
        result = await asyncio.to_thread(CliRunner().invoke, cli, arguments)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result

    return run_


async def test_two_files_become_one(run: Run) -> None:
    """The command stores both, makes one of them and fetches it; figures are told."""
    options = ["--seconds", "4", "--section-bars", "1", "--seed", "3", "-o", "both.wav"]
    result = await run("generate", "a.flac", "b.flac", *options)
    told = result.stdout
    assert re.search(r"tempo\t1(?:09\.[5-9]|10\.[0-5]) BPM", told)
    assert "both.wav" in told
    file = soundfile.info("both.wav")
    assert (file.samplerate, file.channels, file.frames) == (24000, 1, 96_000)
    explained = await run("explain", result.stderr.split()[-1], "--language", "es")
    assert "La pista 1 está en" in explained.stdout


async def test_a_program_reads_the_answer(run: Run) -> None:
    """With --json the answer is one object; a stretch of each track is taken."""
    stretches = ["--span-1", "0:01-0:05", "--span-2", "0:02-0:06"]
    made = await run("generate", "a.flac", "b.flac", *stretches, "--seconds", "2", "--json")
    answer = json.loads(made.stdout)
    assert answer["generation"]["frameCount"] == "48000"
    assert answer["provenance"]["settings"]["track_1.duration_seconds"] == "4"


async def test_models_are_listed(run: Run) -> None:
    """A line for each; of an engine that has none, nothing."""
    listed = (await run("models", "--json")).stdout.splitlines()
    assert all(json.loads(line)["name"].startswith("models/") for line in listed)
    assert (await run("models", "--engine", "musicgen-large", "--json")).stdout == ""
