"""Audio as its owners see it: lists, lifetimes, privacy, deletion, what the mesh makes."""

import asyncio
import base64
import hashlib
import uuid
from typing import Any

import grpc
import numpy as np
import pytest
from chorale.engines.v1 import engine_pb2
from chorale.ingest.v1 import (
    audio_pb2,
    ingest_service_pb2,
    reading_pb2,
    upload_pb2,
    usage_pb2,
)
from chorale_ingest.settings import Settings
from google.protobuf.field_mask_pb2 import FieldMask
from ingest_testing import (
    Ingest,
    bucket_of,
    drained,
    encoded,
    keys,
    noise,
    refusal,
    seen,
    sha256,
    song,
)


async def listed(ingest: Ingest, **fields: Any) -> list[str]:
    """The names on all pages of a list."""
    names: list[str] = []
    token = ""
    while True:
        page = await ingest.ListAudio(audio_pb2.ListAudioRequest(page_token=token, **fields))
        names += [audio.name for audio in page.audio]
        token = page.next_page_token
        if not token:
            return names


async def test_lists_are_pages_newest_first(ingest: Ingest) -> None:
    """Pages of any size make the same list, and nobody else's audio is on it."""
    stored = [(await ingest.store(song(30 + index, 500))).name for index in range(7)]
    await ingest.other().store(song(40, 500))
    for size in (1, 2, 3, 7, 100):
        assert await listed(ingest, page_size=size) == stored[::-1]


async def test_a_token_does_not_tell_how_much_others_store(ingest: Ingest) -> None:
    """What stands in a token is no number of a row: those of all owners are counted together."""
    for index in range(3):
        await ingest.store(song(50 + index, 500))
    tokens = []
    for size in (1, 2):
        page = await ingest.ListAudio(audio_pb2.ListAudioRequest(page_size=size))
        tokens.append(int.from_bytes(base64.urlsafe_b64decode(page.next_page_token)[8:]))
    assert min(tokens) > 1 << 32
    assert abs(tokens[0] - tokens[1]) > 1 << 32


async def test_a_token_is_good_for_its_own_list_only(ingest: Ingest) -> None:
    """Another filter, another owner, or anything made up is PAGE_TOKEN_INVALID."""
    for index in range(3):
        await ingest.store(song(41 + index, 500))
    page = await ingest.ListAudio(audio_pb2.ListAudioRequest(page_size=1))
    token = page.next_page_token
    wrong = (
        ingest.ListAudio(audio_pb2.ListAudioRequest(page_token=token, text="x")),
        ingest.other().ListAudio(audio_pb2.ListAudioRequest(page_token=token)),
        ingest.ListAudio(audio_pb2.ListAudioRequest(page_token="bm9uc2Vuc2U=")),
        ingest.ListAudio(audio_pb2.ListAudioRequest(page_token="ü")),
    )
    for call in wrong:
        found = await refusal(call)
        assert (found.code, found.reason) == (
            grpc.StatusCode.INVALID_ARGUMENT,
            "PAGE_TOKEN_INVALID",
        )


async def test_lists_are_filtered(ingest: Ingest) -> None:
    """By all tags, by text in title or file name taken literally, and by being kept."""
    details = upload_pb2.AudioDetails
    one = await ingest.store(song(44, 500), details=details(title="100% Blue", tags=["a", "b"]))
    two = await ingest.store(song(45, 500), file_name="blue.wav", details=details(tags=["a"]))
    await ingest.KeepAudio(audio_pb2.KeepAudioRequest(name=two.name))
    assert await listed(ingest, tags=["a"]) == [two.name, one.name]
    assert await listed(ingest, tags=["b", "a"]) == [one.name]
    assert await listed(ingest, text="BLUE") == [two.name, one.name]
    assert await listed(ingest, text="100%") == [one.name]
    assert await listed(ingest, text="1_0%") == []
    assert await listed(ingest, kept=True) == [two.name]


