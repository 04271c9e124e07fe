"""The engines `beatnet` and `skey`: strict loading, the same again, what they hear."""

from pathlib import Path

import numpy as np
import pytest
import signals
import torch
from chorale_analysis import engines
from chorale_analysis.engines import WeightsMissing
from chorale_analysis.networks.beatnet import BeatNet, bands, spectra
from chorale_analysis.networks.skey import SKey
from chorale_analysis.published_ears import listening
from chorale_analysis.rhythm import Rhythm, RhythmSettings
from chorale_analysis.spectra import RATE_HZ
from chorale_analysis.tonality import KeySettings, Tonality
from chorale_analysis.weights import BEATNET, SKEY, Weights, WeightsRefused, fill


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    """Small networks are slower on many threads."""
    torch.set_num_threads(1)


def test_an_engine_without_its_weights_says_how_to_bring_them() -> None:
    """It is refused by name, with file, digest and source; never stood in for."""
    with pytest.raises(WeightsMissing) as refusal:
        engines.choose(engines.BEATS, "beatnet")
    for part in (BEATNET.file, BEATNET.sha256, BEATNET.source, "CHORALE_WEIGHTS_DIRECTORY"):
        assert part in refusal.value.remedy


def test_an_engine_whose_weights_lie_there_can_work(testdata: Path) -> None:
    """Present, with a licence that allows commercial use."""
    for capability, name in ((engines.BEATS, "beatnet"), (engines.KEY, "skey")):
        engine = engines.choose(capability, name, True, str(testdata / "checkpoints"))
        assert engine.is_present
        assert engine.path.startswith(str(testdata))


def test_another_file_of_the_same_name_is_refused(tmp_path: Path) -> None:
    """By its digest, before anything of it is read."""
    path = tmp_path / BEATNET.file
    path.write_bytes(b"not these")
    with pytest.raises(WeightsRefused, match="SHA-256"):
        BEATNET.read(str(path))


def test_code_in_a_file_does_not_run(tmp_path: Path) -> None:
    """A pickle that names a function is refused."""
    path, ran = tmp_path / "evil.pt", tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (ran,)  # type: ignore[return-value]

    torch.save({"weight": Evil()}, path)
    with pytest.raises(WeightsRefused, match="no archive of numbers"):
        Weights("evil.pt", "nowhere").read(str(path))
    assert not ran.exists()


@pytest.mark.parametrize("make", [BeatNet, SKey])
def test_every_weight_is_used_and_every_layer_filled(make: type[torch.nn.Module]) -> None:
    """One weight too many, too few or of another shape is refused by its name."""
    torch.manual_seed(0)
    good = dict(make().state_dict())
    fill(make(), good, "it")
    name = next(iter(good))
    for wrong in (
        {**good, "more": torch.zeros(1)},
        {key: value for key, value in good.items() if key != name},
        {**good, name: torch.zeros(7)},
        {**good, name: torch.full_like(good[name], float("nan"))},
    ):
        with pytest.raises(WeightsRefused, match=f"more|{name}"):
            fill(make(), wrong, "it")


def test_a_network_that_learned_is_the_same_when_loaded_again(tmp_path: Path) -> None:
    """A few steps lower the loss; saved and loaded strictly, it answers the same."""
    torch.manual_seed(1)
    heard, truth = torch.randn(40, 272), torch.arange(40) % 3
    network = BeatNet()
    losses = []
    for _ in range(4):
        loss = torch.nn.functional.cross_entropy(network(heard), truth)
        losses.append(float(loss.detach()))
        network.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():  # an optimizer takes three seconds to import
            for weights in network.parameters():
                if weights.grad is not None:
                    weights.sub_(1e-3 * weights.grad.sign())
    assert losses[-1] < losses[0]
    torch.save(network.state_dict(), tmp_path / "again.pt")
    again = BeatNet()
    fill(again, Weights("again.pt", "here").read(str(tmp_path / "again.pt")), "again")
    with torch.inference_mode():
        assert torch.equal(again(heard), network.eval()(heard))


def test_spectra_are_those_it_was_trained_on() -> None:
    """136 bands of weight 1, and how much each rose: silence is 0, a step rises once."""
    filters = bands()
    assert filters.shape == (705, 136)
    assert np.allclose(filters.sum(axis=0), 1.0)
    sound = np.zeros(RATE_HZ, np.float32)
    sound[RATE_HZ // 2 :] = signals.sine(-6.0, 0.5, 1, rate_hz=RATE_HZ)[:, 0]
    heard = spectra(sound)
    assert heard.shape == (50, 272)
    assert not heard[:20].any()
    assert heard[23:27, 136:].max() > 0.5 > heard[30:47, 136:].max()


@pytest.mark.slow
def test_what_they_hear_in_a_song(testdata: Path) -> None:
    """Beats at the song's tempo, with bars; and the key of a cadence."""
    song = signals.song(120, "D", "major", 12.0)[::2, 0].copy()
    folder = testdata / "checkpoints"
    ears = listening("beatnet", {"beats": RhythmSettings()}, str(folder / BEATNET.file))
    ears.push(song)
    rhythm = ears.find(12.0)["beats"]
    assert isinstance(rhythm, Rhythm)
    assert min(abs(rhythm.bpm / bpm - 1.0) for bpm in (60, 120)) < 0.04
    assert any(beat.position == 1 for beat in rhythm.beats)
    ears = listening("skey", {"key": KeySettings()}, str(folder / SKEY.file))
    ears.push(song)
    key = ears.find(12.0)["key"]
    assert isinstance(key, Tonality)
    assert key.key == "D major"
