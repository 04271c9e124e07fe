"""The adapter's half that speaks of patterns and songs: all unary, nothing to listen to."""

import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace

from chorale.audio.v1 import audio_pb2
from chorale.engines.v1 import engine_pb2
from chorale.fingerprint.v1 import (
    catalogue_pb2,
    fingerprint_service_pb2_grpc,
    patterns_pb2,
    recordings_pb2,
    similar_pb2,
)
from chorale_runtime import caller, pages
from chorale_runtime.calls import Context
from chorale_runtime.errors import ErrorTable
from chorale_runtime.files import tell_maker
from chorale_runtime.operations.errors import RequestIdReused
from chorale_runtime.positions import Positions
from google.api import httpbody_pb2
from grpc import StatusCode

from chorale_fingerprint import engines, messages
from chorale_fingerprint.engines import Engine
from chorale_fingerprint.layouts import LAYOUTS, LayoutUnknown, VectorInvalid, layout_of
from chorale_fingerprint.servicer import pattern_messages
from chorale_fingerprint.servicer.enrolling import DuplicateRejected
from chorale_fingerprint.servicer.rules import DuplicateRules
from chorale_fingerprint.store.patterns import (
    Pattern,
    PatternNotFound,
    PatternStore,
    RecordingUnknown,
    SongNotFound,
)
from chorale_fingerprint.store.renewal import comparable
from chorale_fingerprint.store.similar import SimilarPatterns
from chorale_fingerprint.tiers import UNLIMITED, TierForbids, Tiers

MIN_SIMILARITY, LIMIT = 0.7, 20
EXPORT_PAGE = 100
# What a tier may not include, as errors tell it.
MIDI, PRIVACY, RESULTS = "pattern_midi", "private_patterns", "similar_results"

