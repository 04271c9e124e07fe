"""Credentials travel with every call, and only where nobody can listen in."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from chorale_client import AsyncChorale, AuthError, Credentials, Patience, UnavailableError, tracing
from chorale_client.addresses import parse
from client_certificates import Authority, Pair
from client_songs import song
from loopback import PATIENCE, Served, serving
from memory_ingest import MemoryIngest


async def principal(address: str, **options: object) -> str:
    """Who the server takes this client for."""
    async with AsyncChorale(address, patience=PATIENCE, **options) as chorale:  # type: ignore[arg-type]
        return (await chorale.usage()).principal


async def test_a_token_is_sent_as_a_bearer(served: Served) -> None:
    """Text, a function, and a coroutine function all do."""

    async def asked_for() -> str:
        await asyncio.sleep(0)
        return "renewed"

    assert await principal(served.address) == "local"
    assert await principal(served.address, token="given") == "given"
    assert await principal(served.address, token=lambda: "made") == "made"
    assert await principal(served.address, token=asked_for) == "renewed"


async def test_a_token_function_is_asked_before_every_call(served: Served) -> None:
    """A token that is renewed meanwhile is used at once."""
    tokens = iter("abc")
    async with AsyncChorale(served.address, token=lambda: next(tokens)) as chorale:
        assert [(await chorale.usage()).principal for _ in range(3)] == ["a", "b", "c"]


async def test_the_environment_speaks_for_who_says_nothing(
    served: Served, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """CHORALE_TOKEN_FILE is read before every call; CHORALE_TOKEN beats it; arguments beat both."""
    file = tmp_path / "token"
    file.write_text("first\n")
    monkeypatch.setenv("CHORALE_TOKEN_FILE", str(file))
    async with AsyncChorale(served.address) as chorale:
        assert (await chorale.usage()).principal == "first"
        file.write_text("second\n")
        assert (await chorale.usage()).principal == "second"
    monkeypatch.setenv("CHORALE_TOKEN", "spoken")
    assert await principal(served.address) == "spoken"
    assert await principal(served.address, token="given") == "given"


async def test_an_api_key_is_sent_as_such(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """x-api-key, from the argument or CHORALE_API_KEY, and never together with a token."""
    monkeypatch.setenv("CHORALE_TOKEN", "spoken")
    await principal(served.address, api_key="k1")
    carried = served.ingest.metadata[-1]
    assert carried["x-api-key"] == "k1"
    assert "authorization" not in carried


async def test_metadata_of_the_caller_travels(served: Served) -> None:
    """What is given to the client is on every call: so a service says for whom it works."""
    await principal(served.address, metadata=(("chorale-on-behalf-of", "p7"),))
    carried = served.ingest.metadata[-1]
    assert (carried["chorale-on-behalf-of"], carried["chorale-service"]) == ("p7", "ingest")


async def test_a_token_is_not_sent_in_clear_to_another_machine() -> None:
    """Without TLS a token stays here, unless the caller insists."""
    async with AsyncChorale("mesh.example:7401", token="secret") as chorale:
        with pytest.raises(AuthError, match="in clear"):
            await chorale.usage()
    insisting = Credentials(token="secret", allow_cleartext=True)
    assert insisting.channel_credentials(parse("mesh.example:7401", "test")) is None


@asynccontextmanager
async def secured(server_pair: Pair, client_ca: Path | None = None) -> AsyncIterator[str]:
    """A memory ingest behind TLS; with a client CA, mTLS."""
    credentials = grpc.ssl_server_credentials(
        [(server_pair.key_file.read_bytes(), server_pair.cert_file.read_bytes())],
        root_certificates=Path.read_bytes(client_ca) if client_ca else None,
        require_client_auth=client_ca is not None,
    )
    server = grpc.aio.server()
    MemoryIngest().add_to(server)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(None)


async def test_tls_is_used_and_checked(tmp_path: Path) -> None:
    """The right authority is believed; another, and cleartext, are not."""
    ours, other = Authority(tmp_path), Authority(tmp_path, "another")
    async with secured(ours.issue("server")) as address:
        assert await principal(address, ca_file=ours.file, token="t") == "t"
        assert await principal(f"https://{address}", ca_file=ours.file) == "local"
        for options in ({"ca_file": other.file}, {}, {"tls": True}):
            impatient = Patience(connect_seconds=0.5)
            async with AsyncChorale(address, patience=impatient, **options) as chorale:
                with pytest.raises(UnavailableError, match=r"handshake|Socket closed|reset"):
                    await chorale.usage()


async def test_a_client_certificate_proves_the_caller(tmp_path: Path) -> None:
    """With mTLS a client without a certificate of the right authority does not get in."""
    ours, other = Authority(tmp_path), Authority(tmp_path, "another")
    mine, forged = ours.issue("client"), other.issue("forged")
    async with secured(ours.issue("server"), ours.file) as address:
        files = {"ca_file": ours.file, "cert_file": mine.cert_file, "key_file": mine.key_file}
        assert await principal(address, **files) == "local"
        files |= {"cert_file": forged.cert_file, "key_file": forged.key_file}
        impatient = Patience(connect_seconds=0.5, retry_seconds=0.5)
        async with AsyncChorale(address, patience=impatient, **files) as chorale:  # type: ignore[arg-type]
            with pytest.raises(UnavailableError):
                await chorale.usage()


async def test_a_proxy_of_the_company_is_not_asked_for_loopback(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """http_proxy without no_proxy does not keep anybody from the mesh on the own machine."""
    for variable in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:1")
    for variable in ("no_proxy", "no_grpc_proxy", "NO_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    for address in (served.address, f"{served.address},{served.address}"):
        assert await principal(address) == "local"


async def test_an_upload_is_one_trace(served: Served) -> None:
    """All calls of one put carry the same trace; two puts do not."""
    async with AsyncChorale(served.address) as chorale:
        await chorale.put(song(1))
        first = {tracing.trace_id(carried["traceparent"]) for carried in served.ingest.metadata}
        assert len(served.ingest.metadata) == 2
        served.ingest.metadata.clear()
        await chorale.put(song(2))
        second = {tracing.trace_id(carried["traceparent"]) for carried in served.ingest.metadata}
    assert len(first) == len(second) == 1
    assert first != second


async def test_the_callers_trace_goes_on(
    served: Served, chorale: AsyncChorale, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An active OpenTelemetry span, else TRACEPARENT, is the parent of the call."""
    given = f"00-{'a' * 32}-{'b' * 16}-01"
    monkeypatch.setenv("TRACEPARENT", given)
    await chorale.usage()
    assert served.ingest.metadata[-1]["traceparent"] == given

    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

    assert "opentelemetry.trace" in sys.modules
    with TracerProvider().get_tracer("test").start_as_current_span("caller"):
        await chorale.usage()
        context = trace.get_current_span().get_span_context()
    carried = served.ingest.metadata[-1]["traceparent"]
    assert carried.startswith(f"00-{context.trace_id:032x}-{context.span_id:016x}-")


async def test_calls_are_spread_over_all_servers_and_outlive_one() -> None:
    """round_robin over the addresses of one service; the death of one fails no call."""
    first, second = MemoryIngest(), MemoryIngest()
    async with serving(second.add_to) as port_two:
        async with serving(first.add_to) as port_one:
            both = f"127.0.0.1:{port_one},127.0.0.1:{port_two}"
            chorale = AsyncChorale(both, patience=PATIENCE)
            for _ in range(200):
                await chorale.usage()
                if min(len(first.metadata), len(second.metadata)) >= 20:
                    break
            assert min(len(first.metadata), len(second.metadata)) >= 20
            storm = asyncio.gather(*(chorale.usage() for _ in range(300)))
            await asyncio.sleep(0.01)
        assert len(await storm) == 300
        await chorale.close()
