"""Brings published weights into a folder, each checked by its digest, before a service starts.

WEIGHTS is JSON: {"name.pt": {"url": "https://...", "sha256": "..."}}. A file that is there and
whole is not fetched again. One that is not what its digest says never gets its name.
"""

import hashlib
import json
import os
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

CHUNK_BYTES = 1 << 20
ATTEMPTS = 4
TIMEOUT_SECONDS = 60.0


def digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(url: str, sha256: str, path: Path) -> None:
    """Writes beside `path` and gives it its name once the digest agrees."""
    partial = path.with_name(f".{path.name}.{os.uname().nodename}.partial")
    # The schema of the values admits http and https alone.
    request = urllib.request.Request(url, headers={"User-Agent": "chorale"})  # noqa: S310
    with (
        urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer,  # noqa: S310
        partial.open("wb") as to,
    ):
        while chunk := answer.read(CHUNK_BYTES):
            to.write(chunk)
    found = digest(partial)
    if found != sha256:
        partial.unlink()
        sys.exit(f"{url} has SHA-256 {found}; {sha256} was asked for. {path.name} was not kept.")
    partial.replace(path)


def bring(name: str, url: str, sha256: str, folder: Path) -> None:
    """Fetches one file unless it is there; tries again where the network fails."""
    path = folder / name
    if path.exists() and digest(path) == sha256:
        sys.stdout.write(f"{name} is there.\n")
        return
    for attempt in range(1, ATTEMPTS + 1):
        try:
            fetch(url, sha256, path)
        except (OSError, urllib.error.URLError) as error:
            if attempt == ATTEMPTS:
                sys.exit(f"{url} cannot be fetched: {error}")
            time.sleep(2**attempt)
        else:
            sys.stdout.write(f"{name} was fetched.\n")
            return


if __name__ == "__main__":
    for name, asked in json.loads(os.environ["WEIGHTS"]).items():
        bring(name, asked["url"], asked["sha256"], Path(sys.argv[1]))
