"""The codec and the cascade: shapes, batches, windows, and the way over the wire."""

import hashlib
import io
import json
import os
import subprocess
import sys
import uuid
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import signals
import torch
from chorale.engines.v1 import engine_pb2
from chorale.generation.v1 import (
    explain_pb2,
    generation_service_pb2,
    models_pb2,
    outputs_pb2,
    tracks_pb2,
)
from chorale_generation.cascade import codec, making, network
from chorale_generation.cascade.asked import CascadeWishes, Masks
from chorale_generation.cascade.ladder import Rung, descended
from chorale_generation.cascade.laying import laid, no_tail
from chorale_generation.cascade.swift import swift
from chorale_generation.cascade.windows import spread
from chorale_generation.checkpoints import written
from chorale_generation.refusals import MemoryExhausted, SettingUnsupported
from google.longrunning import operations_pb2, operations_pb2_grpc
from test_registry import uploaded
from test_two_tracks import WAIT_SECONDS, asking, ended, fetched, info, made

Weights = Mapping[str, torch.Tensor]


@pytest.fixture(scope="module")
def models() -> making.Models:
    """A narrow codec with drawn codebooks and a cascade that changes what it is given."""
    torch.manual_seed(1)
    torch.set_num_threads(1)
    encodec = codec.untrained(codec.Shape(filters=2, codebook_count=8))
    cascade = network.Cascade(network.Shape(stage_count=2))
    for name, value in encodec.state_dict().items():
        if name.endswith("_codebook.embed"):
            value.normal_()
    for name, value in cascade.state_dict().items():
        if name.endswith("leaving.weight"):
            value.normal_(std=0.02)
    return making.Models(encodec.eval(), cascade.eval())


@pytest.fixture(scope="module")
def weights(models: making.Models) -> tuple[Weights, Weights]:
    """The same as tables of tensors."""
    return dict(models.codec.state_dict()), dict(models.cascade.state_dict())


def noise(seconds: float, seed: int) -> Any:
    """Quiet noise."""
    draws = np.random.default_rng(seed)
    return (0.1 * draws.standard_normal(round(seconds * codec.RATE_HZ))).astype(np.float32)


def quiet(_: str, __: float) -> None:
    """Tells nobody."""


def test_the_codec_is_the_published_one() -> None:
    """Without wishes a codec has the weights of `encodec_24khz`, by name and shape."""
    shapes = codec.expected_shapes()
    from encodec.model import EncodecModel

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        published = EncodecModel.encodec_model_24khz(pretrained=False).state_dict()
    assert shapes == {name: tuple(value.shape) for name, value in published.items()}
    assert codec.shape_of(published) == codec.Shape()


def test_tensors_have_the_shapes_of_the_contract(models: making.Models) -> None:
    """16 s are 384000 frames, `[1, 128, 1200]` encoded, and as many frames decoded."""
    models.codec.set_target_bandwidth(6.0)
    with torch.inference_mode():
        sound = torch.zeros(1, 1, 384_000)
        latent = models.codec.encoder(sound)
        assert latent.shape == (1, 128, 1200)
        codes = models.codec.quantizer.encode(latent, models.codec.frame_rate, 6.0)
        assert codes.shape == (8, 1, 1200)
        steps = models.cascade(latent, latent)
        assert steps.shape == (1, 128, 1200)
        assert models.codec.decoder(steps).shape == (1, 1, 384_000)
    stage = models.cascade.stages[0]
    assert isinstance(stage, network.SimpleTransformer)
    assert len(stage.layers.layers) == 4
    assert stage.layers.layers[0].self_attn.num_heads == 8


def test_the_swift_codec_is_the_codec(models: making.Models) -> None:
    """Encodings and sound of the codec that serves differ from the package's by less than 1e-5."""
    weights = dict(models.codec.state_dict())
    served = codec.untrained(codec.shape_of(weights))
    served.load_state_dict(weights)
    served = swift(served)
    sound = torch.from_numpy(np.stack([noise(1, 1), noise(1, 2)]))[:, None]
    with torch.inference_mode():
        ours, theirs = served.encoder(sound), models.codec.encoder(sound)
        assert torch.allclose(ours, theirs, atol=1e-5)
        steps = torch.randn(2, 128, 75)
        assert torch.allclose(served.decoder(steps), models.codec.decoder(steps), atol=1e-5)
        single = torch.cat([served.decoder(steps[:1]), served.decoder(steps[1:])])
        assert torch.allclose(served.decoder(steps), single, atol=1e-4)


