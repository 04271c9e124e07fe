"""The contract keeps its own laws: bounds, errors, operations, pages, streams, style."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import protovalidate
import pytest
from buf.validate import validate_pb2
from contract_image import (
    IMAGE,
    PROTOS,
    claims,
    messages,
    own_files,
    reasons,
    request_fields,
    rpcs,
)
from google.api import annotations_pb2
from google.longrunning import operations_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field
from google.protobuf.symbol_database import Default

BUF = Path(sys.executable).parent / "buf"

# Nothing can go wrong but what any call may answer (REQUEST_INVALID, NOT_READY, ...).
CANNOT_FAIL = {
    "chorale.ingest.v1.IngestService/FindMissing",
    "chorale.ingest.v1.IngestService/GetUsage",
}
# Any call may answer these, so no RPC lists them.
ANSWERED_BY_ANY_CALL = {
    "REQUEST_INVALID",
    "INTERNAL",
    "NOT_SERVED",
    "NOT_READY",
    "DEPENDENCY_UNAVAILABLE",
    "STORAGE_FULL",
    "CREDENTIALS_MISSING",
    "CREDENTIALS_INVALID",
    "CREDENTIALS_EXPIRED",
    "CALL_FORBIDDEN",
    "RATE_LIMITED",
    "REQUEST_TOO_LARGE",
    "DEADLINE_EXCEEDED",
    # Operations end with these, whichever RPC started them.
    "OPERATION_CANCELLED",
    "OPERATION_ABANDONED",
}
INTEGERS = {
    Field.TYPE_INT32: "int32",
    Field.TYPE_INT64: "int64",
    Field.TYPE_UINT32: "uint32",
    Field.TYPE_UINT64: "uint64",
}
FLOATS = {Field.TYPE_FLOAT: "float", Field.TYPE_DOUBLE: "double"}
# Checksums: every bit pattern is one, so there is nothing to bound.
BIT_PATTERNS = {Field.TYPE_FIXED32, Field.TYPE_FIXED64}


def _rules(options: Any) -> validate_pb2.FieldRules:
    rules: validate_pb2.FieldRules = options.Extensions[validate_pb2.field]
    return rules


def _faults(field: Field, rules: validate_pb2.FieldRules) -> list[str]:
    """What is missing to bound a field, in words."""
    if field.label == Field.LABEL_REPEATED:
        return _faults_of_many(field, rules)
    return _faults_of_one(field, rules)


def _faults_of_many(field: Field, rules: validate_pb2.FieldRules) -> list[str]:
    entry = messages().get(field.type_name)
    if entry is not None and entry.options.map_entry:
        faults = [] if rules.map.HasField("max_pairs") else ["max_pairs"]
        faults += [f"key {fault}" for fault in _faults_of_one(entry.field[0], rules.map.keys)]
        value = entry.field[1]
        return faults + [f"value {fault}" for fault in _faults_of_one(value, rules.map.values)]
    faults = [] if rules.repeated.HasField("max_items") else ["max_items"]
    return faults + [f"item {fault}" for fault in _faults_of_one(field, rules.repeated.items)]


def _faults_of_one(field: Field, rules: validate_pb2.FieldRules) -> list[str]:
    if field.type in INTEGERS | FLOATS:
        number = getattr(rules, (INTEGERS | FLOATS)[field.type])
        return [] if rules.cel or _is_interval(number) else ["interval"]
    if field.type == Field.TYPE_STRING:
        return [] if _is_bounded_text(rules.string) else ["max_len or a bounded pattern"]
    if field.type == Field.TYPE_BYTES:
        return [] if rules.bytes.HasField("max_len") else ["max_len"]
    if field.type == Field.TYPE_ENUM:
        return [] if rules.enum.defined_only else ["defined_only"]
    if field.type == Field.TYPE_MESSAGE:
        return _faults_of_message(field, rules)
    known = BIT_PATTERNS | {Field.TYPE_BOOL}
    return [] if field.type in known else [f"a rule for type {field.type}"]


def _faults_of_message(field: Field, rules: validate_pb2.FieldRules) -> list[str]:
    match field.type_name:
        case ".google.protobuf.FieldMask":
            return [] if list(getattr(rules.field_mask, "in")) else ["field_mask.in"]
        case ".google.protobuf.Duration":
            return [] if _is_interval(rules.duration) else ["interval"]
        case ".google.protobuf.Timestamp":
            return []  # two numbers, bounded by what they are
        case ".google.api.HttpBody":
            return [] if rules.cel else ["cel that bounds its data"]
        case name if name.startswith(".chorale."):
            return []  # its own fields are walked
        case name:
            return [f"a rule for {name}"]


def _is_interval(rules: Any) -> bool:
    set_rules = {rule.name for rule, _ in rules.ListFields()}
    return bool(set_rules & {"const", "in"}) or (
        bool(set_rules & {"gt", "gte"}) and bool(set_rules & {"lt", "lte"})
    )


def _is_bounded_text(rules: validate_pb2.StringRules) -> bool:
    set_rules = {rule.name for rule, _ in rules.ListFields()}
    if set_rules & {"const", "in", "len", "max_len", "max_bytes", "uuid"}:
        return True
    anchored = rules.pattern.startswith("^") and rules.pattern.endswith("$")
    without_classes = re.sub(r"\[[^]]*\]|\\.", "", rules.pattern)
    return anchored and not re.search(r"[*+]|,\}", without_classes)


def test_every_request_field_is_bounded() -> None:
    """Each string, bytes, list, map, number and enum that a caller can send has an upper bound."""
    unbounded = [
        f"{name}: needs {fault}"
        for name, field in request_fields()
        for fault in _faults(field, _rules(field.options))
    ]
    assert unbounded == []


def test_the_walk_reaches_what_is_nested() -> None:
    """The test above looks into messages within requests, not at their first level alone."""
    names = {name for name, _ in request_fields()}
    assert "chorale.mastering.v1.EqBand.frequency_hz" in names
    assert "chorale.audio.v1.FrameSpan.start_frame" in names


@pytest.mark.parametrize(
    ("pattern", "bounded"),
    [
        ("^audio/[0-9a-f]{64}$", True),
        ("^[a-z*+]{1,8}$", True),
        ("^[a-z]+$", False),
        ("^a(-b)*$", False),
        ("^a{2,}$", False),
        ("[a-z]{3}", False),
    ],
)
def test_only_patterns_with_an_end_count_as_bounds(pattern: str, bounded: bool) -> None:
    """A pattern bounds a string when it is anchored and repeats nothing without limit."""
    assert _is_bounded_text(validate_pb2.StringRules(pattern=pattern)) is bounded


def _modules() -> None:
    for file in own_files():
        importlib.import_module(file.name.removesuffix(".proto").replace("/", ".") + "_pb2")


@pytest.mark.parametrize("name", sorted({rpc.method.input_type[1:] for rpc in rpcs()}))
def test_every_rule_compiles(name: str) -> None:
    """No request fails to be validated because one of its rules, CEL included, is malformed."""
    if not name.startswith("chorale."):
        pytest.skip("not ours")
    _modules()
    request = Default().GetSymbol(name)()
    _fill(request, depth=4)
    protovalidate.collect_violations(request)


def _fill(message: Any, depth: int) -> None:
    """Sets every message field once, so that rules within are met too."""
    for field in message.DESCRIPTOR.fields:
        if field.message_type is None or not depth or field.message_type.GetOptions().map_entry:
            continue
        value = getattr(message, field.name)
        if field.is_repeated:
            _fill(value.add(), depth - 1)
        else:
            value.SetInParent()
            _fill(value, depth - 1)


def _http(rpc: Any) -> tuple[str, str, str]:
    rule = rpc.method.options.Extensions[annotations_pb2.http]
    verb = rule.WhichOneof("pattern")
    return verb, getattr(rule, verb) if verb else "", rule.body


@pytest.mark.parametrize("rpc", rpcs(), ids=lambda rpc: rpc.name)
def test_every_rpc_can_be_transcoded(rpc: Any) -> None:
    """Each RPC has a REST path below /v1 whose variables and body are fields of its request."""
    verb, path, body = _http(rpc)
    assert path.startswith("/v1/")
    assert (verb in {"get", "delete"}) == (body == "")
    for variable in [body] if body not in {"", "*"} else []:
        assert variable in {field.name for field in messages()[rpc.method.input_type].field}
    for variable in re.findall(r"\{([a-z_0-9.]+)[=}]", path):
        message = messages()[rpc.method.input_type]
        for part in variable.split("."):
            field = next((field for field in message.field if field.name == part), None)
            assert field is not None, f"{variable} is no field of {message.name}"
            message = messages().get(field.type_name, message)
        assert field is not None
        assert field.type == Field.TYPE_STRING


def test_no_two_rpcs_share_a_path() -> None:
    """A REST call can mean one RPC only, over all five services."""
    seen: dict[tuple[str, str], str] = {}
    for rpc in rpcs():
        verb, path, _ = _http(rpc)
        key = (verb, re.sub(r"\{[a-z_0-9.]+=?([^}]*)\}", r"\1", path))
        assert key not in seen, f"{rpc.name} and {seen[key]} are both {key}"
        seen[key] = rpc.name


@pytest.mark.parametrize("rpc", rpcs(), ids=lambda rpc: rpc.name)
def test_every_rpc_lists_its_errors(rpc: Any) -> None:
    """Each RPC says which errors it answers, unless only those of every call can happen."""
    assert bool(claims(rpc.comment)) != (rpc.name in CANNOT_FAIL)


def _service_comments() -> list[str]:
    return [
        location.leading_comments
        for file in own_files()
        for location in file.source_code_info.location
        if list(location.path[:1]) == [6] and location.leading_comments
    ]


def test_every_error_named_in_a_comment_is_in_the_catalogue() -> None:
    """A reason named beside an RPC exists, and has the code named with it."""
    for comment in _service_comments():
        for code, reason in claims(comment):
            assert reason in reasons(), f"{reason} is in no catalogue"
            assert f"`{code}`" in reasons()[reason], f"{reason} is not {code}"


def test_every_reason_can_be_met() -> None:
    """Each reason of the catalogue is listed by some RPC, or may be answered by any."""
    listed = {reason for comment in _service_comments() for _, reason in claims(comment)}
    assert set(reasons()) - listed - ANSWERED_BY_ANY_CALL == set()


@pytest.mark.parametrize("reason", sorted(reasons()))
def test_every_reason_has_code_and_example(reason: str) -> None:
    """A reason's comment names one real gRPC code and shows JSON that a client could receive."""
    comment = reasons()[reason]
    codes = [
        code for code in re.findall(r"`([A-Z_]+)`", comment) if code in grpc.StatusCode.__members__
    ]
    assert codes, "no gRPC code is named"
    example = json.loads("".join(re.findall(r"^ {5}(.*)$", comment, re.MULTILINE)))
    assert example["reason"] == reason
    assert example["domain"].endswith(".chorale")
    for key, value in example["metadata"].items():
        assert re.fullmatch(r"[a-z][A-Za-z0-9]*", key)
        assert isinstance(value, str)


