"""Seeing it work: traces that join, metrics that count, logs that keep secrets."""

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from chorale_runtime import channels, logs, metrics, traces
from chorale_runtime.dependencies import DependencyUnavailable
from chorale_runtime.operations.measures import Measures
from chorale_runtime.settings import ServerSettings
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from songs import Songs, Stubs, serving

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Takes spans as an OpenTelemetry collector does."""

    def __init__(self) -> None:
        self.spans: list[Any] = []

    async def Export(self, request: Any, _context: Any) -> Any:
        """Keeps every span with the service it came from."""
        for resource in request.resource_spans:
            name = resource.resource.attributes[0].value.string_value
            for scope in resource.scope_spans:
                self.spans += [(name, span) for span in scope.spans]
        return trace_service_pb2.ExportTraceServiceResponse()


async def test_calls_and_jobs_are_one_trace_at_the_collector() -> None:
    """Client, two services and a queued job: four spans, one trace, each the child of its cause."""
    stored: list[str] = []

    async def inner(*_: Any) -> None:
        with traces.span("store", size=7):
            stored.append(traces.traceparent())

    async def outer(*_: Any) -> None:
        async with channels.channel(behind.server.address) as channel:
            await Stubs(channel).call("unary_unary")

    collector = Collector()
    server = grpc.aio.server()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    settings = ServerSettings(otlp_endpoint=f"http://127.0.0.1:{port}", drain_seconds=0.2)
    context = (("traceparent", f"00-{TRACE}-{PARENT}-01"),)
    async with (
        serving(Songs(before=inner), settings) as behind,
        serving(Songs(before=outer), settings) as front,
    ):
        await front.stubs.call("unary_unary", metadata=context, timeout=9)
        with traces.continued(stored[0], "measure"):
            pass
    await server.stop(0)
    spans = {span.name: span for _, span in collector.spans}
    calls = [span for _, span in collector.spans if span.name.endswith("GetUpload")]
    assert len(collector.spans) == 4
    assert {span.trace_id.hex() for _, span in collector.spans} == {TRACE}
    first = next(span for span in calls if span.parent_span_id.hex() == PARENT)
    second = next(span for span in calls if span.parent_span_id == first.span_id)
    assert spans["store"].parent_span_id == second.span_id
    assert spans["measure"].parent_span_id == spans["store"].span_id
    assert all(span.end_time_unix_nano > span.start_time_unix_nano for _, span in collector.spans)
    told = {item.key: item.value.string_value for item in first.attributes}
    assert told["rpc.grpc.status_code"] == "OK"


async def test_a_collector_that_is_away_hurts_nobody() -> None:
    """Calls are answered as fast as ever, and the server ends."""
    settings = ServerSettings(otlp_endpoint="http://127.0.0.1:1", drain_seconds=0.2)
    async with asyncio.timeout(10):
        async with serving(Songs(), settings) as running:
            for _ in range(20):
                await running.stubs.call("unary_unary", timeout=1)


@pytest.mark.parametrize(
    "context",
    [
        "",
        "garbage",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
    ],
)
async def test_an_unreadable_context_begins_a_new_trace(context: str) -> None:
    """Nobody can break a trace, or a call, by what they send."""
    seen: list[str] = []

    async def look(*_: Any) -> None:
        seen.append(traces.trace_id())

    async with serving(Songs(before=look)) as running:
        await running.stubs.call("unary_unary", metadata=(("traceparent", context),), timeout=5)
    assert len(seen[0]) == 32
    assert seen[0] not in (TRACE, "0" * 32)


async def test_an_unsampled_trace_is_followed_and_not_told() -> None:
    """The caller's decision holds, and still the log can name the trace."""
    told: list[Any] = []
    tracer = traces.Tracer("songs", 1.0, told.append)
    span = tracer.begin("call", traces.Kind.SERVER, f"00-{TRACE}-{PARENT}-00")
    span.end()
    assert span.trace_id == TRACE
    assert not told
    tracer.begin("call", traces.Kind.SERVER, f"00-{TRACE}-{PARENT}-01").end()
    assert len(told) == 1


def test_a_failed_span_says_what_failed() -> None:
    """The type of the exception, never its text."""
    told: list[Any] = []
    traces_before = traces.current()
    tracer = traces.Tracer("songs", 1.0, told.append)

    def work() -> None:
        traces.use(tracer)
        with traces.span("work"):
            raise ValueError("swordfish")

    import contextvars

    with pytest.raises(ValueError, match="swordfish"):
        contextvars.copy_context().run(work)
    assert told[0].error == "ValueError"
    assert traces.current() is traces_before