def test_batches_give_what_single_runs_give(models: making.Models) -> None:
    """Three pairs at once and one after another differ by less than 1e-4."""
    one, other = torch.randn(2, 3, 128, 40)
    with torch.inference_mode():
        together = models.cascade(one, other)
        apart = [models.cascade(one[at : at + 1], other[at : at + 1]) for at in range(3)]
    assert torch.allclose(together, torch.cat(apart), atol=1e-4)


def test_stages_can_be_left_out(models: making.Models) -> None:
    """Fewer stages give something else; each stage depends on both tracks."""
    one, other = torch.randn(2, 1, 128, 30)
    with torch.inference_mode():
        whole, first = models.cascade(one, other), models.cascade(one, other, 1)
        swapped = models.cascade(one, -other)
    assert not torch.allclose(whole, first)
    assert not torch.allclose(whole, swapped)


def test_windows_together_give_what_they_give_alone(models: making.Models) -> None:
    """Pairs of several lengths, four windows at once: each is what it is alone, within 1e-4."""
    wishes = CascadeWishes()
    pairs = [
        making.Pair(noise(seconds, seed), noise(seconds, seed + 9), wishes)
        for seed, seconds in enumerate((1.0, 1.7, 1.0))
    ]
    together = making.make(models, pairs, Rung(width=4, window_seconds=1.0), quiet)
    for pair, made_together in zip(pairs, together, strict=True):
        (alone,) = making.make(models, [pair], Rung(window_seconds=1.0), quiet)
        assert len(alone.sound) == len(pair.one)
        assert np.abs(alone.sound - made_together.sound).max() < 1e-4
        assert not made_together.concessions


def test_the_ladder_goes_from_the_widest_to_the_cpu() -> None:
    """First fewer at once, then shorter windows, half precision, and the CPU from its top."""
    rung, said = Rung(width=2, device="cuda"), []
    while (below := rung.below) is not None:
        said.append(rung.step_to(below))
        rung = below
    shorter = [f"window {seconds} s -> {seconds // 2} s" for seconds in (16, 8, 4)]
    half = ["single -> half precision"]
    assert said == ["batch 2 -> 1", *shorter, *half, "cuda -> cpu", *shorter, *half]


@pytest.mark.parametrize(
    ("seconds", "overlap", "count"),
    [(16.0, 0.25, 1), (1.0, 0.9, 1), (16.1, 0.25, 2), (40.0, 0.25, 3), (33.0, 0.0, 3)],
)
def test_windows_are_whole_and_reach_the_end(seconds: float, overlap: float, count: int) -> None:
    """All are of one length, overlap as much as is asked or more, and end with the sound."""
    frame_count, length = round(seconds * codec.RATE_HZ), round(16.0 * codec.RATE_HZ)
    found = spread(frame_count, length, overlap)
    assert len(found) == count
    assert found.length == min(frame_count, length)
    assert (found.starts[0], found.starts[-1] + found.length) == (0, frame_count)
    assert count == 1 or found.fade >= round(overlap * length)


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.75])
def test_windows_fade_into_one_another(overlap: float) -> None:
    """Windows of one sound add up to it, and every frame is told once, in order."""
    sound = noise(1.0, 1).reshape(-1, 2)
    windows, tail, told = spread(len(sound), 3000, overlap), no_tail(2), []
    for number, start in enumerate(windows.starts):
        window = sound[start : start + windows.length]
        final, tail = laid(windows, number, window, tail)
        told.append(final)
        assert sum(map(len, told)) == windows.final_before(number)
    assert np.allclose(np.concatenate(told), sound, atol=1e-6)


def test_masks_exclude_each_other_or_do_not(models: making.Models) -> None:
    """Together they let through all there is, unless each is on its own; a model without any
    lets all of both through, and cannot be asked for more."""
    torch.manual_seed(2)
    cascade = network.Cascade(network.Shape(stage_count=1, has_masks=True)).eval()
    assert network.shape_of(cascade.state_dict()) == cascade.shape
    assert cascade.masking is not None
    torch.nn.init.normal_(cascade.masking.weight)
    pair = making.Pair(noise(1, 1), noise(1, 2), CascadeWishes())
    masked = making.Models(models.codec, cascade)
    (told,) = making.make(masked, [pair], Rung(), quiet)
    assert told.masks.track_1 + told.masks.track_2 == pytest.approx(1.0)
    apart = replace(pair, wishes=CascadeWishes(complementary_masks=False))
    (free,) = making.make(masked, [apart], Rung(), quiet)
    assert free.masks.track_1 + free.masks.track_2 != pytest.approx(1.0)
    (plain,) = making.make(models, [pair], Rung(), quiet)
    assert plain.masks == Masks(1.0, 1.0, 0.0)
    with pytest.raises(SettingUnsupported):
        making.make(models, [apart], Rung(), quiet)


