"""The state directory: one mesh at a time lives in it, and says there where it answers."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from chorale_mesh.children import running_pid
from chorale_mesh.errors import AlreadyRunsError, DiskFullError, StateUnusableError
from chorale_mesh.launcher import start_mark

MESH_FILE = "mesh.json"
# PostgreSQL's journal and SeaweedFS's volumes are allocated ahead: about 300 MiB.
NEEDED_BYTES = 512 << 20


class StateDirectory:
    """A directory held by this process, exclusively, for as long as the context lasts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None

    def __enter__(self) -> Self:
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(_lock_file(self.path), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StateUnusableError(self.path, error.strerror or str(error)) from error
        try:
            # The kernel lets go of it however we end, so no stale lock can stay behind.
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise AlreadyRunsError(self.path, running_mesh(self.path) or 0) from error
        try:
            self._note_holder(self._lock)
            free_bytes = shutil.disk_usage(self.path).free
            if free_bytes < NEEDED_BYTES:
                raise DiskFullError(self.path, free_bytes, NEEDED_BYTES)
        except BaseException:
            self._release()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        (self.path / MESH_FILE).unlink(missing_ok=True)
        self._release()

    def tell(self, mesh: Mapping[str, object]) -> None:
        """Writes mesh.json, by which clients find the mesh; never seen half written."""
        draft = self.path / f"{MESH_FILE}.new"
        draft.write_text(json.dumps(mesh, indent=2) + "\n")
        draft.chmod(0o600)
        draft.replace(self.path / MESH_FILE)

    def _note_holder(self, lock: int) -> None:
        note = json.dumps({"pid": os.getpid(), "started": start_mark(os.getpid())})
        try:
            os.ftruncate(lock, 0)
            os.pwrite(lock, note.encode(), 0)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise DiskFullError(self.path, 0, NEEDED_BYTES) from error
            raise

    def _release(self) -> None:
        if self._lock is not None:
            os.ftruncate(self._lock, 0)
            os.close(self._lock)
            self._lock = None


def running_mesh(path: Path) -> int | None:
    """The process of the mesh that lives in a state directory, if one does."""
    return running_pid(_lock_file(path))


def told_mesh(path: Path) -> dict[str, Any]:
    """What the running mesh wrote about itself; empty while it has written nothing."""
    try:
        mesh: dict[str, Any] = json.loads((path / MESH_FILE).read_text())
    except FileNotFoundError:
        return {}
    return mesh


def _lock_file(path: Path) -> Path:
    return path / "mesh.lock"