async def test_calls_are_counted_by_method_and_code() -> None:
    """Totals, durations, messages and bytes, in and out."""
    before = metrics.exposition().decode()

    async def fail(*_: Any) -> None:
        raise DependencyUnavailable("database", "refused")

    async with serving(Songs()) as running:
        await running.stubs.call("stream_unary", timeout=5)
    async with serving(Songs(before=fail)) as running:
        with pytest.raises(grpc.aio.AioRpcError):
            await running.stubs.call("stream_unary", timeout=5)
    after = metrics.exposition().decode()
    method = "/chorale.ingest.v1.IngestService/WriteUpload"

    def grown(name: str, **labels: str) -> float:
        return value(after, name, labels) - value(before, name, labels)

    assert grown("chorale_songs_calls_total", method=method, code="OK") == 1
    assert grown("chorale_songs_calls_total", method=method, code="UNAVAILABLE") == 1
    assert grown("chorale_songs_messages_total", method=method, direction="in") == 3
    assert grown("chorale_songs_messages_total", method=method, direction="out") == 1
    assert grown("chorale_songs_message_bytes_total", method=method, direction="in") > 30
    assert grown("chorale_songs_call_duration_seconds_count", method=method) == 2
    assert value(after, "chorale_songs_calls_in_flight", {}) == 0


def value(text: str, name: str, labels: dict[str, str]) -> float:
    """One sample of an exposition; 0 where there is none."""
    for line in text.splitlines():
        if line.startswith((f"{name}{{", f"{name} ")) and all(
            f'{key}="{content}"' in line for key, content in labels.items()
        ):
            return float(line.rpartition(" ")[2])
    return 0.0


async def test_methods_nobody_knows_are_counted_under_one_name() -> None:
    """Callers cannot make the server remember names without end."""
    async with serving() as running:
        for number in range(5):
            with pytest.raises(grpc.aio.AioRpcError):
                await running.channel.unary_unary(f"/no.such/Method{number}")(b"", timeout=5)
    text = metrics.exposition().decode()
    assert "no.such" not in text
    assert 'method="unknown"' in text


def test_a_metric_asked_for_twice_is_the_same() -> None:
    """Several services, or a restart within a test, share what has one name."""
    first = metrics.counter("chorale_test_songs_total", "Songs.", ("kind",))
    assert metrics.counter("chorale_test_songs_total", "Songs.", ("kind",)) is first
    assert metrics.gauge("chorale_test_depth", "Depth.") is metrics.gauge(
        "chorale_test_depth", "Depth."
    )


@pytest.fixture
def lines() -> Iterator[Any]:
    """What is logged, as the lines of a service's process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    logs.setup("songs", "info", stream)

    def told() -> list[dict[str, Any]]:
        logs.flush()
        return [json.loads(line) for line in stream.getvalue().splitlines()]

    yield told
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("grpc").setLevel(logging.NOTSET)
    logging.getLogger("asyncio").setLevel(logging.NOTSET)


async def test_every_call_is_one_line_with_its_trace(lines: Any) -> None:
    """Whether it went well or not; health checks are not worth a line."""

    async def fail(*_: Any) -> None:
        raise DependencyUnavailable("database", "could not connect to db.internal")

    from test_runtime_server import health

    context = (("traceparent", f"00-{TRACE}-{PARENT}-01"),)
    async with serving() as running:
        await running.stubs.call("unary_stream", metadata=context, timeout=5)
        await health(running.channel, "")
    async with serving(Songs(before=fail)) as running:
        with pytest.raises(grpc.aio.AioRpcError):
            await running.stubs.call("unary_unary", metadata=context, timeout=5)
    calls = [line for line in lines() if line["event"] == "call_ended"]
    assert [(line["code"], line["level"]) for line in calls] == [
        ("OK", "info"),
        ("UNAVAILABLE", "warning"),
    ]
    assert {line["traceId"] for line in calls} == {TRACE}
    assert calls[0]["method"] == "/chorale.ingest.v1.IngestService/ReadBytes"
    assert (calls[0]["messagesIn"], calls[0]["messagesOut"]) == (1, 2)
    assert calls[0]["principal"] == "local"
    assert calls[1]["detail"] == "could not connect to db.internal"


async def test_lines_of_calls_do_not_wait_long(lines: Any) -> None:
    """A tenth of a second after a call its line is written, whatever comes after."""
    async with serving() as running:
        await running.stubs.call("unary_unary", timeout=5)
        handler = logging.getLogger().handlers[0]
        await asyncio.sleep(0.3)
        assert not handler._lines  # type: ignore[attr-defined]


async def test_a_callers_name_cannot_forge_a_line(lines: Any) -> None:
    """Quotes and backslashes in a principal stay inside its string."""
    name = 'ada","code":"FORGED'
    async with serving() as running:
        metadata = (("chorale-on-behalf-of", name),)
        await running.stubs.call("unary_unary", metadata=metadata, timeout=5)
    call = next(line for line in lines() if line["event"] == "call_ended")
    assert (call["principal"], call["code"]) == (name, "OK")


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("connection to postgresql://ada:swordfish@db/x failed", "swordfish"),
        ("authorization: Bearer abc.def.ghi-jkl", "abc.def"),
        ("password=swordfish host=db", "swordfish"),
        ('{"api_key": "swordfish"}', "swordfish"),
        ("ck_0123456789abcdefghijklmnop is no key", "0123456789abcdef"),
        ("eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJhZGEifQ.c2ln was refused", "eyJzdWIi"),
        ("https://s3/b/k?X-Amz-Signature=deadbeef&x=1", "deadbeef"),
    ],
)
def test_what_looks_like_a_secret_is_blotted_out(lines: Any, text: str, secret: str) -> None:
    """In messages, in fields and in exceptions."""
    log = logging.getLogger("anything")
    log.info(text)
    log.info("event", extra={"problem": text})
    try:
        raise RuntimeError(text)
    except RuntimeError:
        log.exception("failed")
    told = lines()
    assert len(told) == 3
    assert secret not in json.dumps(told)
    assert "***" in told[0]["event"]


async def test_credentials_of_calls_are_never_logged(lines: Any) -> None:
    """Neither when they are wrong nor when the call fails unexpectedly."""

    async def fail(*_: Any) -> None:
        raise RuntimeError("unexpected")

    secrets = (("authorization", "Bearer swordfish-token"), ("x-api-key", "ck_swordfish"))
    async with serving(Songs(before=fail)) as running:
        with pytest.raises(grpc.aio.AioRpcError):
            await running.stubs.call("unary_unary", metadata=secrets, timeout=5)
    assert "swordfish" not in json.dumps(lines())
    assert any("Traceback" in line.get("exception", "") for line in lines())


async def _scraped(address: str, accept: str) -> tuple[str, str]:
    """What the side port tells a scraper that accepts this: the content type, and all of it."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET /metrics HTTP/1.1\r\nHost: x\r\nACCEPT: {accept}\r\n\r\n".encode())
    head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    return head.partition("content-type: ")[2].partition("\r\n")[0], body