@pytest.mark.slow
def test_memory_that_is_short_is_said(weights: tuple[Weights, Weights], tmp_path: Path) -> None:
    """A process whose memory the kernel caps makes all frames in shorter windows, and says so."""
    for name, table in zip(("codec", "cascade"), weights, strict=True):
        (tmp_path / name).write_bytes(written(table))
    ran = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("capped.py")), str(tmp_path)],
        # What is freed goes back to the kernel, and does not hide what is needed.
        env=os.environ | {"MALLOC_MMAP_THRESHOLD_": "1048576", "MALLOC_TRIM_THRESHOLD_": "0"},
        capture_output=True,
        check=True,
    )
    told = json.loads(ran.stdout)
    steps = ["window 16 s -> 8 s", "window 8 s -> 4 s", "window 4 s -> 2 s"]
    gave = told["concessions"]
    assert gave
    assert gave == [*steps, "single -> half precision"][: len(gave)]
    assert (told["frame_count"], told["is_finite"]) == (8 * codec.RATE_HZ, True)


def test_what_fits_nowhere_is_refused(models: making.Models) -> None:
    """Where torch is denied memory on every rung, the last one is named, and nothing is held."""
    denied = models.codec.encoder.register_forward_pre_hook(lambda *_: torch.empty(1 << 50))
    pair = making.Pair(noise(1, 1), noise(1, 2), CascadeWishes())
    try:
        with pytest.raises(MemoryExhausted) as caught:
            making.make(models, [pair], Rung(), quiet)
    finally:
        denied.remove()
    assert (caught.value.device, caught.value.window_seconds) == ("cpu", 2.0)
    assert making.make(models, [pair], Rung(), quiet)[0].concessions == ()


def test_windows_longer_than_the_sound_are_not_tried_again() -> None:
    """Of 3 s the windows of 16, 8 and 4 s are one and the same."""
    rung, steps = descended(Rung(), 3.0)
    assert rung == Rung(window_seconds=2.0)
    assert len(steps) == 3
    rung, steps = descended(Rung(window_seconds=2.0, device="cuda", is_half=True), 3.0)
    assert (rung, steps) == (Rung(), ["cuda -> cpu"])


def test_half_precision_sounds_like_single(models: making.Models) -> None:
    """What gives for memory is precision alone: the sounds correlate by over .99."""
    pair = making.Pair(noise(1, 1), noise(1, 2), CascadeWishes())
    (single,) = making.make(models, [pair], Rung(), quiet)
    (half,) = making.make(models, [pair], Rung(is_half=True), quiet)
    assert np.corrcoef(single.sound, half.sound)[0, 1] > 0.99


async def imported(channel: Any, generation: Any, model: str, state: Weights) -> str:
    """Brings weights in as a model; their digest."""
    file = io.BytesIO()
    torch.save(state, file)
    details = models_pb2.ModelDetails(model=f"models/{model}", engine="encodec-cascade")
    importing = models_pb2.ImportModelRequest(
        details=details,
        uploads=[await uploaded(generation, file.getvalue(), chunk_bytes=1 << 19)],
        request_id=str(uuid.uuid4()),
    )
    done, _ = await ended(channel, await generation.ImportModel(importing))
    assert done.HasField("response"), done.error
    return hashlib.sha256(file.getvalue()).hexdigest()