async def test_its_owner_changes_what_the_mask_names(ingest: Ingest) -> None:
    """Title, tags and privacy change one by one; strangers cannot, even when it is public."""
    audio = await ingest.store(song(46, 500))
    change = audio_pb2.UpdateAudioRequest(
        name=audio.name,
        title="New",
        tags=["x", "x", "y"],
        privacy=audio_pb2.PRIVACY_PUBLIC,
        update_mask=FieldMask(paths=["title", "tags"]),
    )
    changed = (await ingest.UpdateAudio(change)).audio
    assert (changed.title, list(changed.tags), changed.privacy) == (
        "New",
        ["x", "y"],
        audio_pb2.PRIVACY_PRIVATE,
    )
    change.update_mask.CopyFrom(FieldMask(paths=["privacy"]))
    await ingest.UpdateAudio(change)
    assert (await refusal(ingest.other().UpdateAudio(change))).reason == "AUDIO_NOT_FOUND"


async def test_of_private_audio_strangers_learn_nothing(ingest: Ingest) -> None:
    """Every read answers as if the audio did not exist; of public audio all may read."""
    audio = await ingest.store(song(47, 500))
    stranger = ingest.other()

    def reads() -> list[Any]:
        name = audio.name
        return [
            stranger.get(name),
            stranger.frames(name),
            stranger.original(name),
            drained(stranger.DownloadAudio(reading_pb2.DownloadAudioRequest(audio=name))),
            stranger.SignUrl(reading_pb2.SignUrlRequest(audio=name)),
            stranger.GetOverview(reading_pb2.GetOverviewRequest(audio=name)),
        ]

    for call in [
        *reads(),
        stranger.delete(audio.name),
        stranger.KeepAudio(audio_pb2.KeepAudioRequest(name=audio.name)),
    ]:
        found = await refusal(call)
        assert (found.code, found.reason) == (grpc.StatusCode.NOT_FOUND, "AUDIO_NOT_FOUND")
    mask = FieldMask(paths=["privacy"])
    await ingest.UpdateAudio(
        audio_pb2.UpdateAudioRequest(
            name=audio.name, privacy=audio_pb2.PRIVACY_PUBLIC, update_mask=mask
        )
    )
    for call in reads():
        await call
    assert await listed(stranger) == []


async def test_audio_goes_when_its_last_owner_lets_go(
    ingest: Ingest, shared_settings: Settings
) -> None:
    """One owner's deletion takes nothing from another; the last one's takes the bytes."""
    data = song(48, 500)
    other = ingest.other()
    name = (await ingest.store(data)).name
    await other.store(data)
    assert await ingest.delete(name) == [name]
    assert (await refusal(ingest.get(name))).reason == "AUDIO_NOT_FOUND"
    assert await other.original(name) == data
    await other.delete(name)
    digest = name.removeprefix("audio/")
    assert await seen(lambda: not [key for key in keys(shared_settings) if digest in key])
    assert (await refusal(other.delete(name))).reason == "AUDIO_NOT_FOUND"
    assert (await ingest.store(data)).name == name


async def test_storing_and_deleting_at_once_never_leaves_a_row_without_bytes(
    ingest: Ingest,
) -> None:
    """Owners who store and delete the same bytes at the same time never see half of it."""
    data = song(49, 500)
    name = f"audio/{sha256(data)}"

    async def comes_and_goes(owner: Ingest) -> None:
        for _ in range(6):
            await owner.store(data)
            assert await owner.original(name) == data
            assert len(await owner.frames(name)) == 500
            await owner.delete(name)

    await asyncio.gather(*(comes_and_goes(ingest.other()) for _ in range(6)))


async def test_kept_audio_does_not_expire(ingest: Ingest) -> None:
    """Keeping unsets the expiry, releasing sets it a full lifetime from now."""
    audio = await ingest.store(song(50, 500))
    assert audio.expire_time.seconds - audio.create_time.seconds == 86_400
    kept = (await ingest.KeepAudio(audio_pb2.KeepAudioRequest(name=audio.name))).audio
    assert not kept.HasField("expire_time")
    freed = audio_pb2.KeepAudioRequest(name=audio.name, release=True)
    assert (await ingest.KeepAudio(freed)).audio.HasField("expire_time")


