"""Page tokens: opaque, and good for the list that gave them only."""

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

SIZE_DEFAULT, SIZE_MAX = 50, 1000
_POSITION_MAX = 1 << 62


class PageTokenInvalid(Exception):
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
    told = json.dumps([position, _digest(parameters)])
    return base64.urlsafe_b64encode(told.encode()).decode()


def position(page_token: str, *parameters: object) -> int | None:
    """Reads a token; None for the first page."""
    if not page_token:
        return None
    try:
        found, digest = json.loads(base64.urlsafe_b64decode(page_token.encode()))
    except (ValueError, TypeError, binascii.Error):
        raise PageTokenInvalid from None
    if digest != _digest(parameters) or type(found) is not int or not 0 <= found < _POSITION_MAX:
        raise PageTokenInvalid
    return found


def page(items: Sequence[T], asked: int, page_token: str, *parameters: object) -> Page[T]:
    """The page at a token of a list that never changes while the process lives."""
    start = position(page_token, *parameters) or 0
    stop = start + size(asked)
    return Page(items[start:stop], token(stop, *parameters) if stop < len(items) else "")


def _digest(parameters: Sequence[object]) -> str:
    told = json.dumps([str(parameter) for parameter in parameters])
    return hashlib.sha256(told.encode()).hexdigest()[:16]
