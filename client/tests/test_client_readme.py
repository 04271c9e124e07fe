"""What the README says is so: its programs run, its tables are those of the code."""

import re
from pathlib import Path

import pytest
from chorale_client.command.exits import EXITS
from chorale_client.command.main import COMMANDS, ELSEWHERE
from chorale_client.services import SERVICES
from client_songs import song
from loopback import SmallMesh

CLIENT = Path(__file__).parents[1]
README = (CLIENT / "README.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


@pytest.mark.parametrize("program", PROGRAMS, ids=["sync", "async"])
def test_programs_run(
    program: str,
    small_mesh: SmallMesh,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each program runs as it is printed."""
    monkeypatch.setenv("CHORALE_ENDPOINT", small_mesh.address)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "take.wav").write_bytes(song(1))
    exec(compile(program, "README.md", "exec"), {"__name__": "__main__"})
    assert re.search(r"audio/[0-9a-f]{64} 1\.0|-14\.0 LUFS", capsys.readouterr().out)


def test_the_exit_statuses_are_those_of_the_command() -> None:
    """Row by row."""
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", README, flags=re.MULTILINE)
    assert rows == [(str(exit_.status), exit_.meaning) for exit_ in EXITS]


def test_every_command_is_named() -> None:
    """The commands of this package and those of chorale-mesh."""
    assert f"`chorale {' '.join(COMMANDS)}`" in README
    assert f"`{' '.join(ELSEWHERE)}`" in README


def test_every_variable_is_explained() -> None:
    """What the code reads from the environment is in the table, and nothing else is."""
    read = {f"CHORALE_{name.upper()}_ADDRESS" for name in SERVICES} | {"TRACEPARENT"}
    for file in (CLIENT / "src").rglob("*.py"):
        read |= set(re.findall(r'"(CHORALE_[A-Z_]+[A-Z])"', file.read_text(encoding="utf-8")))
    table = "".join(re.findall(r"^\| `.*$", README, flags=re.MULTILINE))
    told = set(re.findall(r"`([A-Z_]+)`", table))
    assert told == read
