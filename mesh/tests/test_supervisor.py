"""The mesh on one machine: it stands, heals, stops in order and leaves nothing behind."""

import contextlib
import json
import os
import signal
import socket
import time
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from chorale_client import Chorale
from chorale_mesh.children import record_path, running_pid
from chorale_mesh.objects import EmbeddedObjects
from chorale_mesh.plan import SERVICE_PORTS
from chorale_mesh.ports import is_free
from chorale_mesh.state import running_mesh

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("supervisor")]

ONLY = ("--only", "ingest,mastering", "--set", "mastering.processes=1")
UP_SECONDS = 240.0
# Whatever holds them, services are ended after 12 s, and what they stand on after 20 s.
STOP_SECONDS_MAX = 45.0

MakeMesh = Callable[..., Any]
Command = Callable[..., Any]
Eventually = Callable[..., None]


def client_of(mesh: Any) -> Chorale:
    """A client of that mesh."""
    return Chorale(addresses={name: mesh.address(name) for name in mesh.told["services"]})


def ports_of(mesh: Any) -> list[int]:
    """Every port that the mesh tells of."""
    told = mesh.told
    addresses = [part["address"] for part in told["parts"].values()]
    addresses += [service["metrics"] for service in told["services"].values()]
    return [int(address.rpartition(":")[2]) for address in addresses]


@pytest.fixture(scope="module")
def mesh(make_mesh: MakeMesh) -> Any:
    """One mesh for the tests that leave it whole."""
    return make_mesh(*ONLY).start()


def test_only_what_was_asked_for_runs(mesh: Any) -> None:
    """--only starts those services, on the parts they stand on, and no edge."""
    assert set(mesh.told["services"]) == {"ingest", "mastering"}
    assert set(mesh.told["parts"]) == {"PostgreSQL", "S3", "ingest", "mastering"}
    assert mesh.told["edge"] is None
    assert mesh.told["pid"] == mesh.process.pid


def test_everything_listens_on_loopback_only(mesh: Any) -> None:
    """No process of the mesh can be reached from another machine."""
    for process in mesh.family():
        for connection in process.net_connections("inet"):
            if connection.status == psutil.CONN_LISTEN:
                ip = connection.laddr.ip.removeprefix("::ffff:")  # IPv4 on a socket of both kinds
                assert ip_address(ip).is_loopback, process.cmdline()


def test_no_secret_is_on_a_command_line_or_readable_by_others(mesh: Any) -> None:
    """Passwords and keys are in files of the owner alone."""
    secrets = [path for path in (mesh.state / "secrets").iterdir() if path.is_file()]
    assert len(secrets) == 3
    texts = [path.read_text() for path in secrets]
    commands = "\n".join(" ".join(process.cmdline()) for process in mesh.family())
    assert not [path.name for path, text in zip(secrets, texts, strict=True) if text in commands]
    assert all(path.stat().st_mode & 0o077 == 0 for path in secrets)


