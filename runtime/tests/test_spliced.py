"""A message with a large field, as it goes on the wire."""

import numpy as np
import pytest
from chorale.ingest.v1.reading_pb2 import ReadFramesResponse
from chorale_runtime.spliced import Spliced


@pytest.mark.parametrize("size_bytes", [0, 1, 127, 128, 16_384, 1 << 20])
def test_it_is_what_protobuf_would_have_written(size_bytes: int) -> None:
    """Whoever reads it finds the same message, at every length of the length."""
    content = np.random.default_rng(size_bytes).bytes(size_bytes)
    whole = ReadFramesResponse(start_frame=7, total_frames=1 << 40, pcm=content)
    whole.format.sample_rate_hz = 44_100
    told = ReadFramesResponse(start_frame=7, total_frames=1 << 40)
    told.format.sample_rate_hz = 44_100
    raw = Spliced(told, "pcm", content).SerializeToString()
    assert ReadFramesResponse.FromString(raw) == whole


def test_an_array_need_not_become_bytes_first() -> None:
    """What lies in memory in one piece is taken from where it lies."""
    frames = np.arange(12, dtype="<f4").reshape(6, 2)
    raw = Spliced(ReadFramesResponse(), "pcm", frames.data).SerializeToString()
    assert ReadFramesResponse.FromString(raw).pcm == frames.tobytes()
