"""Weights from files that nobody vouches for: read without running anything in them.

Two kinds are known: safetensors, which is a table of contents and numbers, and PyTorch's zip
archives, whose table is a pickle. Of a pickle every global it names is looked at before anything
is loaded; only those that rebuild tensors pass, and torch loads it with `weights_only`.
"""

import io
import json
import math
import pickletools
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

SIZE_MAX_BYTES = 2 << 30
_HEADER_MAX_BYTES = 8 << 20
_TENSORS_MAX = 20_000
_DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
_DTYPES |= {"I64": "int64", "I32": "int32", "U8": "uint8", "BOOL": "bool"}
_STORAGES = ("Double", "Float", "Half", "BFloat16", "Long", "Int", "Short", "Byte", "Bool")
_NAMELESS = ("STACK_GLOBAL", "EXT1", "EXT2", "EXT4", "OBJ", "NEWOBJ", "NEWOBJ_EX")
_GLOBALS = frozenset(
    [
        "collections OrderedDict",
        "torch._utils _rebuild_tensor_v2",
        "torch._utils _rebuild_parameter",
        *(f"torch {kind}Storage" for kind in _STORAGES),
    ]
)

Weights = Mapping[str, "torch.Tensor"]


class CheckpointRefused(Exception):
    """The files of a model hold code, wrong shapes, numbers that are not finite, or too much."""

    def __init__(self, file: str, fault: str, detail: str) -> None:
        super().__init__(file, fault, detail)
        self.file, self.fault, self.detail = file, fault, detail

    def __str__(self) -> str:
        return f"{self.file} is refused ({self.fault}): {self.detail}."


class NotTrained(Exception):
    """The weights were never trained."""

    def __init__(self, model: str, fault: str) -> None:
        super().__init__(model, fault)
        self.model, self.fault = model, fault

    def __str__(self) -> str:
        return f"{self.model} was never trained: {self.fault}."


def read(path: str, name: str) -> Weights:
    """The weights of a file, by name, all finite; raises `CheckpointRefused`."""
    size = Path(path).stat().st_size
    if size > SIZE_MAX_BYTES:
        raise CheckpointRefused(name, "size", f"{size} bytes; at most {SIZE_MAX_BYTES} are read")
    with Path(path).open("rb") as file:
        start = file.read(16)
    if start.startswith(b"PK"):
        weights = _from_zip(path, name)
    elif len(start) > 8 and start[8:9] == b"{":
        weights = _from_safetensors(path, name, size)
    else:
        fault = "pickle" if start[:1] == b"\x80" else "format"
        detail = "neither safetensors nor an archive of PyTorch"
        raise CheckpointRefused(name, fault, detail)
    _require_finite(weights, name)
    return weights


