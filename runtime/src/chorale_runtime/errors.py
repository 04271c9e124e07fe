"""Errors are a table: exception type -> status code and reason.

A service states once which of its exceptions mean what (`ERRORS` in its servicer). The
exception's public fields become the metadata of `google.rpc.ErrorInfo`, its text the
message. Whatever no table knows is INTERNAL: opaque to the caller, with the trace id
under which the log tells the rest.

Fields with a meaning of their own:

* `retry_after_seconds` adds `RetryInfo`,
* `quota` adds `QuotaFailure`,
* `missing` adds `PreconditionFailure` of type `MISSING`,
* a method `status_details()` may return further detail messages.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode

from chorale_runtime import deadline, dispatch_errors, identity_errors, limits_errors, telemetry

ErrorTable = Mapping[type[BaseException], tuple[StatusCode, str]]
