"""Where codec and cascade compute: in the CPU's processes alone, on a device together."""

import asyncio
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from chorale_runtime.operations import Job
from chorale_runtime.processes import CPU, Processes

from chorale_generation import worker
from chorale_generation.cascade.asked import CascadeWishes, ModelPath
from chorale_generation.servicer.batching import Batcher

Files = tuple[ModelPath, ModelPath]


@dataclass(frozen=True)
class _Request:
    """Where the tracks of one request lie, and whom to tell how far it is."""

    task: worker.CascadeTask
    files: Files
    tell: Callable[[str, float], None]


class Cascading:
    """Runs requests. On the CPU batches take longer than one after another: there are none."""

    def __init__(self, processes: Processes, device: str, batch_most: int) -> None:
        self._processes, self._device, self._batch_most = processes, device, batch_most
        self._batcher = Batcher[_Request, worker.MadeCascade](self._run, batch_most)

    async def make(
        self, job: Job[Any], files: Files, directory: str, wishes: CascadeWishes
    ) -> worker.MadeCascade:
        """Makes one track of the two in a directory."""
        task = worker.CascadeTask(directory, wishes)
        if self._device == CPU:
            return (await job.run(worker.make_cascades, [task], files, CPU, 1))[0]
        telling: set[asyncio.Task[None]] = set()

        def tell(stage: str, share: float) -> None:
            told = asyncio.ensure_future(job.progress(stage, share))
            telling.add(told)
            told.add_done_callback(telling.discard)

        digests = tuple(file.sha256 for file in files)
        kind = (digests, wishes.bandwidth_kbps, wishes.stage_count)
        return await self._batcher.submit(kind, _Request(task, files, tell))

    async def _run(self, _: Hashable, requests: Sequence[_Request]) -> Sequence[worker.MadeCascade]:
        def tell(stage: str, share: float) -> None:
            for request in requests:
                request.tell(stage, share)

        return await self._processes.run(
            worker.make_cascades,
            [request.task for request in requests],
            requests[0].files,
            self._device,
            self._batch_most,
            on_progress=tell,
            device=self._device,
        )
