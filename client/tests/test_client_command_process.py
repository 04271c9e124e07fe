"""The `chorale` command as a process: pipes, terminals, signals, start-up."""

import hashlib
import json
import os
import pty
import resource
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from client_songs import song
from loopback import SmallMesh

CHORALE = [sys.executable, "-c", "from chorale_client.command.main import main; main()"]
WAV = song(1)


def environ(mesh: SmallMesh | None, home: Path) -> dict[str, str]:
    """A clean environment that knows this mesh."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CHORALE_")}
    known = {"CHORALE_ENDPOINT": mesh.address} if mesh is not None else {}
    return kept | known | {"CHORALE_HOME": str(home), "NO_COLOR": "1", "TERM": "xterm"}


def run(
    mesh: SmallMesh | None, home: Path, *arguments: str, stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """Runs it to its end, everything in pipes."""
    return subprocess.run(
        [*CHORALE, *arguments],
        env=environ(mesh, home),
        input=stdin,
        capture_output=True,
        timeout=60,
    )


def test_a_pipe_carries_sound_and_nothing_else(small_mesh: SmallMesh, tmp_path: Path) -> None:
    """put - | get -o -: bytes in, the same bytes out, no bar, nothing on stderr."""
    put = run(small_mesh, tmp_path, "put", "-q", "-", stdin=WAV)
    assert (put.returncode, put.stderr) == (0, b"")
    got = run(small_mesh, tmp_path, "get", put.stdout.decode().strip(), "-o", "-")
    assert (got.returncode, got.stdout, got.stderr) == (0, WAV, b"")


def test_exit_statuses_reach_the_shell(small_mesh: SmallMesh, tmp_path: Path) -> None:
    """0, 2, 3, 6: what scripts decide by."""
    assert run(small_mesh, tmp_path, "usage").returncode == 0
    assert run(small_mesh, tmp_path, "put", "absent.wav").returncode == 2
    assert run(small_mesh, tmp_path, "nonsense").returncode == 2
    assert run(small_mesh, tmp_path, "info", f"audio/{'0' * 64}").returncode == 3
    lost = run(None, tmp_path, "--json", "ls")
    assert lost.returncode == 6
    assert json.loads(lost.stderr)["reason"] == "MESH_NOT_FOUND"


def test_a_terminal_shows_a_bar(small_mesh: SmallMesh, tmp_path: Path) -> None:
    """On a terminal there is progress on stderr, and short names on stdout."""
    file = tmp_path / "take.wav"
    file.write_bytes(song(2, frame_count=2_000_000))
    shown = on_terminal(environ(small_mesh, tmp_path), "put", str(file))
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert f"audio/{digest[:8]}…  stereo 44.1 kHz 0:45" in shown
    assert "take.wav" in shown
    assert "\x1b[" in shown


def on_terminal(environment: dict[str, str], *arguments: str) -> str:
    """What somebody at a terminal sees."""
    master, slave = pty.openpty()
    with subprocess.Popen(
        [*CHORALE, *arguments], env=environment, stdin=slave, stdout=slave, stderr=slave
    ) as process:
        os.close(slave)
        seen = b""
        while select.select([master], [], [], 30)[0]:
            try:
                piece = os.read(master, 65536)
            except OSError:  # the other end is closed
                break
            if not piece:
                break
            seen += piece
        assert process.wait(timeout=30) == 0
    os.close(master)
    return seen.decode()


def test_ctrl_c_ends_it_with_130(small_mesh: SmallMesh, tmp_path: Path) -> None:
    """An interrupted command says nothing but its status."""
    small_mesh.ingest.chunk_seconds = 30
    wav = song(3, frame_count=1_000_000)
    name = run(small_mesh, tmp_path, "put", "-q", "-", stdin=wav).stdout.decode().strip()
    # Tests that a shell runs in its background ignore Ctrl-C, and so would what they start.
    ours = signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(
        [*CHORALE, "get", name, "-o", str(tmp_path / "out.wav")],
        env=environ(small_mesh, tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        signal.signal(signal.SIGINT, ours)
        until = time.monotonic() + 20
        while not list(tmp_path.glob(".out.wav.*.part")) and time.monotonic() < until:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=20)
    assert process.returncode == 130
    assert b"Traceback" not in told
    assert not (tmp_path / "out.wav").exists()


def test_help_starts_fast_and_loads_nothing_heavy(tmp_path: Path) -> None:
    """`chorale --help` takes less than 0.3 s of CPU: neither gRPC, protobuf nor rich is loaded."""
    program = (
        "import sys\n"
        "from chorale_client.command.main import cli\n"
        "try: cli(['--help'], prog_name='chorale')\n"
        "except SystemExit: pass\n"
        "print(sorted({'grpc', 'google.protobuf', 'rich', 'asyncio'} & set(sys.modules)))\n"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    told = subprocess.run(
        [sys.executable, "-c", program],
        env=environ(None, tmp_path),
        capture_output=True,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert told.stdout.splitlines()[-1] == b"[]"
    seconds = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    assert seconds < 0.3


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_completes(tmp_path: Path, shell: str) -> None:
    """The script of each shell is printed, and what it calls back answers."""
    script = run(None, tmp_path, "completion", shell)
    assert script.returncode == 0
    assert b"_CHORALE_COMPLETE" in script.stdout
    words = {"COMP_WORDS": "chorale do", "COMP_CWORD": "1" if shell != "fish" else "do"}
    answered = subprocess.run(
        CHORALE,
        env=environ(None, tmp_path) | words | {"_CHORALE_COMPLETE": f"{shell}_complete"},
        capture_output=True,
        check=True,
    )
    assert b"doctor" in answered.stdout
