"""Published weights as files: found by name, checked by digest, read without running anything."""

import hashlib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_SIZE_MAX_BYTES = 1 << 30


class WeightsRefused(Exception):
    """A file of weights is not what its engine needs."""

    def __init__(self, file: str, fault: str) -> None:
        super().__init__(file, fault)
        self.file, self.fault = file, fault

    def __str__(self) -> str:
        return f"The weights {self.file} are refused: {self.fault}."


@dataclass(frozen=True)
class Weights:
    """Which file an engine needs, and what is known of it."""

    file: str
    source: str  # where its authors publish it
    sha256: str = ""  # of the published file; empty where no copy could be had to tell it

    def path(self, directory: str) -> str:
        """Where the file is; empty where it is not."""
        path = Path(directory, self.file) if directory else None
        return str(path) if path and path.is_file() else ""

    def remedy(self) -> str:
        """How to bring them."""
        digest = f" (SHA-256 {self.sha256})" if self.sha256 else ""
        return (
            f"put {self.file}{digest} of {self.source} into the directory that"
            " CHORALE_WEIGHTS_DIRECTORY names, and install chorale-analysis[engines]."
        )

    def read(self, path: str) -> Any:
        """What the file holds; raises `WeightsRefused` for another file than the published one."""
        file = Path(path)
        size = file.stat().st_size
        if size > _SIZE_MAX_BYTES:
            raise WeightsRefused(
                self.file, f"they are {size} bytes; at most {_SIZE_MAX_BYTES} are read"
            )
        found = hashlib.sha256(file.read_bytes()).hexdigest()
        if self.sha256 and found != self.sha256:
            raise WeightsRefused(self.file, f"SHA-256 is {found}; {self.sha256} is published")
        return _loaded(path, self.file)


def _loaded(path: str, name: str) -> Any:
    """A PyTorch archive, without pickle's power to run code; numbers of numpy pass."""
    import numpy as np
    import torch

    multiarray: Any = importlib.import_module("numpy._core.multiarray")
    scalar: Any = (multiarray.scalar, "numpy.core.multiarray.scalar")
    numbers: list[Any] = [scalar, np.dtype, np.dtypes.Float64DType, np.dtypes.Float32DType]
    try:
        with torch.serialization.safe_globals(numbers):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever torch finds wrong with what a stranger wrote
        raise WeightsRefused(
            name, f"{type(error).__name__}: no archive of numbers alone"
        ) from error


def fill(module: "torch.nn.Module", weights: Mapping[str, "torch.Tensor"], name: str) -> None:
    """Puts weights into a network: every one is used, every layer filled, all finite."""
    needed = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    found = {key: tuple(value.shape) for key, value in weights.items()}
    for key in sorted(needed.keys() | found.keys()):
        if needed.get(key) != found.get(key):
            here, there = found.get(key, "absent"), needed.get(key, "nothing")
            raise WeightsRefused(name, f"{key} is {here}; {there} is needed")
        if weights[key].is_floating_point() and not bool(weights[key].isfinite().all()):
            raise WeightsRefused(name, f"{key} holds NaN or infinity")
    module.load_state_dict(dict(weights), strict=True)
    module.eval()


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
