"""Requests per hour: never more than the tier allows, over all replicas, and seldom asked for."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import psycopg
import pytest
from chorale.ingest.v1 import reading_pb2
from chorale_mesh.postgres import EmbeddedPostgres
from chorale_runtime import access, limits
from chorale_runtime.caller import Caller
from chorale_runtime.database import Database
from chorale_runtime.dependencies import DependencyUnavailable
from chorale_runtime.limits import RateLimits
from chorale_runtime.refusals import CredentialsInvalid, RateLimited
from chorale_runtime.settings import ServerSettings
from cryptography.hazmat.primitives.asymmetric import ed25519
from google.rpc import error_details_pb2
from songs import AUDIO, Songs, detail, info, serving, status_of
from test_runtime_identity import bearer, pem, token

FREE, STUDIO = Caller("ada", "free"), Caller("ada", "studio")


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """The schema `identity`, new."""
    async with access.database(database_url) as opened:
        yield opened


async def replica(database: Database, window_seconds: int = 3600) -> RateLimits:
    """One of several processes that count in the same database."""
    counting = RateLimits(database, window_seconds)
    await counting.read_tiers()
    return counting


async def passed(counting: RateLimits, who: Caller, calls: int) -> int:
    """How many of so many calls pass."""
    count = 0
    for _ in range(calls):
        try:
            await counting.take(who)
            count += 1
        except RateLimited:
            pass
    return count


@pytest.mark.parametrize(
    ("tier", "limit"), [("free", 10), ("starter", 50), ("producer", 100), ("studio", 200)]
)
async def test_a_tier_allows_what_it_says(database: Database, tier: str, limit: int) -> None:
    """To the last request, and not one more."""
    counting = await replica(database)
    assert await passed(counting, Caller("ada", tier), limit + 20) == limit


async def test_two_replicas_together_allow_what_one_would(database: Database) -> None:
    """Interleaved at random and at once, the total is the limit exactly."""
    replicas = [await replica(database) for _ in range(2)]
    found = await asyncio.gather(
        *(passed(counting, STUDIO, 70) for counting in replicas for _ in range(4))
    )
    assert sum(found) <= 200
    for counting in replicas:
        await counting.hand_back(float("inf"))
    assert sum(found) + await passed(await replica(database), STUDIO, 300) == 200


async def test_principals_do_not_share(database: Database) -> None:
    """One who is out does not keep another out."""
    counting = await replica(database)
    assert await passed(counting, FREE, 20) == 10
    assert await passed(counting, Caller("bob", "free"), 20) == 10


async def test_local_callers_and_services_are_not_limited(database: Database) -> None:
    """What a service does for someone was counted where they asked for it."""
    counting = await replica(database)
    for who in (Caller("local", "local"), Caller("ada", "free", is_service=True)):
        assert await passed(counting, who, 500) == 500


async def test_a_tier_nobody_knows_does_not_open(database: Database) -> None:
    """A token that claims one is invalid."""
    with pytest.raises(CredentialsInvalid, match="golden"):
        await (await replica(database)).take(Caller("ada", "golden"))


async def test_a_call_seldom_asks_the_database(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands of calls cost a few statements; near the limit a few more."""
    async with database.connection() as connection:
        await connection.execute("INSERT INTO tiers VALUES ('large', 20000)")
    counting = await replica(database)
    asked = 0
    lease = RateLimits._lease

    async def counted(*arguments: Any) -> None:
        nonlocal asked
        asked += 1
        await lease(*arguments)

    monkeypatch.setattr(RateLimits, "_lease", counted)
    assert await passed(counting, Caller("ada", "large"), 10_000) == 10_000
    assert asked <= 10_000 // 250
    assert await passed(counting, Caller("ada", "large"), 10_100) == 10_000
    assert asked <= 250


