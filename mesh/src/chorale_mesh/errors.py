"""Why a mesh cannot be started or found: each error says what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


class MeshError(Exception):
    """The mesh on this machine cannot do what was asked."""


class AlreadyRunsError(MeshError):
    """Another mesh lives in the state directory."""

    def __init__(self, state: Path, pid: int) -> None:
        super().__init__(state, pid)
        self.state, self.pid = state, pid

    def __str__(self) -> str:
        return (
            f"A mesh already runs in {self.state}, as process {self.pid}. `chorale status` shows "
            "it, `chorale down` stops it; `chorale up --state DIRECTORY --ports 0` starts another."
        )


class NotRunningError(MeshError):
    """No mesh lives in the state directory."""

    def __init__(self, state: Path) -> None:
        super().__init__(state)
        self.state = state

    def __str__(self) -> str:
        return f"No mesh runs in {self.state}. `chorale up` starts one."


class PortTakenError(MeshError):
    """A port the mesh was to use belongs to another program."""

    def __init__(self, user: str, port: int, holder: str) -> None:
        super().__init__(user, port, holder)
        self.user, self.port, self.holder = user, port, holder

    def __str__(self) -> str:
        return (
            f"Port {self.port}, which {self.user} needs, is taken by {self.holder}. "
            "Stop that program, or let the mesh choose free ports: chorale up --ports 0"
        )


class DiskFullError(MeshError):
    """The file system of the state directory has too little room."""

    def __init__(self, directory: Path, free_bytes: int, needed_bytes: int) -> None:
        super().__init__(directory, free_bytes, needed_bytes)
        self.directory, self.free_bytes, self.needed_bytes = directory, free_bytes, needed_bytes

    def __str__(self) -> str:
        return (
            f"{self.free_bytes >> 20} MiB are free where {self.directory} lies; the mesh needs "
            f"{self.needed_bytes >> 20} MiB. Make room, or put it elsewhere: chorale up --state DIR"
        )


class StateUnusableError(MeshError):
    """The state directory cannot be written to."""

    def __init__(self, directory: Path, found: str) -> None:
        super().__init__(directory, found)
        self.directory, self.found = directory, found

    def __str__(self) -> str:
        return (
            f"The state directory {self.directory} cannot be used: {self.found}. Name one that you "
            "may write to: chorale up --state DIRECTORY"
        )


class PackageMissingError(MeshError):
    """Something that was asked for is not installed."""

    def __init__(self, missing: Sequence[str], remedy: str) -> None:
        super().__init__(missing, remedy)
        self.missing, self.remedy = tuple(missing), remedy

    def __str__(self) -> str:
        verb = "is" if len(self.missing) == 1 else "are"
        return f"{', '.join(self.missing)} {verb} not installed here. {self.remedy}"


class UnreachableError(MeshError):
    """A server that was named to be used does not answer."""

    def __init__(self, what: str, where: str, found: str) -> None:
        super().__init__(what, where, found)
        self.what, self.where, self.found = what, where, found

    def __str__(self) -> str:
        return (
            f"{self.what} at {self.where} does not serve us: {self.found}. Mend that, or leave the "
            "option out, and the mesh brings its own."
        )


class SettingUnknownError(MeshError):
    """A setting was given that no service has."""

    def __init__(self, name: str, nearest: str) -> None:
        super().__init__(name, nearest)
        self.name, self.nearest = name, nearest

    def __str__(self) -> str:
        hint = f" Did you mean {self.nearest}?" if self.nearest else ""
        return (
            f"None of the services to start has a setting {self.name!r}.{hint} "
            "`python -m chorale_ingest --settings` lists those of ingest."
        )


class PartFailedError(MeshError):
    """A part of the mesh ended, or did not become ready."""

    def __init__(self, part: str, found: str, log: Path, ending: str) -> None:
        super().__init__(part, found, log, ending)
        self.part, self.found, self.log, self.ending = part, found, log, ending

    def __str__(self) -> str:
        says = f" and ends with:\n{self.ending}" if self.ending else "."
        return f"{self.part} {self.found}. Its log is {self.log}{says}"
