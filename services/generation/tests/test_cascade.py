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
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import torch
from chorale.engines.v1 import engine_pb2
from chorale.generation.v1 import generation_service_pb2, models_pb2, outputs_pb2, tracks_pb2
from chorale_generation.cascade import codec, making, network
from chorale_generation.cascade.asked import CascadeWishes
from chorale_generation.cascade.ladder import Rung, descended
from chorale_generation.cascade.swift import swift
from chorale_generation.checkpoints import written
from chorale_generation.refusals import MemoryExhausted
from test_registry import uploaded
from test_two_tracks import asking, ended, fetched, info, made

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
    digests = []
    for model, state in zip(("encodec-24khz", "cascade"), weights, strict=True):
        file = io.BytesIO()
        torch.save(state, file)
        digests.append(hashlib.sha256(file.getvalue()).hexdigest())
        details = models_pb2.ModelDetails(model=f"models/{model}", engine="encodec-cascade")
        importing = models_pb2.ImportModelRequest(
            details=details,
            uploads=[await uploaded(generation, file.getvalue(), chunk_bytes=1 << 19)],
            request_id=str(uuid.uuid4()),
        )
        done, _ = await ended(channel, await generation.ImportModel(importing))
        assert done.HasField("response"), done.error
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
        {"output": outputs_pb2.OutputSettings(channel_count=2)},
        {"cascade": tracks_pb2.CascadeSettings(bandwidth_kbps=7.0)},
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await generation.GenerateFromTracks(asking(tracks, engine="encodec-cascade", **fields))
        assert info(caught.value).reason == "SETTING_UNSUPPORTED"