async def registered(ingest: Ingest, settings: Settings, samples: Any, **fields: Any) -> Any:
    """Write PCM as a maker does, and register it."""
    pcm = samples.tobytes()
    digest = hashlib.sha256(pcm).hexdigest()
    client = bucket_of(settings)
    await asyncio.to_thread(_put, client, settings.objects_bucket, f"pcm/{digest}", pcm)
    request = upload_pb2.RegisterAudioRequest(
        **{
            "sha256": digest,
            "format": {"sample_rate_hz": 48000, "channel_count": samples.shape[1]},
            "frame_count": len(samples),
            "owner": ingest.principal,
            "provenance": engine_pb2.Provenance(engine_used="test", engine_version="1"),
            **fields,
        }
    )
    return (await ingest.RegisterAudio(request)).audio


def _put(client: Any, bucket: str, key: str, data: bytes) -> None:
    import io

    client.put_object(bucket_name=bucket, object_name=key, data=io.BytesIO(data), length=len(data))


async def test_what_the_mesh_makes_is_audio_like_any_other(
    ingest: Ingest, shared_settings: Settings
) -> None:
    """Registered PCM is named, readable, listed by parent and deleted with its parent."""
    parent = await ingest.store(song(51, 500))
    samples = (noise(3000, 2, seed=52) / 32768).astype("<f4")
    made = await registered(ingest, shared_settings, samples, parents=[parent.name])
    assert (made.container, made.bit_depth, list(made.parents)) == ("pcm", 32, [parent.name])
    assert made.provenance.engine_used == "test"
    assert np.array_equal(await ingest.frames(made.name), samples)
    again = await registered(ingest, shared_settings, samples, parents=[parent.name])
    assert again.name == made.name
    assert await listed(ingest, parent=parent.name) == [made.name]
    sixteen = await registered(ingest, shared_settings, noise(3000, 1, seed=53))
    assert sixteen.pcm.encoding == audio_pb2.SAMPLE_ENCODING_S16LE
    assert set(await ingest.delete(parent.name)) == {parent.name, made.name}
    assert await listed(ingest) == [sixteen.name]


async def test_what_a_maker_says_of_its_pcm_is_checked(
    ingest: Ingest, shared_settings: Settings
) -> None:
    """Absent objects, other lengths, false digests, bad samples and foreign parents fail."""
    samples = (noise(1000, 2, seed=54) / 32768).astype("<f4")
    foreign = await ingest.other().store(song(55, 500))

    async def reason(**fields: Any) -> str:
        return (await refusal(registered(ingest, shared_settings, samples, **fields))).reason

    assert await reason(sha256="0" * 64) == "UPLOAD_SIZE_MISMATCH"
    assert await reason(frame_count=999) == "UPLOAD_SIZE_MISMATCH"
    assert await reason(parents=[foreign.name]) == "AUDIO_NOT_FOUND"
    liar = sha256(b"another")
    client = bucket_of(shared_settings)
    await asyncio.to_thread(
        _put, client, shared_settings.objects_bucket, f"pcm/{liar}", samples.tobytes()
    )
    assert await reason(sha256=liar) == "CHECKSUM_MISMATCH"
    samples[500] = np.nan
    assert await reason() == "UNDECODABLE"


async def test_services_watch_what_is_deleted(ingest: Ingest) -> None:
    """Deletions come in order, with their sequence, and a watcher can rejoin."""
    stub = ingest.WatchDeletions(usage_pb2.WatchDeletionsRequest())
    names = [(await ingest.store(song(56 + index, 500))).name for index in range(3)]
    for name in names:
        await ingest.delete(name)
    told: list[Any] = []
    async for message in stub:
        if message.deletion.owner == ingest.principal:
            told.append(message.deletion)
        if len(told) == 3:
            break
    stub.cancel()
    assert [deletion.audio for deletion in told] == names
    assert all(deletion.last for deletion in told)
    after = usage_pb2.WatchDeletionsRequest(after_sequence=told[1].sequence)
    rejoined = ingest.WatchDeletions(after)
    assert (await anext(aiter(rejoined))).deletion == told[2]
    rejoined.cancel()


