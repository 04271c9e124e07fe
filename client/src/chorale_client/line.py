"""The line to one service: its channel, what every call on it carries, whether it stands."""

import asyncio
import json
from collections.abc import Callable

import grpc

from chorale_client import tracing
from chorale_client.addresses import Address
from chorale_client.credentials import Credentials
from chorale_client.errors import ChoraleError, DeadlineError, MeshNotFoundError, UnavailableError
from chorale_client.failures import from_rpc
from chorale_client.patience import Patience

Metadata = tuple[tuple[str, str], ...]
ChannelFactory = Callable[[str], grpc.aio.Channel]  # service name -> channel

SEND_BYTES_MAX = (1 << 20) + (64 << 10)  # a chunk of 1 MiB and what wraps it: the server's limit
RECEIVE_BYTES_MAX = 16 << 20  # chunks are 1 MiB; the analysis of a long piece in one answer is not

# Retries below gRPC's own hood, before any answer has begun. Uploads are left out: they resume by
# position (upload.py), and replaying a stream would send chunks twice. The throttle keeps a
# struggling server from being drowned in retries.
_SERVICE_CONFIG = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [
        {
            "name": [
                {"service": "chorale.ingest.v1.IngestService", "method": "WriteUpload"},
                {"service": "chorale.ingest.v1.IngestService", "method": "PutAudio"},
            ]
        },
        {
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.05s",
                "maxBackoff": "1s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        },
    ],
    "retryThrottling": {"maxTokens": 20, "tokenRatio": 0.2},
}
# Of a list of replicas those that start or drain say so, and are passed over.
_AMONG_REPLICAS = {"healthCheckConfig": {"serviceName": "taking"}}

_OPTIONS = (
    ("grpc.enable_retries", 1),
    ("grpc.keepalive_time_ms", 20_000),  # a dead peer is noticed within 30 s, also mid-stream
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.max_send_message_length", SEND_BYTES_MAX),
    ("grpc.max_receive_message_length", RECEIVE_BYTES_MAX),
    ("grpc.primary_user_agent", "chorale-client/0.1.0"),
)


def dial(address: Address, credentials: Credentials) -> grpc.aio.Channel:
    """A channel to `address`: balanced over everything its name resolves to."""
    secure = credentials.channel_credentials(address)
    # gRPC obeys http_proxy even for 127.0.0.1; no proxy knows the way to this machine's loopback.
    options = (*_OPTIONS, ("grpc.enable_http_proxy", 0)) if address.is_local else _OPTIONS
    among = _AMONG_REPLICAS if "," in address.target else {}
    options = (*options, ("grpc.service_config", json.dumps(_SERVICE_CONFIG | among)))
    if secure is None:
        return grpc.aio.insecure_channel(address.target, options=options)
    return grpc.aio.secure_channel(address.target, secure, options=options)


class Line:
    """One service as this client reaches it. Belongs to the event loop that uses it first."""

    def __init__(
        self,
        service: str,
        address: Address,
        channel: grpc.aio.Channel,
        credentials: Credentials,
        patience: Patience,
        metadata: Metadata = (),
    ) -> None:
        self.service = service
        self.address = address
        self.channel = channel
        self.patience = patience
        self._credentials = credentials
        self._metadata = metadata
        self._stood = False

    async def ready(self, within_seconds: float) -> None:
        """Waits for the first connection; later losses are gRPC's to mend within each call."""
        if self._stood:
            return
        allowed = min(self.patience.connect_seconds, within_seconds)
        try:
            await asyncio.wait_for(self.channel.channel_ready(), allowed)
        except TimeoutError:
            raise self._unreachable(allowed, await self._why()) from None
        self._stood = True

    async def headers(self, traceparent: str) -> Metadata:
        """What a call carries: identity, trace, and what the caller gave to the client."""
        return (
            *self._metadata,
            *await self._credentials.metadata(),
            ("traceparent", traceparent),
            ("chorale-service", self.service),  # for an edge: what all services serve, whose is it
        )

    def failure(self, error: grpc.aio.AioRpcError, traceparent: str) -> ChoraleError:
        """What a failed call means to the caller."""
        made = from_rpc(error, tracing.trace_id(traceparent))
        if isinstance(made, DeadlineError) and not made.reason and self._is_down():
            return UnavailableError(
                f"{self.service} at {self.address.target} was lost and did not come back in time.",
                trace_id=made.trace_id,
            )
        if isinstance(made, DeadlineError) and not made.reason:
            made.message = f"{self.service} did not answer within the time allowed for the call."
            made.reason = "DEADLINE_EXCEEDED"
        elif not made.reason:
            made.message = f"{self.service} at {self.address.target}: {made.message}"
        return made

    def _is_down(self) -> bool:
        return self.channel.get_state() in (
            grpc.ChannelConnectivity.TRANSIENT_FAILURE,
            grpc.ChannelConnectivity.CONNECTING,
        )

    async def _why(self) -> str:
        """What stands in the way: a refused connection, a certificate that is not believed."""
        probe = self.channel.unary_unary("/grpc.health.v1.Health/Check", None, None)
        try:
            await probe(b"", timeout=1.0, wait_for_ready=False)
        except grpc.aio.AioRpcError as error:
            return (error.details() or "").rpartition("last error: ")[2]
        return ""

    def _unreachable(self, waited_seconds: float, why: str) -> MeshNotFoundError:
        remedy = "chorale up" if self.address.is_local else "chorale doctor"
        return MeshNotFoundError(
            f"Nothing answers as {self.service} at {self.address.target} (from "
            f"{self.address.source}) after {waited_seconds:g} s{': ' if why else ''}{why}. "
            f"`{remedy}` helps further.",
            reason="MESH_UNREACHABLE",
            metadata={"address": self.address.target, "remedy": remedy},
        )
