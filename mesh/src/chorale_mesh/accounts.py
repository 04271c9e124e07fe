"""The user that PostgreSQL runs as when we are root, which it refuses to be."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from pathlib import Path

from chorale_mesh.children import Account
from chorale_mesh.errors import MeshError

SERVER_USER = "chorale-postgres"
# Where programs are copied to that another user cannot reach, say in a checkout below /root.
_SHARED_PROGRAMS = Path("/var/lib/chorale/programs")


class NoAccountError(MeshError):
    """No user could be made to run PostgreSQL as."""

    def __init__(self, user: str, found: str) -> None:
        super().__init__(user, found)
        self.user, self.found = user, found

    def __str__(self) -> str:
        return (
            f"PostgreSQL refuses to run as root, and the user {self.user} could not be made "
            f"({self.found}). Make it (useradd --system {self.user}), or run the mesh as a plain "
            "user."
        )


def server_account() -> Account | None:
    """The user to serve as: None for ourselves, an account without rights when we are root."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(SERVER_USER)
    except KeyError:
        entry = _make_user()
    return Account(entry.pw_uid, entry.pw_gid)


def _make_user() -> pwd.struct_passwd:
    program = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if program is None:
        raise NoAccountError(SERVER_USER, "there is no useradd")
    made = subprocess.run(  # noqa: S603 - arguments are constants
        [
            *(program, "--system", "--user-group", "--no-create-home"),
            *("--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin", SERVER_USER),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        return pwd.getpwnam(SERVER_USER)  # a mesh beside us may have made it meanwhile
    except KeyError:
        raise NoAccountError(SERVER_USER, made.stderr.strip()) from None


def within_reach(binaries: Path, account: Account | None) -> Path:
    """The programs where `account` may run them, copied out of a private folder if need be.

    Copying rather than opening the folders on the way: whom they shut out is not ours to say.
    """
    if account is None or all(folder.stat().st_mode & 0o001 for folder in binaries.parents):
        return binaries
    home = binaries.parent
    version = f"{home.name}-{int((binaries / 'postgres').stat().st_mtime)}"
    shared = _SHARED_PROGRAMS / version
    if not shared.exists():
        shared.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        draft = shared.with_name(f"{shared.name}.{os.getpid()}")
        shutil.copytree(home, draft, ignore=shutil.ignore_patterns("include", "*.a"))
        try:
            draft.rename(shared)
        except OSError:  # another mesh was first
            shutil.rmtree(draft)
    return shared / binaries.name
