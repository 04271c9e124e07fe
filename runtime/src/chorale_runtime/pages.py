"""Pages of lists: their sizes, and tokens that are good only for the list that gave them.

A token is opaque and not a secret: it tells where a list goes on, and a digest of what the list
was asked for. It opens nothing that its owner could not list anyway.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from chorale_runtime.refusals import Refusal

T = TypeVar("T")

SIZE_DEFAULT, SIZE_MAX = 50, 1000
POSITION_MAX = 1 << 62  # what databases count to
_DIGEST_BYTES, _POSITION_BYTES = 8, 24


class PageTokenInvalid(Refusal):
    """The page token is not one that this list gave for these parameters."""

    def __str__(self) -> str:
        return "The page token is of another list; start from the first page."


@dataclass(frozen=True)
class Page(Generic[T]):
    """Some of a list, and where it goes on; an empty token at the end."""

    items: Sequence[T]
    next_token: str


def size(asked: int) -> int:
    """The page size in force: 0 is the default, too many is the maximum."""
    return min(asked or SIZE_DEFAULT, SIZE_MAX)


def token(position: int, *parameters: object) -> str:
    """Makes the token for where a list with these parameters goes on."""
    told = _digest(parameters) + position.to_bytes(_POSITION_BYTES)
    return base64.urlsafe_b64encode(told).decode()


def position(page_token: str, *parameters: object, position_max: int = POSITION_MAX) -> int | None:
    """Reads a token; None for the first page."""
    if not page_token:
        return None
    try:
        told = base64.urlsafe_b64decode(page_token)
    except ValueError:
        raise PageTokenInvalid from None
    digest, found = told[:_DIGEST_BYTES], int.from_bytes(told[_DIGEST_BYTES:])
    is_whole = len(told) == _DIGEST_BYTES + _POSITION_BYTES
    if not is_whole or digest != _digest(parameters) or found > position_max:
        raise PageTokenInvalid
    return found


def page(items: Sequence[T], asked: int, page_token: str, *parameters: object) -> Page[T]:
    """The page at a token of a list that never changes while the process lives."""
    start = position(page_token, *parameters) or 0
    stop = start + size(asked)
    return Page(items[start:stop], token(stop, *parameters) if stop < len(items) else "")


def _digest(parameters: Sequence[object]) -> bytes:
    told = json.dumps([str(parameter) for parameter in parameters])
    return hashlib.sha256(told.encode()).digest()[:_DIGEST_BYTES]