def test_status_tells_that_all_is_well(mesh: Any, chorale: Command) -> None:
    """`chorale status` asks every service how it is."""
    done = chorale("status", "--state", str(mesh.state), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["serving"] == {"ingest": True, "mastering": True}


def test_a_second_mesh_in_the_same_place_is_refused(mesh: Any, chorale: Command) -> None:
    """The refusal names the process that lives there and what to do."""
    done = chorale("up", "--state", str(mesh.state), "--ports", "0")
    assert done.returncode == 9
    assert f"already runs in {mesh.state}, as process {mesh.process.pid}" in done.stderr
    assert "chorale down" in done.stderr
    assert mesh.process.poll() is None


@pytest.mark.parametrize("service", ["ingest", "mastering"])
def test_a_killed_service_comes_back_where_it_was(
    mesh: Any, service: str, eventually: Eventually, make_wav: Callable[..., bytes]
) -> None:
    """kill -9 of a service: a new process answers at the same address, and it is said."""
    before, address = mesh.pids()[service], mesh.address(service)
    os.kill(before, signal.SIGKILL)
    eventually(lambda: mesh.pids()[service] != before, 60)
    assert mesh.address(service) == address
    assert f"{service} was killed by SIGKILL; starting it again" in mesh.output
    with client_of(mesh) as chorale:
        assert chorale.engines(service)


@pytest.mark.parametrize("part", ["PostgreSQL", "S3"])
def test_a_killed_foundation_comes_back_with_its_data(
    mesh: Any, part: str, eventually: Eventually, make_wav: Callable[..., bytes], tmp_path: Path
) -> None:
    """kill -9 of the database or of S3: what was stored before is read after."""
    wav = make_wav(seed=len(part))
    with client_of(mesh) as chorale:
        audio = chorale.put(wav, file_name="kept.wav")
        before = mesh.pids()[part]
        os.kill(before, signal.SIGKILL)
        eventually(lambda: mesh.pids()[part] != before, 60)
        assert chorale.get(audio, tmp_path / "kept.wav").read_bytes() == wav


def test_down_stops_it_from_elsewhere(make_mesh: MakeMesh, chorale: Command) -> None:
    """`chorale down` in another terminal ends the mesh; a second time there is none."""
    mesh = make_mesh("--only", "mastering", "--set", "mastering.processes=1").start()
    done = chorale("down", "--state", str(mesh.state))
    assert done.returncode == 0, done.stderr
    assert mesh.process.wait(5) == 0
    again = chorale("down", "--state", str(mesh.state))
    assert again.returncode == 6
    assert "No mesh runs in" in again.stderr


def test_ctrl_c_leaves_no_process_and_no_port(make_mesh: MakeMesh) -> None:
    """One Ctrl-C: everything ends within seconds, in order, and nothing stays behind."""
    mesh = make_mesh(*ONLY, "--edge").start()
    family, ports = mesh.family(), ports_of(mesh)
    begun = time.monotonic()
    assert mesh.interrupt() == 0
    assert time.monotonic() - begun < STOP_SECONDS_MAX
    assert not [process for process in family if _lives(process)]
    assert all(is_free(port) for port in ports)
    assert not list(mesh.state.rglob("*.pid"))
    assert not (mesh.state / "mesh.json").exists()
    assert not (mesh.state / "secrets").exists()
    stopping = [line for line in mesh.output.splitlines() if "stopping" in line]
    assert [line.split("stopping ")[1] for line in stopping] == [
        "edge",
        "mastering, ingest",
        "S3, PostgreSQL",
    ]


def test_kill_9_of_the_supervisor_leaves_nothing_and_loses_nothing(
    make_mesh: MakeMesh,
    eventually: Eventually,
    make_wav: Callable[..., bytes],
    tmp_path: Path,
) -> None:
    """After kill -9 of `chorale up` its processes go, and the next one has all the audio."""
    mesh = make_mesh(*ONLY).start()
    wav = make_wav(seed=99)
    with client_of(mesh) as chorale:
        audio = chorale.put(wav, file_name="kept.wav")
    family = mesh.family()
    mesh.process.kill()
    mesh.process.wait()
    assert running_mesh(mesh.state) is None
    mesh.start()
    assert not [process for process in family if _lives(process)]
    with client_of(mesh) as chorale:
        assert chorale.get(audio.name, tmp_path / "kept.wav").read_bytes() == wav
    assert mesh.interrupt() == 0


def test_sigterm_while_starting_leaves_nothing(make_mesh: MakeMesh, eventually: Eventually) -> None:
    """Changing one's mind early is as clean as late."""
    mesh = make_mesh(*ONLY)
    mesh.launch()
    eventually(lambda: running_pid(record_path(mesh.state / "objects", "objects")) is not None)
    family = mesh.family()
    mesh.process.send_signal(signal.SIGTERM)
    assert mesh.process.wait(40) == 0
    assert not [process for process in family if _lives(process)]


def test_a_service_that_cannot_start_is_told_with_the_end_of_its_log(
    make_mesh: MakeMesh,
) -> None:
    """The reason is on the screen, nothing is left running, and the status is not 0."""
    mesh = make_mesh("--only", "mastering", "--set", "mastering.log_level=loud")
    mesh.launch()
    assert mesh.process.wait(60) == 1
    assert "mastering ended with status" in mesh.output
    assert "CHORALE_LOG_LEVEL is 'loud'; it must be one of" in mesh.output
    assert not list(mesh.state.glob("*/*.pid"))


def test_it_uses_servers_one_already_has(
    make_mesh: MakeMesh,
    database_url: str,
    object_server: EmbeddedObjects,
    bucket: str,
    make_wav: Callable[..., bytes],
) -> None:
    """--database and --objects: no server of ours is started, and the sound lies in that bucket."""
    keys = f"{object_server.access_key}:{object_server.secret_key}"
    objects_url = f"http://{keys}@{object_server.endpoint}/{bucket}"
    mesh = make_mesh("--only", "ingest", "--database", database_url, "--objects", objects_url)
    mesh.start()
    assert set(mesh.told["parts"]) == {"ingest"}
    assert mesh.told["objects"] == {"endpoint": object_server.endpoint}
    with client_of(mesh) as chorale:
        assert chorale.put(make_wav(seed=5), file_name="x.wav").frame_count == 44_100
    assert mesh.interrupt() == 0


@pytest.mark.parametrize(
    ("option", "url", "says"),
    [
        ("--database", "postgresql://x:secret-word@127.0.0.1:1/x", "The database at 127.0.0.1:1"),
        ("--objects", "http://x:secret-word@127.0.0.1:1/x", "The object storage at 127.0.0.1:1"),
    ],
)
def test_a_server_that_does_not_answer_is_said_without_its_password(
    make_mesh: MakeMesh, option: str, url: str, says: str
) -> None:
    """Whoever named a server that is away reads which, why and what to do."""
    mesh = make_mesh("--only", "ingest", option, url)
    mesh.launch()
    assert mesh.process.wait(UP_SECONDS) == 6
    assert says in mesh.output
    assert "leave the option out" in mesh.output
    assert urlsplit(url).password not in mesh.output


def test_a_taken_port_starts_nothing_and_names_its_holder(tmp_path: Path, chorale: Command) -> None:
    """Whoever is in the way of `chorale up` is told by process, with the way around."""
    port = SERVICE_PORTS["ingest"]
    with socket.socket() as server:
        with contextlib.suppress(OSError):  # another mesh of this machine holds it: as good
            server.bind(("127.0.0.1", port))
        server.listen()
        refused = chorale("up", "--state", str(tmp_path / "state"), "--only", "ingest")
    assert refused.returncode != 0
    assert f"Port {port}, which ingest needs, is taken by" in refused.stderr
    assert "--ports 0" in refused.stderr
    assert not list(tmp_path.rglob("*.pid"))


def test_a_misspelt_setting_starts_nothing(tmp_path: Path, chorale: Command) -> None:
    """A name that no service knows is refused before anything runs, with the nearest one."""
    wrong = ("--ports", "0", "--only", "ingest", "--set", "log_levl=debug")
    refused = chorale("up", "--state", str(tmp_path / "state"), *wrong)
    assert refused.returncode != 0
    assert "Did you mean log_level?" in refused.stderr
    assert not list(tmp_path.rglob("*.pid"))


def _lives(process: psutil.Process) -> bool:
    """Whether it runs; a zombie has ended and waits for whoever adopted it to look."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
