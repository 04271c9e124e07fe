"""Asking again: how soon `Analyze` answers what was found before.

    python -m bench.analysis_kept [--seconds 240] [--rounds 50]

A song goes through all features once; the same is then asked again and again, each time under
another `request_id`, one after another. Exits 1 when the median is over its bound.
"""

import argparse
import asyncio
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from chorale.analysis.v1 import analysis_service_pb2_grpc, timeline_pb2
from google.longrunning import operations_pb2, operations_pb2_grpc

from bench.ratios import Bound, report
from bench.sounds import encoded, music
from bench.storage import OPTIONS, ingest, service, storage, store, stub_of

_MOST_MS = 20.0
_WAIT_SECONDS = 300


async def asked_again(
    ingest_address: str, address: str, seconds: float, rounds: int
) -> list[float]:
    """Milliseconds from each question to its whole answer, after the first."""
    async with (
        grpc.aio.insecure_channel(ingest_address, OPTIONS) as stores,
        grpc.aio.insecure_channel(address, OPTIONS) as channel,
    ):
        audio = (await store(stub_of(stores), encoded(music(seconds), "flac"))).name
        stub: Any = analysis_service_pb2_grpc.AnalysisServiceStub(channel)

        async def ask() -> operations_pb2.Operation:
            request_id = str(uuid.uuid4())
            request = timeline_pb2.AnalyzeRequest(audio=audio, request_id=request_id)
            operation: operations_pb2.Operation = await stub.Analyze(request)
            return operation

        waiting = operations_pb2.WaitOperationRequest(name=(await ask()).name)
        waiting.timeout.FromSeconds(_WAIT_SECONDS)
        operations: Any = operations_pb2_grpc.OperationsStub(channel)
        first = await operations.WaitOperation(waiting)
        if not first.HasField("response"):
            raise RuntimeError(f"the first analysis ended with {first.error.message!r}")
        took = []
        for _ in range(rounds):
            begun = time.perf_counter()
            answer = timeline_pb2.AnalyzeResponse()
            if not (await ask()).response.Unpack(answer) or not answer.provenance.from_cache:
                raise RuntimeError("what is kept was not answered at once")
            took.append(1000.0 * (time.perf_counter() - begun))
        return took


def main() -> int:
    """Measures and reports."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=240.0)
    parser.add_argument("--rounds", type=int, default=50)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, storage(Path(name)) as pointed:
        folder = Path(name)
        with ingest(folder, pointed) as stores:
            told = {**pointed, "CHORALE_INGEST_ADDRESS": stores.address}
            with service("analysis", folder, told) as (address, _):
                took = asyncio.run(
                    asked_again(stores.address, address, options.seconds, options.rounds)
                )
    print(f"{len(took)} times: 95 % within {np.percentile(took, 95):.1f} ms, best {min(took):.1f}")
    median = float(np.median(took))
    return report([Bound("all features, asked again, median", median, "ms", _MOST_MS)])


if __name__ == "__main__":
    sys.exit(main())