async def test_the_next_hour_is_a_new_one(database: Database) -> None:
    """The window ends for everyone at once and leases of the old one are void."""
    counting, other = await replica(database, 1), await replica(database, 1)
    assert await passed(counting, FREE, 20) == 10
    with pytest.raises(RateLimited) as refused:
        await other.take(FREE)
    assert refused.value.retry_after_seconds <= 1.0
    await asyncio.sleep(1.1)
    assert await passed(other, FREE, 20) == 10


async def test_idle_leases_are_handed_back(database: Database) -> None:
    """What one replica does not use, another can."""
    first, second = await replica(database), await replica(database)
    await first.take(STUDIO)
    await first.hand_back(float("inf"))
    assert await passed(second, STUDIO, 300) == 199


async def test_a_burst_for_one_principal_leases_once(database: Database) -> None:
    """A hundred calls at once wait for one lease, not for a hundred."""
    counting = await replica(database)
    results = await asyncio.gather(
        *(counting.take(FREE) for _ in range(100)), return_exceptions=True
    )
    assert Counter(type(result) for result in results) == {tuple: 10, RateLimited: 90}


async def test_while_the_database_is_away_a_tenth_passes_and_is_charged(tmp_path: Path) -> None:
    """Bounded, fast, and settled afterwards."""
    with EmbeddedPostgres(tmp_path / "pg") as postgres:
        async with access.database(postgres.url) as database:
            counting = await replica(database)
            await asyncio.to_thread(postgres.stop)
            started = time.monotonic()
            count = 0
            for _ in range(40):
                try:
                    await counting.take(STUDIO)
                    count += 1
                except DependencyUnavailable:
                    pass
            assert count == 20
            assert time.monotonic() - started < 15
            await asyncio.to_thread(postgres.start)
            counting._away_until = 0.0
            async with asyncio.timeout(15):
                while True:
                    try:
                        await counting.take(STUDIO)
                        break
                    except DependencyUnavailable:
                        await asyncio.sleep(0.2)
            assert 20 + 1 + await passed(counting, STUDIO, 300) == 200


async def test_on_the_wire_limits_are_told(database_url: str, tmp_path: Path) -> None:
    """What remains comes with every answer; the refusal has quota, delay and reason."""
    key = ed25519.Ed25519PrivateKey.generate()
    file = tmp_path / "keys.pem"
    file.write_bytes(pem(key))
    settings = ServerSettings(jwt_keys_file=str(file), database_url=database_url, drain_seconds=0.2)
    metadata = (bearer(token(key)),)
    async with AsyncExitStack() as stack:
        replicas = [await stack.enter_async_context(serving(Songs(), settings)) for _ in range(2)]
        remaining = []
        for number in range(10):
            call = replicas[number % 2].stubs.ingest.ReadBytes
            stream = call(reading_pb2.ReadBytesRequest(audio=AUDIO), metadata=metadata, timeout=9)
            assert len([answer async for answer in stream]) == 2
            told = dict(await stream.trailing_metadata())
            assert told["x-ratelimit-limit"] == "10"
            assert 3500 < int(told["x-ratelimit-reset"]) <= 3600
            remaining.append(int(told["x-ratelimit-remaining"]))
        for running in replicas:
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await running.stubs.call("unary_unary", metadata=metadata, timeout=9)
            status = status_of(raised.value)
            assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert detail(status, error_details_pb2.QuotaFailure).violations
            delay = detail(status, error_details_pb2.RetryInfo).retry_delay.seconds
            assert 3500 < delay <= 3600
            found = info(raised.value)
            assert found.reason == "RATE_LIMITED"
            assert found.metadata["principal"] == "ada"
            assert found.metadata["limit"] == "10"
    assert remaining == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]


async def test_tiers_are_data(database_url: str, database: Database) -> None:
    """A changed row counts for every replica as soon as it is read again."""
    counting = await replica(database)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("UPDATE identity.tiers SET requests_per_hour = 3 WHERE tier = 'free'")
    await counting.read_tiers()
    assert await passed(counting, FREE, 20) == 3
    assert limits.WINDOW_SECONDS == 3600
