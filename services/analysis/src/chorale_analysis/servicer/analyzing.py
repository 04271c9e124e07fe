"""Analyze: everything asked for as one operation, heard once; and its time line as files."""

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from chorale.analysis.v1 import timeline_pb2
from chorale.engines.v1 import engine_pb2
from chorale_runtime.calls import Context
from chorale_runtime.files import tell_maker
from chorale_runtime.operations import Job, Operations, Work, done
from google.api import httpbody_pb2
from google.longrunning import operations_pb2
from google.protobuf import json_format

from chorale_analysis import engines, exporting, messages, midi, musicxml
from chorale_analysis.messages.timeline import sheet, timeline
from chorale_analysis.servicer.kinds import KINDS, SERVICE
from chorale_analysis.servicer.listening import Asked, Listening
from chorale_analysis.sheet import OperationNotDone, OperationUnfit, Sheet

ANALYZE = f"{SERVICE}/Analyze"
_CHUNK_BYTES = 256 * 1024
_FORMATS = timeline_pb2.TimelineFormat


async def asked(listening: Listening, request: timeline_pb2.AnalyzeRequest) -> list[Asked]:
    """What each feature of a request will need; a feature that nobody serves is refused."""
    names = [_name(feature) for feature in request.features] or list(KINDS)
    chosen = {_name(one.feature): one.engine for one in request.engines}
    source = await listening.source(request)
    found = []
    for name in names:
        engine_name = chosen.get(name, request.engine)
        if name not in KINDS:
            raise engines.EngineUnknown(engine_name or engines.AUTO, name, "none")
        found.append(await listening.asked_of(source, KINDS[name], request, engine_name))
    return found


def _name(feature: timeline_pb2.Feature) -> str:
    return timeline_pb2.Feature.Name(feature).removeprefix("FEATURE_").lower()


class AnalyzeCalls:
    """Part of AnalysisService."""

    _listening: Listening
    _operations: Operations
    _analyze: Work

    async def Analyze(
        self, request: timeline_pb2.AnalyzeRequest, _: Context
    ) -> operations_pb2.Operation:
        """Starts finding all that is asked for; what is all known already is answered at once."""
        started = time.monotonic()
        wanted = await asked(self._listening, request)
        kept = await self._listening.all_kept(wanted)
        left = [one for one in wanted if one.kind.capability not in kept]
        if request.validate_only:
            by = ",".join(dict.fromkeys(one.engine.name for one in wanted))
            estimate = messages.estimate(by, sum(one.seconds for one in left), not left)
            return done(timeline_pb2.AnalyzeResponse(estimate=estimate))
        return await self._operations.start(
            self._analyze,
            request,
            request_id=request.request_id,
            audio=[request.audio],
            answer=None if left else _together(request, wanted, kept, started),
        )

    async def ExportTimeline(
        self, request: timeline_pb2.ExportTimelineRequest, context: Context
    ) -> AsyncIterator[httpbody_pb2.HttpBody]:
        """Streams a time line as a file."""
        answer = await self._analyzed(request.operation)
        content_type, data = written(request, answer.timeline)
        async for part in parts(context, content_type, data, answer.provenance):
            yield part

    async def _analyzed(self, operation: str) -> timeline_pb2.AnalyzeResponse:
        """What a finished `Analyze` found."""
        record = await self._operations.find(operation)
        if record.method != ANALYZE:
            raise OperationUnfit(operation, record.method, "Analyze")
        if not record.is_done:
            raise OperationNotDone(operation, record.event.stage if record.event else "")
        answer = timeline_pb2.AnalyzeResponse()
        if not record.operation().response.Unpack(answer):
            raise OperationUnfit(operation, record.method, "Analyze that succeeded")
        return answer


