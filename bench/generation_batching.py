"""Requests that come at once, by the service's own batcher and worker process.

    python -m bench.generation_batching [cpu|cuda:0]

On the CPU it shows why the service batches nothing there; `bench.generation_cascade --gpu` asks
for what it shall give on a GPU.
"""

import os

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

import asyncio
import hashlib
import sys
import tempfile
import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from chorale_generation import worker
from chorale_generation.cascade import codec, network
from chorale_generation.cascade.asked import CascadeWishes, ModelPath
from chorale_generation.cascade.ladder import Rung
from chorale_generation.cascade.windows import spread
from chorale_generation.checkpoints import written
from chorale_generation.servicer.batching import Batcher
from chorale_runtime.processes import CPU, Processes

from bench.ratios import Ratio, report

_CPU_REQUESTS, _CPU_BATCH = 5, 4  # the first goes alone
_SECONDS = 16.0


@dataclass(frozen=True)
class Served:
    """How many requests of 16 s are answered in a second, and how long one in twenty takes."""

    requests_per_second: float
    p95_seconds: float


def main() -> int:
    """Measures requests in batches beside one after another."""
    device = sys.argv[1] if len(sys.argv) > 1 else CPU
    many, most = (_CPU_REQUESTS, _CPU_BATCH) if device == CPU else (32, 8)
    together, alone = (asyncio.run(served(device, width, many)) for width in (most, 1))
    name = f"{many} requests of 16 s at once, batches of {most} beside one by one, per s"
    rates = [together.requests_per_second], [alone.requests_per_second]
    late = [together.p95_seconds], [alone.p95_seconds]
    return report([Ratio(name, *rates, "/s"), Ratio("95th percentile of a request", *late, "s")])


async def served(device: str, batch_most: int, count: int) -> Served:
    """Submits so many requests at once, after one that loads the weights."""
    with tempfile.TemporaryDirectory() as directory:
        files, tasks = _files(Path(directory)), _tasks(Path(directory), device, count)
        devices = [] if device == CPU else [device]
        async with Processes.open(1, devices=devices) as processes:

            async def run(_: Hashable, some: Sequence[worker.CascadeTask]) -> Sequence[object]:
                return await processes.run(
                    worker.make_cascades,
                    list(some),
                    files,
                    device.partition(":")[0],
                    batch_most,
                    on_progress=lambda *_: None,
                    device=device,
                )

            batcher = Batcher[worker.CascadeTask, object](run, batch_most)
            await batcher.submit("", tasks[0])
            begun = time.perf_counter()

            async def taken(task: worker.CascadeTask) -> float:
                await batcher.submit("", task)
                return time.perf_counter() - begun

            seconds = sorted(await asyncio.gather(*(taken(task) for task in tasks)))
    return Served(count / seconds[-1], seconds[round(0.95 * (count - 1))])


def _tasks(directory: Path, device: str, count: int) -> list[worker.CascadeTask]:
    draws = np.random.default_rng(1)
    tasks = []
    for number in range(count):
        room = directory / str(number)
        room.mkdir()
        pair = 0.1 * draws.standard_normal((2, round(_SECONDS * codec.RATE_HZ), 1))
        np.save(room / "pair.npy", pair.astype(np.float32))
        windows = spread(pair.shape[1], pair.shape[1], 0.0)
        rung = Rung(device=device.partition(":")[0])
        tasks.append(worker.CascadeTask(str(room), CascadeWishes(), windows, 0, rung))
    return tasks


def _files(directory: Path) -> tuple[ModelPath, ModelPath]:
    torch.manual_seed(1)
    models = codec.untrained(), network.Cascade(network.Shape(stage_count=1))
    found = []
    for model, ending in zip(models, ("_codebook.embed", "leaving.weight"), strict=True):
        weights = model.state_dict()
        for name, value in weights.items():
            if name.endswith(ending):
                value.normal_()
        data = written(weights)
        path = directory / ending
        path.write_bytes(data)
        found.append(ModelPath(str(path), ending, hashlib.sha256(data).hexdigest()))
    return found[0], found[1]


if __name__ == "__main__":
    sys.exit(main())
