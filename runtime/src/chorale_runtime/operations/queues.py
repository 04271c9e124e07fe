"""Which queue work waits in, by the device it is for, and which queues a process works on.

Work of a capability waits in one queue, `generation.cpu`. Work that a mesh gives to devices waits
in a second, `generation.cuda`, and processes that hold devices work on that one. Whatever a
process works on, it accepts everything: a queue that nobody works on keeps what it is given.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Self

from chorale_runtime.operations.work import Work
from chorale_runtime.settings import DeviceSettings

FOR_DEVICES = "cuda"


@dataclass(frozen=True)
class Queues:
    """Where work waits, and whose it is."""

    for_devices: Sequence[str] = ()
    """RPCs by their last name, as patterns: `Train*`."""
    worked_on: Sequence[str] = ()
    """Queues by name, as patterns; one with a `!` before it is left to others. Empty: all."""

    @classmethod
    def of(cls, settings: DeviceSettings) -> Self:
        """As the settings say."""
        return cls(settings.device_works, settings.work_queues)

    def routed(self, work: Work) -> Work:
        """The work with the queue it waits in."""
        name = work.method.rpartition("/")[2]
        if not _matches(name, self.for_devices):
            return work
        return dataclasses.replace(work, queue=_for_devices(work))

    def every(self, works: Sequence[Work], slots: Mapping[str, int]) -> dict[str, int]:
        """All queues that work may be found in and how much of each goes on here at once.

        Whether or not anything is given to devices now: it may have been.
        """
        every = dict(slots)
        for work in works:
            queue = _for_devices(work)
            every[queue] = max(every.get(queue, 0), slots[work.queue])
        return every

    def is_worked_on(self, queue: str) -> bool:
        """Whether this process takes work out of the queue."""
        wanted = [pattern for pattern in self.worked_on if not pattern.startswith("!")]
        refused = [pattern[1:] for pattern in self.worked_on if pattern.startswith("!")]
        return (not wanted or _matches(queue, wanted)) and not _matches(queue, refused)


def _for_devices(work: Work) -> str:
    return f"{work.queue.partition('.')[0]}.{FOR_DEVICES}"


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
