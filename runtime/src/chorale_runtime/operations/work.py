"""What a service says of its long work, and what its code meets while it runs."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from chorale_runtime.processes import CPU, Processes, takes_progress

STAGE_CHARACTERS_MAX = 64
MESSAGE_CHARACTERS_MAX = 500
PENDING_MAX = 64  # steps noted faster than they are written; the middle is forgotten first

T = TypeVar("T")
RequestT = TypeVar("RequestT", bound=Message)


@dataclass(frozen=True)
class Work:
    """The long work behind one RPC.

    `run` may be called more than once for one operation: after a lost worker or a
    temporary error it starts from the beginning. So it must be safe to repeat,
    which content-addressed results are.
    """

    method: str
    """The RPC that starts it, `chorale.mastering.v1.MasteringService/Master`."""
    request: type[Message]
    response: type[Message]
    run: Callable[["Job[Any]"], Awaitable[Message]]
    queue: str
    """Per capability and device, `mastering.cpu`: replicas serve the queues they can."""
    attempts_max: int = 3
    """How often it may fail for a temporary reason or lose its worker."""
    timeout_seconds: float = 3600.0
    """How long one attempt may take."""
    backoff_seconds: float = 2.0
    """The wait before the second attempt; four times as long before each further one."""
    retry: tuple[type[BaseException], ...] = ()
    """Errors that are temporary although their code does not say so."""
    device: str = CPU
    """Where `Job.run` computes: `cpu`, or a device the process pool was opened with."""

    def delay_seconds(self, failures: int) -> float:
        """How long to wait after so many failures."""
        return float(min(self.backoff_seconds * 4.0 ** max(0, failures - 1), 300.0))


@dataclass(frozen=True)
class Step:
    """A step of the work that was noted and not yet written."""

    stage: str
    fraction: float
    message: str


@dataclass
class Notes:
    """The steps of one run that wait to be written: noting never waits, writing may."""

    steps: list[Step] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def note(self, stage: str, fraction: float, message: str = "") -> None:
        """Note a step. Within one stage only the latest matters; a stage is never skipped."""
        fraction = min(1.0, max(0.0, fraction)) if math.isfinite(fraction) else 0.0
        step = Step(
            _storable(stage, STAGE_CHARACTERS_MAX),
            fraction,
            _storable(message, MESSAGE_CHARACTERS_MAX),
        )
        if self.steps and self.steps[-1].stage == step.stage:
            self.steps[-1] = step
        elif len(self.steps) < PENDING_MAX:
            self.steps.append(step)
        else:
            self.steps[-1] = step
        self.changed.set()

    def take(self) -> list[Step]:
        """Take what was noted, to write it."""
        taken, self.steps = self.steps, []
        self.changed.clear()
        return taken

    def restore(self, steps: list[Step]) -> None:
        """Take back steps that could not be written, to write them with the next."""
        self.steps = (steps + self.steps)[-PENDING_MAX:]
        self.changed.set()


class Job(Generic[RequestT]):
    """One attempt at one operation, as the work sees it."""

    def __init__(
        self,
        name: str,
        owner: str,
        attempt: int,
        request: RequestT,
        notes: Notes,
        processes: Processes | None,
        device: str,
    ) -> None:
        self.name, self.owner, self.attempt = name, owner, attempt
        self.request = request
        self._notes, self._processes, self._device = notes, processes, device

    async def progress(self, stage: str, fraction: float, message: str = "") -> None:
        """Tell how far the work is; written soon, at most ten times a second, never waited for."""
        self._notes.note(stage, fraction, message)
        await asyncio.sleep(0)  # a work that only reports still lets others run

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        """Compute `function(*args)` in a worker process.

        A function that takes the keyword `progress` is given one to call as
        `progress(stage, fraction, message)`. Cancelling the operation kills the process.
        """
        if self._processes is None:
            raise RuntimeError("Job.run needs processes: pass them to Operations.open")
        tell = self._notes.note if takes_progress(function) else None
        return await self._processes.run(function, *args, on_progress=tell, device=self._device)


def _storable(text: str, characters_max: int) -> str:
    """Cut a text to size and rid it of what PostgreSQL stores in no text."""
    return text[:characters_max].replace("\0", "").encode("utf-8", "replace").decode()
