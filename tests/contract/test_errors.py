"""The errors that services raise and the errors that the contract names are the same."""

import importlib
import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import grpc
import pytest
from chorale_runtime import errors
from google.protobuf.descriptor_pb2 import FileDescriptorSet

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("ingest", "analysis", "fingerprint", "mastering", "generation")
CODE = re.compile(r"`([A-Z_]+)`")


def _tables() -> dict[str, Mapping[type[BaseException], tuple[grpc.StatusCode, str]]]:
    tables: dict[str, Mapping[type[BaseException], tuple[grpc.StatusCode, str]]] = {
        "runtime": errors.RUNTIME_ERRORS
    }
    for service in SERVICES:
        if find_spec(f"chorale_{service}") is not None:
            tables[service] = importlib.import_module(f"chorale_{service}.servicer").ERRORS
    return tables


def _catalogue() -> dict[str, str]:
    """Reason -> the comment that explains it."""
    image = FileDescriptorSet.FromString((ROOT / "protos/gen/chorale.binpb").read_bytes())
    proto = next(file for file in image.file if file.name.endswith("error_reason.proto"))
    names = [value.name.removeprefix("ERROR_REASON_") for value in proto.enum_type[0].value]
    return {
        names[location.path[3]]: location.leading_comments
        for location in proto.source_code_info.location
        if list(location.path[:3]) == [5, 0, 2] and len(location.path) == 4
    }


@pytest.mark.parametrize("service", sorted(_tables()))
def test_every_row_is_in_the_catalogue_with_its_code(service: str) -> None:
    """Each exception's reason is named by the contract, with the code that the table gives it."""
    catalogue = _catalogue()
    for kind, (code, reason) in _tables()[service].items():
        assert reason in catalogue, f"{kind.__name__} raises {reason}, which nobody named"
        named = CODE.findall(catalogue[reason])
        assert getattr(code, "name", code) in named, f"{reason} is {named[:1]} in the catalogue"


def test_every_row_of_one_reason_has_one_code() -> None:
    """A reason means one code, whichever service raises it."""
    codes: dict[str, set[object]] = {}
    for table in _tables().values():
        for code, reason in table.values():
            codes.setdefault(reason, set()).add(code)
    assert {reason: found for reason, found in codes.items() if len(found) > 1} == {}


@pytest.mark.parametrize("service", sorted(_tables()))
def test_every_row_is_met_over_the_wire(service: str) -> None:
    """Each row of a table is provoked, by reason or by exception, in its owner's tests."""
    folder = "runtime" if service == "runtime" else f"services/{service}"
    tests = "".join(path.read_text() for path in ROOT.glob(f"{folder}/tests/**/*.py"))
    tables = _tables()
    theirs = dict(tables[service])
    if service != "runtime":  # what every service answers is proved once, by the runtime
        theirs = {kind: row for kind, row in theirs.items() if kind not in tables["runtime"]}
    forgotten = [
        kind.__name__
        for kind, (_, reason) in theirs.items()
        if f'"{reason}"' not in tests and kind.__name__ not in tests
    ]
    assert forgotten == []
