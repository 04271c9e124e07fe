"""G14: how much CPU and memory a service without models takes until health says SERVING.

The yardstick is what a service that imports its models' libraries pays before its first line
of work: `import torch, librosa.beat`. Where those are not installed only memory is measured.
Services that are installed are measured too, on a real PostgreSQL and a real S3 server.
"""

import asyncio
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
from chorale_mesh.objects import EmbeddedObjects
from chorale_mesh.postgres import EmbeddedPostgres
from grpc_health.v1 import health_pb2, health_pb2_grpc
from minio import Minio

from bench.children import Child, cpu_seconds_of_ended, free_address
from bench.ratios import Bound, Ratio, report

ROUNDS = 3
IMPORTS = "import torch, librosa.beat"
SERVICES = ("ingest", "analysis", "fingerprint", "mastering", "generation")
START_SECONDS_MAX = 60.0
PEAK_MEBIBYTES_MAX = 120.0
GOAL = 0.15


def main() -> int:
    """Starts each in turns and reports."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        contenders: dict[str, tuple[str, ...]] = {"runtime": ("bench.servers", "ours")}
        environ: dict[str, str] = {}
        installed = [name for name in SERVICES if importlib.util.find_spec(f"chorale_{name}")]
        if installed:
            environ = stack.enter_context(_parts(Path(folder)))
            contenders |= {name: (f"chorale_{name}",) for name in installed}
        cpu: dict[str, list[float]] = {name: [] for name in contenders}
        peak: dict[str, float] = dict.fromkeys(contenders, 0.0)
        imports: list[float] = []
        has_models = all(importlib.util.find_spec(name) for name in ("torch", "librosa"))
        for number in range(ROUNDS + 1):  # the first fills the page cache and applies migrations
            for name, command in contenders.items():
                seconds, mebibytes = _start(command, {} if name == "runtime" else environ)
                if number:
                    cpu[name].append(seconds)
                peak[name] = max(peak[name], mebibytes)
            if has_models and number % 2:  # 5 s each: half as often
                imports.append(cpu_seconds_of_ended([sys.executable, "-c", IMPORTS]))
    figures: list[Ratio | Bound] = []
    for name in contenders:
        if has_models:
            what = f"{name}: CPU to SERVING / {IMPORTS}"
            figures.append(Ratio(what, cpu[name], imports, "s of CPU", at_most=GOAL))
        figures.append(Bound(f"{name}: memory at SERVING", peak[name], "MiB", PEAK_MEBIBYTES_MAX))
    if not has_models:
        print("torch and librosa are not installed: CPU is not compared")
    return report(figures)


@contextmanager
def _parts(folder: Path) -> Iterator[dict[str, str]]:
    with EmbeddedPostgres(folder / "pg") as postgres, EmbeddedObjects(folder / "s3") as objects:
        client = Minio(
            endpoint=objects.endpoint,
            access_key=objects.access_key,
            secret_key=objects.secret_key,
            secure=False,
        )
        client.make_bucket(bucket_name="chorale")
        yield {
            "CHORALE_DATABASE_URL": postgres.url,
            "CHORALE_OBJECTS_ENDPOINT": objects.endpoint,
            "CHORALE_OBJECTS_ACCESS_KEY": objects.access_key,
            "CHORALE_OBJECTS_SECRET_KEY": objects.secret_key,
        }


def _start(command: tuple[str, ...], environ: Mapping[str, str]) -> tuple[float, float]:
    """CPU seconds and peak MiB of a fresh process, from its start to SERVING."""
    address = free_address()
    clean = {key: value for key, value in os.environ.items() if not key.startswith("CHORALE_")}
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        env={**clean, "CHORALE_ADDRESS": address, "CHORALE_LOG_LEVEL": "error", **environ},
        stdout=subprocess.DEVNULL,
    )
    try:
        asyncio.run(_until_serving(address, process))
        child = Child(address, process.pid)
        return child.cpu_seconds(), child.peak_mebibytes()
    finally:
        process.kill()
        process.wait()


async def _until_serving(address: str, process: "subprocess.Popen[bytes]") -> None:
    request = health_pb2.HealthCheckRequest()
    async with asyncio.timeout(START_SECONDS_MAX), grpc.aio.insecure_channel(address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        while True:
            if process.poll() is not None:
                raise RuntimeError(f"the service ended with {process.returncode}")
            try:
                answer = await health.Check(request, wait_for_ready=True, timeout=1)
                if answer.status == health_pb2.HealthCheckResponse.SERVING:
                    return
            except grpc.aio.AioRpcError:
                pass
            await asyncio.sleep(0.02)


if __name__ == "__main__":
    started = time.monotonic()
    code = main()
    print(f"     measured in {time.monotonic() - started:.0f} s")
    sys.exit(code)
