"""Whether the files of a model are what its engine runs."""

import torch

from chorale_generation.cascade import codec, network
from chorale_generation.checkpoints import NotTrained, Weights, read, require_shapes

_CASCADE_ENGINE = "encodec-cascade"


def check(path: str, name: str, engine: str, model: str) -> Weights:
    """The weights of a file that its engine can run; raises `CheckpointRefused` or `NotTrained`.

    Of engines that this build cannot run the shapes are not known; that there is no code in the
    file, and no number that is not finite, is known of all.
    """
    weights = read(path, name)
    if engine != _CASCADE_ENGINE:
        return weights
    if any(key.startswith("quantizer.") for key in weights):
        require_shapes(weights, codec.expected_shapes(codec.shape_of(weights)), name)
        if codec.has_empty_codebooks(weights):
            raise NotTrained(model, "codebooks are all zero")
        return weights
    require_shapes(weights, network.expected_shapes(network.shape_of(weights)), name)
    corrections = [value for key, value in weights.items() if ".leaving." in key]
    if not any(bool(torch.any(value)) for value in corrections):
        raise NotTrained(model, "every stage returns what it is given")
    return weights
