"""The laws of reading and of the catalogue, as plain functions over a client.

As in `laws_upload.py`: `LAWS` lists them all.
"""

from chorale.audio.v1.audio_pb2 import FrameSpan
from chorale.ingest.v1.reading_pb2 import ReadBytesRequest, ReadFramesRequest
from chorale_client import AsyncChorale, Frames
from client_songs import pcm, song
from laws_upload import fails


async def law_frames_are_read_as_they_were_stored(chorale: AsyncChorale, seed: int) -> None:
    """Sixteen-bit samples come back as exactly sample / 32768, in order, without a gap."""
    wav = song(seed, frame_count=300_000)
    audio = await chorale.put(wav)
    runs = [run async for run in chorale.read_frames(audio)]
    assert b"".join(run.pcm for run in runs) == pcm(wav)
    assert [run.start_frame for run in runs] == _starts(runs)
    assert {run.total_frames for run in runs} == {300_000}


async def law_two_halves_of_a_reading_fit(chorale: AsyncChorale, seed: int) -> None:
    """From any frame, at any rate and channel count: the rest is what the whole has there."""
    audio = await chorale.put(song(seed, frame_count=50_000))
    for rate_hz, channels in ((0, 0), (0, 1), (22_050, 0), (48_000, 1)):
        options = {"sample_rate_hz": rate_hz, "channel_count": channels}
        whole = [run async for run in chorale.read_frames(audio, None, **options)]
        everything = b"".join(run.pcm for run in whole)
        frame_bytes = 4 * whole[0].channel_count
        total = len(everything) // frame_bytes
        assert whole[0].total_frames == total
        for begin in (1, 7919, total // 2, total - 1):
            rest = [run async for run in chorale.read_frames(audio, range(begin, total), **options)]
            assert b"".join(run.pcm for run in rest) == everything[begin * frame_bytes :]


async def law_a_span_holds_exactly_its_frames(chorale: AsyncChorale, seed: int) -> None:
    """Half-open: the first frame is in, the last is not; a span over the end ends at the end."""
    wav = song(seed)
    audio = await chorale.put(wav)
    part = [run async for run in chorale.read_frames(audio, range(100, 105))]
    assert b"".join(run.pcm for run in part) == pcm(wav)[100 * 8 : 105 * 8]
    over = [run async for run in chorale.read_frames(audio, range(44_090, 60_000))]
    assert b"".join(run.pcm for run in over) == pcm(wav)[44_090 * 8 :]


async def law_a_span_past_the_end_is_out_of_range(chorale: AsyncChorale, seed: int) -> None:
    """There is nothing after the last frame or the last byte."""
    audio = await chorale.put(song(seed))
    request = ReadFramesRequest(audio=audio.name, span=FrameSpan(start_frame=44_100))
    with fails("OUT_OF_RANGE", "SPAN_PAST_END"):
        _ = [answer async for answer in chorale.ingest.ReadFrames(request)]
    past = ReadBytesRequest(audio=audio.name, offset_bytes=audio.size_bytes + 1)
    with fails("OUT_OF_RANGE", "SPAN_PAST_END"):
        _ = [answer async for answer in chorale.ingest.ReadBytes(past)]


async def law_bytes_are_read_as_they_came(chorale: AsyncChorale, seed: int) -> None:
    """From any offset, for any length: the original, byte for byte."""
    wav = song(seed, frame_count=700_000)
    audio = await chorale.put(wav)
    for offset, length in (
        (0, 0),
        (1, 0),
        (0, 1),
        (1_048_575, 2),
        (len(wav) - 1, 0),
        (500, 2 << 20),
    ):
        data = b"".join([piece async for piece in chorale.read_bytes(audio, offset, length)])
        assert data == wav[offset : offset + length if length else None]


async def law_deleted_audio_is_gone(chorale: AsyncChorale, seed: int) -> None:
    """DeleteAudio tells what went; nothing answers to the name, until it is stored again."""
    wav = song(seed)
    audio = await chorale.put(wav)
    assert audio.name in await chorale.delete(audio)
    with fails("NOT_FOUND", "AUDIO_NOT_FOUND"):
        await chorale.info(audio)
    with fails("NOT_FOUND", "AUDIO_NOT_FOUND"):
        _ = [run async for run in chorale.read_frames(audio)]
    assert audio.name not in [one.name async for one in chorale.list()]
    assert (await chorale.put(wav)).name == audio.name


async def law_lists_are_newest_first_in_pages(chorale: AsyncChorale, seed: int) -> None:
    """Every page continues the one before: nothing twice, nothing left out."""
    tag = f"law-{seed}"
    names = [(await chorale.put(song(seed + i, 8000), tags=[tag])).name for i in range(5)]
    for page_size in (1, 2, 5, 100):
        found = [audio.name async for audio in chorale.list(tags=[tag], page_size=page_size)]
        assert found == names[::-1]


LAWS = tuple(law for name, law in sorted(globals().items()) if name.startswith("law_"))


def _starts(runs: list[Frames]) -> list[int]:
    starts, at = [], 0
    for run in runs:
        starts.append(at)
        at += run.frame_count
    return starts
