"""The embedded PostgreSQL: real, private, and unimpressed by crashes."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import psycopg
import pytest
from chorale_mesh.children import record_path, running_pid
from chorale_mesh.postgres import EmbeddedPostgres, PostgresError


def test_it_offers_pgvector(database_url: str) -> None:
    """The vector extension is there to be created, and measures distances."""
    with psycopg.connect(database_url) as connection:
        connection.execute("CREATE EXTENSION vector")
        row = connection.execute("SELECT '[0,3]'::vector <-> '[4,0]'::vector").fetchone()
    assert row == (5.0,)


def test_a_wrong_password_is_refused(postgres_url: str) -> None:
    """Whoever reaches the port without the password does not get in."""
    intruder = psycopg.conninfo.make_conninfo(postgres_url, password="guess")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(intruder)


def test_it_listens_on_loopback_only(postgres: EmbeddedPostgres) -> None:
    """No other machine can reach it."""
    assert postgres.child is not None
    connections = psutil.Process(postgres.child.pid).net_connections("inet")
    listening = {c.laddr.ip for c in connections if c.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1"}


def test_the_password_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    """Nothing in the state directory gives other users the password."""
    with EmbeddedPostgres(tmp_path / "pg"):
        password = tmp_path / "pg" / "password"
        assert stat.S_IMODE(password.stat().st_mode) == 0o600
        assert stat.S_IMODE((tmp_path / "pg" / "data").stat().st_mode) == 0o700


def test_what_was_committed_survives_a_kill(tmp_path: Path) -> None:
    """After kill -9 the same URL leads to the same rows."""
    with EmbeddedPostgres(tmp_path / "pg") as postgres:
        url = postgres.url
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 41 AS number")
        postgres.kill()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(url)
        postgres.start()
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT number FROM kept").fetchone() == (41,)


def test_it_dies_with_a_killed_parent_and_starts_again(
    tmp_path: Path, eventually: Callable[..., None]
) -> None:
    """kill -9 of the program that runs it leaves no process, and the next start finds its data."""
    program = textwrap.dedent(
        f"""
        import pathlib, time
        from chorale_mesh.postgres import EmbeddedPostgres
        EmbeddedPostgres(pathlib.Path({str(tmp_path / "pg")!r})).start()
        print("up", flush=True)
        time.sleep(600)
        """
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    with parent.stdout:
        assert parent.stdout.readline() == b"up\n"
    pid = running_pid(record_path(tmp_path / "pg", "postgres"))
    assert pid is not None
    parent.kill()
    parent.wait()
    eventually(lambda: running_pid(record_path(tmp_path / "pg", "postgres")) is None)
    with EmbeddedPostgres(tmp_path / "pg") as postgres, psycopg.connect(postgres.url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_leftover_server_is_ended_before_the_next(tmp_path: Path) -> None:
    """A server that outlived its parent is found by its record and gives way."""
    with EmbeddedPostgres(tmp_path / "pg") as first:
        assert first.child is not None
        old_pid = first.child.pid
        second = EmbeddedPostgres(tmp_path / "pg")
        second.start()
        assert first.child.exit_status() is not None
        assert second.child is not None
        assert second.child.pid != old_pid
        second.stop()


def test_a_stale_lock_file_of_another_process_does_not_matter(tmp_path: Path) -> None:
    """A postmaster.pid left by kill -9, whose number now belongs to somebody else, is overcome."""
    with EmbeddedPostgres(tmp_path / "pg") as postgres:
        lock = (tmp_path / "pg" / "data" / "postmaster.pid").read_bytes()
        postgres.kill()
        stranger = subprocess.Popen(["sleep", "600"])
        try:
            stale = tmp_path / "pg" / "data" / "postmaster.pid"
            stale.write_bytes(b"%d\n" % stranger.pid + lock.partition(b"\n")[2])
            postgres.start()
            assert stranger.poll() is None
        finally:
            stranger.kill()
            stranger.wait()


def test_half_a_cluster_is_made_anew(tmp_path: Path) -> None:
    """A first start that was killed in the middle leaves nothing that is mistaken for data."""
    draft = tmp_path / "pg" / "data.new"
    draft.mkdir(parents=True)
    (draft / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(tmp_path / "pg") as postgres, psycopg.connect(postgres.url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert not draft.exists()


def test_a_taken_port_is_said(tmp_path: Path, taken_port: int) -> None:
    """A port that another program has is named in the error."""
    with pytest.raises(PostgresError, match=f"Port {taken_port} .* is taken"):
        EmbeddedPostgres(tmp_path / "pg", port=taken_port).start()


def test_a_foreign_process_with_a_recorded_number_is_left_alone(tmp_path: Path) -> None:
    """A record names a process by its start too, so that a reused number harms nobody."""
    stranger = subprocess.Popen(["sleep", "600"])
    try:
        (tmp_path / "pg").mkdir()
        record = record_path(tmp_path / "pg", "postgres")
        record.write_text(f'{{"pid": {stranger.pid}, "started": "another-boot:1"}}')
        with EmbeddedPostgres(tmp_path / "pg"):
            assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_stopping_is_quick_with_clients_connected(tmp_path: Path) -> None:
    """Sessions are cut rather than waited for."""
    with EmbeddedPostgres(tmp_path / "pg") as postgres, psycopg.connect(postgres.url):
        begun = time.monotonic()
        postgres.stop()
        assert time.monotonic() - begun < 5


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT MEASURED: only root can become another user")
def test_a_plain_user_needs_no_root() -> None:
    """Without root it runs as whoever starts it."""
    home = Path(tempfile.mkdtemp(prefix="chorale-plain-"))
    os.chown(home, 65534, 65534)
    program = textwrap.dedent(
        f"""
        import pathlib, psycopg, psutil, os
        from chorale_mesh.postgres import EmbeddedPostgres
        with EmbeddedPostgres(pathlib.Path({str(home)!r}) / "pg") as postgres:
            with psycopg.connect(postgres.url) as connection:
                print(connection.execute("SELECT 42").fetchone()[0])
            print(os.getuid(), psutil.Process(postgres.child.pid).uids().real)
        """
    )
    # The right to read keeps this Python, which may lie below /root, within reach.
    become = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    become += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    try:
        done = subprocess.run(
            [*become, sys.executable, "-c", program],
            env={"HOME": str(home), "PATH": os.environ["PATH"]},
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )
        if "setpriv:" in done.stderr:
            pytest.skip(f"NOT MEASURED: {done.stderr.strip()}")
        assert done.stdout.split() == ["42", "65534", "65534"], done.stderr
    finally:
        shutil.rmtree(home)


def test_signals_are_not_left_ignored(postgres: EmbeddedPostgres) -> None:
    """The launcher hands its program the default signals, though Python ignores some."""
    assert postgres.child is not None
    status = Path(f"/proc/{postgres.child.pid}/status")
    if not status.exists():
        pytest.skip("NOT MEASURED: needs /proc")
    ignored = int(
        next(s for s in status.read_text().splitlines() if s.startswith("SigIgn")).split()[1], 16
    )
    assert not ignored >> (signal.SIGINT - 1) & 1
