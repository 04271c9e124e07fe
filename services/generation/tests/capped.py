"""Makes a track in a process whose memory the kernel caps; tells what came of it.

    python capped.py DIRECTORY

The directory holds the files `codec` and `cascade`. Told is, as JSON, what gave.
"""

import hashlib
import json
import resource
import sys
from pathlib import Path

import numpy as np
import torch
from chorale_generation.cascade import codec
from chorale_generation.cascade.asked import CascadeWishes, ModelPath
from chorale_generation.cascade.ladder import Rung
from chorale_generation.cascade.making import Pair, loaded, make

_SPARE_MIB = range(28, 0, -4)  # of which some are too little for windows of 8 s


def main() -> None:
    """Makes 8 s under caps that become tighter, until something gives."""
    torch.set_num_threads(1)
    models = loaded(_file("codec"), _file("cascade"))
    draws = np.random.default_rng(1)
    both = (0.1 * draws.standard_normal((2, 8 * codec.RATE_HZ))).astype(np.float32)
    # Once each without a cap: what torch and oneDNN set up for a length is no memory of windows.
    for seconds in (8, 4, 2):
        one, other = both[:, : seconds * codec.RATE_HZ]
        make(models, [Pair(one, other, CascadeWishes())], Rung(), lambda *_: None)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    for spare in _SPARE_MIB:
        resource.setrlimit(resource.RLIMIT_AS, (used + (spare << 20), resource.RLIM_INFINITY))
        (made,) = make(models, [Pair(both[0], both[1], CascadeWishes())], Rung(), lambda *_: None)
        if made.concessions:
            break
    told = {
        "concessions": made.concessions,
        "frame_count": len(made.sound),
        "is_finite": bool(np.isfinite(made.sound).all()),
    }
    sys.stdout.write(json.dumps(told))


def _file(name: str) -> ModelPath:
    path = Path(sys.argv[1], name)
    return ModelPath(str(path), name, hashlib.sha256(path.read_bytes()).hexdigest())


if __name__ == "__main__":
    main()