@pytest.mark.parametrize(
    "rpc", [rpc for rpc in rpcs() if rpc.is_operation], ids=lambda rpc: rpc.name
)
def test_long_work_keeps_its_law(rpc: Any) -> None:
    """A starting RPC takes a UUID `request_id`, and names what its operation holds."""
    request = {field.name: field for field in messages()[rpc.method.input_type].field}
    assert _rules(request["request_id"].options).string.uuid
    info = rpc.method.options.Extensions[operations_pb2.operation_info]
    assert rpc.answer in messages()
    assert info.metadata_type == "chorale.operations.v1.OperationMetadata"
    answer = {field.name: field.type_name for field in messages()[rpc.answer].field}
    if "validate_only" in request:
        assert answer["estimate"] == ".chorale.audio.v1.Estimate"
    if rpc.area != "ingest":  # ingest stores, it does not compute
        assert answer["provenance"] == ".chorale.engines.v1.Provenance"
        assert "validate_only" in request


@pytest.mark.parametrize(
    "rpc", [rpc for rpc in rpcs() if rpc.method.name.startswith("List")], ids=lambda rpc: rpc.name
)
def test_every_list_has_pages(rpc: Any) -> None:
    """A list takes `page_size` and `page_token`, and answers items first, then the next token."""
    request = {field.name: field for field in messages()[rpc.method.input_type].field}
    answer = {field.name: field for field in messages()[rpc.answer].field}
    assert _rules(request["page_size"].options).int32.gte == 0
    assert request["page_token"].type == answer["next_page_token"].type == Field.TYPE_STRING
    assert (
        next(field.label for field in answer.values() if field.number == 1) == Field.LABEL_REPEATED
    )
    assert not rpc.method.server_streaming


