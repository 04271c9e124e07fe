"""Logs: one JSON object a line, with the trace id of what was going on, and no secrets.

    {"time": "2026-01-02T03:04:05.678Z", "level": "info", "service": "ingest",
     "event": "call_ended", "traceId": "4bf9...", "method": "/chorale...", "code": "OK", ...}

An event is a constant name (the message of the log call); what varies goes into `extra`.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import TextIO

from chorale_runtime import traces

# What every record has; the rest came by `extra`.
_RECORD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_VALUE_CHARACTERS_MAX = 4000

_SECRETS = (
    # user:password@ in any URL, also in what a driver says about its connection
    (re.compile(r"(?<=://)[^/\s@]+(?=@)"), "***"),
    (re.compile(r"(?i)\b(bearer)\s+[A-Za-z0-9._~+/=-]+"), r"\1 ***"),
    (
        re.compile(r"(?i)\b(password|passwd|secret|token|api[-_]?key)(['\"]?\s*[=:]\s*)\S+"),
        r"\1\2***",
    ),
    (re.compile(r"\bck_[A-Za-z0-9_-]{16,}"), "ck_***"),
    (re.compile(r"\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"), "***"),
    (re.compile(r"(?i)(X-Amz-(?:Signature|Credential)=)[^&\s]+"), r"\1***"),
)


def redacted(text: str) -> str:
    """Blots out what looks like a credential."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """Tells time, level, service, event and trace first, then the record's own fields."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "service": self._service,
            "logger": record.name,
            "event": redacted(record.getMessage()),
        }
        if trace_id := traces.trace_id():
            line["traceId"] = trace_id
        for key, value in vars(record).items():
            if key not in _RECORD_FIELDS:
                line[key] = redacted(value) if isinstance(value, str) else value
        if record.exc_info:
            line["exception"] = redacted(self.formatException(record.exc_info))
        return json.dumps(line, default=_shown, ensure_ascii=False)


def setup(service: str, level: str, stream: TextIO | None = None) -> None:
    """Sends every log of this process as JSON lines to standard error."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter(service))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # grpc tells of every bad request and broken connection; the call's own line says it better.
    logging.getLogger("grpc").setLevel(max(logging.ERROR, root.level))


def _shown(value: object) -> str:
    return redacted(str(value))[:_VALUE_CHARACTERS_MAX]
