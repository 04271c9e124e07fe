"""The calls about references, albums and inspections."""

from collections.abc import Mapping

from chorale.audio.v1 import audio_pb2
from chorale.mastering.v1 import master_pb2, matching_pb2, presets_pb2
from chorale_audio.reader import AudioReader
from chorale_runtime import caller, pages
from chorale_runtime.calls import Context
from chorale_runtime.operations import Operations, Work, done
from chorale_runtime.positions import Positions
from google.longrunning import operations_pb2

from chorale_mastering import engines, messages
from chorale_mastering.loudness import require_window
from chorale_mastering.servicer.costs import hearing_seconds, seconds_of
from chorale_mastering.servicer.masters import Planner
from chorale_mastering.servicer.references import ALBUM, CREATE_REFERENCE, INSPECT, MATCH
from chorale_mastering.store.presets import Presets
from chorale_mastering.store.references import References


class ReferenceCalls:
    """Part of MasteringService."""

    _reader: AudioReader
    _planner: Planner
    _presets: Presets
    _references: References
    _positions: Positions
    _operations: Operations
    _works: Mapping[str, Work]

    async def MatchReference(
        self, request: matching_pb2.MatchReferenceRequest, _: Context
    ) -> operations_pb2.Operation:
        """Starts a master towards a reference."""
        asked = await self._planner.matching(request)
        audio = [request.audio]
        if request.reference:
            await self._references.find(caller.current().principal, request.reference)
        else:
            await self._planner.source(request.reference_audio, request.reference_span)
            audio.append(request.reference_audio)
        if request.validate_only:
            return done(matching_pb2.MatchReferenceResponse(estimate=asked.estimate))
        return await self._operations.start(
            self._works[MATCH], request, request_id=request.request_id, audio=audio
        )

    async def MasterAlbum(
        self, request: master_pb2.MasterAlbumRequest, _: Context
    ) -> operations_pb2.Operation:
        """Starts mastering an album, once every track was found."""
        tracks = await self._planner.album(request)
        if request.validate_only:
            estimate = audio_pb2.Estimate(
                engine=tracks[0].engine.name,
                device="cpu",
                seconds=seconds_of(order.brief for track in tracks for order in track.orders),
                output_bytes=sum(track.estimate.output_bytes for track in tracks),
            )
            return done(master_pb2.MasterAlbumResponse(estimate=estimate))
        return await self._operations.start(
            self._works[ALBUM], request, request_id=request.request_id, audio=request.tracks
        )

    async def Inspect(
        self, request: master_pb2.InspectRequest, _: Context
    ) -> operations_pb2.Operation:
        """Starts an inspection."""
        if request.genre:
            await self._presets.find(caller.current().principal, f"presets/{request.genre}")
        estimate = await self._hearing(request)
        if request.validate_only:
            return done(master_pb2.InspectResponse(estimate=estimate))
        return await self._operations.start(
            self._works[INSPECT], request, request_id=request.request_id, audio=[request.audio]
        )

    async def CreateReference(
        self, request: presets_pb2.CreateReferenceRequest, _: Context
    ) -> operations_pb2.Operation:
        """Starts keeping a reference."""
        estimate = await self._hearing(request)
        if request.validate_only:
            return done(presets_pb2.CreateReferenceResponse(estimate=estimate))
        return await self._operations.start(
            self._works[CREATE_REFERENCE],
            request,
            request_id=request.request_id,
            audio=[request.audio],
        )

    async def ListReferences(
        self, request: presets_pb2.ListReferencesRequest, _: Context
    ) -> presets_pb2.ListReferencesResponse:
        """Lists the caller's references, newest first."""
        owner, asked = caller.current().principal, (request.genre,)
        before = await self._positions.position(request.page_token, *asked)
        count = pages.size(request.page_size)
        found = await self._references.page(owner, request.genre, before, count + 1)
        more = (
            await self._positions.token(found[count - 1][0], *asked) if len(found) > count else ""
        )
        return presets_pb2.ListReferencesResponse(
            references=[each for _, each in found[:count]], next_page_token=more
        )

    async def GetReference(
        self, request: presets_pb2.GetReferenceRequest, _: Context
    ) -> presets_pb2.GetReferenceResponse:
        """Returns one reference."""
        found = await self._references.find(caller.current().principal, request.name)
        return presets_pb2.GetReferenceResponse(reference=found)

    async def DeleteReference(
        self, request: presets_pb2.DeleteReferenceRequest, _: Context
    ) -> presets_pb2.DeleteReferenceResponse:
        """Deletes one reference."""
        await self._references.delete(caller.current().principal, request.name)
        return presets_pb2.DeleteReferenceResponse()

    async def _hearing(
        self, request: master_pb2.InspectRequest | presets_pb2.CreateReferenceRequest
    ) -> audio_pb2.Estimate:
        """What hearing takes, once all that can be known to be wrong was found right."""
        engine = engines.choose(engines.LOUDNESS, request.engine)
        span = messages.span(request.span) if request.HasField("span") else None
        source = await self._reader.locate(request.audio, span)
        require_window(source.frame_count, source.sample_rate_hz)
        seconds = hearing_seconds(source.frame_count * source.channel_count)
        return audio_pb2.Estimate(engine=engine.name, device="cpu", seconds=seconds)
