"""References, matches, albums and inspections: what their operations do."""

import time
import uuid
from collections.abc import Sequence
from typing import Any

from chorale.engines.v1 import engine_pb2
from chorale.mastering.v1 import loudness_pb2, master_pb2, matching_pb2, presets_pb2, report_pb2
from chorale_audio.reader import AudioReader
from chorale_audio.source import Source
from chorale_runtime.operations import Job

from chorale_mastering import engines, messages
from chorale_mastering.loudness import require_window
from chorale_mastering.messages.matching import inspected, match_settings, reference
from chorale_mastering.messages.reports import warning
from chorale_mastering.messages.settings import known, wishes
from chorale_mastering.orders import AlbumRelation, Heard, Order, Outcome
from chorale_mastering.plan import AlbumLoudness
from chorale_mastering.refusals import ReferenceUnsuitable
from chorale_mastering.servicer.masters import Mastering, Planner, Storing, said
from chorale_mastering.store.presets import Presets
from chorale_mastering.store.references import PREFIX, References
from chorale_mastering.store.rooms import Rooms
from chorale_mastering.store.shelf import Shelf
from chorale_mastering.usual import genre_loudness
from chorale_mastering.worker.masters import MADE_SHARE
from chorale_mastering.worker.references import hear, master_album, match

_SERVICE = "chorale.mastering.v1.MasteringService/"
MATCH, ALBUM = f"{_SERVICE}MatchReference", f"{_SERVICE}MasterAlbum"
INSPECT, CREATE_REFERENCE = f"{_SERVICE}Inspect", f"{_SERVICE}CreateReference"


class MatchWorks:
    """Masters towards references, and albums."""

    def __init__(
        self, planner: Planner, references: References, shelf: Shelf, rooms: Rooms
    ) -> None:
        self._planner, self._references, self._rooms = planner, references, rooms
        self._storing = Storing(shelf)

    async def match(
        self, job: Job[matching_pb2.MatchReferenceRequest]
    ) -> matching_pb2.MatchReferenceResponse:
        """Masters named audio towards a reference."""
        started, request = time.monotonic(), job.request
        asked = await self._planner.matching(request)
        settings = match_settings(request.match, wishes(request.settings))
        following = await self._following(job.owner, request)
        async with self._rooms.one() as directory:
            made = await job.run(match, asked.source, following, settings, asked.orders, directory)
            parents = [request.audio, *filter(None, [request.reference_audio])]
            masters = await self._kept(job, asked.orders, made.outcomes, parents, asked, started)
        heard = messages.loudness(made.reference)
        heard.spectrum_db.extend(made.reference_octaves_db)
        return matching_pb2.MatchReferenceResponse(
            masters=masters,
            provenance=asked.provenance(started),
            reference=heard,
            reference_warnings=[warning(each) for each in made.reference_warnings],
            spectrum_difference_db=made.difference_db,
        )

    async def album(
        self, job: Job[master_pb2.MasterAlbumRequest]
    ) -> master_pb2.MasterAlbumResponse:
        """Masters many tracks as one album; nothing is kept unless all of them are made."""
        started, request = time.monotonic(), job.request
        tracks = await self._planner.album(request)
        orders = [asked.orders[0] for asked in tracks]
        known_relation = known(AlbumLoudness, master_pb2.AlbumLoudness, request.loudness)
        relation = AlbumRelation(
            orders[0].brief.plan.target_loudness_lufs, known_relation or AlbumLoudness.KEEP
        )
        sources = [asked.source for asked in tracks]
        async with self._rooms.one() as directory:
            made = await job.run(master_album, sources, orders, relation, directory)
            masters = []
            for asked, outcome in zip(tracks, made.outcomes, strict=True):
                parents = [asked.source.audio]
                masters += await self._kept(job, asked.orders, [outcome], parents, asked, started)
        return master_pb2.MasterAlbumResponse(
            masters=masters,
            provenance=tracks[0].provenance(started),
            album=loudness_pb2.Loudness(
                integrated_lufs=-70.0 if made.album_lufs is None else made.album_lufs,
                gated_out=made.album_lufs is None,
            ),
            track_gain_db=made.gains_db,
        )

    async def _following(
        self, owner: str, request: matching_pb2.MatchReferenceRequest
    ) -> Source | bytes:
        if request.reference:
            return await self._references.facts(owner, request.reference)
        return await self._planner.source(request.reference_audio, request.reference_span)

    async def _kept(
        self,
        job: Job[Any],
        orders: Sequence[Order],
        outcomes: Sequence[Outcome],
        parents: list[str],
        asked: Mastering,
        started: float,
    ) -> list[report_pb2.Master]:
        made_by, masters = asked.provenance(started), []
        for order, outcome in zip(orders, outcomes, strict=True):
            await job.progress("storing", MADE_SHARE)
            masters.append(await self._storing.kept(order, outcome, parents, made_by))
        return masters


class HearingWorks:
    """Inspects audio, and keeps references."""

    def __init__(
        self, reader: AudioReader, references: References, presets: Presets, shelf: Shelf
    ) -> None:
        self._reader, self._shelf = reader, shelf
        self._references, self._presets = references, presets

    async def inspect(self, job: Job[master_pb2.InspectRequest]) -> master_pb2.InspectResponse:
        """Inspects named audio."""
        started, request = time.monotonic(), job.request
        source = await self._located(request)
        heard = await job.run(hear, source, request.curve_points)
        answer = inspected(heard, ())
        await self._compare_genre(job.owner, request.genre, heard, answer)
        answer.provenance.CopyFrom(_made_by(request, started))
        return answer

    async def create_reference(
        self, job: Job[presets_pb2.CreateReferenceRequest]
    ) -> presets_pb2.CreateReferenceResponse:
        """Keeps what matching needs of a reference track."""
        started, request = time.monotonic(), job.request
        source = await self._located(request)
        heard = await job.run(hear, source, 0)
        if heard.loudness.integrated_lufs is None:
            raise ReferenceUnsuitable("silent")
        # The same operation taken up twice keeps one reference.
        name = PREFIX + str(uuid.uuid5(uuid.NAMESPACE_URL, job.name))
        title = request.title or await self._shelf.file_name(request.audio)
        kept = reference(name, title, request.audio, request.genre, heard)
        await self._references.keep(job.owner, kept, heard.packed)
        return presets_pb2.CreateReferenceResponse(
            reference=await self._references.find(job.owner, name),
            provenance=_made_by(request, started),
        )

    async def _located(
        self, request: master_pb2.InspectRequest | presets_pb2.CreateReferenceRequest
    ) -> Source:
        span = messages.span(request.span) if request.HasField("span") else None
        source = await self._reader.locate(request.audio, span)
        require_window(source.frame_count, source.sample_rate_hz)
        return source

    async def _compare_genre(
        self, owner: str, genre: str, heard: Heard, answer: master_pb2.InspectResponse
    ) -> None:
        """Adds whether the loudness is what the genre usually has."""
        if not genre:
            return
        preset = await self._presets.find(owner, f"presets/{genre}")
        low, high = preset.loudness_low_lufs, preset.loudness_high_lufs
        for each in genre_loudness(heard.loudness.integrated_lufs, low, high, preset.title):
            answer.warnings.append(warning(each))


def _made_by(
    request: master_pb2.InspectRequest | presets_pb2.CreateReferenceRequest, started: float
) -> engine_pb2.Provenance:
    engine = engines.choose(engines.LOUDNESS, request.engine)
    seconds = time.monotonic() - started
    return messages.provenance(request.engine, engine, said(request), seconds)
