"""Prometheus's own tool, where it is: rules are checked and tested by what will evaluate them."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest


def promtool(directory: Path, *arguments: str) -> None:
    """Runs `promtool ARGUMENTS` in a directory, where it must have nothing to complain of."""
    program = os.environ.get("PROMTOOL") or shutil.which("promtool")
    if program is None:
        pytest.skip(
            "NOT TESTED: promtool is absent (Debian: prometheus), no rule was evaluated; or set"
            " PROMTOOL"
        )
    done = subprocess.run(
        [program, *arguments], cwd=directory, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
