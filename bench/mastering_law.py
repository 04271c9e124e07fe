"""The law of a master on real music: at its target, under its ceiling, on our meter and FFmpeg's.

    python -m bench.mastering_law [--seconds 600] [--draws 40] [--file FILE]

Every track of the test material under 40 seeded random settings. Every case is written down as
it ends, so that the next run goes on where this one stopped; draws come before tracks, so that
whatever was done is a fair sample. Delete the file after a change to the chain.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile
from chorale_mastering.block import Samples
from chorale_mastering.brief import Brief, Format, Output
from chorale_mastering.mastering import master
from chorale_mastering.meter import Meter
from chorale_mastering.plan import MasteringPlan
from chorale_mastering.report import WarningCode
from chorale_mastering.resolution import Resolution

sys.path.insert(0, str(Path(__file__).parents[1] / "services" / "mastering" / "tests"))
from mastering_draws import settings  # the tests draw the same

MATERIAL = Path(__file__).resolve().parents[2] / "shared" / "testdata"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"), "chorale")
DRAWS = 40
TARGET_LU, AGAIN_LU = 0.1, 0.2
_FFMPEG_RATE_HZ = 192_000
_AGAIN_EVERY = 8  # every so manyth draw is mastered twice


@dataclass(frozen=True)
class Case:
    """One track under one draw of settings, judged."""

    track: str
    draw: int
    off_lu: float | None  # from the target; None: it has no loudness
    is_told: bool  # by TARGET_UNREACHABLE, with what was reached
    over_db: float  # of the ceiling, on our meter
    over_ffmpeg_db: float  # on FFmpeg's
    clipped: int  # samples at or past full scale
    again_lu: float | None  # what a second master changed; None: not tried, or not reachable
    cpu_seconds: float

    @property
    def broken(self) -> list[str]:
        """Which parts of the law it breaks."""
        found = []
        if self.off_lu is not None and abs(self.off_lu) > TARGET_LU and not self.is_told:
            found.append("target")
        if self.over_db > 0.0:
            found.append("ceiling")
        if self.over_ffmpeg_db > 0.0:
            found.append("ceiling by FFmpeg")
        if self.clipped:
            found.append("clipped")
        if self.again_lu is not None and abs(self.again_lu) >= AGAIN_LU:
            found.append("again")
        return found


def main() -> int:
    """Judges what is left within the time given, and prints the table of all there is."""
    parser = argparse.ArgumentParser(prog="python -m bench.mastering_law")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--draws", type=int, default=DRAWS)
    parser.add_argument("--file", type=Path, default=CACHE / "mastering_law.jsonl")
    asked = parser.parse_args()
    tracks = sorted(_tracks())
    if not tracks:
        print(f"NOT MEASURED: the test material at {MATERIAL} is absent")
        return 0
    asked.file.parent.mkdir(parents=True, exist_ok=True)
    cases = _kept(asked.file)
    known = {(case.track, case.draw) for case in cases}
    until = time.monotonic() + asked.seconds
    with asked.file.open("a") as file:
        for draw in range(asked.draws):
            for track in tracks:
                if time.monotonic() > until:
                    break
                if (track.name, draw) not in known:
                    cases.append(judged(track, draw))
                    file.write(json.dumps(asdict(cases[-1])) + "\n")
                    file.flush()
    return _told(cases, len(tracks) * asked.draws)


def judged(track: Path, draw: int) -> Case:
    """Masters a track under a draw, and looks at what a reader would find."""
    sound, rate_hz = soundfile.read(track, dtype="float32", always_2d=True)
    plan, resolution = settings(track.name, draw)
    started = time.process_time()
    out, report = _mastered(sound, rate_hz, plan, resolution)
    spent = time.process_time() - started
    meter = Meter(rate_hz, out.shape[1])
    meter.push(out)
    meter.finish()
    heard = meter.read()
    ceiling, reached = plan.ceiling_dbtp, heard.integrated_lufs
    unreachable = [
        warning.found
        for warning in report.warnings
        if warning.code is WarningCode.TARGET_UNREACHABLE
    ]
    off = None if reached is None else reached - plan.target_loudness_lufs
    return Case(
        track=track.name,
        draw=draw,
        off_lu=off,
        is_told=any(reached is None or abs(found - reached) <= TARGET_LU for found in unreachable),
        over_db=heard.true_peak_dbtp - ceiling,
        over_ffmpeg_db=ffmpeg_true_peak(out, rate_hz) - ceiling,
        clipped=int((np.abs(out) >= 1.0).sum()),
        again_lu=None
        if draw % _AGAIN_EVERY or reached is None or unreachable
        else _again(out, rate_hz, plan, resolution) - reached,
        cpu_seconds=spent,
    )


def ffmpeg_true_peak(sound: Samples, rate_hz: int) -> float:
    """The greatest sample after FFmpeg's resampling to 192 kHz, in dBTP; -200 in silence.

    This is what its ebur128 filter does; the filter tells three digits, which hide 0.006 dB.
    """
    layout = {1: "mono", 2: "stereo"}[sound.shape[1]]
    resampler = av.AudioResampler(format="dbl", layout=layout, rate=_FFMPEG_RATE_HZ)
    peak = 0.0
    for start in range(0, len(sound), rate_hz):
        block = np.ascontiguousarray(sound[start : start + rate_hz], np.float32)
        frame = av.AudioFrame.from_ndarray(block.reshape(1, -1), format="flt", layout=layout)
        frame.sample_rate, frame.pts = rate_hz, start
        for piece in resampler.resample(frame):
            peak = max(peak, float(np.abs(piece.to_ndarray()).max()))
    for piece in resampler.resample(None):
        peak = max(peak, float(np.abs(piece.to_ndarray()).max()))
    return 20.0 * float(np.log10(peak)) if peak > 0.0 else -200.0


def _mastered(
    sound: Samples, rate_hz: int, plan: MasteringPlan, resolution: Resolution
) -> tuple[Samples, Any]:
    brief = Brief(plan, Format(rate_hz, sound.shape[1]), len(sound), Output(resolution))
    with master([sound], brief, lambda _stage, _share: None) as made:
        return np.concatenate(list(made.blocks())), made.report


def _again(sound: Samples, rate_hz: int, plan: MasteringPlan, resolution: Resolution) -> float:
    _, report = _mastered(sound, rate_hz, plan, resolution)
    loudness = report.after.integrated_lufs
    return float("inf") if loudness is None else float(loudness)


def _tracks() -> Iterator[Path]:
    for folder in ("real", "render"):
        for path in (MATERIAL / folder).glob("*"):
            if path.suffix in (".ogg", ".flac", ".mp3"):
                yield path


def _kept(file: Path) -> list[Case]:
    if not file.exists():
        return []
    return [Case(**json.loads(line)) for line in file.read_text().splitlines()]


def _told(cases: list[Case], count: int) -> int:
    """The table; 1 where the law is broken."""
    broken = [case for case in cases if case.broken]
    offs = [abs(case.off_lu) for case in cases if case.off_lu is not None and not case.is_told]
    agains = [abs(case.again_lu) for case in cases if case.again_lu is not None]
    rows = (
        ("judged", f"{len(cases)} of {count} cases"),
        ("on target", f"{len(offs)}, at most {max(offs, default=0.0):.3f} LU off"),
        ("told unreachable", f"{sum(case.is_told for case in cases)}"),
        ("without loudness", f"{sum(case.off_lu is None for case in cases)}"),
        ("over the ceiling, at most", f"{max(case.over_db for case in cases):+.3f} dB"),
        ("the same by FFmpeg", f"{max(case.over_ffmpeg_db for case in cases):+.3f} dB"),
        ("clipped samples", f"{sum(case.clipped for case in cases)}"),
        ("mastered again", f"{len(agains)}, at most {max(agains, default=0.0):.3f} LU"),
        ("CPU", f"{sum(case.cpu_seconds for case in cases):.0f} s"),
        ("broken", f"{len(broken)}"),
    )
    for name, value in rows:
        print(f"     {name:<28}{value}")
    for case in broken[:40]:
        print(f"     {case.track} draw {case.draw}: {', '.join(case.broken)} {asdict(case)}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
