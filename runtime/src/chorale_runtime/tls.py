"""TLS and mTLS: certificates that are read again when their files change.

Orchestrators rotate certificates by writing the files anew. Every new connection gets what
the files hold then; connections that stand are not touched.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from chorale_runtime.settings import ServerSettings, SettingsRefused

_log = logging.getLogger(__name__)


class CertificatesUnreadable(SettingsRefused):
    """A certificate, key or authority that TLS was asked for cannot be read."""

    def __init__(self, path: str, why: str) -> None:
        needed = path or "both a certificate and its key"
        super().__init__((f"TLS needs {needed}: {why}.",))
        self.path, self.why = path, why


@dataclass
class WatchedFiles:
    """Files that belong together, read again when one of them has changed."""

    paths: tuple[Path, ...]
    _seen: tuple[object, ...] = field(default=(), init=False)

    def changed(self) -> tuple[bytes, ...] | None:
        """Reads all of them if any has changed since they were last read."""
        stamps = tuple(_stamp(path) for path in self.paths)
        if stamps == self._seen:
            return None
        contents = tuple(path.read_bytes() for path in self.paths)
        self._seen = stamps
        return contents


def server_credentials(settings: ServerSettings) -> grpc.ServerCredentials | None:
    """The credentials a server binds with; None without TLS."""
    if not (settings.tls_cert_file or settings.tls_key_file or settings.tls_client_ca_file):
        return None
    if not (settings.tls_cert_file and settings.tls_key_file):
        raise CertificatesUnreadable("", "set CHORALE_TLS_CERT_FILE and CHORALE_TLS_KEY_FILE")
    rotation = _Rotation(settings)
    return grpc.dynamic_ssl_server_credentials(
        rotation.first(),
        rotation.next,  # type: ignore[arg-type]  # None is allowed: nothing has changed
        bool(settings.tls_client_ca_file),
    )


class _Rotation:
    """Hands gRPC the certificates of the moment; asked at every handshake, on gRPC's threads."""

    def __init__(self, settings: ServerSettings) -> None:
        names = (settings.tls_key_file, settings.tls_cert_file, settings.tls_client_ca_file)
        self._files = WatchedFiles(tuple(Path(name) for name in names if name))
        self._lock = threading.Lock()

    def first(self) -> grpc.ServerCertificateConfiguration:
        """Reads the files, or says which cannot be read."""
        try:
            contents = self._files.changed()
        except OSError as error:
            raise CertificatesUnreadable(str(error.filename), f"{error.strerror}") from error
        assert contents is not None  # the first reading always is a change
        return _configuration(contents)

    def next(self) -> grpc.ServerCertificateConfiguration | None:
        """The new certificates if there are any; an unreadable file keeps the old ones."""
        with self._lock:
            try:
                contents = self._files.changed()
            except OSError as error:
                _log.warning("certificates_unreadable", extra={"problem": str(error)})
                return None
        if contents is None:
            return None
        _log.info("certificates_reloaded")
        return _configuration(contents)


def _configuration(contents: tuple[bytes, ...]) -> grpc.ServerCertificateConfiguration:
    key, chain, *authority = contents
    return grpc.ssl_server_certificate_configuration(
        [(key, chain)], authority[0] if authority else None
    )


def _stamp(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size