@pytest.mark.parametrize("area", ["ingest", "analysis", "fingerprint", "mastering", "generation"])
def test_every_service_lists_its_engines(area: str) -> None:
    """Each of the five services serves `ListEngines`, by capability."""
    rpc = next(rpc for rpc in rpcs() if rpc.area == area and rpc.method.name == "ListEngines")
    assert "capability" in {field.name for field in messages()[rpc.method.input_type].field}
    assert messages()[rpc.answer].field[0].type_name == ".chorale.engines.v1.Engine"


LIVE = [rpc for rpc in rpcs() if rpc.method.client_streaming and rpc.method.server_streaming]


@pytest.mark.parametrize("rpc", LIVE, ids=lambda rpc: rpc.name)
def test_every_live_stream_keeps_its_law(rpc: Any) -> None:
    """Live sound: `config`, then `frames`; answers with span, revision and `is_final`."""
    request = messages()[rpc.method.input_type]
    assert [field.name for field in request.field] == ["config", "frames"]
    options: Any = request.oneof_decl[0].options
    assert options.Extensions[validate_pb2.oneof].required
    assert _rules(request.field[1].options).bytes.max_len == 1 << 20
    answer = {field.name: field.type_name for field in messages()[rpc.answer].field}
    assert answer["span"] == ".chorale.audio.v1.FrameSpan"
    assert {"revision", "is_final", "provenance"} <= set(answer)
    assert re.search(r"^ {5}1\. \{", rpc.comment, re.MULTILINE), "no worked example of a stream"
    assert "is_final: true" in rpc.comment


@pytest.mark.parametrize(
    "command",
    [
        ["lint", str(IMAGE), "--config", str(PROTOS / "buf.yaml")],
        ["format", "-d", "--exit-code", str(PROTOS)],
    ],
    ids=["lint", "format"],
)
def test_buf_finds_nothing(command: list[str]) -> None:
    """`buf lint` (STANDARD and COMMENTS) and `buf format` have nothing to say."""
    if not BUF.exists():
        pytest.skip(f"{BUF} is not there; `make setup` brings it")
    done = subprocess.run([BUF, *command], capture_output=True, text=True, cwd=PROTOS)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_image_is_of_these_files() -> None:
    """What the tests above read is compiled from the files that lie beside it."""
    compiled = {file.name for file in own_files()}
    assert compiled == {str(path.relative_to(PROTOS)) for path in _sources()}
    newest = max(path.stat().st_mtime for path in _sources())
    assert IMAGE.stat().st_mtime >= newest, "run `make protos`"


def _sources() -> list[Path]:
    return sorted((PROTOS / "chorale").rglob("*.proto"))
