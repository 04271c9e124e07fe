"""Files of masters, and checks of codecs: what is written is what was mastered."""

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import signals
import soundfile
from chorale.mastering.v1 import outputs_pb2, presets_pb2, settings_pb2, stages_pb2
from chorale_audio.encoding import Encoding
from chorale_audio.source import Source, Store
from chorale_mastering import codec, files, wave
from chorale_mastering.brief import Format
from chorale_mastering.encodings import WRITINGS, FileEncoding, is_lossy
from chorale_mastering.making import made_file
from chorale_mastering.messages.orders import Asked, orders
from chorale_mastering.plan import Codec, CodecCheck
from chorale_mastering.refusals import CodecMissing
from chorale_mastering.report import WarningCode

RATE_HZ = signals.RATE_HZ
_AAC = settings_pb2.MasteringSettings(codecs=[stages_pb2.CodecCheck(codec=stages_pb2.CODEC_AAC)])


def noise(seconds: float, channel_count: int = 2, bits: int = 0) -> Any:
    """Noise, on the grid of so many bits."""
    sound = signals.pink_noise(seconds, seed=7).mean(axis=1, keepdims=True)
    sound = (sound / np.abs(sound).max()).repeat(channel_count, axis=1)
    return (
        sound if not bits else (np.rint(sound * 2.0 ** (bits - 1)) / 2.0 ** (bits - 1)).astype("f4")
    )


@pytest.mark.parametrize(
    ("encoding", "channel_count"),
    [
        (kind, count)
        for kind in FileEncoding
        for count in (1, 2, 6, 8)
        if count < 3 or not is_lossy(kind)
    ],
)
def test_a_file_reads_back_as_it_was_written(
    encoding: FileEncoding, channel_count: int, tmp_path: Path
) -> None:
    """Lossless kinds to the bit, lossy ones in length and level, by an independent reader."""
    path, writing = tmp_path / "master", WRITINGS[encoding]
    sound = noise(0.5, channel_count, min(writing.bits, 24))
    made = Format(RATE_HZ, channel_count)
    files.write(str(path), [sound[:1001], sound[1001:]], made, encoding)
    data, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    assert (rate_hz, data.shape) == (RATE_HZ, sound.shape)
    ours = np.concatenate(list(files.read(str(path))))
    assert np.array_equal(ours, data)
    if is_lossy(encoding):
        assert 20 * np.log10(data.std() / sound.std()) == pytest.approx(0.0, abs=0.3)
    else:
        assert np.array_equal(data, np.clip(sound, -1.0, 1.0 - 2.0**-23) if writing.bits else sound)


@pytest.mark.parametrize("encoding", list(FileEncoding))
def test_the_same_master_is_the_same_bytes(encoding: FileEncoding, tmp_path: Path) -> None:
    """However its frames were cut; and no second later, for no file tells the time."""
    sound, made = noise(0.3), Format(RATE_HZ, 2)
    files.write(str(tmp_path / "one"), [sound], made, encoding)
    now = time.time()
    while int(time.time()) == int(now):
        time.sleep(0.01)
    files.write(str(tmp_path / "two"), [sound[:1001], sound[1001:]], made, encoding)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize("is_float", [False, True])
def test_past_4_gib_it_is_rf64(is_float: bool, tmp_path: Path) -> None:
    """And as long as it is to a reader; a frame less than that is a plain file."""
    path, frames = tmp_path / "long.wav", (1 << 32) // 8 + 3
    head = wave.head(32, is_float, 2, 48000, frames)
    with path.open("wb") as file:
        file.write(head)
        file.truncate(len(head) + frames * 8)  # silence that takes no room
    told = soundfile.info(path)
    assert (told.format, told.frames, told.channels) == ("RF64", frames, 2)
    short = wave.head(32, is_float, 2, 48000, 1000)
    assert (short[:4], len(short)) == (b"RIFF", len(head))


@pytest.mark.parametrize("kbps", [64, 96, 128, 192, 256])
@pytest.mark.parametrize("channel_count", [1, 2])
@pytest.mark.parametrize("checked", [Codec.MP3, Codec.OPUS])
def test_a_bit_rate_is_what_was_asked_for(
    checked: Codec, channel_count: int, kbps: int, tmp_path: Path
) -> None:
    """Within a tenth, by the size of the file: libsndfile is told a share instead of it."""
    path, seconds = tmp_path / "coded", 2.0
    kind = {Codec.MP3: ("MP3", "MPEG_LAYER_III"), Codec.OPUS: ("OGG", "OPUS")}[checked]
    level = codec.compression_level(checked, kbps, channel_count)
    sound = np.random.default_rng(1).normal(0, 0.1, (int(48000 * seconds), channel_count))
    with soundfile.SoundFile(
        path,
        "w",
        48000,
        channel_count,
        kind[1],
        format=kind[0],
        compression_level=level,
        bitrate_mode="CONSTANT" if checked is Codec.MP3 else None,
    ) as file:
        file.write(sound)
    assert path.stat().st_size * 8 / seconds / 1000 == pytest.approx(kbps, rel=0.1)


@pytest.mark.parametrize("checked", list(Codec))
def test_silence_has_no_peak_through_a_codec(checked: Codec) -> None:
    """And clipped noise at full scale has one over it."""
    assert codec.peak_after(CodecCheck(checked), [noise(0.2) * 0.0], RATE_HZ, 2) == -200.0
    loud = np.clip(noise(0.5) * 6.0, -1.0, 1.0).astype(np.float32)
    assert codec.peak_after(CodecCheck(checked), [loud], RATE_HZ, 2) > 0.2


def test_without_aac_a_check_is_refused_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where the settings name it, before anything is made; and where it would run."""
    monkeypatch.setitem(sys.modules, "av", None)  # as Python marks what is not there
    with pytest.raises(CodecMissing, match=r"pip install 'chorale-mastering\[aac\]'"):
        orders(Asked(_AAC), (), a_source(), "song.wav")
    output = outputs_pb2.MasterOutput(overrides=_AAC)
    with pytest.raises(CodecMissing):
        orders(Asked(settings_pb2.MasteringSettings()), [output], a_source(), "song.wav")
    with pytest.raises(CodecMissing):
        codec.peak_after(CodecCheck(Codec.AAC), [noise(0.1)], RATE_HZ, 2)


def test_without_aac_a_preset_masters_and_says_what_it_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its other settings hold; the warning is typed."""
    monkeypatch.setitem(sys.modules, "av", None)
    asked = Asked(settings_pb2.MasteringSettings(), presets_pb2.Preset(settings=_AAC, title="Mine"))
    (order,) = orders(asked, (), a_source(), "song.wav")
    outcome = made_file(lambda: [noise(0.5)], order, f"{tmp_path}/0", False, lambda *_: None)
    assert outcome.report.codecs == ()
    (told,) = [w for w in outcome.report.warnings if w.code is WarningCode.CODEC_UNCHECKED]
    assert "chorale-mastering[aac]" in told.message


def a_source() -> Source:
    """Half a second of stereo; nothing here reads it."""
    store = Store("127.0.0.1:1", "key", "secret", "bucket")
    return Source("audio/1", "key", Encoding.F32LE, RATE_HZ, 2, 0, RATE_HZ // 2, store)
