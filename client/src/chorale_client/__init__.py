"""Being a caller of the Chorale mesh: the SDK, async and sync, and the `chorale` command.

    async with AsyncChorale() as chorale:            with Chorale() as chorale:
        audio = await chorale.put("take.wav")            audio = chorale.put("take.wav")

Names are imported when first used, so that the command starts without gRPC.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chorale_client.aio import AsyncChorale
    from chorale_client.credentials import Credentials
    from chorale_client.errors import (
        AuthError,
        CancelledError,
        ChoraleError,
        ConflictError,
        DataLossError,
        DeadlineError,
        MeshNotFoundError,
        NotFoundError,
        NotServedError,
        PreconditionError,
        QuotaError,
        RequestError,
        ServerError,
        UnavailableError,
    )
    from chorale_client.operations import AsyncOperation, AsyncOperations
    from chorale_client.patience import Patience
    from chorale_client.reading import Frames
    from chorale_client.sync import Chorale, Operation, Operations

_HOMES = {
    "aio": ("AsyncChorale",),
    "credentials": ("Credentials",),
    "errors": (
        "AuthError",
        "CancelledError",
        "ChoraleError",
        "ConflictError",
        "DataLossError",
        "DeadlineError",
        "MeshNotFoundError",
        "NotFoundError",
        "NotServedError",
        "PreconditionError",
        "QuotaError",
        "RequestError",
        "ServerError",
        "UnavailableError",
    ),
    "operations": ("AsyncOperation", "AsyncOperations"),
    "patience": ("Patience",),
    "reading": ("Frames",),
    "sync": ("Chorale", "Operation", "Operations"),
}
_MODULES = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "AsyncChorale",
    "AsyncOperation",
    "AsyncOperations",
    "AuthError",
    "CancelledError",
    "Chorale",
    "ChoraleError",
    "ConflictError",
    "Credentials",
    "DataLossError",
    "DeadlineError",
    "Frames",
    "MeshNotFoundError",
    "NotFoundError",
    "NotServedError",
    "Operation",
    "Operations",
    "Patience",
    "PreconditionError",
    "QuotaError",
    "RequestError",
    "ServerError",
    "UnavailableError",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
