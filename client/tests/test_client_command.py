"""The `chorale` command: what it prints, for people and for programs, and how it exits."""

import hashlib
import json
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import click
import pytest
from chorale_client.command import main as command_main
from chorale_client.command import naming
from chorale_client.command.exits import EXITS, status_of
from chorale_client.command.main import cli
from chorale_client.errors import ERRORS_BY_CODE
from click.testing import CliRunner, Result
from client_songs import song
from google.rpc import code_pb2
from loopback import SmallMesh
from memory_ingest import status

WAV = song(1)
NAME = f"audio/{hashlib.sha256(WAV).hexdigest()}"
Run = Callable[..., Result]


@pytest.fixture
def run(small_mesh: SmallMesh, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs the command against a small mesh, in an empty directory."""
    monkeypatch.setenv("CHORALE_INGEST_ADDRESS", small_mesh.address)
    monkeypatch.setenv("CHORALE_MASTERING_ADDRESS", small_mesh.address)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "take.wav").write_bytes(WAV)

    def run_(*arguments: str, **options: Any) -> Result:
        result = CliRunner().invoke(cli, arguments, **options)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run_


def lines(result: Result) -> list[dict[str, Any]]:
    """The JSON objects that a command printed."""
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_put_prints_the_name(run: Run) -> None:
    """In a pipe: the whole name and the shape, apart by a tab; -q the name alone."""
    assert run("put", "take.wav").stdout == f"{NAME}\tstereo 44.1 kHz 0:01\n"
    assert run("put", "-q", "take.wav").stdout == f"{NAME}\n"
    assert run("put", "-q", "-", input=song(2)).stdout.startswith("audio/")


def test_put_describes(run: Run) -> None:
    """Title, tags and file name reach the catalogue."""
    run("put", "take.wav", "--title", "Take", "--tag", "a", "--tag", "b", "--file-name", "t.wav")
    (audio,) = lines(run("info", NAME, "--json"))
    assert (audio["title"], audio["tags"], audio["fileName"]) == ("Take", ["a", "b"], "t.wav")


def test_put_goes_on_after_a_failure(run: Run, tmp_path: Path) -> None:
    """One bad file of several does not keep the others out; the exit status tells."""
    (tmp_path / "notes.txt").write_text("not music")
    result = run("put", "-q", "notes.txt", "take.wav")
    assert (result.exit_code, result.stdout) == (2, f"{NAME}\n")
    assert "notes.txt" in result.stderr
    assert "UNDECODABLE" in result.stderr


def test_get_writes_the_file(run: Run, tmp_path: Path) -> None:
    """Under its own name, under another, to stdout; never over a file that is there."""
    run("put", "take.wav")
    (tmp_path / "take.wav").unlink()
    assert run("get", NAME).stdout == f"take.wav\t{len(WAV) / 1024:.1f} KiB\n"
    assert (tmp_path / "take.wav").read_bytes() == WAV
    run("get", NAME, "-o", "other.wav")
    assert (tmp_path / "other.wav").read_bytes() == WAV
    assert run("get", NAME, "-o", "-").stdout_bytes == WAV
    (tmp_path / "other.wav").write_text("mine")
    refused = run("get", NAME, "-o", "other.wav")
    assert (refused.exit_code, (tmp_path / "other.wav").read_text()) == (2, "mine")
    assert run("get", NAME, "-o", "other.wav", "--force").exit_code == 0
    assert (tmp_path / "other.wav").read_bytes() == WAV


def test_the_name_of_a_stranger_writes_nothing_elsewhere(
    run: Run, small_mesh: SmallMesh, tmp_path: Path
) -> None:
    """A file name that is a path ends as a file in the directory asked for."""
    run("put", "take.wav", "--file-name", "../../etc/evil.wav")
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    assert run("get", NAME, "-o", str(folder)).exit_code == 0
    assert [path.name for path in folder.iterdir()] == ["evil.wav"]


def test_ls_lists(run: Run) -> None:
    """A line each, newest first; as JSON the contract's own message."""
    first = run("put", "-q", "-", "--tag", "x", "--title", "First", input=song(3)).stdout.strip()
    second = run("put", "-q", "take.wav").stdout.strip()
    assert [line.split("\t")[0] for line in run("ls").stdout.splitlines()] == [second, first]
    (only,) = lines(run("ls", "--tag", "x", "--json"))
    assert (only["name"], only["title"], only["format"]["channelCount"]) == (first, "First", 2)
    assert len(run("ls", "--limit", "1").stdout.splitlines()) == 1


def test_any_unmistakable_beginning_of_a_name_will_do(run: Run) -> None:
    """With or without `audio/`, with the ellipsis that people copy along."""
    run("put", "take.wav")
    for written in (NAME, NAME[6:], NAME[:14], NAME[6:12], f"{NAME[:14]}…", NAME[6:14].upper()):
        assert lines(run("--json", "info", written))[0]["name"] == NAME
    assert run("info", "audio/0000").exit_code == 3
    assert run("info", "take.wav").exit_code == 2


def test_info_shows_what_is_known(run: Run) -> None:
    """One fact per line; facts that are not there take no line."""
    run("put", "take.wav")
    shown = dict(line.split("\t") for line in run("info", NAME).stdout.splitlines())
    assert (shown["name"], shown["sound"], shown["frames"]) == (
        NAME,
        "stereo 44.1 kHz 0:01",
        "44100",
    )
    assert "loudness" not in shown


def test_rm_deletes(run: Run) -> None:
    """It prints what went; a second time there is nothing."""
    run("put", "take.wav")
    assert run("rm", NAME).stdout == f"{NAME}\n"
    again = run("rm", NAME)
    assert again.exit_code == 3
    assert "AUDIO_NOT_FOUND" in again.stderr


def test_long_work_from_the_command(run: Run, small_mesh: SmallMesh) -> None:
    """call --watch follows to the answer; ops list, get, watch and cancel find it again."""
    request = json.dumps({"audio": NAME})
    result = run("call", "mastering", "MeasureLoudness", request, "--watch", "--json")
    *events, last = lines(result)
    assert [event["event"]["sequence"] for event in events] == list("12345")
    assert (last["done"], last["response"]["loudness"]["integratedLufs"]) == (True, -14.0)
    name = last["name"]
    assert [line.split("\t")[0] for line in run("ops", "list").stdout.splitlines()] == [name]
    assert lines(run("ops", "get", name, "--json"))[0]["service"] == "mastering"
    assert "integrated_lufs: -14" in run("ops", "watch", name.removeprefix("operations/")).stdout

    small_mesh.mastering.step_seconds = 30
    (begun,) = lines(run("call", "mastering", "MeasureLoudness", request))
    assert run("ops", "cancel", begun["name"]).exit_code == 0
    watched = run("ops", "watch", begun["name"])
    assert watched.exit_code == 11
    assert "OPERATION_CANCELLED" in watched.stderr


def test_anything_in_the_contract_can_be_called(run: Run) -> None:
    """JSON in, JSON out; what is wrong is said with what would be right."""
    assert lines(run("call", "ingest", "GetUsage"))[0]["tier"] == "local"
    run("put", "take.wav")
    answers = lines(run("call", "ingest", "ReadBytes", "-", input=json.dumps({"audio": NAME})))
    assert answers[0]["sizeBytes"] == str(len(WAV))
    for arguments, hint in (
        (("ingest", "GetAudoi"), "GetAudio"),
        (("ingest", "GetAudio", "{name: 3"), "proto3 JSON"),
        (("ingest", "WriteUpload"), "stream"),
    ):
        result = run("call", *arguments)
        assert result.exit_code == 2
        assert hint in result.stderr


def test_usage_and_engines(run: Run) -> None:
    """Who one is, and who does the work."""
    assert run("usage").stdout.splitlines()[0] == "local\ttier local"
    assert lines(run("engines", "ingest", "--json"))[0]["name"] == "wave"
    assert run("engines", "ingest").stdout.split("\t")[2:4] == ["wave@1", "ready"]


@pytest.mark.parametrize("code", sorted(ERRORS_BY_CODE))
def test_each_error_has_its_exit_status(run: Run, small_mesh: SmallMesh, code: str) -> None:
    """The class of the error decides, as the table says; the message goes to stderr."""
    failure = status(code_pb2.Code.Value(code), "SOME_REASON", "Something was found.")
    small_mesh.ingest.failures.extend([failure] * 200)
    result = run("--timeout", "1", "info", NAME)
    assert result.exit_code == status_of(ERRORS_BY_CODE[code](""))
    assert result.stdout == ""
    assert "chorale: Something was found." in result.stderr
    small_mesh.ingest.failures.clear()


def test_an_error_as_json(run: Run) -> None:
    """With --json stderr holds one object that says everything."""
    result = run("--json", "info", f"audio/{'0' * 64}")
    error = json.loads(result.stderr)
    assert (error["error"], error["reason"], error["exitStatus"]) == (
        "NotFoundError", "AUDIO_NOT_FOUND", result.exit_code
    )  # fmt: skip
    assert len(error["traceId"]) == 32


def test_every_exit_status_means_one_thing() -> None:
    """No status twice, no class of error without one."""
    assert len({exit_.status for exit_ in EXITS}) == len(EXITS)
    named = {name for exit_ in EXITS for name in exit_.errors}
    assert named == {kind.__name__ for kind in ERRORS_BY_CODE.values()}


def test_up_says_how_to_get_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without chorale-mesh `chorale up` is no riddle, whatever is put behind it."""
    monkeypatch.setattr(command_main, "entry_points", lambda **_: [])
    result = run("up", "--only", "ingest")
    assert result.exit_code == 2
    assert "pip install chorale-mesh" in result.stderr
    assert "Run the whole mesh" in run("--help").stdout


def test_other_packages_add_commands(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin is listed and called; one that is broken breaks nothing else."""
    points = [
        EntryPoint("shout", f"{__name__}_plugin:shout", "chorale.commands"),
        EntryPoint("broken", "no.such.module:command", "chorale.commands"),
    ]
    import sys
    from types import ModuleType

    plugin = ModuleType(f"{__name__}_plugin")
    plugin.shout = click.command("shout")(lambda: click.echo("LA"))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, plugin.__name__, plugin)
    monkeypatch.setattr(command_main, "entry_points", lambda **_: points)
    assert run("shout").stdout == "LA\n"
    help_ = run("--help").stdout
    assert "shout" in help_
    assert "broken" in help_
    result = run("broken")
    assert result.exit_code == 2
    assert "no.such.module:command cannot be loaded" in result.stderr


@pytest.mark.parametrize("name", [*command_main.COMMANDS, "ops list", "ops get", "ops watch"])
def test_every_command_explains_itself(run: Run, name: str) -> None:
    """--help of each works and speaks; JSON is offered wherever results are printed."""
    result = run(*name.split(), "--help")
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) > 4
    if name not in ("ops", "completion"):
        assert "--json" in result.stdout


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0:00.4"), (1, "0:01"), (59.6, "1:00"), (187, "3:07"), (3723, "1:02:03")],
)
def test_lengths_are_written_as_on_a_sleeve(seconds: float, text: str) -> None:
    """Minutes and seconds."""
    assert naming.clock(seconds) == text