def written(weights: Weights) -> bytes:
    """Weights as a safetensors file: the same numbers give the same bytes."""
    table, parts, end = {}, [], 0
    kinds = {dtype: kind for kind, dtype in _DTYPES.items()}
    for key in sorted(weights):
        value = weights[key].detach().cpu().contiguous()
        data = value.numpy().tobytes()
        kind = kinds[str(value.dtype).removeprefix("torch.")]
        table[key] = {"dtype": kind, "shape": list(value.shape)}
        table[key]["data_offsets"] = [end, end + len(data)]
        parts.append(data)
        end += len(data)
    header = json.dumps(table, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # numbers begin where a processor likes to read them
    return b"".join([len(header).to_bytes(8, "little"), header, *parts])


def require_shapes(weights: Weights, expected: Mapping[str, tuple[int, ...]], name: str) -> None:
    """Raises `CheckpointRefused` unless exactly these weights are there."""
    for key in sorted(expected.keys() | weights.keys()):
        found = tuple(weights[key].shape) if key in weights else None
        if found != expected.get(key):
            detail = f"{key} is {found or 'absent'}; {expected.get(key) or 'nothing'} is needed"
            raise CheckpointRefused(name, "shapes", detail)


def _require_finite(weights: Weights, name: str) -> None:
    for key, value in weights.items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise CheckpointRefused(name, "not finite", f"{key} holds NaN or infinity")


def _from_safetensors(path: str, name: str, size: int) -> Weights:
    import torch

    with Path(path).open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > min(_HEADER_MAX_BYTES, size - 8):
            raise CheckpointRefused(name, "header", f"it claims {length} bytes of {size}")
        try:
            table = json.loads(file.read(length))
            entries = {key: value for key, value in table.items() if key != "__metadata__"}
        except (ValueError, AttributeError, RecursionError) as error:
            raise CheckpointRefused(name, "header", f"no JSON object: {error}") from error
        if len(entries) > _TENSORS_MAX:
            raise CheckpointRefused(name, "header", f"{len(entries)} tensors")
        data = bytearray(file.read())
    weights, end = {}, 0
    for key, entry in sorted(entries.items(), key=lambda item: _start(item[1], name)):
        dtype, shape, first, last = _entry(entry, key, name)
        if first != end or last > len(data):
            raise CheckpointRefused(name, "offsets", f"{key} lies at {first} to {last}")
        kind = getattr(torch, _DTYPES[dtype])
        count = math.prod(shape)
        if last - first != count * kind.itemsize:
            raise CheckpointRefused(name, "offsets", f"{key} has {last - first} bytes for {shape}")
        weights[key] = (
            torch.frombuffer(data, dtype=kind, count=count, offset=first).reshape(shape)
            if count
            else torch.zeros(shape, dtype=kind)
        )
        end = last
    if end != len(data):
        raise CheckpointRefused(name, "offsets", f"{len(data) - end} bytes belong to no tensor")
    return weights


def _start(entry: object, name: str) -> int:
    offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
    if not (isinstance(offsets, list) and len(offsets) == 2 and _are_sizes(offsets)):
        raise CheckpointRefused(name, "header", "an entry without offsets")
    first: int = offsets[0]
    return first


def _entry(entry: dict[str, object], key: str, name: str) -> tuple[str, list[int], int, int]:
    dtype, shape, offsets = entry.get("dtype"), entry.get("shape"), entry["data_offsets"]
    if dtype not in _DTYPES:
        raise CheckpointRefused(name, "dtype", f"{key} is {dtype!r}")
    if not (isinstance(shape, list) and len(shape) <= 8 and _are_sizes(shape)):
        raise CheckpointRefused(name, "shapes", f"{key} is {shape!r}")
    assert isinstance(offsets, list)  # `_start` has seen to it
    return str(dtype), shape, offsets[0], offsets[1]


def _are_sizes(values: list[object]) -> bool:
    return all(type(value) is int and 0 <= value <= SIZE_MAX_BYTES for value in values)


def _from_zip(path: str, name: str) -> Weights:
    import torch

    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
            total = sum(info.file_size for info in infos)
            packed = [info for info in infos if info.compress_type != zipfile.ZIP_STORED]
            if packed or total > SIZE_MAX_BYTES:
                detail = f"{total} bytes unpacked, {len(packed)} entries compressed"
                raise CheckpointRefused(name, "size", detail)
            pickles = [info for info in infos if info.filename.endswith(".pkl")]
            if len(pickles) != 1 or pickles[0].file_size > _HEADER_MAX_BYTES:
                raise CheckpointRefused(name, "format", f"{len(pickles)} tables of contents")
            _require_harmless(archive.read(pickles[0]), name)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointRefused:
        raise
    except Exception as error:  # whatever torch finds wrong with what a stranger wrote
        raise CheckpointRefused(name, "format", type(error).__name__) from error
    if not isinstance(loaded, dict) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in loaded.items()
    ):
        raise CheckpointRefused(name, "format", "it is no table of tensors by name")
    # Views may claim more than the archive holds.
    if sum(value.numel() * value.element_size() for value in loaded.values()) > SIZE_MAX_BYTES:
        raise CheckpointRefused(name, "size", "its tensors are larger than the file")
    return loaded


def _require_harmless(table: bytes, name: str) -> None:
    """Looks at every instruction of a pickle, and runs none."""
    texts: list[str] = []
    try:
        for code, argument, _ in pickletools.genops(io.BytesIO(table)):
            if code.name in ("GLOBAL", "INST"):
                _require_known(str(argument), name)
            elif code.name in _NAMELESS:  # what they call is known only by running it
                detail = " ".join([code.name, *texts[-2:]])
                raise CheckpointRefused(name, "pickle", detail)
            if isinstance(argument, str):
                texts.append(argument[:80])
    except (ValueError, IndexError) as error:
        raise CheckpointRefused(name, "pickle", f"it cannot be read: {error}") from error


def _require_known(found: str, name: str) -> None:
    if found not in _GLOBALS:
        raise CheckpointRefused(name, "pickle", f"GLOBAL {found.replace(' ', '.')}")
