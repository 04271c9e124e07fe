"""Pages of a list that never changes while the process lives."""

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

SIZE_DEFAULT, SIZE_MAX = 50, 1000


class PageTokenInvalid(Exception):
    """The page token is not one that this list gave for these parameters."""

    def __str__(self) -> str:
        return "The page token is of another list; start from the first page."


@dataclass(frozen=True)
class Page(Generic[T]):
    """Some of a list, and where it goes on; an empty token at the end."""

    items: Sequence[T]
    next_token: str


def page(items: Sequence[T], size: int, token: str, parameters: str) -> Page[T]:
    """The page at `token` of a list that was asked for with these parameters."""
    start = _start(token, parameters) if token else 0
    stop = start + (min(size, SIZE_MAX) or SIZE_DEFAULT)
    return Page(items[start:stop], _token(stop, parameters) if stop < len(items) else "")


def _token(start: int, parameters: str) -> str:
    text = json.dumps([start, _digest(parameters)])
    return base64.urlsafe_b64encode(text.encode()).decode()


def _start(token: str, parameters: str) -> int:
    try:
        start, digest = json.loads(base64.urlsafe_b64decode(token))
    except (ValueError, TypeError, binascii.Error):
        raise PageTokenInvalid from None
    if digest != _digest(parameters) or not isinstance(start, int) or start < 0:
        raise PageTokenInvalid
    return start


def _digest(parameters: str) -> str:
    return hashlib.sha256(parameters.encode()).hexdigest()[:16]
