"""`chorale generate` and `chorale models` against the real service."""

import asyncio
import json
import re
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import signals
import soundfile
import torch
from chorale_client.command.main import cli
from click.testing import CliRunner, Result
from language_model import LanguageModel
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


async def test_two_files_become_one(run: Run, language_model: LanguageModel) -> None:
    """The command stores both, makes one of them and fetches it; figures are told."""
    options = ["--seconds", "4", "--section-bars", "1", "--seed", "3", "-o", "both.wav"]
    result = await run("generate", "a.flac", "b.flac", *options)
    told = result.stdout
    assert re.search(r"tempo\t1(?:09\.[5-9]|10\.[0-5]) BPM", told)
    assert "both.wav" in told
    file = soundfile.info("both.wav")
    assert (file.samplerate, file.channels, file.frames) == (24000, 1, 96_000)
    operation = result.stderr.split()[-1]
    explained = await run("explain", operation, "--language", "es")
    assert "La pista 1 está en" in explained.stdout
    language_model.answer = "In other words."
    assert "In other words." in (await run("explain", operation, "--engine", "openai")).stdout


async def test_a_program_reads_the_answer(run: Run) -> None:
    """With --json the answer is one object; a stretch of each track is taken. What is listened
    to while it is made is what is fetched when it is."""
    stretches = ["--span-1", "0:01-0:05", "--span-2", "0:02-0:06"]
    files = ["--listen", "heard.wav", "-o", "made.wav"]
    made = await run("generate", "a.flac", "b.flac", *stretches, *files, "--seconds", "2", "--json")
    heard, fetched = (soundfile.read(name)[0].tolist() for name in ("heard.wav", "made.wav"))
    assert heard == fetched
    answer = json.loads(made.stdout)
    assert answer["generation"]["frameCount"] == "48000"
    assert answer["provenance"]["settings"]["track_1.duration_seconds"] == "4"


async def test_models_are_listed(run: Run) -> None:
    """A line for each; of an engine that has none, nothing."""
    listed = (await run("models", "--json")).stdout.splitlines()
    assert all(json.loads(line)["name"].startswith("models/") for line in listed)
    assert (await run("models", "--engine", "musicgen-large", "--json")).stdout == ""


async def test_weights_are_brought_in_by_a_command(run: Run) -> None:
    """A file of weights becomes a model with its licence; one with code in it is refused."""
    torch.save({"a": torch.ones(3)}, "lamp.pt")
    options = ["--engine", "bark", "--licence", "MIT"]
    told = await run("models", "models/shelf", "--import", "lamp.pt", *options)
    assert "models/shelf/1\tbark\tMIT" in told.stdout
    torch.save({"b": torch.ones(3)}, "torch.pt")
    assert (
        "shelf/2" in (await run("models", "models/shelf", "--import", "torch.pt", *options)).stdout
    )
    await run("models", "models/shelf/2", "--delete")
    assert "shelf/2" not in (await run("models")).stdout
    for arguments in (["--alias", "best"], ["--delete"]):
        whole = await asyncio.to_thread(
            CliRunner().invoke, cli, ["models", "models/shelf", *arguments]
        )
        assert "need a version" in whole.output
    assert "best" in (await run("models", "models/shelf/1", "--alias", "best")).stdout
    assert "models/shelf/1" in (await run("models", "models/shelf/best")).stdout
    await run("models", "models/shelf", "--import", "lamp.pt", *options, "--alias", "best")
    assert "best" not in (await run("models", "models/shelf", "--unalias", "best")).stdout
    for name, alias in (("models/shelf", "best"), ("models/shelf/1", "x")):
        refused = await asyncio.to_thread(
            CliRunner().invoke, cli, ["models", name, "--unalias", alias]
        )
        assert refused.exit_code == 2
    torch.save({"a": print}, "evil.pt")
    arguments = ["models", "models/evil", "--import", "evil.pt", "--engine", "bark"]
    refused = await asyncio.to_thread(CliRunner().invoke, cli, arguments)
    assert refused.exit_code != 0
    assert "pickle" in refused.output


async def test_models_elsewhere_are_registered_by_a_command(run: Run) -> None:
    """Its name there is told with it; who runs it says what is missing, and so does training."""
    options = ["--register", "studio/harp:1234", "--provider", "replicate", "--licence", "MIT"]
    told = await run("models", "models/harp", *options, "--description", "A harp.")
    assert "replicate: studio/harp:1234" in told.stdout
    listed = (await run("models", "--providers")).stdout
    assert "CHORALE_REPLICATE_API_TOKEN" in listed
    assert "not_configured" in listed
    dataset = ["--dataset", f"datasets/{uuid.uuid4()}"]
    arguments = ["train", "model", "models/harp", *dataset, "--provider", "replicate"]
    refused = await asyncio.to_thread(CliRunner().invoke, cli, arguments)
    assert refused.exit_code != 0
    assert "not configured" in refused.output
    refused = await asyncio.to_thread(CliRunner().invoke, cli, arguments[:-2])
    assert "trained by a --provider" in refused.output


async def test_a_codec_is_trained_by_a_command(run: Run) -> None:
    """Files become a dataset and a dataset a codec; what came of it is told."""
    least = ["--files-min", "2", "--seconds-min", "4", "--epochs", "1", "--seed", "1"]
    told = await run("train", "codec", "models/by-command", "a.flac", "b.flac", *least)
    assert "models/by-command/1" in told.stdout
    assert "codebooks in use" in told.stdout
    assert "dataset: datasets/" in told.stderr