async def test_usage_tells_the_tier_and_what_is_used(ingest: Ingest) -> None:
    """Uploads of today, kept audio and stored bytes are counted."""
    owner = ingest.other(tier="starter")
    data = song(60, 500)
    audio = await owner.store(data)
    await owner.KeepAudio(audio_pb2.KeepAudioRequest(name=audio.name))
    usage = await owner.GetUsage(usage_pb2.GetUsageRequest())
    quotas = {quota.name: (quota.used, quota.limit) for quota in usage.quotas}
    assert usage.tier == "starter"
    assert quotas["uploads_per_day"] == (1, 10)
    assert quotas["kept_audio"] == (1, 10)
    assert quotas["stored_bytes"] == (len(data), 5 << 30)


async def test_tiers_limit_uploads_sizes_lengths_and_keeping(ingest: Ingest) -> None:
    """Each limit of a tier is refused with its own reason, and the numbers."""
    free = ingest.other(tier="free")
    large = await refusal(free.start(60 << 20))
    assert (large.code, large.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "AUDIO_TOO_LARGE")
    assert large.metadata["limitBytes"] == str(50 << 20)
    assert "QuotaFailure" in large.details
    long = encoded(np.zeros((8000 * 721, 1), np.int16), 8000, "FLAC")
    found = await refusal(free.store(long))
    assert (found.code, found.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "AUDIO_TOO_LONG")
    assert float(found.metadata["limitSeconds"]) == 720
    await ingest.store(long)  # of another's audio the tier's own limit holds as well
    assert (await refusal(free.store(long))).reason == "AUDIO_TOO_LONG"
    audio = await free.store(song(61, 500))
    kept = await refusal(free.KeepAudio(audio_pb2.KeepAudioRequest(name=audio.name)))
    assert (kept.reason, kept.metadata["quota"]) == ("QUOTA_EXCEEDED", "kept_audio")
    for seed in (62, 63):
        await free.store(song(seed, 500))
    fourth = await refusal(free.start(1000))
    assert (fourth.reason, fourth.metadata["limit"]) == ("QUOTA_EXCEEDED", "3")


async def test_tiers_without_private_audio_store_public(ingest: Ingest) -> None:
    """What may not be private is public, and asking for privacy is refused."""
    free = ingest.other(tier="free")
    audio = await free.store(song(64, 500))
    assert audio.privacy == audio_pb2.PRIVACY_PUBLIC
    private = upload_pb2.AudioDetails(privacy=audio_pb2.PRIVACY_PRIVATE)
    found = await refusal(free.start(1000, details=private))
    assert (found.code, found.reason) == (grpc.StatusCode.PERMISSION_DENIED, "CALL_FORBIDDEN")
    unknown = ingest.other(tier="galactic")
    assert (await unknown.store(song(65, 500))).privacy == audio_pb2.PRIVACY_PRIVATE


async def test_engines_are_listed_by_capability(ingest: Ingest) -> None:
    """Every engine names its licence and version; a capability has one default."""
    everything = await ingest.ListEngines(ingest_service_pb2.ListEnginesRequest())
    assert {engine.capability for engine in everything.engines} == {"decode", "encode", "resample"}
    assert all(e.version and e.code_licence and e.available for e in everything.engines)
    decode = ingest_service_pb2.ListEnginesRequest(capability="decode")
    assert [e.name for e in (await ingest.ListEngines(decode)).engines] == ["ffmpeg"]


@pytest.mark.parametrize("name", ["../../etc/x.wav", "a\r\nb\0.wav", "\u202ewav.exe", "🎵 ünï.wav"])
async def test_names_are_for_people_and_nothing_else(ingest: Ingest, name: str) -> None:
    """Any file name is stored without what breaks lines, and decides nothing."""
    data = song(70 + len(name), 500)
    audio = await ingest.store(data, file_name=name)
    assert audio.file_name == "".join(c for c in name if c.isprintable())
    signed = await ingest.SignUrl(reading_pb2.SignUrlRequest(audio=audio.name))
    assert str(uuid.UUID(int=0)) not in signed.url
    assert f"/audio/{sha256(data)}" in signed.url
