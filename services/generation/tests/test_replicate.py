"""Replicate asked by its own client, over real sockets: what it says, and when it is left alone."""

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest
import pytest_asyncio
from chorale_generation.providers import (
    ProviderNotConfigured,
    ProviderRefused,
    ProviderUnavailable,
)
from chorale_generation.servicer.outside.health import CircuitOpen, Failed, Health, State
from chorale_generation.servicer.outside.replicate import Access, Replicate
from chorale_generation.settings import Settings
from chorale_runtime.settings import SettingsRefused
from replicate_server import KEY, ReplicateServer, serving

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture(scope="module")
def server() -> Iterator[ReplicateServer]:
    """One server for these tests."""
    with serving() as server:
        yield server


def asking(server: ReplicateServer, key: str = KEY, timeout_seconds: float = 10.0) -> Replicate:
    """Asks that server, with hardly a pause before it asks again."""
    access = Access(key, server.url, timeout_seconds=timeout_seconds)
    return Replicate(access, Health(), pause_seconds=0.001)


@pytest_asyncio.fixture(loop_scope="session")
async def replicate(server: ReplicateServer) -> AsyncIterator[Replicate]:
    """One that nobody has asked."""
    server.trouble.clear()
    async with aclosing(asking(server)) as replicate:
        yield replicate


async def test_a_training_is_begun_seen_and_found_by_its_data(
    server: ReplicateServer, replicate: Replicate, tmp_path: Path
) -> None:
    """One whose identity was never heard is found by the file it was given; another is not."""
    path = tmp_path / "dataset.zip"
    path.write_bytes(b"sound" * 100_000)
    stored = await replicate.upload(path, path.name, {"sha256": "00"})
    assert server.files[stored.id] == path.read_bytes()
    owner = await replicate.account()
    destination = await replicate.require_model(owner, "chorale-x")
    assert await replicate.require_model(owner, "chorale-x") == destination == "studio/chorale-x"
    assert server.models[destination]["visibility"] == "private"
    assert server.count("POST /v1/models") == 1
    assert await replicate.begun_with(stored.url) == ""
    given = {"dataset_path": stored.url}
    training = await replicate.begin("someone/tuner:abc", given, destination)
    assert await replicate.begun_with(stored.url) == training
    assert (await replicate.seen(training)).status == "processing"
    await replicate.cancel(training)
    assert (await replicate.seen(training)).status == "canceled"
    await replicate.forget(stored.id)
    await replicate.forget(stored.id)
    assert stored.id not in server.files


async def test_a_wrong_key_is_refused_and_seen_by_nobody(server: ReplicateServer) -> None:
    """What the server says of it is told without the key; asking again would not help."""
    server.detail = "The key r8_wrong is not known."
    async with aclosing(asking(server, "r8_wrong")) as wrong:
        with pytest.raises(ProviderRefused) as caught:
            await wrong.account(tries=3)
    assert (caught.value.status, caught.value.detail) == ("401", "The key [key] is not known.")
    assert "r8_wrong" not in repr(wrong._access)
    assert (wrong.health.state, wrong.health.failure_count) == (State.DEGRADED, 0)
    with pytest.raises(ProviderNotConfigured) as missing:
        await asking(server, "").account()
    assert "CHORALE_REPLICATE_API_TOKEN" in missing.value.remedy


async def test_busy_servers_are_asked_again_when_they_say(
    server: ReplicateServer, replicate: Replicate
) -> None:
    """After `Retry-After`, where that is soon; who must wait for an hour is told so at once."""
    server.trouble[:] = [(".*account", 429, {"Retry-After": "0"}), (".*account", 503, {})]
    before = len(server.asked)
    assert await replicate.account(tries=3) == "studio"
    assert len(server.asked) - before == 3
    server.trouble[:] = [(".*account", 429, {"Retry-After": "3600"})]
    with pytest.raises(ProviderUnavailable) as caught:
        await replicate.account(tries=3)
    assert (caught.value.state, caught.value.retry_after_seconds) == ("rate limited", 3600.0)
    assert replicate.health.state is not State.DOWN


async def test_after_three_failures_nobody_asks(
    server: ReplicateServer, replicate: Replicate
) -> None:
    """The third failure opens the circuit: the next call is refused and reaches no server."""
    server.trouble[:] = [(".*account", 500, {})] * 3
    with pytest.raises(ProviderUnavailable) as caught:
        await replicate.account(tries=3)
    assert caught.value.state == "HTTP 500"
    before = len(server.asked)
    with pytest.raises(ProviderUnavailable) as caught:
        await replicate.account(tries=3)
    assert caught.value.state == "circuit_open"
    assert 200 < caught.value.retry_after_seconds <= 300
    assert len(server.asked) == before


async def test_what_is_no_answer_is_a_failure(
    server: ReplicateServer, replicate: Replicate
) -> None:
    """A server that hangs up, and one that is not there."""
    server.lost.append(".*account")
    with pytest.raises(ProviderUnavailable) as caught:
        await replicate.account()
    assert caught.value.state.startswith("down")
    async with aclosing(Replicate(Access(KEY, "http://127.0.0.1:9"), Health())) as away:
        with pytest.raises(ProviderUnavailable) as caught:
            await away.account()
    assert caught.value.state == "down: ConnectError"
    assert away.health.state is State.DOWN


@pytest.mark.parametrize("inputs", ["[]", "{"], ids=["list", "broken"])
async def test_settings_that_no_trainer_understands_are_refused(inputs: str) -> None:
    """Inputs that are no JSON object, and a trainer without a version: both are named."""
    with pytest.raises(SettingsRefused) as caught:
        Settings(replicate_input=inputs, replicate_trainer="a/b")
    assert "REPLICATE_INPUT" in str(caught.value)
    assert "REPLICATE_TRAINER" in str(caught.value)


async def test_one_call_tries_whether_it_is_back() -> None:
    """Open for five minutes; then one is let through while others wait, and its end decides."""
    now = 0.0
    health = Health(clock=lambda: now)

    async def fail() -> None:
        with pytest.raises(Failed):
            async with health.asked():
                raise Failed("timeout")

    states = [health.state]
    await fail()
    assert [*states, health.state] == [State.UNKNOWN, State.DOWN]
    await fail()
    await fail()
    assert (health.state, health.wait_seconds) == (State.CIRCUIT_OPEN, 300.0)
    assert health.retry_time is not None
    now = 301.0
    assert (health.state, health.wait_seconds) == (State.HALF_OPEN, 0.0)
    async with health.asked():
        with pytest.raises(CircuitOpen):
            async with health.asked():
                pass
        now = 302.0
    assert health.failure_count == 0
    assert health.state is State.DEGRADED  # one of four calls of this hour was answered
    now = 4000.0
    async with health.asked():
        pass
    assert (health.state, health.success_rate) == (State.UP, 1.0)
