"""What is looked for and found, and how lines with times are read."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

EXCLUDED_DEFAULT = ("Remix", "Live", "Acoustic", "Demo")
_ALIKE = 0.72  # of titles and of names, after taking signs and case away
_LINES_MAX, _TEXT_MAX = 2000, 2000
_STAMP = re.compile(r"\[(\d{1,3}):(\d{2}(?:[.:]\d{1,3})?)\]")
_WORD_STAMP = re.compile(r"<(\d{1,3}):(\d{2}(?:\.\d{1,3})?)>")


@dataclass(frozen=True)
class Wish:
    """The song whose words are wanted."""

    artist: str = ""
    title: str = ""
    query: str = ""
    album: str = ""
    duration_seconds: float = 0.0
    exclude_terms: tuple[str, ...] = EXCLUDED_DEFAULT
    synchronized_only: bool = False

    @property
    def searched_for(self) -> str:
        """As it is sent to who searches by text."""
        return self.query or " ".join(one for one in (self.artist, self.title) if one)


@dataclass(frozen=True)
class Line:
    """One line; times are -1 where they are not known."""

    text: str
    start_seconds: float = -1.0
    end_seconds: float = -1.0


@dataclass(frozen=True)
class Words:
    """The words of a song, and what the provider says of it."""

    provider: str
    provider_id: str
    title: str
    artist: str
    lines: tuple[Line, ...]
    copyright_notice: str
    is_synchronized: bool = False
    is_instrumental: bool = False
    album: str = ""
    release_date: str = ""
    url: str = ""
    thumbnail_url: str = ""
    duration_seconds: float = 0.0

    @property
    def text(self) -> str:
        """All lines."""
        return "\n".join(line.text for line in self.lines)


def plain(text: str) -> tuple[Line, ...]:
    """Lines without times, none of them blank at the ends."""
    return tuple(Line(line.strip()[:_TEXT_MAX]) for line in text.strip().splitlines()[:_LINES_MAX])


def synchronized(text: str, duration_seconds: float) -> tuple[Line, ...]:
    """Lines of LRC in order of time, each until the next begins; what is no line is left out.

    A line may carry several times, where it is sung again; times of words are taken away.
    """
    found = []
    for line in text.splitlines():
        stamps = _STAMP.findall(line)
        words = _WORD_STAMP.sub("", _STAMP.sub("", line)).strip()[:_TEXT_MAX]
        for minutes, seconds in stamps:
            found.append((60.0 * int(minutes) + float(seconds.replace(":", ".")), words))
    found = sorted(found, key=lambda one: one[0])[:_LINES_MAX]
    ends = [start for start, _ in found[1:]]
    ends.append(max(duration_seconds, found[-1][0]) if found and duration_seconds else -1.0)
    return tuple(Line(words, start, end) for (start, words), end in zip(found, ends, strict=False))


def fits(wish: Wish, title: str, artist: str) -> bool:
    """Whether a song that a provider names may be the one that is wanted."""
    if any(_has(title, term) and not _has(wish.searched_for, term) for term in wish.exclude_terms):
        return False
    if wish.query and not wish.title:
        return True
    same_title = alike(wish.title, title) >= _ALIKE
    return same_title and (not wish.artist or alike(wish.artist, artist) >= _ALIKE)


def alike(one: str, other: str) -> float:
    """How alike two names are, in [0, 1]; 1 when one begins with all words of the other."""
    a, b = _bare(one), _bare(other)
    if not a or not b:
        return 1.0 if a == b and one == other else 0.0
    if a == b or f" {b} ".startswith(f" {a} ") or f" {a} ".startswith(f" {b} "):
        return 1.0
    return SequenceMatcher(None, a, b).ratio()


def _bare(text: str) -> str:
    """Letters and digits of any script, with single spaces, without what is in brackets."""
    without = re.sub(r"[(\[].*?[)\]]", " ", text) if not text.startswith(("(", "[")) else text
    return " ".join(re.sub(r"[^\w]|_", " ", without.casefold()).split())


def _has(text: str, term: str) -> bool:
    words: Sequence[str] = re.findall(r"\w+", text.casefold())
    return term.casefold() in words or (" " in term and term.casefold() in text.casefold())
