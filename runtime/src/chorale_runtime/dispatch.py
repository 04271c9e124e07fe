"""Which handler answers a call: by the state the server is in, then by name."""

from __future__ import annotations

from collections.abc import Mapping

import grpc

from chorale_runtime.calls import Method, Policy
from chorale_runtime.interceptor import Handler, refusing
from chorale_runtime.refusals import NotReady, NotServed

# Paths that nothing serves are counted under one name: callers can invent any number of them.
_UNKNOWN = "unknown"


class Dispatch(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """Everything a server answers. Registered once; what stands behind it changes."""

    def __init__(self, policy: Policy, standing: Mapping[str, Handler]) -> None:
        self._policy = policy
        self._handlers = dict(standing)
        self._state = "starting"

    def serve(self, policy: Policy, handlers: Mapping[str, Handler]) -> None:
        """From now on calls are answered by these."""
        self._policy, self._state = policy, ""
        self._handlers.update(handlers)

    def service(self, details: grpc.HandlerCallDetails) -> Handler:
        """Finds the handler of a call; there is always one."""
        return self._handlers.get(details.method) or self._refusing(details.method)

    def _refusing(self, path: str) -> Handler:
        reason = NotReady(self._state) if self._state else NotServed(path)
        metrics = self._policy.metrics.of(_UNKNOWN)
        method = Method(_UNKNOWN, metrics, 1.0, is_open=True, reads_stream=True)
        return refusing(method, self._policy, reason)
