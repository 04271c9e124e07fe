"""madmom 0.16.1 of 2018, imported beside libraries of today.

What it needs and they no longer have is put there while it is imported; numpy's old names for
Python's own types stay, because its compiled parts look them up when called.
"""

import collections
import collections.abc
import importlib
import importlib.metadata
import sys
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

RATE_HZ = 44100
_OLD_NAMES = {"float": float, "int": int, "object": object, "complex": complex, "bool": bool}


def madmom(module: str) -> Any:
    """A module of madmom, such as `features.downbeats`; raises `ImportError` where it is not."""
    name = f"madmom.{module}"
    if name in sys.modules:
        return sys.modules[name]
    for old, kind in _OLD_NAMES.items():
        if old not in vars(np):  # asking numpy itself would warn
            setattr(np, old, kind)
    with _as_in_2018(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(name)


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps warnings of code that is not ours to itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _as_in_2018() -> Iterator[None]:
    """`collections` with its abstract classes, and a `pkg_resources` that knows versions."""
    stub = types.ModuleType("pkg_resources")
    stub.get_distribution = importlib.metadata.distribution  # type: ignore[attr-defined]
    before = sys.modules.get("pkg_resources")
    sys.modules["pkg_resources"] = stub
    has = hasattr(collections, "MutableSequence")
    collections.MutableSequence = collections.abc.MutableSequence  # type: ignore[attr-defined]
    try:
        yield
    finally:
        if not has:
            del collections.MutableSequence  # type: ignore[attr-defined]
        if before is None:
            del sys.modules["pkg_resources"]
        else:
            sys.modules["pkg_resources"] = before
