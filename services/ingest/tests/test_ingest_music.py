"""Properties of the pure parts: samples, overview, resampling, wave heads, pages, tiers."""

import io
import json
from importlib import resources

import numpy as np
import pytest
import soundfile
from chorale_ingest import overview, resampling, samples, tiers, wave
from chorale_ingest.samples import Encoding
from hypothesis import given
from hypothesis import strategies as st
from ingest_testing import noise

SIZES = (1, 63, 64, 65, 2047, 2048, 2049, 8191, 100_000)


@pytest.mark.parametrize("size", SIZES)
def test_the_overview_does_not_depend_on_blocks(size: int) -> None:
    """Points are the same however the frames arrive."""
    whole = noise(size, 2, seed=size)
    truth = overview.points(whole).tobytes()
    for block in (1000, 2048, 4096, size):
        building = overview.Building()
        made = [b"".join(building.add(whole[at : at + block])) for at in range(0, size, block)]
        made.append(b"".join(building.finish()))
        assert b"".join(made) == truth
        assert building.greatest == max(0.0, whole.max() / 32768)


def test_the_overview_of_floats_is_that_of_their_integers() -> None:
    """The scale of canonical PCM does not show in the picture."""
    whole = noise(9000, 2)
    floats = (whole / 32768).astype("<f4")
    assert np.allclose(overview.points(whole), overview.points(floats), atol=1e-6)


def test_one_bad_sample_shows() -> None:
    """NaN and infinity reach the extremes, where they are refused."""
    for bad in (np.nan, np.inf, -np.inf):
        whole = np.zeros((5000, 2), "<f4")
        whole[4321, 1] = bad
        building = overview.Building()
        list(building.add(whole))
        list(building.finish())
        assert not max(abs(building.least), abs(building.greatest)) <= samples.SAMPLE_MAX


@pytest.mark.parametrize(
    ("sample_format", "dtype", "value", "expected"),
    [
        ("u8", np.uint8, 255, 127 << 8),
        ("u8p", np.uint8, 0, -32768),
        ("s16", np.int16, -32768, -32768),
        ("s32", np.int32, -(1 << 31), -1.0),
        ("s32p", np.int32, 1 << 8, 1 / (1 << 23)),
        ("flt", np.float32, 7.5, 7.5),
        ("dblp", np.float64, -0.25, -0.25),
    ],
)
def test_canonical_samples(sample_format: str, dtype: type, value: float, expected: float) -> None:
    """Every decoder format has one meaning."""
    made = samples.canonical(np.full((3, 2), value, dtype), sample_format)
    assert made.dtype == samples.encoding_of(sample_format).dtype
    assert (made == expected).all()


@given(
    rates=st.tuples(st.integers(8000, 192_000), st.integers(8000, 192_000)),
    frame_count=st.integers(1, 1 << 40),
)
def test_the_grid_falls_on_whole_frames(rates: tuple[int, int], frame_count: int) -> None:
    """Block edges and margins are whole frames at both rates, for any pair of rates."""
    grid = resampling.grid(*rates)
    for here, there in (
        (grid.block_in_frames, grid.block_out_frames),
        (grid.margin_in_frames, grid.margin_out_frames),
    ):
        assert here * grid.rate_out_hz == there * grid.rate_in_hz
    assert grid.margin_in_frames >= resampling.MARGIN_FRAMES * max(1, rates[0] / rates[1])
    count = grid.frame_count(frame_count)
    assert count * rates[0] >= frame_count * rates[1] > (count - 1) * rates[0]


@pytest.mark.parametrize("rates", [(44100, 48000), (96000, 44100), (44100, 8000)])
def test_a_tone_keeps_its_level_and_casts_no_alias(rates: tuple[int, int]) -> None:
    """1 kHz at -1 dBFS keeps its level within 0.01 dB; all else stays under -110 dB."""
    rate_in, rate_out = rates
    grid = resampling.grid(rate_in, rate_out)
    frame_count = 3 * grid.block_in_frames
    level = 10 ** (-1 / 20)
    tone = level * np.sin(2 * np.pi * 1000 * np.arange(frame_count) / rate_in)
    blocks = []
    for block in range(3):
        start, end = grid.window(block)
        window = tone[max(0, start) : min(end, frame_count), np.newaxis].astype(np.float32)
        blocks.append(
            resampling.resample_block(resampling.padded(window, start, end, frame_count), grid)
        )
    made = np.concatenate(blocks)[:, 0].astype(np.float64)
    middle = made[rate_out // 10 : -rate_out // 10]
    seconds = np.arange(len(middle)) / rate_out
    waves = np.stack([np.sin(2e3 * np.pi * seconds), np.cos(2e3 * np.pi * seconds)], axis=1)
    fit, *_ = np.linalg.lstsq(waves, middle, rcond=None)
    assert abs(20 * np.log10(np.hypot(*fit) / level)) < 0.01
    rest = middle - waves @ fit
    assert 20 * np.log10(np.abs(rest).max()) < -110


@pytest.mark.parametrize("encoding", list(Encoding))
@pytest.mark.parametrize("channel_count", [1, 2, 8])
def test_a_wave_head_is_what_readers_expect(encoding: Encoding, channel_count: int) -> None:
    """Another library reads the frames back as they are stored."""
    whole = noise(777, channel_count, seed=channel_count)
    stored = whole if encoding is Encoding.S16LE else (whole / 32768).astype("<f4")
    file = (
        wave.head(8 * encoding.sample_bytes, encoding is Encoding.F32LE, channel_count, 48000, 777)
        + stored.tobytes()
    )
    found, rate = soundfile.read(io.BytesIO(file), dtype="float32", always_2d=True)
    assert rate == 48000
    assert np.array_equal(found, (whole / 32768).astype(np.float32))


def test_a_wave_beyond_4_gib_is_rf64() -> None:
    """Sizes that do not fit 32 bits move to the ds64 chunk."""
    head = wave.head(32, True, 2, 48000, 1 << 30)
    assert head.startswith(b"RF64\xff\xff\xff\xff")
    assert int.from_bytes(head[28:36], "little") == 8 << 30
    assert int.from_bytes(head[20:28], "little") == len(head) - 8 + (8 << 30)


def test_the_tiers_that_come_along_are_whole() -> None:
    """Every tier of the product is there, each with every limit."""
    text = (resources.files("chorale_ingest") / "tiers.json").read_text()
    known = tiers.parse(text)
    for name in ("free", "starter", "producer", "studio", "local", "service"):
        assert known.of(name).name == name
    uploads = [known.of(name).uploads_per_day for name in ("free", "starter", "producer", "studio")]
    assert uploads == [3, 10, 50, 100]


@pytest.mark.parametrize("change", [{"kept_audio": "1"}, {"upload_bytes": -2}, {"new": 1}])
def test_a_wrong_tier_file_is_refused(change: dict[str, object]) -> None:
    """A limit of the wrong type, below -1, or of an unknown name stops the start."""
    rows = json.loads((resources.files("chorale_ingest") / "tiers.json").read_text())
    rows["free"].update(change)
    with pytest.raises(tiers.TiersInvalid):
        tiers.parse(json.dumps(rows))
    with pytest.raises(tiers.TiersInvalid):
        tiers.parse("{}")
