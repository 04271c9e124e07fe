"""The engines whose weights are brought, over the wire: what they answer, what is refused."""

import hashlib
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import seeded_weights
import signals
import torch
from analysis_calls import asking, reason, unpacked
from chorale.analysis.v1 import beats_pb2, chords_pb2, engines_pb2
from chorale_analysis.weights import BEAT_TRANSFORMER, BTC_MAJMIN, BTC_PL, BTC_SL, CHORD_CNN_LSTM
from operation_calls import ended
from standing_ingest import Ingest

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("published")]


@pytest.fixture
def brought(weights_directory: Path) -> Iterator[Path]:
    """Where weights lie; taken away again."""
    yield weights_directory
    for file in weights_directory.iterdir():
        file.unlink()


async def _chords(channel: Any, analysis: Any, audio: str, engine: str, vocabulary: str) -> Any:
    settings = chords_pb2.ChordSettings(vocabulary=vocabulary)
    request = asking(chords_pb2.RecognizeChordsRequest, audio, engine=engine, settings=settings)
    done, _ = await ended(channel, await analysis.RecognizeChords(request))
    return done


async def test_engines_work_with_weights_of_their_layout(
    channel: Any, analysis: Any, ingest: Ingest, brought: Path
) -> None:
    """All four answer, with the digests of the files that did the work; and can be tried."""
    files = (BTC_SL.file, BTC_PL.file, BTC_MAJMIN, CHORD_CNN_LSTM.file, BEAT_TRANSFORMER.file)
    seeded_weights.put(brought, *files)
    audio = ingest.put(signals.song(120, "G", "major", 4.0))
    for engine, vocabulary, default, file in (
        ("btc-sl", "", "large_voca", BTC_SL.file),
        ("btc-sl", "majmin", "", BTC_MAJMIN),
        ("btc-pl", "", "large_voca", BTC_PL.file),
        ("chord-cnn-lstm", "", "submission", CHORD_CNN_LSTM.file),
    ):
        done = await _chords(channel, analysis, audio.name, engine, vocabulary)
        answer = unpacked(done, chords_pb2.RecognizeChordsResponse)
        ends = [chord.start_frame + chord.frame_count for chord in answer.chords.chords]
        assert ends[-1] == audio.frame_count
        assert answer.chords.vocabulary == (vocabulary or default)
        digest = hashlib.sha256((brought / file).read_bytes()).hexdigest()
        told = {weights.name: weights.sha256 for weights in answer.provenance.weights}
        assert told[f"{engine}/{file}"] == digest
        assert answer.provenance.engine_used == engine
    settings = beats_pb2.BeatSettings(threshold=0.0)
    request = asking(
        beats_pb2.TrackBeatsRequest, audio.name, engine="beat-transformer", settings=settings
    )
    done, _ = await ended(channel, await analysis.TrackBeats(request))
    rhythm = unpacked(done, beats_pb2.TrackBeatsResponse)
    assert rhythm.provenance.engine_used == "beat-transformer"
    assert all(0 <= beat.frame <= audio.frame_count for beat in rhythm.beats.beats)
    trial = engines_pb2.TestEngineRequest(
        request_id=str(uuid.uuid4()), engine="btc-pl", capability="chords"
    )
    done, _ = await ended(channel, await analysis.TestEngine(trial))
    (tested,) = unpacked(done, engines_pb2.TestEngineResponse).tests
    assert not tested.passed  # nobody trained it
    assert tested.load_seconds > 0.0


async def test_files_that_do_not_fit_are_refused(
    channel: Any, analysis: Any, ingest: Ingest, brought: Path
) -> None:
    """WEIGHTS_MISSING with what is wrong: code, NaN, one tensor too many, a lost file."""
    audio = ingest.put(signals.cadence("G", "major", 1, 0.5))
    file = brought / BTC_PL.file
    seeded_weights.put(brought, BTC_PL.file, BTC_SL.file)
    good = torch.load(file, weights_only=True)
    state = good["model_state_dict"]
    first = next(iter(state))
    broken = {**state, first: torch.full_like(state[first], float("nan"))}
    for content, fault in (
        ({**good, "epoch": Path("code")}, "no archive of numbers"),
        ({**good, "model_state_dict": broken}, "NaN"),
        ({**good, "model_state_dict": {**state, "more": state[first]}}, "nothing is needed"),
    ):
        torch.save(content, file)
        status = (await _chords(channel, analysis, audio.name, "btc-pl", "")).error
        assert (status.code, reason(status).reason) == (9, "WEIGHTS_MISSING")
        assert fault in reason(status).metadata["fault"]
        assert reason(status).metadata["file"] == BTC_PL.file
    status = (await _chords(channel, analysis, audio.name, "btc-sl", "majmin")).error
    assert reason(status).metadata["file"] == BTC_MAJMIN
    assert reason(status).reason == "WEIGHTS_MISSING"
