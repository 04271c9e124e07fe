"""Files that nobody vouches for: what is read, and what is refused with which reason."""

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from chorale_generation.cascade import codec
from chorale_generation.cascade.network import Cascade, Shape
from chorale_generation.checking import check
from chorale_generation.checkpoints import CheckpointRefused, NotTrained, read


def safetensors(header: dict[str, Any], data: bytes = b"") -> bytes:
    """A file with this table of contents."""
    table = json.dumps(header).encode()
    return struct.pack("<Q", len(table)) + table + data


def saved(weights: Any) -> bytes:
    """A file as torch writes it."""
    file = io.BytesIO()
    torch.save(weights, file)
    return file.getvalue()


class Payload:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, ("raise SystemExit('the payload ran')",))


def _zip_bomb() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}, protocol=2))
        archive.writestr("archive/data/0", bytes(10 << 20))
    return file.getvalue()


def _entry(**said: Any) -> dict[str, Any]:
    return {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} | said}


NAN, ONE = struct.pack("<f", float("nan")), struct.pack("<f", 1.0)


HOSTILE = [
    (saved({"a": Payload()}), "pickle"),
    (pickle.dumps(Payload()), "pickle"),
    (saved({"a": torch.tensor([float("inf")])}), "not finite"),
    (saved([torch.zeros(1)]), "format"),
    (saved({"a": "text"}), "format"),
    (saved({"a": torch.zeros(1).expand(1 << 30)}), "size"),
    (_zip_bomb(), "size"),
    (b"PK\x03\x04 and nothing more", "format"),
    (b"", "format"),
    (safetensors(_entry(), NAN), "not finite"),
    (safetensors(_entry(shape=[2]), ONE), "offsets"),
    (safetensors(_entry(data_offsets=[0, 1 << 40]), ONE), "header"),
    (safetensors(_entry(data_offsets=[4, 8]), ONE + ONE), "offsets"),
    (safetensors(_entry(), ONE + b"more"), "offsets"),
    (safetensors(_entry(dtype="C64"), ONE), "dtype"),
    (safetensors(_entry(shape=[-1]), ONE), "shapes"),
    (safetensors({"a": 3}), "header"),
    (struct.pack("<Q", 1 << 40) + b"{}      ", "header"),
    (struct.pack("<Q", 2) + b"{[", "header"),
]


# Numbered, because an archive holds the time at which it was written, and every process of
# a parallel run must collect the same names.
@pytest.mark.parametrize(
    ("data", "fault"),
    HOSTILE,
    ids=[f"{number}-{fault}" for number, (_, fault) in enumerate(HOSTILE)],
)
def test_hostile_files_are_refused_with_a_reason(tmp_path: Path, data: bytes, fault: str) -> None:
    """Nothing in a file runs, and every refusal says what is wrong."""
    path = tmp_path / "model"
    path.write_bytes(data)
    with pytest.raises(CheckpointRefused) as caught:
        read(str(path), "model.pt")
    assert caught.value.fault == fault
    assert caught.value.detail


def test_the_payload_is_named(tmp_path: Path) -> None:
    """The refusal names the global that the pickle asks for."""
    path = tmp_path / "model"
    path.write_bytes(saved({"a": Payload()}))
    with pytest.raises(CheckpointRefused, match=r"GLOBAL .*builtin.*\.exec"):
        read(str(path), "model.pt")


@pytest.mark.parametrize("write", [saved, lambda weights: _as_safetensors(weights)])
def test_both_kinds_are_read_bit_for_bit(
    tmp_path: Path, write: Callable[[dict[str, torch.Tensor]], bytes]
) -> None:
    """What was written is what is read."""
    weights = {"a": torch.randn(3, 2), "b": torch.tensor([], dtype=torch.float32)}
    path = tmp_path / "model"
    path.write_bytes(write(weights))
    found = read(str(path), "model")
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[name], weights[name]) for name in weights)


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    """A cascade must have exactly the weights of a cascade; one never trained is NOT_TRAINED."""
    path = tmp_path / "cascade"
    weights = dict(Cascade(Shape(stage_count=1)).state_dict())
    path.write_bytes(saved(weights))
    with pytest.raises(NotTrained):
        check(str(path), "cascade.pt", "encodec-cascade", "models/cascade")
    weights["stages.0.leaving.bias"] = torch.ones(128)
    path.write_bytes(saved(weights))
    check(str(path), "cascade.pt", "encodec-cascade", "models/cascade")
    weights["stages.0.leaving.bias"] = torch.ones(127)
    path.write_bytes(saved(weights))
    with pytest.raises(CheckpointRefused, match=r"stages.0.leaving.bias is \(127,\)"):
        check(str(path), "cascade.pt", "encodec-cascade", "models/cascade")


def test_an_untrained_codec_is_not_trained(tmp_path: Path) -> None:
    """EnCodec without training has all-zero codebooks, and is refused."""
    path = tmp_path / "codec"
    shape = codec.Shape(filters=2, codebook_count=2)
    weights = {name: torch.zeros(sizes) for name, sizes in codec.expected_shapes(shape).items()}
    path.write_bytes(saved(weights))
    with pytest.raises(NotTrained, match="codebooks are all zero"):
        check(str(path), "codec.th", "encodec-cascade", "models/encodec-24khz")
    for name in weights:
        if name.endswith("_codebook.embed"):
            weights[name] = torch.randn_like(weights[name])
    path.write_bytes(saved(weights))
    check(str(path), "codec.th", "encodec-cascade", "models/encodec-24khz")


def _as_safetensors(weights: dict[str, torch.Tensor]) -> bytes:
    header, data = {}, b""
    for name, value in weights.items():
        held = value.numpy().tobytes()
        offsets = [len(data), len(data) + len(held)]
        header[name] = {"dtype": "F32", "shape": list(value.shape), "data_offsets": offsets}
        data += held
    return safetensors(header, data)
