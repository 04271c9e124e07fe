"""Proto <-> dataclass, and nothing else."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from chorale.audio.v1 import audio_pb2 as audio_types_pb2
from chorale.engines.v1 import engine_pb2
from chorale.ingest.v1 import audio_pb2, reading_pb2, upload_pb2, usage_pb2
from chorale_runtime.spliced import Spliced
from google.api import httpbody_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from chorale_ingest import overview
from chorale_ingest.filter import Filter
from chorale_ingest.samples import Encoding
from chorale_ingest.sounds import (
    Claim,
    Deletion,
    Entry,
    Sound,
    Stored,
    audio_name,
    digest_in,
    pcm_key,
)
from chorale_ingest.store.reading import Piece, Plan, Wanted
from chorale_ingest.store.receiving import Chunk, Opening, digest_of
from chorale_ingest.store.uploads import Details, Upload
from chorale_ingest.tiers import Tier

_ENCODINGS = {
    Encoding.S16LE: audio_pb2.SAMPLE_ENCODING_S16LE,
    Encoding.F32LE: audio_pb2.SAMPLE_ENCODING_F32LE,
}
SECONDS_PER_DAY = 86_400


class PrivacyForbidden(Exception):
    """The tier has no private audio."""

    def __init__(self, method: str, tier: str) -> None:
        super().__init__(method, tier)
        self.method, self.tier = method, tier

    def __str__(self) -> str:
        return f"The {self.tier} tier has no private audio."


def upload_id(name: str) -> str:
    """The id in `uploads/{uuid}`; empty stays empty."""
    return name.removeprefix("uploads/")


def is_private(privacy: int, tier: Tier, method: str) -> bool:
    """Settle the privacy asked for against what the tier has."""
    if privacy == audio_pb2.PRIVACY_PRIVATE and not tier.private_audio:
        raise PrivacyForbidden(method, tier.name)
    return tier.private_audio and privacy != audio_pb2.PRIVACY_PUBLIC


def opening(request: upload_pb2.StartUploadRequest, tier: Tier, method: str) -> Opening:
    """What a start announces."""
    return Opening(
        size_bytes=request.size_bytes,
        sha256=request.sha256,
        request_id=request.request_id,
        request_digest=digest_of(request.SerializeToString(deterministic=True)),
        details=details(request.file_name, request.details, tier, method),
    )


def details(file_name: str, told: upload_pb2.AudioDetails, tier: Tier, method: str) -> Details:
    """What the caller says of the audio to be."""
    return Details(
        file_name=plain(file_name),
        title=plain(told.title),
        tags=unique(told.tags),
        is_private=is_private(told.privacy, tier, method),
        keep_cover=told.keep_cover,
    )


def plain(text: str) -> str:
    """Drop what would break a header, a log line or a database: names come from anywhere."""
    return "".join(character for character in text if character.isprintable())


def unique(tags: Sequence[str]) -> tuple[str, ...]:
    """Tags without repetitions, in order."""
    return tuple(dict.fromkeys(cleaned for tag in tags if (cleaned := plain(tag))))


def chunk(request: upload_pb2.WriteUploadRequest) -> Chunk:
    """One message of an upload's stream."""
    return Chunk(
        upload_id=upload_id(request.upload),
        offset_bytes=request.offset_bytes,
        data=request.data,
        crc32c=request.crc32c if request.HasField("crc32c") else None,
        finish=request.finish,
    )


def upload(found: Upload) -> upload_pb2.Upload:
    """How an upload stands."""
    return upload_pb2.Upload(
        name=found.name,
        committed_bytes=found.committed_bytes,
        size_bytes=found.size_bytes or 0,
        expire_time=_timestamp(found.expire_time),
        audio=audio_name(found.audio) if found.audio else "",
    )


def written(outcome: Entry | int, for_service: bool) -> upload_pb2.WriteUploadResponse:
    """How a stream ended."""
    if isinstance(outcome, int):
        return upload_pb2.WriteUploadResponse(committed_bytes=outcome)
    return upload_pb2.WriteUploadResponse(audio=audio(outcome, for_service))