@pytest.mark.asyncio(loop_scope="session")
async def test_imported_weights_make_a_track(
    channel: Any, generation: Any, ingest: Any, weights: tuple[Weights, Weights]
) -> None:
    """Without weights WEIGHTS_MISSING; with them 24 kHz mono PCM_16, the same for the same seed."""
    tracks = (
        ingest.put(noise(3, 1)[:, None], codec.RATE_HZ).name,
        ingest.put(noise(3, 2)[:, None], codec.RATE_HZ).name,
    )
    request = asking(
        tracks,
        engine="encodec-cascade",
        seed=1,
        output=outputs_pb2.OutputSettings(duration_seconds=2.0),
    )
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await generation.GenerateFromTracks(request)
    assert info(caught.value).reason == "WEIGHTS_MISSING"
    assert info(caught.value).metadata["remedy"]
    digests = [
        await imported(channel, generation, model, state)
        for model, state in zip(("encodec-24khz", "cascade"), weights, strict=True)
    ]
    _, answer, stages = await made(channel, generation, request)
    assert {"reading", "encoding", "generating", "decoding", "finishing"} <= set(stages)
    file_, _ = fetched(answer.generation.url)
    assert (file_.samplerate, file_.channels, file_.frames) == (24000, 1, 48_000)
    assert file_.subtype == "PCM_16"
    assert [each.sha256 for each in answer.provenance.weights] == digests
    listing = generation_service_pb2.ListEnginesRequest(capability="two_tracks")
    engines = {each.name: each for each in (await generation.ListEngines(listing)).engines}
    assert isinstance(engines["encodec-cascade"], engine_pb2.Engine)
    assert engines["encodec-cascade"].available
    for fields in (
        {"mosaic": tracks_pb2.MosaicSettings(bpm=100.0)},
        {"output": outputs_pb2.OutputSettings(sample_rate_hz=44100)},
        {"cascade": tracks_pb2.CascadeSettings(bandwidth_kbps=7.0)},
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await generation.GenerateFromTracks(asking(tracks, engine="encodec-cascade", **fields))
        assert info(caught.value).reason == "SETTING_UNSUPPORTED"


@pytest.mark.slow
@pytest.mark.asyncio(loop_scope="session")
async def test_a_cascade_is_heard_while_it_is_made(
    channel: Any, generation: Any, ingest: Any, weights: tuple[Weights, Weights]
) -> None:
    """Of 20 s in stereo the first are heard before it is done, and are those of the file; the
    answer tells what is heard in it and what the masks were. Of silence it tells nothing."""
    names = ("drawn-codec", "drawn-cascade")
    for name, state in zip(names, weights, strict=True):
        await imported(channel, generation, name, state)
    song = signals.song(120, "A", "minor", 18, seed=1)
    tracks = (ingest.put(song).name, ingest.put(noise(3, 2)[:, None], codec.RATE_HZ).name)
    request = asking(
        tracks,
        engine="encodec-cascade",
        output=outputs_pb2.OutputSettings(duration_seconds=20.0, channel_count=2),
    )
    request.cascade.codec, request.cascade.model = (f"models/{name}" for name in names)
    operation = await generation.GenerateFromTracks(request)
    frames, frame = [], 0
    while True:  # each message in a call of its own: every one resumes where the last ended
        listening = tracks_pb2.StreamGenerationRequest(operation=operation.name, start_frame=frame)
        async for last in generation.StreamGeneration(listening, timeout=WAIT_SECONDS):
            if last.frames or last.is_final:
                break
        if not frame:
            wanted = operations_pb2.GetOperationRequest(name=operation.name)
            stub = operations_pb2_grpc.OperationsStub(channel)
            assert not (await stub.GetOperation(wanted)).done
            assert last.format.channel_count == 2
        frames.append(np.frombuffer(last.frames, "<f4").reshape(-1, 2))
        frame += len(frames[-1])
        if frame == last.total_frame_count:
            break
    done, _ = await ended(channel, operation)
    answer = tracks_pb2.GenerateFromTracksResponse()
    assert done.response.Unpack(answer), done.error
    _, stored = fetched(answer.generation.url)
    assert len(stored) == 20 * codec.RATE_HZ
    assert np.array_equal(np.concatenate(frames), stored)
    heard = answer.generation.adherence
    assert heard.integrated_lufs < 0.0
    assert heard.passed
    assert any("have ended after 18.0 s" in warning for warning in heard.warnings)
    assert (answer.masks.track_1_mean, answer.masks.complementarity) == (1.0, 0.0)
    assert "Track 1 is masked nowhere." in answer.masks.warnings
    assert float(answer.provenance.settings["track_1.bpm"]) == pytest.approx(120.0, abs=1.0)
    asked = explain_pb2.ExplainRequest(operation=operation.name)
    explained = await generation.Explain(asked)
    advice = {each.field: each.value for each in explained.advice}
    assert (advice["track_1.audio"], advice["track_2.audio"]) == tracks[::-1]
    facts = {fact.name: fact for fact in explained.facts}
    assert facts["track_1.key"].value == "A minor"
    assert {"cascade.stage_count", "masks", "loudness"} <= set(facts)
    silent = ingest.put(signals.silence(4)).name
    quiet_request = asking((silent, silent), engine="encodec-cascade")
    quiet_request.output.duration_seconds = 2.0
    quiet_request.cascade.CopyFrom(request.cascade)
    _, unheard, _ = await made(channel, generation, quiet_request)
    told = unheard.generation.adherence
    assert not told.passed
    assert [warning.partition(":")[0] for warning in told.warnings] == [
        "The tracks were not listened to",
        "The result was not listened to",
    ]
