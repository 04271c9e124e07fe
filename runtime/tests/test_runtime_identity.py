"""Who a call comes from: tokens, keys, and what is refused for which reason."""

import asyncio
import dataclasses
import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import jwt
import psycopg
import pytest
from chorale_runtime import access, apikeys, caller, keys
from chorale_runtime.settings import ServerSettings, SettingsRefused
from chorale_runtime.tokens import Tokens
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from songs import Songs, info, serving

HOUR = 3600


def pem(key: Any) -> bytes:
    """The public half."""
    public = key.public_key()
    return bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def token(key: Any, algorithm: str = "EdDSA", headers: Any = None, **claims: Any) -> str:
    """A token for ada that is good for an hour, but for what is said otherwise."""
    said = {"sub": "ada", "exp": time.time() + HOUR, **claims}
    said = {name: value for name, value in said.items() if value is not None}
    return jwt.encode(said, key, algorithm=algorithm, headers=headers)


@pytest.fixture
def key() -> ed25519.Ed25519PrivateKey:
    """Who signs."""
    return ed25519.Ed25519PrivateKey.generate()


@pytest.fixture
def settings(tmp_path: Path, key: ed25519.Ed25519PrivateKey) -> ServerSettings:
    """Tokens by that key."""
    file = tmp_path / "keys.pem"
    file.write_bytes(pem(key))
    return ServerSettings(jwt_keys_file=str(file), drain_seconds=0.2)


async def who(settings: ServerSettings, *metadata: tuple[str, str]) -> caller.Caller:
    """Who the servicer sees behind a call with this metadata."""
    seen: list[caller.Caller] = []

    async def look(*_: Any) -> None:
        seen.append(caller.current())

    async with serving(Songs(before=look), settings) as running:
        await running.stubs.call("unary_unary", metadata=metadata, timeout=9)
    return seen[0]


async def refusal(settings: ServerSettings, *metadata: tuple[str, str]) -> Any:
    """Why such a call is refused: code and ErrorInfo."""

    async def never(*_: Any) -> None:
        raise AssertionError("the servicer was reached")

    async with serving(Songs(before=never), settings) as running:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await running.stubs.call("unary_unary", metadata=metadata, timeout=9)
    return raised.value.code(), info(raised.value)


def bearer(value: str) -> tuple[str, str]:
    """The metadata that carries a token."""
    return ("authorization", f"Bearer {value}")


async def test_a_token_says_who_calls(settings: ServerSettings, key: Any) -> None:
    """Principal and tier come from its claims; the tier is free where none is said."""
    assert await who(settings, bearer(token(key))) == caller.Caller("ada", "free")
    seen = await who(settings, bearer(token(key, tier="studio", sub="bob")))
    assert seen == caller.Caller("bob", "studio")


async def test_without_credentials_calls_are_refused(settings: ServerSettings) -> None:
    """UNAUTHENTICATED/CREDENTIALS_MISSING, in every cardinality; health stays open."""
    code, found = await refusal(settings)
    assert code is grpc.StatusCode.UNAUTHENTICATED
    assert found.reason == "CREDENTIALS_MISSING"
    from test_runtime_server import SERVING, health

    async with serving(Songs(), settings) as running:
        for cardinality in ("unary_stream", "stream_unary", "stream_stream"):
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await running.stubs.call(cardinality, timeout=9)
            assert info(raised.value).reason == "CREDENTIALS_MISSING"
        assert await health(running.channel, "") == SERVING


async def test_expired_tokens_are_told_from_invalid_ones(
    settings: ServerSettings, key: Any
) -> None:
    """Refresh the one, ask anew for the other."""
    code, found = await refusal(settings, bearer(token(key, exp=time.time() - 60)))
    assert (code, found.reason) == (grpc.StatusCode.UNAUTHENTICATED, "CREDENTIALS_EXPIRED")


