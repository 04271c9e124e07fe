"""The disk of a storage on this machine."""

import shutil
from pathlib import Path

import pytest
from chorale_runtime.dependencies import StorageFull
from chorale_runtime.disk import RESERVE_BYTES, Disk


def test_what_would_fill_the_disk_is_refused(tmp_path: Path) -> None:
    """There is room for what leaves the reserve free, and none for a byte of the reserve."""
    disk = Disk("objects", tmp_path)
    found = shutil.disk_usage(tmp_path)
    room_bytes = found.free - RESERVE_BYTES - found.total // 100
    slack_bytes = 64 << 20  # others write to this disk meanwhile
    if room_bytes < slack_bytes:
        pytest.skip("NOT TESTED: the disk of this machine is nearly full")
    disk.require_room(room_bytes - slack_bytes)
    with pytest.raises(StorageFull, match="No disk space is left for the objects"):
        disk.require_room(room_bytes + slack_bytes)