def audio(entry: Entry, for_service: bool) -> audio_pb2.Audio:
    """What is known of audio; where its PCM lies is told to services only."""
    sound = entry.sound
    told = audio_pb2.Audio(
        name=entry.name,
        format=_format(sound.sample_rate_hz, sound.channel_count),
        frame_count=sound.frame_count,
        duration_seconds=sound.duration_seconds,
        size_bytes=sound.size_bytes,
        container=sound.container,
        codec=sound.codec,
        bit_depth=sound.bit_depth,
        bit_rate_bps=sound.bit_rate_bps,
        file_name=entry.file_name,
        title=entry.title,
        tags=entry.tags,
        embedded_tags=sound.embedded_tags,
        privacy=audio_pb2.PRIVACY_PRIVATE if entry.is_private else audio_pb2.PRIVACY_PUBLIC,
        create_time=_timestamp(entry.create_time),
        parents=[audio_name(parent) for parent in entry.parents],
        warnings=sound.warnings,
        cover_type=entry.cover_type,
    )
    if sound.sample_peak > 0:
        told.sample_peak_dbfs = 20 * math.log10(sound.sample_peak)
    if entry.expire_time is not None:
        told.expire_time.CopyFrom(_timestamp(entry.expire_time))
    if entry.provenance is not None:
        told.provenance.CopyFrom(engine_pb2.Provenance.FromString(entry.provenance))
    if entry.parent_frame_count is not None:
        told.parent_span.start_frame = entry.parent_start_frame or 0
        told.parent_span.frame_count = entry.parent_frame_count
    if sound.integrated_lufs is not None:
        told.integrated_lufs = sound.integrated_lufs
    if sound.true_peak_dbtp is not None:
        told.true_peak_dbtp = sound.true_peak_dbtp
    if for_service:
        told.pcm.CopyFrom(_pcm(sound))
    return told


def wanted_list(request: audio_pb2.ListAudioRequest) -> Filter:
    """Which audio to list."""
    return Filter(
        tags=tuple(request.tags),
        text=request.text,
        parent=digest_in(request.parent),
        kept=request.kept,
    )


def wanted_frames(request: reading_pb2.ReadFramesRequest) -> Wanted:
    """Which frames to read."""
    return Wanted(
        start_frame=request.span.start_frame,
        frame_count=request.span.frame_count,
        sample_rate_hz=request.sample_rate_hz,
        channel_count=request.channel_count,
        chunk_bytes=request.chunk_bytes,
    )


def frames(piece: Piece, first_of: Plan | None) -> Spliced:
    """One message of frames; the first tells the format too."""
    told = reading_pb2.ReadFramesResponse(start_frame=piece.start_frame)
    if first_of is not None:
        told.format.CopyFrom(_format(first_of.sample_rate_hz, first_of.channel_count))
        told.total_frames = first_of.total_frames
    return Spliced(told, "pcm", piece.pcm)


def body(data: bytes, content_type: str) -> Spliced:
    """One message of a download; the content type is told in the first."""
    return Spliced(httpbody_pb2.HttpBody(content_type=content_type), "data", data)


def picture(drawn: overview.Picture) -> reading_pb2.GetOverviewResponse:
    """A waveform overview."""
    return reading_pb2.GetOverviewResponse(
        frames_per_point=drawn.frames_per_point,
        minimum=drawn.minimum.tolist(),
        maximum=drawn.maximum.tolist(),
        rms=drawn.rms.tolist(),
    )


def registered(request: upload_pb2.RegisterAudioRequest, tier: Tier, method: str) -> Claim:
    """What a maker says of audio it made for somebody."""
    told = details(request.file_name, request.details, tier, method)
    return Claim(
        owner=request.owner,
        file_name=told.file_name,
        title=told.title or told.file_name,
        tags=told.tags,
        is_private=told.is_private,
        parents=tuple(dict.fromkeys(digest_in(parent) for parent in request.parents)),
        provenance=request.provenance.SerializeToString(deterministic=True),
    )


