"""Logs: one JSON object a line, with the trace id of what was going on, and no secrets.

    {"time": "2026-01-02T03:04:05.678Z", "level": "info", "service": "ingest",
     "event": "call_ended", "traceId": "4bf9...", "method": "/chorale...", "code": "OK", ...}

An event is a constant name (the message of the log call); what varies goes into `extra`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import sys
import time
from collections.abc import Mapping
from functools import lru_cache
from json.encoder import encode_basestring_ascii as _quoted
from typing import TextIO

from chorale_runtime import traces

# What every record has; the rest came by `extra`.
_RECORD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_VALUE_CHARACTERS_MAX = 4000
_FLUSH_SECONDS = 0.1
_LEVELS = {logging.DEBUG: "debug", logging.INFO: "info"}

_calls = logging.getLogger("chorale_runtime.calls")
_formatter = logging.Formatter()

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


class JsonHandler(logging.Handler):
    """Writes records as lines of JSON."""

    def __init__(self, service: str, stream: TextIO) -> None:
        super().__init__()
        self.service, self._stream = service, stream
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Writes a record at once, behind the lines that still wait."""
        try:
            line = self._line(record)
            with contextlib.suppress(ValueError, OSError):  # nobody reads any more
                self.write(line)
                self.flush()
        except Exception:
            self.handleError(record)

    def write(self, line: str) -> None:
        """Takes a finished line, to be written with the next flush."""
        self._lines.append(line)

    def flush(self) -> None:
        """Writes what waits."""
        if self._lines:
            lines, self._lines = self._lines, []
            self._stream.write("\n".join(lines) + "\n")
            self._stream.flush()

    def _line(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": timestamp(record.created),
            "level": record.levelname.lower(),
            "service": self.service,
            "logger": record.name,
            "event": redacted(record.getMessage()),
        }
        if trace_id := traces.trace_id():
            line["traceId"] = trace_id
        for key, value in vars(record).items():
            if key not in _RECORD_FIELDS:
                line[key] = redacted(value) if isinstance(value, str) else value
        if record.exc_info:
            line["exception"] = redacted(_formatter.formatException(record.exc_info))
        return json.dumps(line, default=_shown)


CallFields = tuple[str, str, float, str, int, int, int, int]
"""Method, code, milliseconds, principal, messages in and out, bytes in and out."""

CALL_FIELD_NAMES = (
    "method",
    "code",
    "milliseconds",
    "principal",
    "messagesIn",
    "messagesOut",
    "bytesIn",
    "bytesOut",
)


class CallLog:
    """The line of every call. Written by the thousand, so it takes the short way when it can.

    Lines of calls that went well wait for company, a tenth of a second at most; all others are
    written at once.
    """

    def __init__(self, service: str) -> None:
        self._service = f'"service":{_quoted(service)},'
        self._handler = _json_handler()
        self._flushing: asyncio.TimerHandle | None = None

    def is_on(self, level: int) -> bool:
        """Whether lines of this level are written at all."""
        return _calls.isEnabledFor(level)

    def tell(
        self, level: int, fields: Mapping[str, object], error: BaseException | None = None
    ) -> None:
        """Writes the line of a call at once: of one that failed, or where logs are not JSON."""
        _calls.log(level, "call_ended", exc_info=error, extra=dict(fields))

    def tell_briefly(self, level: int, fields: CallFields) -> bool:
        """Writes the line of a call that went well, with its neighbours; False if it cannot."""
        if self._handler is None:
            return False
        method, code, milliseconds, principal, messages_in, messages_out, bytes_in, bytes_out = (
            fields
        )
        # By hand, as this is done for every call: 5 us against 60 by `logging` and `json`.
        self._handler.write(
            f'{{"time":"{timestamp(time.time())}","level":"{_LEVELS[level]}",{self._service}'
            f'"event":"call_ended","traceId":"{traces.trace_id()}","method":"{method}",'
            f'"code":"{code}","milliseconds":{milliseconds:.3f},"principal":{_quoted(principal)},'
            f'"messagesIn":{messages_in},"messagesOut":{messages_out},"bytesIn":{bytes_in},'
            f'"bytesOut":{bytes_out}}}'
        )
        if self._flushing is None:
            loop = asyncio.get_running_loop()
            self._flushing = loop.call_later(_FLUSH_SECONDS, self._flush)
        return True

    def _flush(self) -> None:
        self._flushing = None
        if self._handler is not None:
            with contextlib.suppress(ValueError, OSError):
                self._handler.flush()


def setup(service: str, level: str, stream: TextIO | None = None) -> None:
    """Sends every log of this process as JSON lines to standard error."""
    handler = JsonHandler(service, stream or sys.stderr)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # grpc tells of every bad request and broken connection; the call's own line says it better.
    logging.getLogger("grpc").setLevel(max(logging.ERROR, root.level))
    logging.getLogger("grpc._cython.cygrpc").addFilter(_is_news)
    logging.getLogger("asyncio").setLevel(max(logging.WARNING, root.level))


def _is_news(record: logging.LogRecord) -> bool:
    """An answer that cannot be sent, because its caller has gone, is no error of ours."""
    return "ExecuteBatchError raised in core" not in record.getMessage()


def flush() -> None:
    """Writes the lines that wait: before the process leaves in a hurry."""
    handler = _json_handler()
    if handler is not None:
        handler.flush()


def timestamp(seconds: float) -> str:
    """A moment as ISO 8601 with milliseconds, in UTC."""
    whole = int(seconds)
    return f"{_second(whole)}.{int((seconds - whole) * 1000):03}Z"


@lru_cache(maxsize=8)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def _json_handler() -> JsonHandler | None:
    handlers = logging.getLogger().handlers
    return next((handler for handler in handlers if isinstance(handler, JsonHandler)), None)


def _shown(value: object) -> str:
    return redacted(str(value))[:_VALUE_CHARACTERS_MAX]
