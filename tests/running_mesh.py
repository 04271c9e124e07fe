"""Running a whole mesh as a person does: `chorale up`, in a state directory of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from chorale_client import Chorale

# Far more than is needed: a machine that does ten other things must fail no test.
START_SECONDS_MAX = 240
STOP_SECONDS_MAX = 90


@dataclass(frozen=True)
class RunningMesh:
    """A mesh that `chorale up` runs."""

    state: Path
    process: subprocess.Popen[bytes]

    def record(self) -> dict[str, dict[str, dict[str, str]]]:
        """What mesh.json says runs where."""
        found: dict[str, dict[str, dict[str, str]]] = json.loads(
            (self.state / "mesh.json").read_text()
        )
        return found

    def address(self, service: str) -> str:
        """Where a service answers."""
        return self.record()["services"][service]["address"]

    def client(self) -> Chorale:
        """A client that finds this mesh."""
        return Chorale(home=self.state)

    def run(self, *arguments: str) -> str:
        """What `chorale ARGUMENTS` prints when it finds this mesh; it must end well."""
        done = subprocess.run(
            [Path(sys.executable).with_name("chorale"), *arguments],
            env={**os.environ, "CHORALE_HOME": str(self.state)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def start(state: Path, *options: str, environment: dict[str, str] | None = None) -> RunningMesh:
    """Runs `chorale up` and waits until it says that the mesh is ready."""
    log = state.parent / f"{state.name}.log"
    chorale = Path(sys.executable).with_name("chorale")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [chorale, "up", "--ports", "0", "--state", state, *options],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
        )
    deadline = time.monotonic() + START_SECONDS_MAX
    while not (state / "mesh.json").exists():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise RuntimeError(f"The mesh did not start:\n{log.read_text()[-4000:]}")
        time.sleep(0.1)
    return RunningMesh(state, process)


def stop(mesh: RunningMesh) -> None:
    """Ctrl-C, as a person would."""
    mesh.process.send_signal(signal.SIGINT)
    try:
        mesh.process.wait(STOP_SECONDS_MAX)
    finally:
        mesh.process.kill()
