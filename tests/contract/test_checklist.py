"""Every feature of the checklist has a home in the contract, or a written reason why not."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from contract_image import PROTOS, Rpc, files, messages, reasons, rpcs

# Entries per section of the checklist; A1.2 is the table of tiers and the line below it.
SECTIONS = {
    "A0.1": 5,
    "A0.2": 11,
    "A0.3": 11,
    "A0.4": 4,
    "A0.5": 4,
    "A0.6": 6,
    "A1.1": 7,
    "A1.2": 12,
    "A1.3": 8,
    "A1.4": 3,
    "A1.5": 1,
    "A1.6": 4,
    "A2.": 15,
    "A3.": 13,
    "A4.": 10,
}
REASON_WORDS_MIN = 6


@dataclass(frozen=True)
class Row:
    """One row of the table: its line, what it asks for, where that lives, and why."""

    line: str
    asks_for: str
    homes: tuple[str, ...]
    why: str


def _rows() -> Iterator[Row]:
    for text in (PROTOS / "README.md").read_text().splitlines():
        cells = [cell.strip() for cell in text.strip("|").split("|")]
        if len(cells) == 4 and re.fullmatch(r"A\d\.\d?/\d+", cells[0]):
            yield Row(cells[0], cells[1], tuple(re.findall(r"`([^`]+)`", cells[2])), cells[3])


ROWS = list(_rows())


def test_no_entry_is_left_out() -> None:
    """Each section has as many rows as the checklist has entries, numbered without gaps."""
    assert Counter(row.line.split("/")[0] for row in ROWS) == SECTIONS
    assert [row.line for row in ROWS] == [
        f"{section}/{number}"
        for section, count in SECTIONS.items()
        for number in range(1, count + 1)
    ]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.line)
def test_every_entry_has_a_home_or_a_reason(row: Row) -> None:
    """A row names fields that exist, or says in a sentence why there are none."""
    assert row.asks_for
    assert row.homes or len(row.why.split()) >= REASON_WORDS_MIN
    assert [home for home in row.homes if not _exists(home)] == []


@pytest.mark.parametrize(
    "home",
    [
        "errors.NO_SUCH_REASON",
        "analysis.NoSuchRpc",
        "analysis.TrackBeats.no_such_field",
        "analysis.TrackBeats.settings.no_such_field",
        "nowhere.TrackBeats.audio",
        "longrunning.NoSuchRpc",
    ],
)
def test_what_does_not_exist_is_found_out(home: str) -> None:
    """The check above fails for a home that is not in the contract."""
    assert not _exists(home)


def _exists(home: str) -> bool:
    area, name, *path = home.split(".")
    if area == "errors":
        return name in reasons() and not path
    if area == "longrunning":
        return name in _longrunning_rpcs() and not path
    rpc = next((rpc for rpc in rpcs() if rpc.area == area and rpc.method.name == name), None)
    return rpc is not None and (not path or _has_field(rpc, path))


def _longrunning_rpcs() -> set[str]:
    services = (service for file in files() for service in file.service)
    return {
        method.name
        for service in services
        if service.name == "Operations"
        for method in service.method
    }


def _has_field(rpc: Rpc, path: list[str]) -> bool:
    """Whether the path leads to a field of the request, or of what is answered in the end."""
    return any(_leads(start, path) for start in (rpc.method.input_type, rpc.answer))


def _leads(message: str, path: list[str]) -> bool:
    head, *rest = path
    if message not in messages():
        return False
    field = next((field for field in messages()[message].field if field.name == head), None)
    return field is not None and (not rest or _leads(field.type_name, rest))
