"""How often degraded music is known again, beside Chromaprint's own matching of whole files.

`python -m bench.fingerprint_accuracy [FOLDER...]` reads degraded variants from the folders
(`variants.json` beside the files, as `tools/degrade.py` of the test material writes them), or
makes them first, which takes some ten minutes. Chromaprint is matched as the material's
`measure_fp.py` does: the least share of differing bits over all alignments, at the threshold that
no pair of different recordings passes.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
import soundfile
import soxr
from chorale_fingerprint.codes import Codes, CodeWriter

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "services/fingerprint/tests"))
from landmarks_in_memory import SURE, MemoryIndex, peaks_of  # noqa: E402 - after its path

TESTDATA = ROOT.parent / "shared" / "testdata"
RATE_HZ = 11025
EXCERPT_SECONDS, EXCERPT_STARTS = 10, (3, 12, 21)
OVERLAP_CODES = 40
# What the issue asks of excerpts, by the beginning of a variant's name; others are only told.
GOALS = {
    ("mp3", "aac", "opus", "eq_", "clipped", "mono", "offset_7", "padded", "quiet", "inv"): 0.98,
    ("white_10db", "phone_band", "band_8khz"): 0.95,
    ("speed_up1", "speed_down1", "speed_up2", "speed_down2"): 0.90,
    ("speed_up4", "speed_down4", "pitch"): 0.80,
}
DUPLICATES_GOAL, UNKNOWN_GOAL = 0.99, 0.005
# Of sections of enrolled songs, each a file of its own, in every variant of what is a duplicate.
LINKED_GOAL, SECTION_SECONDS = 0.85, 12


@dataclass
class Row:
    """What was counted of one variant."""

    expected: str
    whole: list[bool] = field(default_factory=list)
    excerpts: list[bool] = field(default_factory=list)
    linked: list[bool] = field(default_factory=list)
    bit_errors: list[float] = field(default_factory=list)


def main(folders: list[str]) -> int:
    """Prints the table; 1 when a goal is missed."""
    if not (TESTDATA / "fp").is_dir():
        print("NOT MEASURED: there is no test material")
        return 0
    with tempfile.TemporaryDirectory() as made:
        return _measured([Path(each) for each in folders or _degraded(Path(made))])


def _degraded(folder: Path) -> list[str]:
    command = [sys.executable, *map(str, (TESTDATA / "tools/degrade.py", TESTDATA / "fp", folder))]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return [str(folder)]


def _measured(folders: list[Path]) -> int:
    originals = json.loads((TESTDATA / "fp/originals.json").read_text())
    files = [each["file"] for each in originals if (TESTDATA / "fp" / each["file"]).exists()]
    related = {each["file"]: each["related"] for each in originals}
    sounds = [_mono(TESTDATA / "fp" / file) for file in files]
    index = MemoryIndex([peaks_of(sound, RATE_HZ) for sound in sounds])
    codes = [_codes(sound) for sound in sounds]
    rows: dict[str, Row] = {}
    wrong = asked = 0
    others = [_errors(codes[i], codes[j]) for i, j in _pairs(files, related)]
    for variant, path in _variants(folders):
        row = rows.setdefault(variant["variant"], Row(variant["expected"]))
        right = {
            number
            for number, file in enumerate(files)
            if file == variant["original"]
            or (related[file] and related[file] == related[variant["original"]])
        }
        sound = _mono(path)
        row.bit_errors.append(_errors(codes[files.index(variant["original"])], _codes(sound)))
        for whole, part in _parts(sound):
            found = index.search(peaks_of(part, RATE_HZ))
            hit = bool(found) and found[0][0] in right
            (row.whole if whole else row.excerpts).append(hit)
            if not whole:  # so sure must be what joins a recording to a song
                row.linked.append(hit and found[0][1].false_positive_rate < SURE)
            asked += 1
            wrong += any(number not in right for number, _ in found)
    unknown = [bool(index.search(peaks_of(part, RATE_HZ))) for part in _unknown()]
    missed = _told(rows, min(others), wrong, asked, unknown)
    if not _sections_told(rows, sounds, [related[file] or file for file in files]):
        missed.append("sections")
    if missed:
        print("missed: " + ", ".join(missed))
    return 1 if missed else 0


def _sections_told(rows: dict[str, Row], sounds: list[np.ndarray], names: list[str]) -> bool:
    """How many sections are linked to their song: by the song itself, and without it."""
    linked = [each for row in rows.values() if row.expected == "duplicate" for each in row.linked]
    share = float(np.mean(linked))
    print(f"sections linked to their enrolled song: {share:.4f} of {len(linked)}")
    parts, songs = [], []
    for song, sound in zip(names, sounds, strict=True):
        for start in range(
            0, len(sound) - SECTION_SECONDS * RATE_HZ + 1, SECTION_SECONDS * RATE_HZ
        ):
            parts.append(peaks_of(sound[start : start + SECTION_SECONDS * RATE_HZ], RATE_HZ))
            songs.append(song)
    index, right, wrong = MemoryIndex(parts), 0, 0
    for number, part in enumerate(parts):
        sure = {at for at, found in index.search(part) if found.false_positive_rate < SURE}
        right += any(songs[at] == songs[number] for at in sure - {number})
        wrong += any(songs[at] != songs[number] for at in sure)
    print(
        f"sections linked to another of their song, which share no sound but what repeats:"
        f" {right / len(parts):.4f} of {len(parts)}; to another song: {wrong}"
    )
    return share >= LINKED_GOAL


def _told(
    rows: dict[str, Row], least: float, wrong: int, asked: int, unknown: list[bool]
) -> list[str]:
    missed = []
    print(
        f"{'variant':18} {'expected':12} {'whole':>6} {'10 s':>6} {'goal':>6} {'fpcalc whole':>13}"
    )
    for name, row in sorted(rows.items()):
        excerpts = row.excerpts or row.whole  # of what is 10 s long itself
        goal = next((g for names, g in GOALS.items() if name.startswith(names)), None)
        if goal is not None and np.mean(excerpts) < goal:
            missed.append(name)
        chromaprint = np.mean([error < least for error in row.bit_errors])
        told = "" if goal is None else f"{goal:.2f}"
        print(
            f"{name:18} {row.expected:12} {np.mean(row.whole):6.3f} {np.mean(excerpts):6.3f}"
            f" {told:>6} {chromaprint:13.3f}"
        )
    duplicates = [hit for row in rows.values() if row.expected == "duplicate" for hit in row.whole]
    theirs = [
        error < least
        for row in rows.values()
        if row.expected == "duplicate"
        for error in row.bit_errors
    ]
    share, false = float(np.mean(duplicates)), float(np.mean(unknown))
    print(f"duplicates known: {share:.4f} of {len(duplicates)} (fpcalc {np.mean(theirs):.4f})")
    print(f"queries that named another recording: {wrong} of {asked}")
    print(f"unknown music named: {false:.4f} of {len(unknown)}")
    if share < DUPLICATES_GOAL or wrong or false > UNKNOWN_GOAL:
        missed.append("duplicates, false positives")
    return missed


def _variants(folders: list[Path]) -> Iterator[tuple[dict[str, str], Path]]:
    for folder in folders:
        for variant in json.loads((folder / "variants.json").read_text()):
            yield variant, folder / variant["file"]


def _parts(sound: np.ndarray) -> Iterator[tuple[bool, np.ndarray]]:
    """The whole, and excerpts of it where it is longer than one; and whether it is the whole."""
    yield True, sound
    for start in EXCERPT_STARTS:
        part = sound[start * RATE_HZ : (start + EXCERPT_SECONDS) * RATE_HZ]
        if len(sound) > 1.5 * EXCERPT_SECONDS * RATE_HZ and len(part) > 5 * RATE_HZ:
            yield False, part


def _unknown() -> Iterator[np.ndarray]:
    """Excerpts and wholes of other music."""
    for folder in ("real", "render"):
        for path in sorted((TESTDATA / folder).glob("*.*")):
            if path.suffix == ".json" or path.is_dir() or ".stem" in path.name:
                continue
            sound = _mono(path)
            yield sound
            step = 12 * RATE_HZ
            for start in range(0, len(sound) - EXCERPT_SECONDS * RATE_HZ, step):
                yield sound[start : start + EXCERPT_SECONDS * RATE_HZ]


def _pairs(files: list[str], related: dict[str, str]) -> Iterator[tuple[int, int]]:
    for i, one in enumerate(files):
        for j in range(i):
            if not (related[one] and related[one] == related[files[j]]):
                yield i, j


def _codes(sound: np.ndarray) -> Codes:
    writer = CodeWriter(RATE_HZ)
    writer.push(sound)
    return writer.finish()


def _errors(one: Codes, other: Codes) -> float:
    """The least share of differing bits over all alignments."""
    best = 1.0
    for shift in range(OVERLAP_CODES - len(other), len(one) - OVERLAP_CODES + 1):
        start, end = max(0, shift), min(len(one), len(other) + shift)
        if end - start >= OVERLAP_CODES:
            differing = one[start:end] ^ other[start - shift : end - shift]
            best = min(best, float(np.bitwise_count(differing).mean()) / 32)
    return best


def _mono(path: Path) -> np.ndarray:
    try:
        sound, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
        mono = sound.mean(axis=1)
    except soundfile.LibsndfileError:  # AAC and Opus in their containers
        mono, rate_hz = _decoded(path), 44100
    return np.asarray(soxr.resample(mono, rate_hz, RATE_HZ), np.float32)


def _decoded(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="fltp", layout="mono", rate=44100)
        frames = [f for each in container.decode(audio=0) for f in resampler.resample(each)]
        frames += resampler.resample(None)
    return np.concatenate([frame.to_ndarray()[0] for frame in frames])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
