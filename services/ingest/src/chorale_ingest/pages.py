"""Page tokens: opaque, and good for the list that gave them only."""

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass

PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX = 50, 1000


class PageTokenInvalid(Exception):
    """The token is not one that this list gave for these parameters."""

    def __str__(self) -> str:
        return "The page token is not one that this list gave for these parameters."


@dataclass(frozen=True)
class Filter:
    """Which audio to list."""

    tags: tuple[str, ...] = ()
    text: str = ""
    parent: str = ""
    kept: bool = False

    def digest(self, owner: str) -> str:
        """What a token carries to tell other lists' tokens from its own."""
        told = json.dumps([owner, sorted(self.tags), self.text, self.parent, self.kept])
        return hashlib.sha256(told.encode()).hexdigest()[:16]


def size(asked: int) -> int:
    """The page size in force: 0 is the default, too many is the maximum."""
    return min(asked or PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX)


def token(owner: str, wanted: Filter, before_sequence: int) -> str:
    """Make the token of the page after the row with this sequence."""
    told = json.dumps([wanted.digest(owner), before_sequence]).encode()
    return base64.urlsafe_b64encode(told).decode()


def before_sequence(owner: str, wanted: Filter, page_token: str) -> int | None:
    """Read a token; None for the first page."""
    if not page_token:
        return None
    try:
        digest, sequence = json.loads(base64.urlsafe_b64decode(page_token.encode()))
    except (ValueError, TypeError, binascii.Error):
        raise PageTokenInvalid from None
    if digest != wanted.digest(owner) or type(sequence) is not int or not 0 < sequence < 1 << 62:
        raise PageTokenInvalid
    return sequence