@pytest.mark.parametrize(
    "forge",
    [
        lambda key: token(ed25519.Ed25519PrivateKey.generate()),
        lambda key: token(key)[:-8] + "AAAAAAAA",
        lambda key: token(key).replace(".", ".e30", 1),
        lambda key: jwt.encode({"sub": "ada", "exp": time.time() + HOUR}, "", algorithm="none"),
        # Signed with the public key as if it were a shared secret: the classic confusion.
        lambda key: _hmac_with(pem(key)),
        lambda key: token(key, exp=None),
        lambda key: token(key, sub=None),
        lambda key: token(key, sub=""),
        lambda key: token(key, sub="x" * 201),
        lambda key: token(key, sub="ada\nbob"),
        lambda key: token(key, nbf=time.time() + HOUR),
        lambda key: token(key, tier=["studio"]),
        lambda key: "not.a.token",
        lambda key: "%%%",
    ],
)
async def test_forged_and_malformed_tokens_are_invalid(
    settings: ServerSettings, key: Any, forge: Any
) -> None:
    """None of them reaches the servicer, all get the same reason."""
    code, found = await refusal(settings, bearer(forge(key)))
    assert (code, found.reason) == (grpc.StatusCode.UNAUTHENTICATED, "CREDENTIALS_INVALID")


def _hmac_with(secret: bytes) -> str:
    import base64
    import hashlib
    import hmac

    def part(value: bytes) -> bytes:
        return base64.urlsafe_b64encode(value).rstrip(b"=")

    body = part(b'{"alg":"HS256"}') + b"." + part(b'{"sub":"ada","exp":99999999999}')
    return (body + b"." + part(hmac.new(secret, body, hashlib.sha256).digest())).decode()


@pytest.mark.parametrize("value", ["Basic YWRhOmFkYQ==", "Bearer", "Bearer ", "bearer", ""])
async def test_other_schemes_are_invalid(settings: ServerSettings, value: str) -> None:
    """Only bearer tokens are read."""
    _, found = await refusal(settings, ("authorization", value))
    assert found.reason == "CREDENTIALS_INVALID"


async def test_an_api_key_where_none_are_accepted_is_invalid(settings: ServerSettings) -> None:
    """What is not configured does not open."""
    _, found = await refusal(settings, ("x-api-key", "ck_whatever"))
    assert found.reason == "CREDENTIALS_INVALID"


async def test_issuer_and_audience_must_match(tmp_path: Path, key: Any) -> None:
    """A token for someone else, or from someone else, does not open."""
    file = tmp_path / "keys.pem"
    file.write_bytes(pem(key))
    strict = ServerSettings(
        jwt_keys_file=str(file), jwt_issuer="issuer", jwt_audience="chorale", drain_seconds=0.2
    )
    right = {"iss": "issuer", "aud": "chorale"}
    assert (await who(strict, bearer(token(key, **right)))).principal == "ada"
    for wrong in ({**right, "aud": "other"}, {**right, "iss": "other"}, {}):
        _, found = await refusal(strict, bearer(token(key, **wrong)))
        assert found.reason == "CREDENTIALS_INVALID"


@pytest.mark.parametrize(
    ("make", "algorithm"),
    [
        (lambda: rsa.generate_private_key(65537, 2048), "RS256"),
        (lambda: rsa.generate_private_key(65537, 2048), "PS384"),
        (lambda: ec.generate_private_key(ec.SECP256R1()), "ES256"),
        (lambda: ec.generate_private_key(ec.SECP384R1()), "ES384"),
        (ed25519.Ed25519PrivateKey.generate, "EdDSA"),
    ],
)
def test_every_kind_of_key_verifies_its_algorithms(
    tmp_path: Path, make: Any, algorithm: str
) -> None:
    """As PEM and as JWKS."""
    key = make()
    signed = token(key, algorithm, headers={"kid": "k1"})
    kind = {"R": "RSAAlgorithm", "P": "RSAAlgorithm", "E": "ECAlgorithm"}[algorithm[0]]
    if algorithm == "EdDSA":
        kind = "OKPAlgorithm"
    jwk = json.loads(getattr(jwt.algorithms, kind).to_jwk(key.public_key())) | {"kid": "k1"}
    file = tmp_path / "keys"
    for content in (pem(key), json.dumps({"keys": [jwk]}).encode()):
        file.write_bytes(content)
        tokens = Tokens(ServerSettings(jwt_keys_file=str(file)))
        assert tokens.verify(signed).principal == "ada"


