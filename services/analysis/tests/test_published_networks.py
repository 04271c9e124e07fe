"""BTC, Chord-CNN-LSTM and Beat Transformer: their layouts, and that what learned is kept."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import seeded_weights
import signals
import torch
from chorale_analysis import engines, published_ears, published_networks
from chorale_analysis.chord_ears import BTC_LABELS
from chorale_analysis.harmony import ChordSettings, Harmony
from chorale_analysis.networks import beat_transformer, btc, chord_cnn_lstm
from chorale_analysis.networks.beat_transformer import BeatTransformer
from chorale_analysis.networks.btc import BTC
from chorale_analysis.networks.chord_cnn_lstm import HEADS, ChordCnnLstm
from chorale_analysis.weights import (
    BEAT_TRANSFORMER,
    BTC_PL,
    BTC_SL,
    CHORD_CNN_LSTM,
    Weights,
    WeightsRefused,
    fill,
)
from torch.nn import functional

Network = torch.nn.Module


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    """Small networks are slower on many threads."""
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seeded checkpoints of all but the majmin layout."""
    folder = tmp_path_factory.mktemp("weights")
    files = (BTC_SL.file, BTC_PL.file, CHORD_CNN_LSTM.file, BEAT_TRANSFORMER.file)
    seeded_weights.put(folder, *files)
    return folder


_BLOCK = "self_attn_layers.self_attn_layers.7.backward_attn_block"
_LAYERS = "Transformer_layers"
_LAYOUTS: dict[str, tuple[Callable[[], Network], int, int, dict[str, tuple[int, ...]]]] = {
    "btc": (
        lambda: BTC(170),
        221,
        3_036_842,
        {
            "self_attn_layers.embedding_proj.weight": (128, 144),
            f"{_BLOCK}.multi_head_attention.output_linear.weight": (128, 128),
            f"{_BLOCK}.positionwise_convolution.layers.1.conv.weight": (128, 128, 3),
            f"{_BLOCK}.layer_norm_ffn.gamma": (128,),
            "self_attn_layers.self_attn_layers.0.linear.weight": (128, 256),
            "output_layer.lstm.weight_hh_l0_reverse": (256, 64),
            "output_layer.output_projection.bias": (170,),
        },
    ),
    "chord-cnn-lstm": (
        ChordCnnLstm,
        32,
        500_772,
        {
            "audio_feature_block.conv1a.weight": (16, 1, 3, 3),
            "audio_feature_block.conv4b.weight": (80, 80, 3, 3),
            "condition_linear.weight": (128, 270),
            "lstm1.weight_ih_l0_reverse": (384, 240),
            "final_fc1.weight": (100, 192),
        },
    ),
    "beat-transformer": (
        BeatTransformer,
        181,
        9_294_446,
        {
            "conv3.weight": (256, 64, 3, 6),
            f"{_LAYERS}.time_attention_8.self_attn.Er": (8, 32, 5),
            f"{_LAYERS}.time_attention_0.linear1.weight": (1024, 256),
            f"{_LAYERS}.instr_attention_5.self_attn.in_proj_weight": (768, 256),
            "out_linear.weight": (2, 256),
            "out_linear_t.weight": (300, 256),
        },
    ),
}


@pytest.mark.parametrize("name", _LAYOUTS)
def test_layouts_are_the_published_ones(name: str) -> None:
    """Names and shapes as their authors' code makes them; every one used, every layer filled."""
    make, count, size, some = _LAYOUTS[name]
    network = make()
    state = network.state_dict()
    assert len(state) == count
    assert sum(value.numel() for value in network.parameters()) == size
    assert {key: tuple(state[key].shape) for key in some} == some
    first = next(iter(some))
    fill(network, {f"module.{key}": value for key, value in state.items()}, "it")
    for wrong in (
        {**state, "more": torch.zeros(1)},
        {key: value for key, value in state.items() if key != first},
        {**state, first: torch.zeros(7)},
        {**state, first: torch.full_like(state[first], float("inf"))},
    ):
        with pytest.raises(WeightsRefused, match=f"more|{first}"):
            fill(network, wrong, "it")


def _of_btc(network: Any) -> torch.Tensor:
    logits = network(torch.linspace(-1.0, 1.0, 40 * 144).sin().reshape(1, 40, 144))
    return functional.cross_entropy(logits[0], torch.arange(40) % 170)


def _of_chord_cnn_lstm(network: Any) -> torch.Tensor:
    heads = network(torch.linspace(0.0, 9.0, 24 * 252).sin().reshape(1, 24, 252))
    losses = [functional.cross_entropy(head[0], torch.arange(24) % 3) for head in heads]
    return torch.stack(losses).sum()


