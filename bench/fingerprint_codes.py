"""What Chromaprint's codes cost, and how near they are to `fpcalc`'s.

240 s of real music as MP3. What is counted is CPU: of our codes alone, block by block as each was
decoded; of decoding and codes; and of `fpcalc` on the file. All in turns.
"""

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from shutil import which
from typing import Any

import av
import numpy as np
import soundfile
import soxr
from av.audio.fifo import AudioFifo
from chorale_fingerprint.codes import CODE_RATE_HZ, Codes, CodeWriter
from chorale_fingerprint.lowering import Lowered

from bench.ratios import Bound, Ratio, report

TESTDATA = Path(__file__).parents[2] / "shared" / "testdata"
RATE_HZ, CHANNELS, SECONDS, ROUNDS = 44100, 2, 240, 7
# MP3 is decoded 1152 frames at a time, which are laid together before they are looked at.
BLOCK_FRAMES, PART_FRAMES = 1 << 16, 1 << 14
# Bits of a hundred thousand that may differ from fpcalc's: 0.9995 are to be equal.
UNEQUAL_MAX = 50.0


def main() -> int:
    """Measures in turns and reports the ratios; 1 when a goal is missed."""
    if not (TESTDATA / "fp").is_dir() or which("fpcalc") is None:
        print("NOT MEASURED: there is no test material, or no fpcalc (libchromaprint-tools)")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "song.mp3"
        _write(path)
        theirs: list[float] = []
        ours: list[float] = []
        whole: list[float] = []
        for _ in range(ROUNDS):
            cpu, expected = _fpcalc(path)
            theirs.append(cpu)
            started = time.process_time()
            cpu, found = _codes(path)
            ours.append(cpu)
            whole.append(1000 * (time.process_time() - started))
    assert len(found) == len(expected), (len(found), len(expected))
    unequal = float(np.bitwise_count(found ^ expected).mean()) / 32
    return report(
        [
            Ratio("codes of decoded sound / fpcalc", ours, theirs, "ms", at_most=0.20),
            Ratio("decoding and codes / fpcalc", whole, theirs, "ms", at_most=1.1),
            Bound("bits unlike fpcalc's, of 100,000", 1e5 * unequal, "", UNEQUAL_MAX),
        ]
    )


def _write(path: Path) -> None:
    """Tracks one after the other, until there are enough."""
    parts, missing = [], SECONDS * RATE_HZ
    for track in sorted((TESTDATA / "fp").glob("*.ogg")):
        sound, rate_hz = soundfile.read(track, dtype="float32", always_2d=True)
        stereo = soxr.resample(np.broadcast_to(sound[:, :2], (len(sound), 2)), rate_hz, RATE_HZ)
        parts.append(stereo[:missing])
        missing -= len(parts[-1])
        if not missing:
            break
    soundfile.write(path, np.concatenate(parts), RATE_HZ, format="MP3")


def _fpcalc(path: Path) -> tuple[float, Codes]:
    """CPU in milliseconds, and the codes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = ["fpcalc", "-raw", "-length", str(SECONDS), str(path)]
    # Debian's exits 3 at the end of a file, and has said everything.
    told = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return 1000 * cpu, np.array(told.partition("FINGERPRINT=")[2].split(","), np.uint32)


def _codes(path: Path) -> tuple[float, Codes]:
    """The same of our codes, without what decoding takes."""
    took = 0.0
    lowered, writer = Lowered(RATE_HZ, CHANNELS), CodeWriter(CODE_RATE_HZ)
    for block in _decoded(path):
        started = time.thread_time()
        writer.push(lowered.push(block))
        took += time.thread_time() - started
    started = time.thread_time()
    writer.push(lowered.finish())
    found = writer.finish()
    return 1000 * (took + time.thread_time() - started), found


def _decoded(path: Path) -> Iterator[np.ndarray]:
    """Blocks `(frames, channels)`, as long as those that services read."""
    # One for all: new memory for each costs more than to fill it, as the kernel does that first.
    block, count = np.empty((BLOCK_FRAMES, CHANNELS), np.float32), 0
    with av.open(str(path)) as container:
        waiting = AudioFifo()
        for frame in container.decode(audio=0):
            frame.pts = None
            waiting.write(frame)
            while waiting.samples >= PART_FRAMES:
                _interleave(waiting.read(PART_FRAMES), block[count : count + PART_FRAMES])
                count = (count + PART_FRAMES) % BLOCK_FRAMES
                if not count:
                    yield block
        if rest := waiting.samples:
            _interleave(waiting.read(), block[count : count + rest])
    yield block[: count + rest]


def _interleave(frame: Any, block: np.ndarray) -> None:
    for channel, plane in enumerate(frame.planes):
        block[:, channel] = np.frombuffer(plane, np.float32, frame.samples)


if __name__ == "__main__":
    sys.exit(main())
