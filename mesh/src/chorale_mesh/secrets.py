"""Secrets of the local mesh: made once, kept in files that only their owner may read."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def kept_secret(path: Path, n_bytes: int = 24) -> str:
    """Reads the secret at `path`, making a random one the first time."""
    if not path.exists():
        keep_secret(path, secrets.token_hex(n_bytes))
    return path.read_text().strip()


def keep_secret(path: Path, secret: str) -> Path:
    """Writes a known secret where only its owner may read it; answers the path."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secret)
    return draft.replace(path)
