"""Published weights as files: found by name, told by digest, read without running anything."""

import hashlib
import importlib
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_SIZE_MAX_BYTES = 1 << 29  # the largest published holds 40 MB, four times that with its training
_PARALLEL = "module."  # before every name where a network was trained on several devices

Stamp = tuple[tuple[str, int, int], ...]


class WeightsRefused(Exception):
    """A file of weights is not what its engine needs."""

    def __init__(self, file: str, fault: str) -> None:
        super().__init__(file, fault)
        self.file, self.fault = file, fault
        self.missing, self.remedy = file, f"put the published {file} in its place."

    def __str__(self) -> str:
        return f"The weights {self.file} are refused: {self.fault}."


@dataclass(frozen=True)
class Weights:
    """Which files an engine needs, and what is known of them."""

    file: str
    source: str  # where its authors publish it
    sha256: str = ""  # of the published file; empty where no copy could be had to tell it
    beside: tuple[str, ...] = ()  # what must lie beside it
    perhaps: tuple[str, ...] = ()  # what may lie beside it, for more

    def path(self, directory: str) -> str:
        """Where the file is; empty where it is not, or not all that must lie beside it."""
        folder = Path(directory) if directory else None
        names = self.file, *self.beside
        if folder is None or not all((folder / name).is_file() for name in names):
            return ""
        return str(folder / self.file)

    def digests(self, path: str) -> tuple[tuple[str, str], ...]:
        """The SHA-256 of every file that is there: the published one, or what was found."""
        if self.sha256:
            return ((self.file, self.sha256),)
        return tuple((name, _digest(name, size, at, path)) for name, size, at in self.stamp(path))

    def stamp(self, path: str) -> Stamp:
        """What changes when any of the files is replaced: names, sizes and times."""
        stamps = []
        for name in (self.file, *self.beside, *self.perhaps):
            file = Path(path).with_name(name)
            if file.is_file():
                told = file.stat()
                stamps.append((name, told.st_size, told.st_mtime_ns))
        return tuple(stamps)

    def remedy(self) -> str:
        """How to bring them."""
        digest = f" (SHA-256 {self.sha256})" if self.sha256 else ""
        names = ", ".join((self.file, *self.beside))
        return (
            f"put {names}{digest} of {self.source} into the directory that"
            " CHORALE_WEIGHTS_DIRECTORY names, and install chorale-analysis[engines]."
        )

    def read(self, path: str) -> Any:
        """What the file holds; raises `WeightsRefused` for another file than the published one."""
        name = Path(path).name
        content = _content(path, name)
        found = hashlib.sha256(content).hexdigest() if self.sha256 else ""
        if found != self.sha256:
            raise WeightsRefused(name, f"SHA-256 is {found}; {self.sha256} is published")
        return _loaded(content, name)


@lru_cache(64)
def _digest(name: str, size_bytes: int, _: int, path: str) -> str:
    """The SHA-256 of a file beside this path, as long as it is as large and as old."""
    if size_bytes > _SIZE_MAX_BYTES:
        return ""  # it will not be read
    with Path(path).with_name(name).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _content(path: str, name: str) -> bytes:
    file = Path(path)
    if not file.is_file():
        raise WeightsRefused(name, f"there is no such file in {file.parent.name}")
    size = file.stat().st_size
    if size > _SIZE_MAX_BYTES:
        raise WeightsRefused(name, f"they are {size} bytes; at most {_SIZE_MAX_BYTES} are read")
    return file.read_bytes()


def _loaded(content: bytes, name: str) -> Any:
    """A PyTorch archive, without pickle's power to run code; numbers of numpy pass."""
    import numpy as np
    import torch

    multiarray: Any = importlib.import_module("numpy._core.multiarray")
    scalar: Any = multiarray.scalar
    before: Any = (scalar, "numpy.core.multiarray.scalar")  # as numpy 1 wrote it
    kinds: list[Any] = [np.dtypes.Float64DType, np.dtypes.Float32DType]
    numbers: list[Any] = [scalar, before, np.dtype, *kinds]
    try:
        with torch.serialization.safe_globals(numbers):
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # whatever torch finds wrong with what a stranger wrote
        raise WeightsRefused(
            name, f"{type(error).__name__}: no archive of numbers alone"
        ) from error


def part(loaded: object, names: Sequence[str], file: str) -> Any:
    """The first of these that an archive holds."""
    for name in names:
        if isinstance(loaded, Mapping) and name in loaded:
            return loaded[name]
    raise WeightsRefused(file, f"there is no {' or '.join(names)} in it")


def number(loaded: object, name: str, file: str) -> float:
    """A single finite number of an archive."""
    try:
        found = float(part(loaded, (name,), file))
    except (TypeError, ValueError, RuntimeError):
        raise WeightsRefused(file, f"{name} is not a number") from None
    if not math.isfinite(found):
        raise WeightsRefused(file, f"{name} is {found}")
    return found


def fill(module: "torch.nn.Module", weights: object, name: str) -> None:
    """Puts weights into a network: every one is used, every layer filled, all finite."""
    tensors = _tensors(weights, name)
    needed = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    found = {key: tuple(value.shape) for key, value in tensors.items()}
    for key in sorted(needed.keys() | found.keys()):
        if needed.get(key) != found.get(key):
            here, there = found.get(key, "absent"), needed.get(key, "nothing")
            raise WeightsRefused(name, f"{key} is {here}; {there} is needed")
        if tensors[key].is_floating_point() and not bool(tensors[key].isfinite().all()):
            raise WeightsRefused(name, f"{key} holds NaN or infinity")
    module.load_state_dict(dict(tensors), strict=True)
    module.eval()


def _tensors(weights: object, name: str) -> dict[str, "torch.Tensor"]:
    import torch

    if not isinstance(weights, Mapping) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in weights.items()
    ):
        raise WeightsRefused(name, "tensors by their names are needed")
    if weights and all(key.startswith(_PARALLEL) for key in weights):
        return {key.removeprefix(_PARALLEL): value for key, value in weights.items()}
    return dict(weights)


BEATNET = Weights(
    "beatnet_model_1_weights.pt",
    "https://github.com/mjhydri/BeatNet (src/BeatNet/models)",
    "619091bc317ca3e83b45591d46f6de3d5a41588bcb39fe9fe7be30cffa6aca84",
)
SKEY = Weights(
    "skey.pt",
    "https://github.com/deezer/skey (skey/models)",
    "78dfd0ad4fa9434bf7cec70a25934b7c575bda9c80e994700140770ad3a5ead4",
)
BEAT_TRANSFORMER = Weights(
    "fold_4_trf_param.pt", "https://github.com/zhaojw1998/Beat-Transformer (checkpoint)"
)
BTC_MAJMIN = "btc_model.pt"
BTC_SL = Weights(
    "btc_model_large_voca.pt",
    "https://github.com/jayg996/BTC-ISMIR19 (test)",
    perhaps=(BTC_MAJMIN,),
)
BTC_PL = Weights(
    "btc_combined_best.pth", "https://github.com/ptnghia-j/ChordMini (checkpoints/btc)"
)
_FOLD = "joint_chord_net_ismir_naive_v1.0_reweight(0.0,10.0)_s{}.best.sdict"
CHORD_CNN_LSTM = Weights(
    _FOLD.format(0),
    "https://github.com/music-x-lab/ISMIR2019-Large-Vocabulary-Chord-Recognition (cache_data)",
    beside=tuple(_FOLD.format(fold) for fold in range(1, 5)),
)