PATTERN_ERRORS: ErrorTable = {
    PatternNotFound: (StatusCode.NOT_FOUND, "PATTERN_NOT_FOUND"),
    SongNotFound: (StatusCode.NOT_FOUND, "SONG_NOT_FOUND"),
    RecordingUnknown: (StatusCode.NOT_FOUND, "RECORDING_NOT_FOUND"),
    LayoutUnknown: (StatusCode.INVALID_ARGUMENT, "LAYOUT_UNKNOWN"),
    VectorInvalid: (StatusCode.INVALID_ARGUMENT, "VECTOR_INVALID"),
    TierForbids: (StatusCode.PERMISSION_DENIED, "TIER_FORBIDS"),
    RequestIdReused: (StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED"),
}


class PatternRejected(DuplicateRejected):
    """The song has such a pattern already, or enough sections, and the policy rejects more."""

    def __init__(self, song: str, existing_sections: str, section_limit: int) -> None:
        super().__init__("", "musical")
        self.song, self.existing_sections = song, existing_sections
        self.section_limit = section_limit

    def __str__(self) -> str:
        return (
            f"{self.song} has patterns of these sections already: {self.existing_sections}; at most"
            f" {self.section_limit} are taken, each once, and the policy rejects more."
        )


class PatternsServicer(fingerprint_service_pb2_grpc.FingerprintServiceServicer):
    """Answers what FingerprintService is asked about patterns and songs."""

    def __init__(
        self,
        patterns: PatternStore,
        similar: SimilarPatterns,
        rules: DuplicateRules,
        known_engines: tuple[Engine, ...],
        tiers: Tiers,
        positions: Positions,
    ) -> None:
        self._positions = positions
        self._patterns, self._similar, self._rules = patterns, similar, rules
        self._engines, self._tiers = known_engines, tiers

    async def IndexPattern(
        self, request: patterns_pb2.IndexPatternRequest, _: Context
    ) -> patterns_pb2.IndexPatternResponse:
        """Indexes one pattern."""
        started, owner = time.monotonic(), caller.current().principal
        wanted = self._wanted(request.pattern, owner)
        report = await self._report(wanted, request.policy)
        made = await self._add([wanted], request.request_id, request)
        return patterns_pb2.IndexPatternResponse(
            pattern=self._told(made[0]),
            duplicates=report,
            provenance=self._provenance("", started),
        )

    async def BatchIndexPatterns(
        self, request: patterns_pb2.BatchIndexPatternsRequest, _: Context
    ) -> patterns_pb2.BatchIndexPatternsResponse:
        """Indexes many patterns, all or none."""
        started, owner = time.monotonic(), caller.current().principal
        wanted = [self._wanted(each, owner) for each in request.patterns]
        for each in wanted:
            await self._report(each, request.policy)
        made = await self._add(wanted, request.request_id, request)
        return patterns_pb2.BatchIndexPatternsResponse(
            names=[f"patterns/{each.name}" for each in made],
            provenance=self._provenance("", started),
        )

    async def GetPattern(
        self, request: patterns_pb2.GetPatternRequest, _: Context
    ) -> patterns_pb2.GetPatternResponse:
        """Reads a pattern that the caller may see."""
        found = await self._seen(request.name)
        return patterns_pb2.GetPatternResponse(pattern=self._told(found))

    async def ListPatterns(
        self, request: patterns_pb2.ListPatternsRequest, _: Context
    ) -> patterns_pb2.ListPatternsResponse:
        """Lists the caller's patterns, newest first."""
        owner = caller.current().principal
        of = (owner, request.instrument, request.song)
        before = await self._positions.position(request.page_token, *of)
        count = pages.size(request.page_size)
        song = pattern_messages.identity(request.song)
        rows = await self._patterns.page(owner, request.instrument, song, before, count + 1)
        more = len(rows) > count
        return patterns_pb2.ListPatternsResponse(
            patterns=[self._told(row) for row in rows[:count]],
            next_page_token=(await self._positions.token(rows[count - 1].id, *of) if more else ""),
        )

    async def UpdatePattern(
        self, request: patterns_pb2.UpdatePatternRequest, _: Context
    ) -> patterns_pb2.UpdatePatternResponse:
        """Changes what its owner says of a pattern."""
        owner, name = caller.current().principal, request.pattern.name
        self._require_privacy(request.pattern.privacy)
        identity = pattern_messages.pattern_identity(name)
        found = await self._patterns.update(owner, identity, pattern_messages.changes(request))
        if found is None:
            raise PatternNotFound(name)
        return patterns_pb2.UpdatePatternResponse(pattern=self._told(found))

    async def DeletePattern(
        self, request: patterns_pb2.DeletePatternRequest, _: Context
    ) -> patterns_pb2.DeletePatternResponse:
        """Deletes a pattern of the caller's."""
        identity = pattern_messages.pattern_identity(request.name)
        if not await self._patterns.delete(caller.current().principal, identity):
            raise PatternNotFound(request.name)
        return patterns_pb2.DeletePatternResponse()

    async def GetPatternMidi(
        self, request: patterns_pb2.GetPatternMidiRequest, context: Context
    ) -> httpbody_pb2.HttpBody:
        """Reads the MIDI file of a pattern."""
        started, who = time.monotonic(), caller.current()
        found = await self._seen(request.name)
        is_own = found.owner == who.principal
        self._tiers.require(
            who.tier, MIDI, lambda tier: tier.may_read_midi(found.instrument, is_own)
        )
        identity = pattern_messages.pattern_identity(request.name)
        midi = await self._patterns.midi(who.principal, identity)
        if midi is None:
            raise PatternNotFound(request.name)
        body = httpbody_pb2.HttpBody(content_type="audio/midi", data=midi)
        await tell_maker(context, body, self._provenance("", started))
        return body

    async def ExportPatterns(
        self, request: patterns_pb2.ExportPatternsRequest, _: Context
    ) -> AsyncIterator[patterns_pb2.ExportPatternsResponse]:
        """Streams the caller's patterns, oldest first."""
        owner, last = caller.current().principal, 0
        if request.after:
            last = (await self._seen(request.after)).id
        while rows := await self._patterns.after(
            owner, request.instrument, last, EXPORT_PAGE, request.midi
        ):
            last = rows[-1].id
            yield patterns_pb2.ExportPatternsResponse(patterns=[self._told(row) for row in rows])

    async def SearchSimilar(
        self, request: similar_pb2.SearchSimilarRequest, _: Context
    ) -> similar_pb2.SearchSimilarResponse:
        """Finds patterns that are alike."""
        started, reader = time.monotonic(), caller.current().principal
        engines.choose(self._engines, engines.SIMILAR, request.engine)
        limit = self._limit(request.limit)
        query = await self._seen(request.pattern) if request.pattern else None
        vector = _vector(request, query)
        asked = layout_of(vector.layout, request.instrument)
        asked.unit(vector.values)
        # What is indexed anew is all there: an older layout is asked only where that is not so.
        serving = (await self._patterns.serving())[asked.instrument]
        layout = serving if asked.name in serving.made_from else asked
        answer = await self._similar.search(
            reader,
            layout,
            layout.unit(vector.values),
            pattern_messages.wanted(request, query),
            request.min_similarity if request.HasField("min_similarity") else MIN_SIMILARITY,
            limit,
        )
        explained = vector.values if request.explain else None
        return similar_pb2.SearchSimilarResponse(
            songs=pattern_messages.similar_songs(answer.found, explained, self._told),
            total_count=answer.total_count,
            query=similar_pb2.QueryInfo(
                pattern=request.pattern,
                instrument=layout.instrument,  # type: ignore[arg-type]
                bpm=query.bpm if query else 0.0,
                key=query.key if query else "",
                layout=layout.name,
            ),
            provenance=self._provenance(request.engine, started),
            is_exact=answer.is_exact,
        )

    async def ComparePatterns(
        self, request: similar_pb2.ComparePatternsRequest, _: Context
    ) -> similar_pb2.ComparePatternsResponse:
        """Compares two patterns number by number."""
        started = time.monotonic()
        first, second = await self._seen(request.first), await self._seen(request.second)
        layout = comparable(first.layout, second.layout)
        if layout is None:
            raise LayoutUnknown(second.layout, first.layout)
        rows = layout.agreements(first.values, second.values)
        similarity = sum(row.contribution for row in rows)
        return similar_pb2.ComparePatternsResponse(
            similarity=min(1.0, max(0.0, similarity)),
            explanation=pattern_messages.agreements(rows),
            provenance=self._provenance("", started),
        )

    async def ListLayouts(
        self, request: similar_pb2.ListLayoutsRequest, _: Context
    ) -> similar_pb2.ListLayoutsResponse:
        """Lists the layouts."""
        wanted = [one for one in LAYOUTS.values() if request.instrument in (0, one.instrument)]
        part = pages.page(wanted, request.page_size, request.page_token, request.instrument)
        counts = await self._patterns.counts(caller.current().principal)
        serving = await self._patterns.serving()
        return similar_pb2.ListLayoutsResponse(
            layouts=[
                pattern_messages.layout(one, counts, one is serving[one.instrument])
                for one in part.items
            ],
            next_page_token=part.next_token,
        )

    async def GetSong(
        self, request: catalogue_pb2.GetSongRequest, _: Context
    ) -> catalogue_pb2.GetSongResponse:
        """Reads a song of which the caller may see something."""
        identity = pattern_messages.identity(request.name)
        reader = caller.current().principal
        found = identity and await self._patterns.song(reader, identity)
        if not found:
            raise SongNotFound(request.name)
        return catalogue_pb2.GetSongResponse(song=pattern_messages.song(found))

    async def ListSongs(
        self, request: catalogue_pb2.ListSongsRequest, _: Context
    ) -> catalogue_pb2.ListSongsResponse:
        """Lists songs of which the caller may see something, newest first."""
        reader = caller.current().principal
        of = (reader, request.text)
        before = await self._positions.position(request.page_token, *of)
        count = pages.size(request.page_size)
        rows = await self._patterns.songs(reader, request.text, before, count + 1)
        more = len(rows) > count
        return catalogue_pb2.ListSongsResponse(
            songs=[pattern_messages.song(row) for row in rows[:count]],
            next_page_token=(await self._positions.token(rows[count - 1].id, *of) if more else ""),
        )

    def _wanted(self, message: patterns_pb2.Pattern, owner: str) -> Pattern:
        """A pattern to be indexed; public where the tier has no private ones."""
        self._require_privacy(message.privacy)
        wanted = pattern_messages.to_pattern(message, owner)
        is_private = self._tiers.of(caller.current().tier).private_patterns
        return wanted if is_private else replace(wanted, is_public=True)

    def _require_privacy(self, privacy: int) -> None:
        if privacy == pattern_messages.PRIVATE:
            tier = caller.current().tier
            self._tiers.require(tier, PRIVACY, lambda one: one.private_patterns)

    def _limit(self, asked: int) -> int:
        """How many similar patterns are returned: as many as asked for, or as the tier has."""
        tier = caller.current().tier
        most = self._tiers.of(tier).similar_results
        if not asked:
            return LIMIT if most == UNLIMITED else min(LIMIT, most)
        self._tiers.require(
            tier,
            RESULTS,
            lambda one: one.similar_results == UNLIMITED or asked <= one.similar_results,
        )
        return asked

    def _told(self, found: Pattern, with_vector: bool = True) -> patterns_pb2.Pattern:
        """A pattern as the caller may see it, with the MIDI that its tier may read."""
        who = caller.current()
        message = pattern_messages.pattern(found, who.principal, with_vector)
        is_own = found.owner == who.principal
        if not self._tiers.of(who.tier).may_read_midi(found.instrument, is_own):
            message.midi_available = False
            message.ClearField("midi")
        return message

    async def _seen(self, name: str) -> Pattern:
        identity = pattern_messages.pattern_identity(name)
        found = await self._patterns.find(caller.current().principal, identity)
        if found is None:
            raise PatternNotFound(name)
        return found

    async def _add(
        self,
        wanted: list[Pattern],
        request_id: str,
        request: patterns_pb2.IndexPatternRequest | patterns_pb2.BatchIndexPatternsRequest,
    ) -> list[Pattern]:
        whole = request.SerializeToString(deterministic=True)
        return await self._patterns.add(wanted, uuid.UUID(request_id), whole)

    async def _report(
        self, wanted: Pattern, asked_policy: int
    ) -> recordings_pb2.DuplicateReport | None:
        """What its song has already; raises when the policy rejects it."""
        if wanted.song is None:
            return None
        found = await self._patterns.sections(wanted.owner, wanted.song, wanted.instrument)
        if not found:
            return None
        tier, song = caller.current().tier, f"songs/{wanted.song}"
        limit, policy = self._rules.sections_of(tier), self._rules.policy_of(tier, asked_policy)
        is_duplicate, is_full = wanted.section in found, len(found) >= limit
        if policy == recordings_pb2.DUPLICATE_POLICY_REJECT and (is_duplicate or is_full):
            raise PatternRejected(song, ",".join(map(messages.section_name, sorted(found))), limit)
        warned = policy != recordings_pb2.DUPLICATE_POLICY_ALLOW and (is_duplicate or is_full)
        return recordings_pb2.DuplicateReport(
            is_duplicate=is_duplicate,
            level=(
                recordings_pb2.DUPLICATE_LEVEL_MUSICAL
                if is_duplicate
                else recordings_pb2.DUPLICATE_LEVEL_UNSPECIFIED
            ),
            decision=policy,  # type: ignore[arg-type]
            song=song,
            existing_sections=sorted(found),  # type: ignore[arg-type]
            section_limit=limit,
            message=_warning(is_duplicate, len(found), limit) if warned else "",
        )

    def _provenance(self, requested: str, started: float) -> engine_pb2.Provenance:
        used = engines.choose(self._engines, engines.SIMILAR, "")
        return messages.provenance(requested, used, {}, time.monotonic() - started)


def _vector(
    request: similar_pb2.SearchSimilarRequest, query: Pattern | None
) -> audio_pb2.PatternVector:
    if query is None:
        return request.vector
    return audio_pb2.PatternVector(layout=query.layout, values=query.values)


def _warning(is_duplicate: bool, count: int, limit: int) -> str:
    if is_duplicate:
        return "The song has a pattern of this instrument and section; this one is kept too."
    return f"The song has {count} sections, which is as many as are asked for ({limit})."
