"""The chapters of the demonstration. A later issue adds one function and one row of SECTIONS."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Iterable
from html import escape
from typing import TypeVar

import numpy as np
from chorale.analysis.v1 import beats_pb2, harmony_pb2
from chorale.audio.v1.audio_pb2 import Clip, FrameSpan
from chorale.engines.v1.engine_pb2 import Engine, Provenance
from chorale.fingerprint.v1 import recordings_pb2
from chorale.generation.v1 import explain_pb2, tracks_pb2
from chorale.mastering.v1 import loudness_pb2, master_pb2, report_pb2
from chorale_client import ChoraleError
from chorale_client.operations import AsyncOperation
from google.protobuf.message import Message

from chorale_mesh.demo import drawing
from chorale_mesh.demo.journey import Finding, Journey, Section
from chorale_mesh.demo.song import compose, quantized

R = TypeVar("R", bound=Message)

_CURVE_POINTS = 240
# What a listener at a party would catch of the song.
_EXCERPT_SECONDS = (4.0, 11.0)
_OTHER_SEED = 7  # of the song that the first one is mixed with


async def put_song(journey: Journey) -> Finding:
    """Uploads the song in chunks, resumable at every one."""
    wav = journey.song.wav()
    journey.audio = await journey.chorale.put(
        wav,
        file_name="demonstration.wav",
        title=journey.song.title,
        progress=lambda done, total: journey.progress("Upload", done / max(1, total)),
    )
    audio = journey.audio
    sound = f"{audio.format.channel_count} channels at {audio.format.sample_rate_hz} Hz"
    return Finding(
        facts=[
            ("name", audio.name),
            ("sound", f"{audio.frame_count} frames, {sound}, {audio.duration_seconds:.2f} s"),
            ("file", f"{len(wav)} bytes, {audio.container or 'wav'}"),
        ],
        headline=f"{audio.name[:18]}… {audio.duration_seconds:.1f} s",
    )


async def read_song(journey: Journey) -> Finding:
    """Reads it back as PCM and compares every sample."""
    pieces = []
    async for frames in journey.chorale.read_frames(journey.audio):
        pieces.append(frames.numpy())
        done = frames.start_frame + frames.frame_count
        journey.progress("Read back", done / max(1, frames.total_frames))
    journey.signal = np.concatenate(pieces)
    was = quantized(journey.song.signal)
    is_same = bool(np.array_equal(quantized(journey.signal), was))
    verdict = "the same, every one" if is_same else "NOT the same"
    return Finding(
        facts=[
            ("samples compared", f"{was.size}: {verdict}"),
            ("pieces", f"{len(pieces)} messages, resumable at any frame"),
        ],
        headline=f"{was.size} samples, {verdict}",
    )


async def list_engines(journey: Journey) -> Finding:
    """Asks every service who does its work."""
    rows: list[str] = []
    able = 0
    for service in journey.chorale.services:
        try:
            engines = await journey.chorale.engines(service)
        except ChoraleError as error:
            rows.append(f"<tr><td>{service}<td colspan=5>{escape(error.message)}</tr>")
            continue
        able += sum(engine.available for engine in engines)
        rows += [_engine_row(service, engine) for engine in engines]
    head = "<tr><th>service<th>capability<th>engine<th>version<th>licence<th>state</tr>"
    return Finding(
        facts=[("engines ready", f"{able} of {len(rows)}")],
        picture=f"<table>{head}{''.join(rows)}</table>",
        headline=f"{able} of {len(rows)} engines ready",
    )


async def measure_loudness(journey: Journey) -> Finding:
    """Measures loudness to ITU-R BS.1770 and EBU R 128, as an operation with progress."""
    request = loudness_pb2.MeasureLoudnessRequest(
        audio=journey.audio.name, request_id=str(uuid.uuid4()), curve_points=_CURVE_POINTS
    )
    operation = await journey.chorale.start(
        journey.chorale.mastering.MeasureLoudness, request, loudness_pb2.MeasureLoudnessResponse
    )
    answer = await _followed(journey, "Loudness", operation)
    loudness = answer.loudness
    return Finding(
        facts=[
            ("integrated loudness", f"{loudness.integrated_lufs:.1f} LUFS"),
            ("loudness range", f"{loudness.loudness_range_lu:.1f} LU"),
            ("true peak", f"{loudness.true_peak_dbtp:.1f} dBTP"),
            ("stereo correlation", f"{loudness.stereo_correlation:.2f}"),
            ("made by", _made_by(answer.provenance)),
            ("operation", operation.name),
        ],
        picture=_loudness("Loudness over time, LUFS", journey, answer.curve),
        headline=f"{loudness.integrated_lufs:.1f} LUFS, {loudness.true_peak_dbtp:.1f} dBTP",
    )


async def master_song(journey: Journey) -> Finding:
    """Masters the song to the usual loudness, and shows every step with its reason."""
    request = master_pb2.MasterRequest(
        audio=journey.audio.name, request_id=str(uuid.uuid4()), curve_points=_CURVE_POINTS
    )
    operation = await journey.chorale.start(
        journey.chorale.mastering.Master, request, master_pb2.MasterResponse
    )
    answer = await _followed(journey, "Mastering", operation)
    master = answer.masters[0]
    report = master.report
    before, after = report.before, report.after
    sound = b"".join([chunk async for chunk in journey.chorale.read_bytes(master.audio)])
    loudness = f"{after.integrated_lufs:.1f} LUFS, {after.true_peak_dbtp:.1f} dBTP"
    return Finding(
        facts=[
            ("before", f"{before.integrated_lufs:.1f} LUFS, {before.true_peak_dbtp:.1f} dBTP"),
            ("after", f"{loudness}; quality {report.quality_score:.0f} of 100"),
            ("stored as", f"{master.audio}, {master.file_name}"),
            *(("warning", warning.message) for warning in report.warnings),
            ("made by", _made_by(answer.provenance)),
        ],
        picture=_player(sound)
        + _loudness("Loudness over time before, LUFS", journey, report.curve_before)
        + _loudness("Loudness over time after, LUFS", journey, report.curve_after)
        + _steps(report.steps),
        headline=f"{before.integrated_lufs:.1f} LUFS -> {loudness}",
    )


async def track_beats(journey: Journey) -> Finding:
    """Finds the beats, and compares the tempo with the one the song was made at."""
    request = beats_pb2.TrackBeatsRequest(audio=journey.audio.name, request_id=str(uuid.uuid4()))
    operation = await journey.chorale.start(
        journey.chorale.analysis.TrackBeats, request, beats_pb2.TrackBeatsResponse
    )
    answer = await _followed(journey, "Beats", operation)
    journey.beats_seconds = [beat.seconds for beat in answer.beats.beats]
    return Finding(
        facts=[
            ("tempo", f"{answer.beats.bpm:.1f} BPM; made at {journey.song.bpm:.1f}"),
            ("beats", str(len(answer.beats.beats))),
            ("made by", _made_by(answer.provenance)),
        ],
        headline=f"{answer.beats.bpm:.1f} BPM (made at {journey.song.bpm:.1f})",
    )


async def detect_key(journey: Journey) -> Finding:
    """Finds the key, and compares it with the one the song was made in."""
    request = harmony_pb2.DetectKeyRequest(audio=journey.audio.name, request_id=str(uuid.uuid4()))
    operation = await journey.chorale.start(
        journey.chorale.analysis.DetectKey, request, harmony_pb2.DetectKeyResponse
    )
    answer = await _followed(journey, "Key", operation)
    return Finding(
        facts=[
            ("key", f"{answer.key.key}; made in {journey.song.key}"),
            ("confidence", f"{answer.key.confidence:.2f}"),
            ("chords played", " ".join(journey.song.chords)),
            ("made by", _made_by(answer.provenance)),
        ],
        headline=f"{answer.key.key} (made in {journey.song.key})",
    )


async def recognise(journey: Journey) -> Finding:
    """Enrols the song, then asks which recording a few seconds of it are from."""
    fingerprint = journey.chorale.fingerprint
    enrolment = recordings_pb2.EnrollRequest(
        audio=journey.audio.name, request_id=str(uuid.uuid4()), title=journey.song.title
    )
    enrolled = await journey.chorale.start(
        fingerprint.Enroll, enrolment, recordings_pb2.EnrollResponse
    )
    await _followed(journey, "Recognition", enrolled)
    rate_hz = journey.song.rate_hz
    start, end = (int(second * rate_hz) for second in _EXCERPT_SECONDS)
    question = recordings_pb2.IdentifyRequest(
        audio=journey.audio.name,
        span=FrameSpan(start_frame=start, frame_count=end - start),
        request_id=str(uuid.uuid4()),
    )
    asked = await journey.chorale.start(
        fingerprint.Identify, question, recordings_pb2.IdentifyResponse
    )
    answer = await _followed(journey, "Recognition", asked)
    excerpt = f"{_EXCERPT_SECONDS[0]:g} s to {_EXCERPT_SECONDS[1]:g} s"
    if not answer.matches:
        return Finding(facts=[("asked", excerpt)], headline="not recognised")
    best = answer.matches[0]
    found_rate_hz = best.recording.sample_rate_hz or rate_hz
    where = best.recording_span.start_frame / found_rate_hz
    return Finding(
        facts=[
            ("asked", excerpt),
            ("recognised as", best.recording.title or best.recording.name),
            ("found at", f"{where:.2f} s, score {best.score:.2f}"),
            ("made by", _made_by(answer.provenance)),
        ],
        headline=f"recognised at {where:.1f} s, score {best.score:.2f}",
    )


async def generate_track(journey: Journey) -> Finding:
    """Makes one track of this song and of another one, and explains it."""
    other = compose(_OTHER_SEED)
    second = await journey.chorale.put(other.wav(), file_name="other.wav", title=other.title)
    request = tracks_pb2.GenerateFromTracksRequest(
        track_1=Clip(audio=journey.audio.name),
        track_2=Clip(audio=second.name),
        request_id=str(uuid.uuid4()),
        seed=1,
    )
    generation = journey.chorale.generation
    operation = await journey.chorale.start(
        generation.GenerateFromTracks, request, tracks_pb2.GenerateFromTracksResponse
    )
    answer = await _followed(journey, "Generation", operation)
    told = await generation.Explain(explain_pb2.ExplainRequest(operation=operation.name))
    sound = b"".join([chunk async for chunk in journey.chorale.read_bytes(answer.audio)])
    heard = answer.generation.adherence
    return Finding(
        facts=[
            ("of", f"{journey.song.title}, {other.title}"),
            ("tempo", f"{heard.found_bpm:.1f} BPM heard, {heard.wanted_bpm:.1f} meant"),
            ("key", f"{heard.found_key} heard, {heard.wanted_key} meant"),
            ("loudness", f"{heard.integrated_lufs:.1f} LUFS"),
            ("why", told.text),
            ("made by", _made_by(answer.provenance)),
        ],
        picture=_player(sound),
        headline=f"{heard.found_bpm:.1f} BPM, {heard.found_key}, {heard.integrated_lufs:.1f} LUFS",
    )


SECTIONS = (
    Section("Upload", "ingest", put_song),
    Section("Read back", "ingest", read_song),
    Section("Engines", "", list_engines),
    Section("Loudness", "mastering", measure_loudness),
    Section("Beats", "analysis", track_beats),
    Section("Key", "analysis", detect_key),
    Section("Recognition", "fingerprint", recognise),
    Section("Mastering", "mastering", master_song),
    Section("Generation", "generation", generate_track),
)


async def _followed(journey: Journey, title: str, operation: AsyncOperation[R]) -> R:
    """Waits for an operation and passes its progress on."""
    async for event in operation.events():
        journey.progress(f"{title}: {event.stage}", event.fraction)
    return await operation


def _loudness(label: str, journey: Journey, curve: loudness_pb2.LoudnessCurve) -> str:
    values = list(curve.short_term_lufs) or list(curve.momentary_lufs)
    return drawing.curve(values, journey.song.duration_seconds, -40, -5, label)


def _player(wav: bytes) -> str:
    sound = base64.b64encode(wav).decode()
    return f'<audio controls src="data:audio/wav;base64,{sound}"></audio>'


def _steps(steps: Iterable[report_pb2.MasterStep]) -> str:
    """What each stage did, and why."""
    rows = (
        f"<tr><td>{number}<td>{escape(step.action)}<td>{escape(step.reason)}</tr>"
        for number, step in enumerate(steps, start=1)
    )
    return f"<table><tr><th>step<th>what<th>why</tr>{''.join(rows)}</table>"


def _made_by(provenance: Provenance) -> str:
    seconds = provenance.processing_time.ToTimedelta().total_seconds()
    return f"{provenance.engine_used} {provenance.engine_version}, {seconds:.2f} s of work"


def _engine_row(service: str, engine: Engine) -> str:
    state = "ready" if engine.available else escape(engine.remedy or "not available")
    licence = escape(engine.weights_licence or engine.code_licence)
    cells = (service, escape(engine.capability), escape(engine.name), escape(engine.version))
    words = "".join(f'<td class="word">{cell}' for cell in cells)
    return f"<tr>{words}<td>{licence}<td>{state}</tr>"