def _of_beat_transformer(network: Any) -> torch.Tensor:
    beats, tempi = network(torch.linspace(0.0, 99.0, 2 * 40 * 128).sin().reshape(2, 40, 128))
    truth = (torch.arange(40)[:, None] % torch.tensor([5, 20]) == 0).float()
    tempo = functional.cross_entropy(tempi, torch.tensor(120))
    return functional.binary_cross_entropy_with_logits(beats, truth) + tempo


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "loss_of"),
    [
        ("btc", _of_btc),
        ("chord-cnn-lstm", _of_chord_cnn_lstm),
        ("beat-transformer", _of_beat_transformer),
    ],
    ids=["btc", "chord-cnn-lstm", "beat-transformer"],
)
def test_what_learned_is_the_same_when_loaded_again(
    name: str, loss_of: Callable[[Any], torch.Tensor], tmp_path: Path
) -> None:
    """A few steps lower the loss; saved and loaded strictly, it answers the same to the bit."""
    torch.manual_seed(1)
    network = _LAYOUTS[name][0]().eval()
    losses = []
    for _ in range(2):
        loss = loss_of(network)
        losses.append(float(loss.detach()))
        network.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            for weights in network.parameters():
                if weights.grad is not None:  # some are in the layout and asked by nothing
                    weights.sub_(1e-3 * weights.grad.sign())
    assert losses[1] < losses[0]
    torch.save({"state": network.state_dict()}, tmp_path / "it.pt")
    again = _LAYOUTS[name][0]()
    fill(again, Weights("it.pt", "here").read(str(tmp_path / "it.pt"))["state"], "it")
    with torch.inference_mode():
        assert torch.equal(loss_of(again), loss_of(network))
        assert float(loss_of(again)) < losses[1]


def test_attention_reaches_as_published() -> None:
    """Against the sum over all frames written out: heads, skews, and the key used twice."""
    torch.manual_seed(3)
    layer = beat_transformer._DilatedAttention()
    heard, step, begins = torch.randn(1, 23, 256), 2, (-2, -2, -2, -2, -4, -3, -1, 0)
    with torch.inference_mode():
        found = layer(heard, step)[0].reshape(23, 8, 32)
        query, key, value = (
            part(heard)[0].reshape(23, 8, 32) for part in (layer.query, layer.key, layer.value)
        )
        for head in range(8):
            for frame in (0, 1, 11, 22):
                scores, seen = [], []
                for place in range(5):
                    at = frame + step * (begins[head] + place)
                    if 0 <= at < 23:
                        of = query[frame, head]
                        scores.append(of @ key[at, min(head, 6)] + of @ layer.Er[head, :, place])
                        seen.append(value[at, head])
                weights = torch.softmax(torch.stack(scores) / 32**0.5, dim=0)
                expected = (weights[:, None] * torch.stack(seen)).sum(dim=0)
                assert torch.allclose(found[frame, head], expected, atol=1e-5)


def test_what_was_and_what_comes_are_seen_apart() -> None:
    """In BTC one block sees only what was before a frame, the other only what comes after."""
    torch.manual_seed(4)
    both = btc._BothWays().eval()
    heard = torch.randn(1, 30, 128)
    other = heard.clone()
    other[0, 20:] += 1.0
    hidden = torch.ones(30, 30, dtype=torch.bool).triu(1)
    with torch.inference_mode():
        before = (both.attn_block(other, hidden) - both.attn_block(heard, hidden))[0]
        after = both.backward_attn_block(other, hidden.T) - both.backward_attn_block(
            heard, hidden.T
        )
    assert not before[:18].any()  # two convolutions of three frames see two ahead
    assert before[20:].any(dim=1).all()
    assert after[0, :20].any(dim=1).all()


def test_long_sound_is_heard_in_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows that overlap tell every frame once: no seams where a network sees far enough."""
    torch.manual_seed(5)
    heard = np.random.default_rng(0).standard_normal((60, 252)).astype(np.float32)
    networks = (ChordCnnLstm().eval(), ChordCnnLstm().eval())
    whole = chord_cnn_lstm.answers(networks, heard)
    monkeypatch.setattr(chord_cnn_lstm, "FRAMES_AT_ONCE", 40)
    monkeypatch.setattr(chord_cnn_lstm, "_MARGIN", 8)
    parts = chord_cnn_lstm.answers(networks, heard)
    for one, other, size in zip(whole, parts, HEADS, strict=True):
        assert one.shape == other.shape == (60, size)
        assert np.allclose(other.sum(axis=1), 1.0, atol=1e-5)
        assert np.abs(one - other).max() < 0.1  # each stretch is evened out for itself
    network = BeatTransformer().eval()
    mel = np.random.default_rng(1).uniform(-80, 0, (2, 70, 128)).astype(np.float32)
    short = beat_transformer.activations(network, mel[:, :30])
    monkeypatch.setattr(beat_transformer, "FRAMES_AT_ONCE", 30)
    monkeypatch.setattr(beat_transformer, "_MARGIN", 4)
    told = beat_transformer.activations(network, mel)
    assert told.shape == (70, 2)
    assert told[30:].any(axis=1).all()
    assert np.allclose(told[:26], short[:26], atol=1e-6)


def test_convolution_knows_no_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames convolved some at a time are those convolved at once."""
    torch.manual_seed(6)
    network, mel = BeatTransformer().eval(), torch.randn(2, 50, 128)
    with torch.inference_mode():
        whole = network._convolved(mel)
        monkeypatch.setattr(beat_transformer, "_CONVOLVED_AT_ONCE", 16)
        assert torch.allclose(network._convolved(mel), whole, atol=1e-5)


