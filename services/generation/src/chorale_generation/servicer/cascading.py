"""Where codec and cascade compute: in the CPU's processes alone, on a device together."""

import asyncio
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from chorale_runtime.operations import Job
from chorale_runtime.processes import CPU, Processes

from chorale_generation import worker
from chorale_generation.cascade.asked import ModelPath
from chorale_generation.cascade.ladder import Rung
from chorale_generation.servicer.batching import Batcher

Files = tuple[ModelPath, ModelPath]
MAKING_FROM, MAKING_TO = 0.2, 0.8  # of the operation


@dataclass(frozen=True)
class _Request:
    """A window of one request, and whom to tell how far it is."""

    task: worker.CascadeTask
    files: Files
    tell: Callable[[str, float], None]


class Cascading:
    """Makes windows. On the CPU batches take longer than one after another: there are none."""

    def __init__(self, processes: Processes, device: str, batch_most: int) -> None:
        self._processes, self._device = processes, device
        self._batcher = Batcher[_Request, worker.MadeCascade](self._run, batch_most)
        # Of the accelerators a process sees its own alone.
        self._where = device.partition(":")[0]
        self.together = 1 if device == CPU else batch_most
        self.top = Rung(device=self._where)

    async def make(
        self, job: Job[Any], files: Files, task: worker.CascadeTask
    ) -> worker.MadeCascade:
        """Makes one window of a request's two tracks."""
        telling: set[asyncio.Task[None]] = set()
        count = len(task.windows)
        message = f"Window {task.number + 1} of {count}." if count > 1 else ""

        def tell(stage: str, share: float) -> None:
            done = MAKING_FROM + (MAKING_TO - MAKING_FROM) * (task.number + share) / count
            told = asyncio.ensure_future(job.progress(stage, done, message))
            telling.add(told)
            told.add_done_callback(telling.discard)

        request, wishes = _Request(task, files, tell), task.wishes
        if self._device == CPU:
            return (await self._run(None, [request]))[0]
        digests = tuple(file.sha256 for file in files)
        asked = (wishes.bandwidth_kbps, wishes.stage_count, wishes.complementary_masks)
        return await self._batcher.submit((digests, asked, task.rung), request)

    async def _run(self, _: Hashable, requests: Sequence[_Request]) -> Sequence[worker.MadeCascade]:
        def tell(stage: str, share: float) -> None:
            for request in requests:
                request.tell(stage, share)

        return await self._processes.run(
            worker.make_cascades,
            [request.task for request in requests],
            requests[0].files,
            self._where,
            self.together,
            on_progress=tell,
            device=self._device,
        )
