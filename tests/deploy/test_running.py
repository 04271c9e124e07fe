"""The rendered manifests run: real images, real pods, the demonstration through all of them.

Minutes, and podman with its images (`make images`): only where CHORALE_PLAY_KUBE is set. Storage
stands outside of the pods, since the chart's images of it come from registries.
"""

import asyncio
import os
import secrets
import shutil
import subprocess
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import play_kube
import pytest
import rendered_chart as chart
from chorale.mastering.v1 import loudness_pb2
from chorale_client import AsyncChorale, ChoraleError
from chorale_client.services import SERVICES
from chorale_mesh.demo.journey import Journey, travel
from chorale_mesh.demo.sections import SECTIONS
from chorale_mesh.demo.song import compose
from chorale_mesh.objects import EmbeddedObjects
from chorale_mesh.postgres import EmbeddedPostgres
from chorale_runtime import access, apikeys

TAG = "0.1.0"
READY_SECONDS_MAX = 240.0
# Those that are drained and killed have a second replica.
COUNTS = {name: 2 if name in ("ingest", "mastering") else 1 for name in SERVICES}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not os.environ.get("CHORALE_PLAY_KUBE"),
        reason="NOT TESTED: set CHORALE_PLAY_KUBE=1 to run the rendered pods (minutes)",
    ),
]


@dataclass(frozen=True)
class Running:
    """The pods, and a client that goes round them."""

    pods: play_kube.Pods
    chorale: AsyncChorale


@pytest.fixture(scope="module")
def images() -> None:
    """Every service's image, built where it is missing: BASE, BUILDER and FLAGS say on what."""
    if shutil.which("podman") is None:
        pytest.skip("NOT TESTED: podman is absent, and nothing else here plays manifests")
    for name in SERVICES:
        there = ["podman", "image", "exists", f"localhost/chorale/{name}:{TAG}"]
        if subprocess.run(there, check=False).returncode:
            subprocess.run([chart.ROOT / "deploy/images/build.sh", name], check=True)


@pytest.fixture
async def running(images: None, tmp_path: Path) -> AsyncIterator[Running]:
    """The pods of `ci/minimal.yaml`, its storage outside."""
    async with AsyncExitStack() as stack:
        postgres = stack.enter_context(EmbeddedPostgres(tmp_path / "postgres"))
        objects = stack.enter_context(EmbeddedObjects(tmp_path / "s3"))
        ports = [
            await stack.enter_async_context(play_kube.reachable(int(each.rpartition(":")[2])))
            for each in (postgres.endpoint, objects.endpoint)
        ]
        values = chart.case("minimal")
        values["storage"]["database"] = {"kind": "external"}
        values["storage"]["objects"] = {
            "kind": "external",
            "endpoint": f"{play_kube.GATEWAY}:{ports[1]}",
            "secure": False,
        }
        values["image"] = {"registry": "localhost/chorale"}
        pods = await stack.enter_async_context(play_kube.pods(values))
        inside = postgres.url.replace(postgres.endpoint, f"{play_kube.GATEWAY}:{ports[0]}")
        given = {
            "database-url": inside,
            "objects-access-key": objects.access_key,
            "objects-secret-key": objects.secret_key,
            "service-token": secrets.token_hex(32),
        }
        pods.place(COUNTS, given)
        async with access.database(postgres.url) as database:
            key = (await apikeys.create(database, "ada", "local")).key
        everyone = [(name, number) for name, count in COUNTS.items() for number in range(count)]
        for name, number in everyone:
            await asyncio.to_thread(pods.play, name, number)
        lists = {
            name: ",".join(f"{each}:7400" for each in addresses)
            for name, addresses in pods.addresses.items()
        }
        chorale = await stack.enter_async_context(
            AsyncChorale(addresses=lists, api_key=key, allow_cleartext=True)
        )
        for name in SERVICES:
            await _until_answered(pods, chorale, name)
        yield Running(pods, chorale)


async def _until_answered(pods: play_kube.Pods, chorale: AsyncChorale, service: str) -> None:
    try:
        async with asyncio.timeout(READY_SECONDS_MAX):
            while True:
                try:
                    await chorale.engines(service)
                except ChoraleError:
                    await asyncio.sleep(0.5)
                else:
                    return
    except TimeoutError:
        raise AssertionError(f"{service} did not answer:\n{pods.logs(service, 0)}") from None


async def test_the_demonstration_goes_through_the_pods(running: Running) -> None:
    """Every chapter of `make demo` is told by pods, and under load none is missed."""
    song = compose(7)
    chapters = await travel(Journey(running.chorale, song, lambda *_: None), SECTIONS)
    assert {chapter.title: chapter.hindrance for chapter in chapters if chapter.hindrance} == {}
    await _drain_and_kill_under_load(running, song.wav())


async def _drain_and_kill_under_load(running: Running, wav: bytes) -> None:
    """One replica is drained and comes back, then one is killed: no call and no operation fails."""
    pods, chorale = running.pods, running.chorale
    audio = await chorale.put(wav, file_name="song.wav")
    done, calls = asyncio.Event(), 0

    async def look() -> None:
        nonlocal calls
        while not done.is_set():
            assert (await chorale.info(audio)).name == audio.name
            assert b"".join([chunk async for chunk in chorale.read_bytes(audio)]) == wav
            calls += 2

    async def measure() -> None:
        nonlocal calls
        while not done.is_set():
            request = loudness_pb2.MeasureLoudnessRequest(
                audio=audio.name, request_id=str(uuid.uuid4())
            )
            operation = await chorale.start(
                chorale.mastering.MeasureLoudness, request, loudness_pb2.MeasureLoudnessResponse
            )
            await operation.result(timeout_seconds=120)
            calls += 1

    async with asyncio.TaskGroup() as group:
        for work in (look, look, measure):
            group.create_task(work())
        for service in ("ingest", "mastering"):
            assert await asyncio.to_thread(pods.drain, service, 0) == 0
            await asyncio.to_thread(pods.play, service, 0)
            await asyncio.sleep(10)
        await asyncio.to_thread(pods.kill, "ingest", 1)
        await asyncio.sleep(5)
        await asyncio.to_thread(pods.kill, "mastering", 1)
        await asyncio.sleep(10)
        done.set()
    assert calls > 50