async def parts(
    context: Context, content_type: str, data: bytes, made_by: engine_pb2.Provenance
) -> AsyncIterator[httpbody_pb2.HttpBody]:
    """A file in messages; the first says what it is and, as a rule, what made it."""
    body = httpbody_pb2.HttpBody(content_type=content_type)
    await tell_maker(context, body, made_by)
    for start in range(0, max(1, len(data)), _CHUNK_BYTES):
        body.data = data[start : start + _CHUNK_BYTES]
        yield body
        body = httpbody_pb2.HttpBody()


def work(listening: Listening, queue: str, timeout_seconds: float) -> Work:
    """The long work behind Analyze."""

    async def run(job: Job[timeline_pb2.AnalyzeRequest]) -> timeline_pb2.AnalyzeResponse:
        started = time.monotonic()
        wanted = await asked(listening, job.request)
        answers = await listening.found(job.run, wanted)
        return _together(job.request, wanted, answers, started)

    return Work(
        method=ANALYZE,
        request=timeline_pb2.AnalyzeRequest,
        response=timeline_pb2.AnalyzeResponse,
        run=run,
        queue=queue,
        timeout_seconds=timeout_seconds,
    )


def _together(
    request: timeline_pb2.AnalyzeRequest,
    wanted: Sequence[Asked],
    answers: Mapping[str, Any],
    started: float,
) -> timeline_pb2.AnalyzeResponse:
    """The answers to all features as one."""
    line = timeline(
        wanted[0].source, {one.kind.field: answers[one.kind.capability] for one in wanted}
    )
    response = timeline_pb2.AnalyzeResponse(timeline=line)
    made = response.provenance
    made.engine_requested = request.engine or engines.AUTO
    made.engine_used = ",".join(dict.fromkeys(one.engine.name for one in wanted))
    made.engine_version = ",".join(dict.fromkeys(one.engine.version for one in wanted))
    made.device = "cpu"
    made.from_cache = all(answer.provenance.from_cache for answer in answers.values())
    made.processing_time.FromMilliseconds(round((time.monotonic() - started) * 1000))
    return response


def written(
    request: timeline_pb2.ExportTimelineRequest, line: timeline_pb2.Timeline
) -> tuple[str, bytes]:
    """The content type and bytes of a time line in a format."""
    names = [_name(feature) for feature in request.features]
    found = sheet(line, names)
    if request.simplified:
        found = exporting.simplified(found)
    if request.format == _FORMATS.TIMELINE_FORMAT_MIDI:
        return "audio/midi", midi.midi(found, request.programs)
    if request.format == _FORMATS.TIMELINE_FORMAT_MUSICXML:
        return "application/vnd.recordare.musicxml+xml", musicxml.lead_sheet(found)
    if request.format == _FORMATS.TIMELINE_FORMAT_JAMS:
        made = {name: f"{p.engine_used}@{p.engine_version}" for name, p in line.provenance.items()}
        return "application/vnd.jams+json", exporting.jams(found, made)
    if request.format == _FORMATS.TIMELINE_FORMAT_JSON:
        return "application/json", _json(line, names)
    return _text(request.format, found)


def _text(form: int, found: Sheet) -> tuple[str, bytes]:
    """LAB, CSV or LRC: one file as it is, several as a zip."""
    if form == _FORMATS.TIMELINE_FORMAT_LAB:
        files, content_type = exporting.lab(found), "text/plain"
    elif form == _FORMATS.TIMELINE_FORMAT_CSV:
        files, content_type = exporting.tables(found), "text/csv"
    else:
        raise messages.SettingUnsupported("format", "lrc", "chorale", "all but lrc: no lyrics")
    if len(files) == 1:
        return content_type, next(iter(files.values()))
    return "application/zip", exporting.packed(files)


def _json(line: timeline_pb2.Timeline, names: list[str]) -> bytes:
    told = timeline_pb2.Timeline()
    told.CopyFrom(line)
    if names:
        for name in KINDS:
            if name not in names:
                told.ClearField(name)
    return json_format.MessageToJson(told, indent=1).encode()