def test_engines_are_there_with_their_files(folder: Path) -> None:
    """Each of them able to work, told by the digests of what lies there, permissive."""
    for capability, name, file in (
        (engines.BEATS, "beat-transformer", BEAT_TRANSFORMER.file),
        (engines.CHORDS, "btc-sl", BTC_SL.file),
        (engines.CHORDS, "btc-pl", BTC_PL.file),
        (engines.CHORDS, "chord-cnn-lstm", CHORD_CNN_LSTM.file),
    ):
        engine = engines.choose(capability, name, True, str(folder))
        digest = hashlib.sha256((folder / file).read_bytes()).hexdigest()
        assert engine.digests[0] == (file, digest)
        assert engine.version.startswith("1+")
        assert len(engine.digests) == (5 if name == "chord-cnn-lstm" else 1)


def test_another_file_is_another_version(tmp_path: Path) -> None:
    """Answers of one file are not those of the file that took its place; a lost one is missed."""
    seeded_weights.put(tmp_path, CHORD_CNN_LSTM.file)
    path = str(tmp_path / CHORD_CNN_LSTM.file)
    chosen = engines.choose(engines.CHORDS, "chord-cnn-lstm", False, str(tmp_path))
    networks = published_networks.chord_cnn_lstm(path)
    assert published_networks.chord_cnn_lstm(path) is networks
    torch.save({"net": ChordCnnLstm().state_dict()}, tmp_path / CHORD_CNN_LSTM.beside[3])
    again = engines.choose(engines.CHORDS, "chord-cnn-lstm", False, str(tmp_path))
    assert chosen.version != again.version
    assert published_networks.chord_cnn_lstm(path) is not networks
    (tmp_path / CHORD_CNN_LSTM.beside[0]).unlink()
    with pytest.raises(engines.WeightsMissing):
        engines.choose(engines.CHORDS, "chord-cnn-lstm", False, str(tmp_path))


def test_weights_without_torch_are_no_missing_weights(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ENGINE_UNAVAILABLE, not WEIGHTS_MISSING, where only the library is not installed."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(engines.EngineUnavailable) as refusal:
        engines.choose(engines.CHORDS, "btc-sl", False, str(folder))
    assert not isinstance(refusal.value, engines.WeightsMissing)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ([1, 2], "no mean"),
        ({"model": 3, "mean": 0.0, "std": 1.0}, "tensors by their names"),
        ({"model": {}, "mean": 0.0, "std": 1.0}, "is absent"),
        ({"model": {}, "mean": "much", "std": 1.0}, "mean is not a number"),
        ({"model": {}, "mean": float("nan"), "std": 1.0}, "mean is nan"),
        ({"model": {}, "mean": 0.0, "std": 0.0}, "above 0"),
        ({"net": {}, "mean": 0.0, "std": 1.0}, "no model or model_state_dict"),
    ],
    ids=["list", "number", "empty", "text", "nan", "zero", "lacking"],
)
def test_files_that_do_not_fit_are_refused(content: object, fault: str, tmp_path: Path) -> None:
    """By what is wrong with them."""
    torch.save(content, tmp_path / BTC_SL.file)
    with pytest.raises(WeightsRefused, match=fault):
        published_networks.btc(str(tmp_path / BTC_SL.file), "btc-sl", 170)


def test_outputs_mean_what_their_authors_say() -> None:
    """170 and 25 chords, by root and quality; the last is none."""
    large, small = BTC_LABELS["large_voca"], BTC_LABELS["majmin"]
    assert (len(large), len(small)) == (170, 25)
    assert [str(large[n]) for n in (0, 1, 15, 167, 168, 169)] == [
        *("C:min", "C:maj", "C#:maj", "B:sus4", "X", "N")
    ]
    assert [str(small[n]) for n in (0, 1, 2, 24)] == ["C:maj", "C:min", "C#:maj", "N"]


def test_chords_are_told_from_block_to_block_alike(folder: Path) -> None:
    """Without gaps to the end, the same however the sound came."""
    song = signals.song(120, "D", "major", 12.0)[::2, 0].copy()
    told = []
    for block in (len(song), 5000):
        wishes = {"chords": ChordSettings("large_voca", 2)}
        ear = published_ears.listening("btc-sl", wishes, str(folder / BTC_SL.file))
        for first in range(0, len(song), block):
            ear.push(song[first : first + block])
        told.append(ear.find(12.0)["chords"])
    assert told[0] == told[1]
    assert isinstance(told[0], Harmony)
    ends = [chord.end_seconds for chord in told[0].chords]
    assert [0.0, *ends[:-1]] == [chord.start_seconds for chord in told[0].chords]
    assert ends[-1] == 12.0
    assert all(0.0 < c.confidence < 1.0 and len(c.alternatives) == 2 for c in told[0].chords)
