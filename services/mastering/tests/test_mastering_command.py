"""`chorale master`, `match`, `meter` and `presets` against the real service."""

import asyncio
import base64
import io
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
from chorale_mastering.meter import Meter
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
    song = signals.pink_noise(2, seed=31) * np.float32(0.3)
    soundfile.write("song.wav", song, signals.RATE_HZ, subtype="PCM_24")

    async def run_(*arguments: str, stdin: bytes = b"") -> Result:
        result = await asyncio.to_thread(CliRunner().invoke, cli, arguments, input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result

    return run_


def integrated(sound: signals.Signal) -> float:
    """Its loudness by our own meter."""
    meter = Meter(signals.RATE_HZ, sound.shape[1])
    meter.push(sound)
    meter.finish()
    loudness = meter.read().integrated_lufs
    assert loudness is not None
    return loudness


async def test_a_file_is_mastered_to_a_file(run: Run) -> None:
    """The command stores, masters and fetches; the meter agrees with what it was asked for."""
    made = await run("master", "song.wav", "--lufs", "-16", "--eq", "warm", "-o", ".")
    assert "song_mastered.wav" in made.stdout
    told = json.loads((await run("meter", "song_mastered.wav", "--json")).stdout)
    assert told["loudness"]["integratedLufs"] == pytest.approx(-16.0, abs=0.1)


async def test_a_report_is_one_page_that_fetches_nothing(run: Run) -> None:
    """Four pictures, two players as loud as each other, and every step with its reason."""
    await run("master", "song.wav", "--lufs", "-13", "--report", "report.html")
    page = await asyncio.to_thread(Path("report.html").read_text, "utf-8")
    assert re.findall(r'(?:src|href)="(?!data:)', page) == []
    pictures = re.findall(r"<svg.*?</svg>", page)
    assert len(pictures) == 4
    for picture in pictures:
        assert len(list(ElementTree.fromstring(picture).iter())) > 10
    assert page.count("<tr>") >= 15
    players = re.findall(r'data-volume=([\d.]+) src="data:audio/flac;base64,([^"]+)"', page)
    heard = [
        soundfile.read(io.BytesIO(base64.b64decode(sound)), dtype="float32", always_2d=True)[0]
        * np.float32(volume)
        for volume, sound in players
    ]
    before, after = (integrated(sound) for sound in heard)
    assert before == pytest.approx(after, abs=0.3)


async def test_several_files_are_made_at_once(run: Run) -> None:
    """One for each format, apart by name; settings beyond tone and loudness reach the service."""
    await run(
        *("master", "song.wav", "--format", "wav24", "--format", "wav16", "--format", "flac"),
        *("--limiter", "modern", "--phase", "linear", "--bands", "3", "--saturation", "10"),
        *("--codec", "mp3", "--ratio", "2", "--width", "120", "--ceiling", "-2", "-o", "."),
    )
    peaks = []
    for name in ("song_mastered_wav24.wav", "song_mastered_wav16.wav", "song_mastered.flac"):
        sound, _ = soundfile.read(name, dtype="float32", always_2d=True)
        peaks.append(20.0 * np.log10(np.abs(sound).max()))
    assert all(-6.0 < peak <= -2.0 for peak in peaks)


async def test_several_files_are_an_album(run: Run) -> None:
    """A quiet song stays as much quieter as it was, and each is written under its own name."""
    sound, rate_hz = soundfile.read("song.wav", dtype="float32")
    soundfile.write("quiet.wav", sound * np.float32(0.5), rate_hz, subtype="PCM_24")
    made = await run("master", "song.wav", "quiet.wav", "--lufs", "-18", "-o", ".")
    loud, quiet = (
        integrated(soundfile.read(f"{name}_mastered.wav", dtype="float32")[0])
        for name in ("song", "quiet")
    )
    assert loud - quiet == pytest.approx(6.02, abs=0.2)
    assert len(made.stdout.splitlines()) == 2


async def test_a_preview_is_as_long_as_asked(run: Run) -> None:
    """Its report draws the same stretch of the input."""
    await run(
        "master", "song.wav", "--preview", "0.25-1.75", "-o", "part.wav", "--report", "p.html"
    )
    assert soundfile.info("part.wav").frames == round(1.5 * signals.RATE_HZ)
    page = await asyncio.to_thread(Path("p.html").read_text, "utf-8")
    assert page.count("<audio") == 2


async def test_a_sound_is_measured_while_it_comes(run: Run) -> None:
    """A stored sound and frames on stdin end where measuring the file does."""
    whole = json.loads((await run("meter", "song.wav", "--json")).stdout)["loudness"]
    live = (await run("meter", "song.wav", "--live", "--json")).stdout.splitlines()
    assert len(live) > 15
    assert json.loads(live[-1])["isFinal"]
    assert json.loads(live[-1])["loudness"]["integratedLufs"] == whole["integratedLufs"]
    sound, rate_hz = soundfile.read("song.wav", dtype="float32")
    piped = await run("meter", "--live", "--rate", str(rate_hz), stdin=sound.tobytes())
    assert f"integrated\t{whole['integratedLufs']:.2f} LUFS" in piped.stdout


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


async def test_own_presets_are_kept_changed_used_and_deleted(run: Run) -> None:
    """Saving again changes it; a master begins with it; deleted, it is gone."""
    await run("presets", "--save", "ours", "--title", "Ours", "--lufs", "-18")
    await run("presets", "--save", "ours", "--lufs", "-19", "--eq", "bright")
    listed = (await run("presets", "--kind", "own")).stdout
    assert listed.splitlines() == ["ours\town\t-19 LUFS\tOurs\t"]
    made = json.loads((await run("master", "song.wav", "--preset", "ours", "--json")).stdout)
    loudness = made["masters"][0]["report"]["after"]["integratedLufs"]
    assert loudness == pytest.approx(-19.0, abs=0.1)
    await run("presets", "--delete", "ours")
    assert not (await run("presets", "--kind", "own")).stdout
