"""G11: a unary call with everything on, against a bare FastAPI GET; CPU of the server per call.

Ours: bearer token, validation, deadline, rate limit (in PostgreSQL), trace, metrics and a log
line. FastAPI: uvicorn with uvloop and httptools, no access log, a path parameter, JSON.
"""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc
import jwt
import psycopg
from chorale.ingest.v1 import ingest_service_pb2_grpc as ingest_grpc
from chorale.ingest.v1 import upload_pb2
from chorale_mesh.postgres import EmbeddedPostgres
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bench.children import Child, free_address, in_turns, serving
from bench.ratios import Ratio, report

CALLS = 6000
ROUNDS = 4
IN_FLIGHT = 64
NAME = "uploads/5d0c0000-0000-4000-8000-000000000000"
GOAL, HOPE = 2.5, 1.7


def main() -> int:
    """Measures all in turns and reports."""
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder) / "pg") as postgres:
        key = ed25519.Ed25519PrivateKey.generate()
        keys_file = Path(folder) / "keys.pem"
        keys_file.write_bytes(
            key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        )
        environ = {
            "CHORALE_ADDRESS": free_address(),
            "CHORALE_DATABASE_URL": postgres.url,
            "CHORALE_JWT_KEYS_FILE": str(keys_file),
        }
        claims = {"sub": "bench", "tier": "bench", "exp": time.time() + 3600}
        token = jwt.encode(claims, key, algorithm="EdDSA")
        with serving("bench.servers", "ours", environ=environ):
            _allow(postgres.url)  # the tables are there now; tiers are read at the start
        with (
            serving("bench.servers", "ours", environ=environ) as ours,
            serving("bench.servers", "bare") as bare,
            serving("bench.servers", "fastapi") as fastapi,
        ):
            return asyncio.run(_measure(ours, bare, fastapi, token))


def _allow(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("INSERT INTO identity.tiers VALUES ('bench', 1000000000)")


async def _measure(ours: Child, bare: Child, fastapi: Child, token: str) -> int:
    metadata = (("authorization", f"Bearer {token}"), ("traceparent", f"00-{1:032x}-{1:016x}-01"))
    async with (
        grpc.aio.insecure_channel(ours.address) as channel,
        grpc.aio.insecure_channel(bare.address) as bare_channel,
    ):
        stub, bare_stub = (ingest_grpc.IngestServiceStub(c) for c in (channel, bare_channel))
        request = upload_pb2.GetUploadRequest(name=NAME)

        async def ask() -> None:
            await stub.GetUpload(request, metadata=metadata, timeout=20)

        async def ask_bare() -> None:
            await bare_stub.GetUpload(request, timeout=20)

        figures = []
        for flight, goal in ((1, None), (IN_FLIGHT, GOAL)):
            http = [await _Http.connect(fastapi.address) for _ in range(flight)]
            contenders: dict[str, tuple[Child, list[Callable[[], Awaitable[None]]]]] = {
                "ours": (ours, [ask] * flight),
                "bare": (bare, [ask_bare] * flight),
                "fastapi": (fastapi, [connection.get for connection in http]),
            }
            spent: dict[str, list[float]] = {name: [] for name in contenders}
            for name in ("ours", "bare", "fastapi", *in_turns(ROUNDS, tuple(contenders))):
                spent[name].append(await _microseconds(*contenders[name]))
            spent = {name: rounds[1:] for name, rounds in spent.items()}  # the first warms up
            name = f"unary, {flight} in flight: "
            unit = "us of CPU"
            figures += [
                Ratio(f"{name}ours / FastAPI GET", spent["ours"], spent["fastapi"], unit, goal),
                Ratio(f"{name}ours / bare grpc.aio", spent["ours"], spent["bare"], unit),
                Ratio(f"{name}bare grpc.aio / FastAPI GET", spent["bare"], spent["fastapi"], unit),
            ]
        print(f"     the hope is {HOPE}x of FastAPI")
        return report(figures)


async def _microseconds(server: Child, askers: list[Callable[[], Awaitable[None]]]) -> float:
    async def asker(ask: Callable[[], Awaitable[None]]) -> None:
        for _ in range(CALLS // len(askers)):
            await ask()

    before = server.cpu_seconds()
    await asyncio.gather(*(asker(ask) for ask in askers))
    calls = CALLS // len(askers) * len(askers)
    return (server.cpu_seconds() - before) / calls * 1e6


class _Http:
    """The cheapest HTTP client there is: one request, one connection, kept."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def connect(cls, address: str) -> "_Http":
        host, _, port = address.rpartition(":")
        return cls(*await asyncio.open_connection(host, int(port)))

    async def get(self) -> None:
        name = NAME.rpartition("/")[2]
        self._writer.write(f"GET /uploads/{name} HTTP/1.1\r\nhost: bench\r\n\r\n".encode())
        head = await self._reader.readuntil(b"\r\n\r\n")
        size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await self._reader.readexactly(size)


if __name__ == "__main__":
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    sys.exit(main())