def cut_claim(
    request: audio_pb2.CutAudioRequest, parent: Entry, owner: str, tier: Tier, frame_count: int
) -> Claim:
    """What the caller says of a cut; unsaid, it is called after its parent and its times."""
    rate, start = parent.sound.sample_rate_hz, request.span.start_frame
    times = f"{start / rate:.2f}-{(start + frame_count) / rate:.2f} s"
    stem = parent.file_name.rpartition(".")[0] or parent.file_name or "cut"
    return Claim(
        owner=owner,
        file_name=f"{stem[:200]} {times}.wav",
        title=plain(request.details.title) or f"{parent.title[:170]} {times}".strip(),
        tags=unique(request.details.tags),
        # A cut is no more public than what it was cut from, where the tier knows privacy.
        is_private=tier.private_audio and (parent.is_private or parent.owner != owner),
        parents=(parent.sound.sha256,),
        parent_start_frame=start,
        parent_frame_count=frame_count,
    )


def form_name(encoding: int) -> str:
    """An encoding as this service names it: `wav16`; `unspecified`."""
    name: str = reading_pb2.Encoding.Name(encoding)
    return name.removeprefix("ENCODING_").lower()


def importing(request: upload_pb2.ImportObjectRequest, tier: Tier, method: str) -> Opening:
    """What an import announces."""
    return Opening(
        size_bytes=None,
        sha256="",
        request_id=request.request_id,
        request_digest=digest_of(request.SerializeToString(deterministic=True)),
        details=details(request.key.rpartition("/")[2][-255:], request.details, tier, method),
    )


def deletion(gone: Deletion) -> usage_pb2.WatchDeletionsResponse:
    """One deletion."""
    return usage_pb2.WatchDeletionsResponse(
        deletion=usage_pb2.Deletion(
            sequence=gone.sequence,
            audio=audio_name(gone.sha256),
            owner=gone.owner,
            last=gone.last,
        )
    )


def usage(
    principal: str, tier: Tier, uploads_today: int, stored: Stored, now: datetime
) -> usage_pb2.GetUsageResponse:
    """A tier's limits and what is used of them."""
    midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    reset = max(1, int((midnight - now).total_seconds()))
    rows = (
        ("uploads_per_day", uploads_today, tier.uploads_per_day, "uploads", reset),
        ("upload_bytes", 0, tier.upload_bytes, "bytes", 0),
        ("duration_seconds", 0, tier.duration_seconds, "seconds", 0),
        ("kept_audio", stored.kept_count, tier.kept_audio, "audio", 0),
        ("stored_bytes", stored.size_bytes, tier.stored_bytes, "bytes", 0),
    )
    return usage_pb2.GetUsageResponse(
        principal=principal,
        tier=tier.name,
        quotas=[
            usage_pb2.Quota(name=name, used=used, limit=limit, unit=unit, reset_seconds=at)
            for name, used, limit, unit, at in rows
        ],
    )


def signed(url: str, lifetime_seconds: int, now: datetime) -> reading_pb2.SignUrlResponse:
    """A URL and when it stops working."""
    return reading_pb2.SignUrlResponse(
        url=url, expire_time=_timestamp(now + timedelta(seconds=lifetime_seconds))
    )


def _format(sample_rate_hz: int, channel_count: int) -> audio_types_pb2.PcmFormat:
    return audio_types_pb2.PcmFormat(sample_rate_hz=sample_rate_hz, channel_count=channel_count)


def _pcm(sound: Sound) -> audio_pb2.PcmObject:
    return audio_pb2.PcmObject(
        key=pcm_key(sound.sha256),
        encoding=_ENCODINGS[sound.encoding],
        frame_bytes=sound.layout.frame_bytes,
    )


def _timestamp(moment: datetime) -> Timestamp:
    told = Timestamp()
    told.FromDatetime(moment.astimezone(UTC).replace(tzinfo=None))
    return told
