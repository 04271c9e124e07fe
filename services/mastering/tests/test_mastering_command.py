"""`chorale master`, `match`, `meter` and `presets` against the real service."""

import asyncio
import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
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
    """Runs the command in a directory with a song, on a thread: the service needs the loop."""
    monkeypatch.setenv("CHORALE_INGEST_ADDRESS", ingest.address)
    monkeypatch.setenv("CHORALE_MASTERING_ADDRESS", address)
    monkeypatch.chdir(tmp_path)
    song = signals.pink_noise(4, seed=31) * np.float32(0.3)
    soundfile.write("song.wav", song, signals.RATE_HZ, subtype="PCM_24")

    async def run_(*arguments: str) -> Result:
        result = await asyncio.to_thread(CliRunner().invoke, cli, arguments)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result

    return run_


async def test_a_file_is_mastered_to_a_file(run: Run) -> None:
    """The command stores, masters and fetches; the meter agrees; the report is one HTML file."""
    made = await run(
        *("master", "song.wav", "--lufs", "-16", "--eq", "warm", "-o", "."),
        *("--report", "report.html"),
    )
    assert "song_mastered.wav" in made.stdout
    told = json.loads((await run("meter", "song_mastered.wav", "--json")).stdout)
    assert told["loudness"]["integratedLufs"] == pytest.approx(-16.0, abs=0.1)
    page = await asyncio.to_thread(Path("report.html").read_text, "utf-8")
    assert re.findall(r'(?:src|href)="(?!data:)', page) == []  # nothing is fetched
    assert page.count("data:audio/wav;base64,") == 2
    pictures = re.findall(r"<svg.*?</svg>", page)
    assert len(pictures) == 4
    for picture in pictures:
        assert len(list(ElementTree.fromstring(picture).iter())) > 10


async def test_a_file_is_matched_to_another(run: Run) -> None:
    """A reference may be a file too; the answer is JSON where it is asked for."""
    loud = signals.pink_noise(11, seed=32) * np.float32(0.5)
    soundfile.write("reference.flac", loud, signals.RATE_HZ)
    answer = json.loads(
        (await run("match", "song.wav", "--reference", "reference.flac", "--json")).stdout
    )
    after = answer["masters"][0]["report"]["after"]["integratedLufs"]
    assert after == pytest.approx(answer["reference"]["integratedLufs"], abs=0.1)


async def test_presets_are_listed(run: Run) -> None:
    """Every built-in preset has a line with its kind and target."""
    lines = (await run("presets", "--kind", "platform")).stdout.splitlines()
    assert any(line.startswith("spotify\tplatform\t-14 LUFS") for line in lines)
