"""From frames on disk to the owner's audio."""

from pathlib import Path

from chorale.engines.v1 import engine_pb2
from chorale.generation.v1 import tracks_pb2
from chorale.ingest.v1 import audio_pb2
from chorale_runtime.operations import Job

from chorale_generation import worker
from chorale_generation.mosaic.asked import Output
from chorale_generation.store.shelf import Filed, Shelf

FILE_NAME = "generated_music.wav"
FRAMES, WAVE = "frames", "made.wav"
MADE_SHARE, _FILE_SHARE = 0.85, 0.9


async def kept(
    job: Job[tracks_pb2.GenerateFromTracksRequest],
    shelf: Shelf,
    output: Output,
    title: str,
    directory: str,
    made_by: engine_pb2.Provenance,
) -> tuple[audio_pb2.Audio, str]:
    """Writes the file of the frames in a directory, and stores it; the audio and a signed URL."""
    await job.progress("decoding", MADE_SHARE, "Writing the file.")
    path = str(Path(directory, WAVE))
    await job.run(worker.write_wave, str(Path(directory, FRAMES)), output, path)
    await job.progress("finishing", _FILE_SHARE, "Storing the file.")
    parents = list(dict.fromkeys((job.request.track_1.audio, job.request.track_2.audio)))
    audio = await shelf.keep(Filed(path, FILE_NAME, title, parents, made_by))
    return audio, await shelf.sign(audio.name, FILE_NAME)
