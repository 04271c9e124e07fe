"""The disk of a storage that runs on this machine."""

import os
from dataclasses import dataclass
from pathlib import Path

from chorale_runtime.dependencies import StorageFull

# Many storages stop taking anything, for minutes, once less than 1 % of their disk is free.
# Writers stop a little earlier, by about as much as is in flight at once.
RESERVE_PERCENT = 1
RESERVE_BYTES = 96 << 20


@dataclass(frozen=True)
class Disk:
    """Knows whether a storage has room, where the storage itself would only break."""

    storage: str
    directory: Path

    def require_room(self, size_bytes: int) -> None:
        """Raise `StorageFull` if the disk is so full that `size_bytes` more may break it."""
        found = os.statvfs(self.directory)
        reserve_bytes = RESERVE_BYTES + found.f_blocks * found.f_frsize * RESERVE_PERCENT // 100
        if found.f_bavail * found.f_frsize < size_bytes + reserve_bytes:
            raise StorageFull(self.storage)
