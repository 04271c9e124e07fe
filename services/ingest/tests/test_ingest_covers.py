"""Cover art: dropped unless its owner asks for it, kept as it came, gone with the audio."""

import asyncio

import grpc
import pytest
import urllib3
from chorale.ingest.v1 import audio_pb2, reading_pb2, upload_pb2
from chorale_ingest.settings import Settings
from ingest_testing import Ingest, drained, encoded, keys, noise, refusal, sha256

KEEP = upload_pb2.AudioDetails(keep_cover=True)
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
    "0000000c49444154789c63606060000000040001f61738550000000049454e44ae426082"
)
JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + bytes(range(256)) * 40 + b"\xff\xd9"


def song_with(picture: bytes, seed: int, media_type: bytes = b"image/png") -> bytes:
    """An MP3 with a picture in its ID3 tag."""
    body = b"\0" + media_type + b"\0\x03\0" + picture
    frame = b"APIC" + len(body).to_bytes(4, "big") + b"\0\0" + body
    size = bytes(len(frame) >> shift & 127 for shift in (21, 14, 7, 0))
    sound = encoded(noise(4410, 2, seed=seed) // 8, container="MP3", subtype="MPEG_LAYER_III")
    return b"ID3\x03\0\0" + size + frame + sound


async def downloaded(ingest: Ingest, name: str) -> tuple[str, bytes]:
    """The cover and its media type."""
    request = reading_pb2.DownloadAudioRequest(audio=name, cover=True)
    parts = await drained(ingest.DownloadAudio(request))
    return parts[0].content_type, b"".join(part.data for part in parts)


@pytest.mark.parametrize(("picture", "media_type"), [(PNG, "image/png"), (JPEG, "image/jpeg")])
async def test_a_cover_is_kept_as_it_came(ingest: Ingest, picture: bytes, media_type: str) -> None:
    """Streamed or by URL, bit for bit, under its own media type."""
    audio = await ingest.store(song_with(picture, 200, media_type.encode()), details=KEEP)
    assert audio.cover_type == (await ingest.get(audio.name)).cover_type == media_type
    assert await downloaded(ingest, audio.name) == (media_type, picture)
    signed = await ingest.SignUrl(reading_pb2.SignUrlRequest(audio=audio.name, cover=True))
    reply = await asyncio.to_thread(urllib3.request, "GET", signed.url, retries=False)
    assert (reply.status, reply.data) == (200, picture)
    assert "attachment" in reply.headers["content-disposition"]


async def test_a_cover_is_dropped_unless_asked_for(
    ingest: Ingest, shared_settings: Settings
) -> None:
    """No object and no answer; each owner's wish is its own, and may come later."""
    data = song_with(PNG, 201)
    audio = await ingest.store(data)
    assert audio.cover_type == ""
    assert f"cover/{sha256(data)}" not in keys(shared_settings, "cover/")
    request = reading_pb2.SignUrlRequest(audio=audio.name, cover=True)
    found = await refusal(ingest.SignUrl(request))
    assert (found.code, found.reason) == (grpc.StatusCode.NOT_FOUND, "AUDIO_NOT_FOUND")
    other = ingest.other()
    assert (await other.store(data, details=KEEP)).cover_type == "image/png"
    assert (await ingest.get(audio.name)).cover_type == ""
    assert (await ingest.store(data, details=KEEP)).cover_type == "image/png"


async def test_a_cover_goes_with_the_last_owner(ingest: Ingest, shared_settings: Settings) -> None:
    """Deleting leaves no picture behind."""
    audio = await ingest.store(song_with(PNG, 202), details=KEEP)
    key = f"cover/{audio.name.removeprefix('audio/')}"
    assert key in keys(shared_settings, "cover/")
    await ingest.DeleteAudio(audio_pb2.DeleteAudioRequest(name=audio.name))
    assert key not in keys(shared_settings, "cover/")


@pytest.mark.parametrize(
    "picture", [b"<svg onload='alert(1)'/>", b"", b"GIF89a" + bytes(99), bytes(5 << 20)]
)
async def test_what_is_no_cover_is_not_kept(ingest: Ingest, picture: bytes) -> None:
    """Neither scripts nor giants: the sound is stored, and nothing else."""
    audio = await ingest.store(song_with(picture, 203), details=KEEP)
    assert (audio.cover_type, audio.codec) == ("", "mp3")