async def test_latencies_name_the_trace_of_a_call() -> None:
    """As OpenMetrics, where accepted: of the sampled call, told to the collector, in its bucket."""
    mine, method = f"{9:032x}", "/chorale.ingest.v1.IngestService/GetUpload"
    collector = grpc.aio.server()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Collector(), collector)
    port = collector.add_insecure_port("127.0.0.1:0")
    await collector.start()
    settings = ServerSettings(otlp_endpoint=f"http://127.0.0.1:{port}", drain_seconds=0.2)
    async with serving(Songs(), settings) as running:
        for trace, flags in ((f"{7:032x}", "00"), (mine, "01"), (f"{8:032x}", "00")):
            context = (("traceparent", f"00-{trace}-{PARENT}-{flags}"),)
            await running.stubs.call("unary_unary", metadata=context, timeout=9)
        accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3"
        kind, told = await _scraped(running.server.metrics_address, accept)
        plain_kind, plain = await _scraped(running.server.metrics_address, "text/plain, */*")
    await collector.stop(0)
    assert kind.startswith("application/openmetrics-text; version=1.0.0")
    samples = [
        sample
        for family in text_string_to_metric_families(told)  # type: ignore[no-untyped-call]
        for sample in family.samples
        if sample.name.endswith("_call_duration_seconds_bucket")
        and sample.labels["method"] == method
        and sample.exemplar is not None
    ]
    (sample,) = [each for each in samples if each.exemplar.labels["trace_id"] == mine]
    assert sample.exemplar.value <= float(sample.labels["le"])
    assert plain_kind.startswith("text/plain")
    assert not {f"{7:032x}", f"{8:032x}"} & {each.exemplar.labels["trace_id"] for each in samples}
    assert mine not in plain
    assert f'chorale_songs_calls_total{{code="OK",method="{method}"}}' in plain


def test_attempts_at_operations_name_their_trace() -> None:
    """One that no collector is told of has no example."""
    measures = Measures("tested", ["q"])
    for trace_id in (TRACE, ""):
        measures.began("q")
        measures.ended("q", "/a/B", "succeeded", 0.2 if trace_id else 2.0, trace_id)
    _, told = metrics.accepted("application/openmetrics-text")
    lines = [
        line
        for line in told.decode().splitlines()
        if line.startswith("chorale_tested_operations_attempt_seconds_bucket") and " # " in line
    ]
    assert len(lines) == 1
    assert 'le="0.3"' in lines[0]
    assert f'trace_id="{TRACE}"' in lines[0]
