"""The codec and the cascade: shapes, batches, windows, and the way over the wire."""

import hashlib
import io
import uuid
import warnings
from collections.abc import Mapping
from typing import Any

import grpc
import numpy as np
import pytest
import torch
from chorale.engines.v1 import engine_pb2
from chorale.generation.v1 import generation_service_pb2, models_pb2, outputs_pb2, tracks_pb2
from chorale_generation.cascade import codec, making, network
from chorale_generation.cascade.asked import CascadeWishes
from chorale_generation.cascade.swift import swift
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


def test_the_codec_is_the_published_one() -> None:
    """Without wishes a codec has the weights of `encodec_24khz`, by name and shape."""
    shapes = codec.expected_shapes()
    from encodec.model import EncodecModel

    with torch.device("meta"), warnings.catch_warnings():
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


def test_memory_that_is_short_is_said(
    models: making.Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows are halved where memory does not suffice; the frames are as many as asked."""
    encode = making.encoded

    def scarce(model: Any, sound: torch.Tensor) -> torch.Tensor:
        if sound.shape[-1] > 2.5 * codec.RATE_HZ:
            raise MemoryError
        return encode(model, sound)

    monkeypatch.setattr(making, "encoded", scarce)
    stages: list[str] = []
    result = making.make(
        models, noise(3, 1), noise(3, 2), CascadeWishes(), lambda stage, _: stages.append(stage)
    )
    assert result.concessions == (
        "window 16 s -> 8 s",
        "window 8 s -> 4 s",
        "window 4 s -> 2 s",
    )
    assert len(result.sound) == 3 * codec.RATE_HZ
    assert np.isfinite(result.sound).all()
    assert np.abs(result.sound).max() <= 0.9 + 1e-6
    assert stages[:4] == ["encoding"] * 4
    monkeypatch.setattr(making, "encoded", lambda *_: (_ for _ in ()).throw(MemoryError()))
    with pytest.raises(MemoryExhausted):
        making.make(models, noise(2, 1), noise(2, 2), CascadeWishes(), lambda *_: None)


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
