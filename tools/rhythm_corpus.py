"""Music with known beats to learn from: songs and grooves of our own, and old scores, rendered.

    python tools/rhythm_corpus.py FOLDER --font FONT.sf2 [--font MORE.sf2] [--songs 40]
        [--grooves 30] [--scores 60] [--tunes 60]

Needs `fluidsynth`, the sound fonts named, and for `--scores` and `--tunes` the package music21,
whose corpus is read. Every piece is a FLAC file and a JSON of its truth: beats with their places in
the bar, tempo, time signature, key. What is there already is not made again. Seeded: the same each
time.
"""

import argparse
import json
import random
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
from rhythm_grooves import drummed
from rhythm_scores import Note, Score, Voice, grooves, old_scores, songs
from rhythm_tunes import tunes

Floats = npt.NDArray[np.float64]

RATE_HZ = 22050
LEAD_SECONDS, MOST_SECONDS = 0.5, 32.0
_UNSTEADY = {"human": 0.015}  # seconds by which notes that sound together come apart
_STEADY = 0.004
# Seconds by which players of slow instruments begin early, so that they are heard in time.
_EARLY = {16: 0.01, 19: 0.02, 21: 0.03, 22: 0.03, 40: 0.04, 48: 0.05, 52: 0.05, 53: 0.05, 73: 0.03}


def clock(score: Score, chance: random.Random) -> tuple[Floats, Floats]:
    """Quarters and the seconds at which they come, by the shape of the tempo."""
    last = max(note.end for voice in score.voices for note in voice.notes)
    count = int(last * 4) + 16
    quarters = np.arange(count + 1) / 4.0
    bpm = np.full(count, score.quarter_bpm)
    steps = np.array([chance.gauss(0.0, 0.03) for _ in range(count + 16)])
    if score.shape == "drift":
        walk = np.convolve(steps.cumsum() * 0.25, np.ones(17) / 17, "valid")
        bpm *= np.clip(np.exp(walk), 0.93, 1.07)
    elif score.shape == "human":
        phase = chance.uniform(0.0, 6.0)
        waves = 0.08 * np.sin(quarters[:-1] * 0.4 + phase)
        waves += 0.05 * np.sin(quarters[:-1] * 1.26 + 2 * phase)
        bpm *= 1.0 + waves + 1.5 * steps[:count]
        for end in range(64, count, 64):
            bpm[end - 3 : end] *= 0.75
    elif score.shape == "slowing":
        bpm[-40:] *= np.linspace(1.0, 0.6, 40)
    return quarters, LEAD_SECONDS + np.concatenate([[0.0], np.cumsum(15.0 / bpm)])


def _length(value: int) -> bytes:
    """A number as MIDI writes lengths."""
    found = [value & 127]
    while value := value >> 7:
        found.append(value & 127 | 128)
    return bytes(reversed(found))


def _track(voice: Voice, notes: list[Note]) -> bytes:
    """A MIDI track whose ticks are milliseconds."""
    events = []
    for note in notes:
        start, end = round(note.start * 1000), round(note.end * 1000)
        on = bytes([0x90 | voice.channel, note.pitch, note.velocity])
        off = bytes([0x80 | voice.channel, note.pitch, 0])
        events += [(start, 1, on), (max(end, start + 30), 0, off)]
    data, now = b"\0" + bytes([0xC0 | voice.channel, voice.program]), 0
    for at, _, event in sorted(events):
        data += _length(at - now) + event
        now = at
    data += b"\0\xff\x2f\0"
    return b"MTrk" + struct.pack(">I", len(data)) + data


def played(score: Score, chance: random.Random) -> tuple[bytes, list[tuple[float, int]]]:
    """A MIDI file of the score as it is played, and when its beats come."""
    quarters, seconds = clock(score, chance)

    def when(quarter: float) -> float:
        return float(np.interp(quarter, quarters, seconds))

    apart = _UNSTEADY.get(score.shape, _STEADY)
    tracks = []
    for voice in score.voices:
        early = 0.0 if voice.channel == 9 else _EARLY.get(voice.program, 0.0)
        notes = [
            Note(
                max(0.0, when(note.start) - early + chance.gauss(0.0, apart)),
                when(note.end),
                note.pitch,
                min(127, max(20, round(note.velocity + chance.gauss(0.0, 6.0)))),
            )
            for note in voice.notes
            if when(note.start) < MOST_SECONDS
        ]
        if notes:
            tracks.append(_track(voice, notes))
    tempo = b"\0\xff\x51\x03" + (1000000).to_bytes(3, "big") + b"\0\xff\x2f\0"
    head = b"MThd" + struct.pack(">IHHH", 6, 1, len(tracks) + 1, 1000)
    head += b"MTrk" + struct.pack(">I", len(tempo)) + tempo
    beats = [(when(at), place) for at, place in score.beats if when(at) < MOST_SECONDS]
    return head + b"".join(tracks), beats


def rendered(midi: bytes, font: Path) -> npt.NDArray[np.float32]:
    """The sound of a MIDI file, mono."""
    with tempfile.TemporaryDirectory() as folder:
        source, sound = Path(folder, "piece.mid"), Path(folder, "piece.wav")
        source.write_bytes(midi)
        command = ["fluidsynth", "-ni", "-q", "-g", "0.5", "-r", str(RATE_HZ), "-C", "0"]
        subprocess.run(
            [*command, "-F", str(sound), str(font), str(source)], check=True, capture_output=True
        )
        samples, _ = soundfile.read(sound, dtype="float32", always_2d=True)
    mono = samples.mean(axis=1)[: int((MOST_SECONDS + 1.0) * RATE_HZ)]
    loud: npt.NDArray[np.float32] = mono / (np.abs(mono).max() + 1e-9) * 0.9
    return loud


def write(score: Score, font: Path, folder: Path) -> None:
    """Renders one score, unless it is there."""
    target = folder / f"{score.name}.json"
    if target.exists():
        return
    chance = random.Random(f"{score.name} played")
    midi, beats = played(score, chance)
    if len(beats) < 12:
        return
    sound = rendered(midi, font)
    soundfile.write(folder / f"{score.name}.flac", sound, RATE_HZ, subtype="PCM_16")
    bpm = float(60.0 / np.median(np.diff([at for at, _ in beats])))
    truth = {
        "beats": beats,
        "tempo_bpm": bpm,
        "time_signature": score.time_signature,
        "key": score.key,
        "kind": score.kind,
        "tempo_shape": score.shape,
        "font": font.stem,
    }
    target.write_text(json.dumps(truth))
    print(score.name, score.time_signature, round(bpm), score.shape, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--font", type=Path, action="append", required=True)
    parser.add_argument("--songs", type=int, default=40)
    parser.add_argument("--grooves", type=int, default=30)
    parser.add_argument("--scores", type=int, default=60)
    parser.add_argument("--tunes", type=int, default=60)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    kinds: list[Iterator[Score]] = [
        old_scores(options.scores),
        tunes(options.tunes),
        songs(options.songs),
        grooves(options.grooves),
        drummed(options.grooves),
    ]
    for number, score in enumerate(score for kind in kinds for score in kind):
        write(score, options.font[number % len(options.font)], options.folder)


if __name__ == "__main__":
    main()
