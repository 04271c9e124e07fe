"""TLS and mTLS on real sockets, with certificates that change under a running server."""

import asyncio
import dataclasses
import socket
import ssl
from pathlib import Path
from typing import Any

import grpc
import pytest
from certificates import Authority
from chorale_runtime import caller, channels
from chorale_runtime.settings import ServerSettings, SettingsRefused
from chorale_runtime.tls import server_credentials
from cryptography import x509
from songs import Songs, Stubs, info, serving

AUTHORITY = Authority()
ANALYSIS = x509.DNSName("analysis.chorale")
SPIFFE = x509.UniformResourceIdentifier("spiffe://chorale/mastering")


def tls(folder: Path, authority: Authority = AUTHORITY, mutual: bool = False) -> ServerSettings:
    """A server's settings, with its certificates in a folder."""
    certificate, key = authority.sign("server").write(folder, "server")
    (folder / "ca.crt").write_bytes(authority.certificate)
    return ServerSettings(
        tls_cert_file=certificate,
        tls_key_file=key,
        tls_client_ca_file=str(folder / "ca.crt") if mutual else "",
        drain_seconds=0.2,
    )


def secure(*client: bytes, authority: bytes = AUTHORITY.certificate) -> Any:
    """Opens channels that trust this authority; `client` is a key and a certificate."""
    credentials = grpc.ssl_channel_credentials(authority, *client)
    return lambda address: grpc.aio.secure_channel(address, credentials)


async def test_calls_are_encrypted_where_there_is_a_certificate(tmp_path: Path) -> None:
    """A client that trusts the authority calls; a plain one cannot."""
    async with serving(Songs(), tls(tmp_path), channel=secure()) as running:
        await running.stubs.call("unary_unary", timeout=9)
        async with grpc.aio.insecure_channel(running.server.address) as plain:
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await Stubs(plain).call("unary_unary", timeout=2)
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_new_certificates_are_served_to_new_connections(tmp_path: Path) -> None:
    """Rotation needs no restart, and connections that stand go on."""

    def serial(address: str) -> int:
        host, _, port = address.rpartition(":")
        context = ssl.create_default_context(cadata=AUTHORITY.certificate.decode())
        context.set_alpn_protocols(["h2"])
        with (
            socket.create_connection((host, int(port)), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as wrapped,
        ):
            der = wrapped.getpeercert(binary_form=True)
        assert der is not None
        return x509.load_der_x509_certificate(der).serial_number

    async with serving(Songs(), tls(tmp_path), channel=secure()) as running:
        await running.stubs.call("unary_unary", timeout=9)
        first = await asyncio.to_thread(serial, running.server.address)
        assert await asyncio.to_thread(serial, running.server.address) == first
        AUTHORITY.sign("server").write(tmp_path, "server")
        second = await asyncio.to_thread(serial, running.server.address)
        assert second != first
        # Half of a pair, as while a rotation is being written: what worked goes on working.
        (tmp_path / "server.crt").write_bytes(b"-----BEGIN CERTIFICATE-----\n")
        assert await asyncio.to_thread(serial, running.server.address) == second
        await running.stubs.call("unary_unary", timeout=9)


async def test_with_a_client_authority_everyone_shows_a_certificate(tmp_path: Path) -> None:
    """Without one, or with one of another authority, there is no connection."""
    stranger = Authority().sign("stranger", ANALYSIS)
    async with serving(Songs(), tls(tmp_path, mutual=True), channel=secure()) as running:
        for client in ((), (stranger.key, stranger.certificate)):
            async with secure(*client)(running.server.address) as channel:
                with pytest.raises(grpc.aio.AioRpcError) as raised:
                    await Stubs(channel).call("unary_unary", timeout=2)
                assert raised.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(
    ("name", "principal"),
    [(ANALYSIS, "analysis.chorale"), (SPIFFE, "spiffe://chorale/mastering")],
    ids=["dns", "spiffe"],
)
async def test_a_services_certificate_is_its_identity(
    tmp_path: Path, name: x509.GeneralName, principal: str
) -> None:
    """It may call as itself and for others; a certificate of nobody in the mesh may not."""
    seen: list[caller.Caller] = []

    async def look(*_: Any) -> None:
        seen.append(caller.current())

    service, person = AUTHORITY.sign("service", name), AUTHORITY.sign("person")
    settings = tls(tmp_path, mutual=True)
    opened = secure(service.key, service.certificate)
    async with serving(Songs(before=look), settings, channel=opened) as running:
        await running.stubs.call("unary_unary", timeout=9)
        acting = (("chorale-on-behalf-of", "ada"), ("chorale-on-behalf-of-tier", "free"))
        await running.stubs.call("unary_unary", metadata=acting, timeout=9)
        async with secure(person.key, person.certificate)(running.server.address) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await Stubs(channel).call("unary_unary", metadata=acting, timeout=9)
        assert info(raised.value).reason == "CREDENTIALS_MISSING"
    assert seen == [
        caller.Caller(principal, "service", is_service=True),
        caller.Caller("ada", "free", is_service=True),
    ]


async def test_services_reach_each_other_by_mtls_and_follow_rotation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A channel made from a service's own settings shows its certificate, also the next one."""
    seen: list[str] = []

    async def look(*_: Any) -> None:
        seen.append(caller.current().principal)

    own = tmp_path / "own"
    own.mkdir()
    settings = tls(tmp_path, mutual=True)
    certificate, key = AUTHORITY.sign("a", ANALYSIS).write(own, "service")
    mine = ServerSettings(
        tls_cert_file=certificate, tls_key_file=key, peer_ca_file=str(tmp_path / "ca.crt")
    )
    monkeypatch.setattr(channels, "_CERTIFICATES_LOOKED_AT_SECONDS", 0.0)
    opened = lambda address: channels.channel(address, mine)  # noqa: E731
    async with serving(Songs(before=look), settings, channel=opened) as running:
        await running.stubs.call("unary_unary", timeout=9)
        AUTHORITY.sign("b", SPIFFE).write(own, "service")
        await running.stubs.call("unary_unary", timeout=9)
    assert seen == ["analysis.chorale", "spiffe://chorale/mastering"]


def test_certificates_that_cannot_be_read_are_told_at_the_start(tmp_path: Path) -> None:
    """Which file, and what is missing."""
    settings = tls(tmp_path)
    with pytest.raises(SettingsRefused, match="both a certificate and its key"):
        server_credentials(dataclasses.replace(settings, tls_key_file=""))
    with pytest.raises(SettingsRefused, match="nowhere: No such file"):
        server_credentials(dataclasses.replace(settings, tls_key_file="/nowhere"))
    assert server_credentials(ServerSettings()) is None
