"""Music off the event loop: what runs in the process pool."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from chorale_audio.source import Source

from chorale_generation.mosaic.asked import Output

if TYPE_CHECKING:
    from collections.abc import Callable

    from chorale_audio.pcm import Samples

    from chorale_generation.cascade.asked import CascadeWishes, Masks, ModelPath
    from chorale_generation.cascade.ladder import Rung
    from chorale_generation.cascade.windows import Windows
    from chorale_generation.mosaic.arrangement import Arrangement
    from chorale_generation.mosaic.asked import Wishes
    from chorale_generation.mosaic.heard import Heard
    from chorale_generation.mosaic.transfer import Transfer
    from chorale_generation.training.asked import Corpus, Finished, Lap, Teaching

_CHUNK_FRAMES = 1 << 16
_LISTENED_SECONDS = 16.0
_PAIR, _TAIL = "pair.npy", "tail.npz"
_LISTENING = Output(sample_rate_hz=24000, channel_count=1)

# Music is imported where it runs: scipy takes longer to import than the service to start.


@dataclass(frozen=True)
class MadePiece:
    """Final frames and those that fade into the next piece, as float32 bytes."""

    frames: bytes
    frame_count: int
    tail: bytes
    transfer: "Transfer"


def warm() -> None:
    """Imports what work will need."""
    from chorale_generation.mosaic import section  # noqa: F401 - imported for its own sake


def arrange(
    sources: tuple[Source, Source],
    tracks: "tuple[Heard, Heard]",
    wishes: "Wishes",
    output: "Output",
    seed: int,
) -> "Arrangement":
    """Lays out a mosaic; what analysis does not tell of the tracks is heard here."""
    from chorale_generation.mosaic.arrangement import arranged
    from chorale_generation.mosaic.parts import percussive_share

    heard = []
    for source, track in zip(sources, tracks, strict=True):
        seconds = min(source.duration_seconds, _LISTENED_SECONDS)
        sound = _read(source, 0.0, seconds, _LISTENING)
        heard.append(
            replace(track, percussive_share=percussive_share(sound, _LISTENING.sample_rate_hz))
        )
    duration_seconds = output.frame_count / output.sample_rate_hz
    return arranged((heard[0], heard[1]), wishes, duration_seconds, seed)


def make_piece(
    sources: tuple[Source, Source],
    arrangement: "Arrangement",
    number: int,
    output: "Output",
    tail: bytes,
    seed: int,
) -> MadePiece:
    """Reads what section `number` is made of from object storage, and makes it."""
    import numpy as np

    from chorale_generation.mosaic.section import piece

    def read(track: int, start_seconds: float, end_seconds: float) -> "Samples":
        return _read(sources[track], start_seconds, end_seconds, output)

    fading = np.frombuffer(tail, np.float32).reshape(-1, output.channel_count)
    made = piece(arrangement, number, read, output, fading, seed)
    return MadePiece(
        made.frames.astype("<f4").tobytes(), len(made.frames), made.tail.tobytes(), made.transfer
    )


@dataclass(frozen=True)
class CascadeTask:
    """One window of two tracks that lie in a directory as `read_pair` leaves them."""

    directory: str
    wishes: "CascadeWishes"
    windows: "Windows"
    number: int
    rung: "Rung"

    @property
    def sound_path(self) -> Path:
        """Where lies what codec and cascade make of it."""
        return Path(self.directory, f"{self.number}.npy")


@dataclass(frozen=True)
class MadeCascade:
    """What the masks were, what had to give, and how it was made at last."""

    masks: "Masks"
    concessions: tuple[str, ...]
    rung: "Rung"


@dataclass(frozen=True)
class LaidCascade:
    """Final frames as float32 bytes; of the window which tones were taken out of it, and how its
    onsets correlate with those of both tracks."""

    frames: bytes
    frame_count: int
    notches_hz: tuple[float, ...]
    correlations: tuple[float, float]


def read_pair(sources: tuple[Source, Source], output: Output, directory: str) -> None:
    """Writes both tracks, as long as the result, into a directory."""
    import numpy as np

    seconds = output.frame_count / output.sample_rate_hz
    both = [_read(source, 0.0, seconds, output) for source in sources]
    np.save(Path(directory, _PAIR), np.stack(both))


def make_cascades(
    tasks: list[CascadeTask],
    files: "tuple[ModelPath, ModelPath]",
    device: str,
    width: int,
    *,
    progress: "Callable[[str, float], None]",
) -> list[MadeCascade]:
    """Puts windows through codec and cascade, so many at once; channels go each by itself."""
    import numpy as np

    from chorale_generation.cascade.asked import joined
    from chorale_generation.cascade.making import Pair, make, resident

    _one_thread()
    pairs, counts = [], []
    for task in tasks:
        one, other = _window(task)
        pairs += [Pair(*both, task.wishes) for both in zip(one.T, other.T, strict=True)]
        counts.append(one.shape[1])
    start = replace(tasks[0].rung, width=min(width, len(pairs)))
    found = make(resident(*files, device), pairs, start, progress)
    told = []
    for task, count in zip(tasks, counts, strict=True):
        made, found = found[:count], found[count:]
        np.save(task.sound_path, np.stack([each.sound for each in made], axis=-1))
        masks = joined([each.masks for each in made])
        told.append(MadeCascade(masks, made[0].concessions, replace(made[0].rung, width=1)))
    return told


def lay_cascade(
    task: CascadeTask, output: Output, loudness_lufs: float | None, seed: int
) -> LaidCascade:
    """Finishes what was made of a window, and adds it to what windows before it left.

    Windows come in order. What is told is final: nothing that comes later changes it.
    """
    import numpy as np

    from chorale_generation.cascade.finishing import finished
    from chorale_generation.cascade.laying import Tail, laid, no_tail
    from chorale_generation.mosaic.loudness import levelled
    from chorale_generation.mosaic.section import CEILING_DBTP, quantised
    from chorale_generation.mosaic.transfer import transfer

    one, other = _window(task)
    rate_hz = output.sample_rate_hz
    sound, notches_hz = finished(np.load(task.sound_path), one, task.wishes, rate_hz)
    if loudness_lufs is not None:
        sound = levelled(sound, slice(None), rate_hz, loudness_lufs, CEILING_DBTP)
    tail, path = no_tail(output.channel_count), Path(task.directory, _TAIL)
    if task.number:
        with np.load(path) as left:
            tail = Tail(left["sums"], left["weights"])
    final, tail = laid(task.windows, task.number, sound, tail)
    np.savez(path, sums=tail.sums, weights=tail.weights)
    task.sound_path.unlink()
    draws = np.random.default_rng([seed, task.number])
    frames = quantised(final, output.bit_depth, draws).astype("<f4").tobytes()
    correlations = transfer((one, other), sound, rate_hz).correlations
    return LaidCascade(frames, len(final), notches_hz, correlations)


def _window(task: CascadeTask) -> "Samples":
    """Both tracks in a window: (2, frames, channels)."""
    import numpy as np

    start = task.windows.starts[task.number]
    both = np.load(Path(task.directory, _PAIR), mmap_mode="r")
    window: Samples = np.array(both[:, start : start + task.windows.length])
    return window


def check_model(files: list[tuple[str, str]], engine: str, model: str) -> None:
    """Reads files of a model, each a path and a name; raises what is wrong with them."""
    from chorale_generation.checking import check

    for path, name in files:
        check(path, name, engine, model)


@dataclass(frozen=True)
class Prepared:
    """Mono sound of 16 bits."""

    data: bytes
    frame_count: int


def prepare(source: Source, sample_rate_hz: int, seconds_max: float) -> Prepared:
    """The sound of a source as training reads it: mono, at a rate, at most so long."""
    import numpy as np

    output = Output(sample_rate_hz=sample_rate_hz, channel_count=1)
    sound = _read(source, 0.0, min(source.duration_seconds, seconds_max), output)[:, 0]
    data = np.round(np.clip(sound, -1.0, 1.0 - 2.0**-15) * 32768.0).astype("<i2").tobytes()
    return Prepared(data, len(sound))


def gather(sources: list[Source], sample_rate_hz: int, path: str) -> None:
    """Writes the sound of all sources one after another, as float32."""
    output = Output(sample_rate_hz=sample_rate_hz, channel_count=1)
    with Path(path).open("wb") as file:
        for source in sources:
            sound = _read(source, 0.0, source.duration_seconds, output)
            file.write(sound.astype("<f4").tobytes())


@dataclass(frozen=True)
class Packed:
    """An archive of a data set."""

    sha256: str
    size_bytes: int


def pack(sources: list[Source], told: list[dict[str, "str | float"]], path: str) -> Packed:
    """Writes a data set as a zip archive: sound, a line of words for each, and `metadata.json`.

    The same data set is the same bytes.
    """
    import hashlib
    import io
    import json
    import wave
    import zipfile

    import numpy as np

    def add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
        archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED, compresslevel=1)

    with zipfile.ZipFile(path, "w") as archive:
        for source, words in zip(sources, told, strict=True):
            rate_hz = source.sample_rate_hz
            output = Output(sample_rate_hz=rate_hz, channel_count=1)
            sound = _read(source, 0.0, source.duration_seconds, output)[:, 0]
            held = io.BytesIO()
            with wave.open(held, "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(rate_hz)
                # The sound was kept with 16 bits: nothing is lost.
                file.writeframes(np.round(sound * 32768.0).astype("<i2").tobytes())
            name = str(words["file"])
            add(archive, name, held.getvalue())
            add(archive, f"{Path(name).stem}.txt", str(words["label"]).encode())
        add(archive, "metadata.json", json.dumps(told, indent=1, sort_keys=True).encode())
    with Path(path).open("rb") as made:
        digest = hashlib.file_digest(made, "sha256").hexdigest()
    return Packed(digest, Path(path).stat().st_size)


def encode_pairs(
    codec: "ModelPath",
    corpus: "Corpus",
    seed: int,
    directory: str,
    *,
    progress: "Callable[[str, float], None]",
) -> None:
    """Keeps encodings of pairs of windows in a directory."""
    from chorale_generation.training.cascade_lesson import encode_pairs

    _one_thread()
    encode_pairs(codec, corpus, seed, directory, progress)


def lap(lesson: "Teaching", path: str, seconds: float) -> "Lap":
    """Trains for so many seconds, from the file to the file."""
    from chorale_generation.training import teaching

    _one_thread()
    return teaching.lap(lesson, path, seconds)


def finish_training(lesson: "Teaching", path: str, model_path: str, model: str) -> "Finished":
    """Writes the best model of a training; raises `NotTrained`."""
    from chorale_generation.training import teaching

    _one_thread()
    return teaching.finish(lesson, path, model_path, model)


def write_wave(frames_path: str, output: "Output", path: str) -> None:
    """Writes float32 frames that lie on the grid of the file, which loses nothing."""
    import wave

    import numpy as np

    scale = 2.0 ** (output.bit_depth - 1)
    with Path(frames_path).open("rb") as frames, wave.open(path, "wb") as file:
        file.setnchannels(output.channel_count)
        file.setsampwidth(output.bit_depth // 8)
        file.setframerate(output.sample_rate_hz)
        while data := frames.read(_CHUNK_FRAMES * 4 * output.channel_count):
            steps = np.round(np.frombuffer(data, "<f4").astype(np.float64) * scale).astype("<i4")
            low_bytes = steps.view(np.uint8).reshape(-1, 4)[:, : output.bit_depth // 8]
            file.writeframesraw(low_bytes.tobytes())


def _one_thread() -> None:
    """Of several threads each waits busily for the others where cores are shared."""
    import torch

    torch.set_num_threads(1)


def _read(source: Source, start_seconds: float, end_seconds: float, output: "Output") -> "Samples":
    """A stretch of a source in the format of the result; silence where there is none."""
    import numpy as np
    from chorale_audio.shaping import Shaper

    rate_hz = output.sample_rate_hz
    count = round((end_seconds - start_seconds) * rate_hz)
    first = max(0, round(start_seconds * source.sample_rate_hz))
    last = min(source.frame_count, round(end_seconds * source.sample_rate_hz))
    sound = np.zeros((count, output.channel_count), np.float32)
    if last <= first:
        return sound
    part = source.within(first, last - first)
    shaper = Shaper(part, rate_hz, output.channel_count == 1)
    blocks = [shaper.push(block) for block in part.blocks()]
    found = np.concatenate([*blocks, shaper.finish()])
    if found.shape[1] != output.channel_count:
        found = np.repeat(found[:, :1], 2, axis=1) if found.shape[1] == 1 else found[:, :2]
    at = max(0, round(-start_seconds * rate_hz))
    taken = found[: max(0, count - at)]
    sound[at : at + len(taken)] = taken
    return sound
