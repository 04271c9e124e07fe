"""Fixtures of the tests of the mesh on one machine."""

import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import wave
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

CHORALE = str(Path(sys.executable).with_name("chorale"))
# Far more than is needed: a machine that does ten other things must fail no test.
UP_SECONDS = 240.0
DOWN_SECONDS = 90.0


@dataclass
class RunningMesh:
    """A `chorale up` of its own, as a person would have it in a terminal."""

    state: Path
    arguments: Sequence[str]
    process: subprocess.Popen[bytes] = field(init=False)

    @property
    def output(self) -> str:
        """What it printed so far."""
        return (self.state.parent / f"{self.state.name}.out").read_text()

    @property
    def told(self) -> dict[str, Any]:
        """What mesh.json says now."""
        mesh: dict[str, Any] = json.loads((self.state / "mesh.json").read_text())
        return mesh

    def pids(self) -> dict[str, int]:
        """The process of every part."""
        return {name: part["pid"] for name, part in self.told["parts"].items()}

    def family(self) -> list[psutil.Process]:
        """Every process of the mesh, the supervisor included."""
        supervisor = psutil.Process(self.process.pid)
        return [supervisor, *supervisor.children(recursive=True)]

    def address(self, service: str) -> str:
        """Where a service answers."""
        return str(self.told["services"][service]["address"])

    def start(self) -> "RunningMesh":
        """Starts it and waits until it says that it runs."""
        (self.state / "mesh.json").unlink(missing_ok=True)
        self.launch()
        deadline = time.monotonic() + UP_SECONDS
        while not (self.state / "mesh.json").exists():
            assert self.process.poll() is None, self.output
            assert time.monotonic() < deadline, self.output
            time.sleep(0.05)
        return self

    def launch(self) -> None:
        """Starts it and does not wait."""
        with (self.state.parent / f"{self.state.name}.out").open("wb") as output:
            self.process = subprocess.Popen(
                [CHORALE, "up", "--state", str(self.state), "--ports", "0", *self.arguments],
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def interrupt(self) -> int:
        """Presses Ctrl-C and waits for the end."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.process.wait(DOWN_SECONDS)


@pytest.fixture(scope="module")
def make_mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., RunningMesh]]:
    """Makes meshes, and stops them when the module's tests are over."""
    made: list[RunningMesh] = []

    def make(*arguments: str, state: Path | None = None) -> RunningMesh:
        mesh = RunningMesh(state or tmp_path_factory.mktemp("mesh") / "state", arguments)
        made.append(mesh)
        return mesh

    yield make
    for mesh in made:
        if hasattr(mesh, "process"):
            mesh.interrupt()


@pytest.fixture
def chorale() -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Runs the `chorale` command to its end."""

    def run(*arguments: str, home: Path | None = None) -> "subprocess.CompletedProcess[str]":
        environ = {name: text for name, text in os.environ.items() if "CHORALE" not in name}
        if home is not None:
            environ["CHORALE_HOME"] = str(home)
        return subprocess.run(
            [CHORALE, *arguments],
            capture_output=True,
            text=True,
            timeout=UP_SECONDS,
            env=environ,
            check=False,
        )

    return run


@pytest.fixture
def eventually() -> Callable[..., None]:
    """Waits until something holds; fails when it does not within the time."""

    def wait(holds: Callable[[], bool], timeout_seconds: float = 60.0) -> None:
        deadline = time.monotonic() + timeout_seconds
        while not holds():
            assert time.monotonic() < deadline, f"not within {timeout_seconds} seconds"
            time.sleep(0.05)

    return wait


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port on loopback that another program listens on."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


@pytest.fixture(scope="session")
def make_wav() -> Callable[..., bytes]:
    """Makes WAV files of noise; another seed, other bytes."""

    def make(seconds: float = 1.0, seed: int = 0) -> bytes:
        frames = np.random.default_rng(seed).integers(-9000, 9000, (int(44_100 * seconds), 2))
        file = io.BytesIO()
        with wave.open(file, "wb") as writer:
            writer.setnchannels(2)
            writer.setsampwidth(2)
            writer.setframerate(44_100)
            writer.writeframes(frames.astype("<i2").tobytes())
        return file.getvalue()

    return make
