"""kill -9 of the service at every request that an upload makes to its storage."""

import asyncio
import itertools
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import psycopg
import pytest
from chorale.ingest.v1 import upload_pb2
from chorale_ingest.settings import Settings
from ingest_testing import Ingest, Process, keys, seen, settings_on, sha256, song
from tripwire import Step, Tripwire

STEPS_MIN, STEPS_MAX = 20, 200  # of an upload; the rest of what a service asks comes on top
TRIES_MAX, RETRY_SECONDS = 20, 0.3


class Killed:
    """A service that ends at a step of its work, and is started again."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.direct, self.folder = settings, folder
        self.wire = Tripwire(lambda: self.process.kill())
        host, _, port = self.wire.before(_database(settings)).partition(":")
        watched = replace(
            settings,
            objects_endpoint=self.wire.before(settings.objects_endpoint),
            database_url=psycopg.conninfo.make_conninfo(
                settings.database_url, host=host, port=port
            ),
        )
        self.process = Process(watched, folder)

    def sweep(self) -> None:
        """Go on without the wire, sweeping: only the sweep finds what a dead service left."""
        self.process.stop()
        self.process = Process(replace(self.direct, sweep_seconds=0.5), self.folder)
        self.process.start()


def _database(settings: Settings) -> str:
    known = psycopg.conninfo.conninfo_to_dict(settings.database_url)
    return f"{known['host']}:{known['port']}"


@pytest.fixture(scope="module")
def killed(
    postgres_url: str, object_server: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Killed]:
    """The service behind the wire, on storage of its own."""
    name = f"kills-{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    url = psycopg.conninfo.make_conninfo(postgres_url, dbname=name)
    killed = Killed(settings_on(url, object_server, name), tmp_path_factory.mktemp("kills"))
    with killed.wire:
        killed.process.start()
        yield killed
        killed.process.stop()


async def stored(killed: Killed, data: bytes, request_id: str) -> str:
    """Upload as a client does: begin, or go on from what the service says it has."""
    async with grpc.aio.insecure_channel(killed.process.address) as channel:
        ingest = Ingest(channel)
        request = upload_pb2.StartUploadRequest(size_bytes=len(data), request_id=request_id)
        upload = (await ingest.StartUpload(request)).upload
        at = upload.committed_bytes
        reply = await ingest.write(upload.name, data[at:], at, finish=True)
        return str(reply.audio.name)


async def stored_at_last(killed: Killed, data: bytes) -> str:
    """The same, again as long as it is unavailable; one that has ended is started again."""
    request_id = str(uuid.uuid4())
    for _ in range(TRIES_MAX):
        try:
            return await stored(killed, data, request_id)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
        if killed.process.has_ended():
            await asyncio.to_thread(killed.process.start)
        else:
            await asyncio.sleep(RETRY_SECONDS)
    raise AssertionError("The service did not come back.")


@pytest.mark.slow
async def test_an_upload_survives_kill_9_at_every_step(killed: Killed, kill_stride: int) -> None:
    """The client resumes and gets its name; nothing is orphaned, no row points at nothing."""
    names = {}
    for number in itertools.count(1, kill_stride):
        assert number < STEPS_MAX
        data = song(5000 + number)
        killed.wire.set(Step(number, is_done=number // kill_stride % 2 == 0))
        names[await stored_at_last(killed, data)] = data
        if not killed.wire.take_away():
            break
        if killed.process.has_ended():  # it had answered already: what it tidies up is cut off
            await asyncio.to_thread(killed.process.start)
    assert number > STEPS_MIN, "An upload has more steps than were seen."
    await asyncio.to_thread(killed.sweep)
    await _whole(killed, names)


async def _whole(killed: Killed, names: dict[str, bytes]) -> None:
    """All is there, and no more than that; when it is deleted nothing is left."""
    async with grpc.aio.insecure_channel(killed.process.address) as channel:
        ingest = Ingest(channel)
        for name, data in names.items():
            assert name == f"audio/{sha256(data)}"
            assert await ingest.original(name) == data
            assert len(await ingest.frames(name)) == 22050
        digests = [name.removeprefix("audio/") for name in names]
        assert await seen(
            lambda: all(any(each in key for each in digests) for key in keys(killed.direct))
        ), keys(killed.direct)
        for name in names:
            await ingest.delete(name)
        assert await seen(lambda: not keys(killed.direct)), keys(killed.direct)