def test_keys_are_followed_as_their_file_changes(tmp_path: Path) -> None:
    """A new key opens, a removed one does not, a broken file changes nothing."""
    old, new = (ed25519.Ed25519PrivateKey.generate() for _ in range(2))
    file = tmp_path / "keys.pem"
    file.write_bytes(pem(old))
    tokens = Tokens(ServerSettings(jwt_keys_file=str(file)))
    assert tokens.verify(token(old)).principal == "ada"
    known = token(old)
    tokens.verify(known)

    def look_again() -> None:
        tokens._looked_at = float("-inf")

    file.write_bytes(pem(old) + pem(new))
    look_again()
    assert tokens.verify(token(new)).principal == "ada"
    file.write_bytes(b"-----BEGIN PUBLIC KEY-----\nhalf")
    look_again()
    assert tokens.verify(known).principal == "ada"
    file.write_bytes(pem(new))
    look_again()
    with pytest.raises(Exception, match="no configured key"):
        tokens.verify(known)


def test_a_token_known_already_still_expires(
    tmp_path: Path, key: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Remembering a token does not make it live longer."""
    file = tmp_path / "keys.pem"
    file.write_bytes(pem(key))
    tokens = Tokens(ServerSettings(jwt_keys_file=str(file)))
    short = token(key)
    assert tokens.verify(short).principal == "ada"
    later = SimpleNamespace(time=lambda: time.time() + HOUR + 10, monotonic=time.monotonic)
    monkeypatch.setattr("chorale_runtime.tokens.time", later)
    with pytest.raises(Exception, match="expired"):
        tokens.verify(short)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b'{"keys": []}',
        b'{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}',
        ed25519.Ed25519PrivateKey.generate().private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        ),
        pem(rsa.generate_private_key(65537, 1024)),
        pem(ec.generate_private_key(ec.SECP256K1())),
    ],
    ids=["empty", "no keys", "no key", "shared secret", "private", "short RSA", "odd curve"],
)
def test_a_file_without_usable_public_keys_is_refused(tmp_path: Path, content: bytes) -> None:
    """At the start, with the reason, rather than at the first call."""
    file = tmp_path / "keys"
    file.write_bytes(content)
    with pytest.raises(SettingsRefused, match="cannot be used"):
        Tokens(ServerSettings(jwt_keys_file=str(file)))


async def test_a_service_may_say_whom_it_acts_for(settings: ServerSettings, key: Any) -> None:
    """By its claim; anyone else who tries is PERMISSION_DENIED."""
    acting = (("chorale-on-behalf-of", "bob"), ("chorale-on-behalf-of-tier", "starter"))
    service = bearer(token(key, sub="analysis", service=True))
    assert await who(settings, service, *acting) == caller.Caller("bob", "starter", True)
    code, found = await refusal(settings, bearer(token(key)), *acting)
    assert (code, found.reason) == (grpc.StatusCode.PERMISSION_DENIED, "CALL_FORBIDDEN")
    code, found = await refusal(settings, bearer(token(key, service="yes")), *acting)
    assert found.reason == "CALL_FORBIDDEN"


async def test_services_may_share_a_token(with_keys: ServerSettings) -> None:
    """Who shows it is a service and may say whom it acts for; no other text is it."""
    shared = dataclasses.replace(with_keys, service_token="f" * 64)
    acting = (("chorale-on-behalf-of", "bob"), ("chorale-on-behalf-of-tier", "starter"))
    found = await who(shared, ("authorization", f"Bearer {'f' * 64}"), *acting)
    assert found == caller.Caller("bob", "starter", True)
    for wrong in ("f" * 63, "f" * 65, "g" * 64):
        code, said = await refusal(shared, ("authorization", f"Bearer {wrong}"), *acting)
        assert (code, said.reason) == (grpc.StatusCode.UNAUTHENTICATED, "CREDENTIALS_INVALID")


async def test_a_short_shared_token_is_refused(with_keys: ServerSettings) -> None:
    """What could be guessed opens nothing: the server does not start with it."""
    with pytest.raises(SettingsRefused, match="31 characters"):
        await who(dataclasses.replace(with_keys, service_token="f" * 31), bearer("x"))


@pytest.fixture
def with_keys(database_url: str) -> ServerSettings:
    """API keys, in a database of their own."""
    return ServerSettings(api_keys=True, database_url=database_url, drain_seconds=0.2)


async def test_an_api_key_says_who_calls(with_keys: ServerSettings) -> None:
    """What was made opens; what was not, or was revoked or has expired, does not."""
    async with access.database(with_keys.database_url) as database:
        made = await apikeys.create(database, "ada", "studio", label="laptop")
        yesterday = datetime.now(UTC) - timedelta(days=1)
        old = await apikeys.create(database, "ada", "free", expire_time=yesterday)
        gone = await apikeys.create(database, "ada", "free")
        assert await apikeys.revoke(database, gone.hint) == 1
    assert await who(with_keys, ("x-api-key", made.key)) == caller.Caller("ada", "studio")
    for wrong, reason in (
        (made.key + "x", "CREDENTIALS_INVALID"),
        (gone.key, "CREDENTIALS_INVALID"),
        (old.key, "CREDENTIALS_EXPIRED"),
        ("", "CREDENTIALS_INVALID"),
    ):
        code, found = await refusal(with_keys, ("x-api-key", wrong))
        assert (code, found.reason) == (grpc.StatusCode.UNAUTHENTICATED, reason)


async def test_the_database_does_not_know_a_key(with_keys: ServerSettings) -> None:
    """Whoever reads the table cannot call."""
    async with access.database(with_keys.database_url) as database:
        made = await apikeys.create(database, "ada", "free")
    with psycopg.connect(with_keys.database_url) as connection:
        rows = connection.execute("SELECT a::text FROM identity.api_keys a").fetchall()
    assert made.key not in str(rows)
    assert made.hint in str(rows)


async def test_a_key_is_looked_up_once_and_believed_for_seconds(
    with_keys: ServerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Revoking takes effect when the belief ends; until then no query is made."""
    async with access.database(with_keys.database_url) as database:
        made = await apikeys.create(database, "ada", "free")
        known = apikeys.ApiKeys(database)
        assert (await known.find(made.key)).principal == "ada"
        await apikeys.revoke(database, made.hint)
        assert (await known.find(made.key)).principal == "ada"
        monkeypatch.setattr(apikeys, "_BELIEVED_SECONDS", 0.0)
        with pytest.raises(Exception, match="unknown or revoked"):
            await known.find(made.key)


def test_keys_are_administered_by_command(
    database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Create shows a key once, list shows its beginning, revoke closes it."""
    environ = {**os.environ, "CHORALE_DATABASE_URL": database_url}
    create = ["create", "--principal", "ada", "--tier", "starter", "--days", "9"]
    assert keys.main(create, environ) == 0
    made = capsys.readouterr().out.split()[0]
    assert made.startswith("ck_")
    assert keys.main(["list"], environ) == 0
    listed = capsys.readouterr().out
    assert made[:9] in listed
    assert made not in listed
    assert "ada  starter" in listed
    assert keys.main(["revoke", made[:9]], environ) == 0
    assert keys.main(["revoke", made[:9]], environ) == 1
    assert keys.main(["create", "--principal", "ada", "--tier", "golden"], environ) == 1
    assert "there are free, local, producer" in capsys.readouterr().err
    assert keys.main(["list"], {}) == 2


async def test_keys_still_open_while_the_database_is_away(tmp_path: Path) -> None:
    """A key seen in the last minutes opens; one never seen is UNAVAILABLE, not refused."""
    from chorale_mesh.postgres import EmbeddedPostgres

    with EmbeddedPostgres(tmp_path / "pg") as postgres:
        settings = ServerSettings(api_keys=True, database_url=postgres.url, drain_seconds=0.2)
        async with access.database(postgres.url) as database:
            made = await apikeys.create(database, "ada", "studio")
            unseen = await apikeys.create(database, "bob", "studio")
        async with serving(Songs(), settings) as running:
            call = running.stubs.call
            await call("unary_unary", metadata=(("x-api-key", made.key),), timeout=9)
            await asyncio.to_thread(postgres.stop)
            await call("unary_unary", metadata=(("x-api-key", made.key),), timeout=9)
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await call("unary_unary", metadata=(("x-api-key", unseen.key),), timeout=20)
            assert info(raised.value).reason == "DEPENDENCY_UNAVAILABLE"
