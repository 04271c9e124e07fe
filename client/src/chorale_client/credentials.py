"""Who the caller is, and how the way to the mesh is kept private."""

import inspect
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import grpc

from chorale_client.addresses import Address
from chorale_client.errors import AuthError

Token = str | Callable[[], str | Awaitable[str]]


@dataclass(frozen=True)
class Credentials:
    """What proves the caller's identity, and what proves the server's."""

    token: Token | None = None
    """A bearer JWT, or what returns one: it is asked before every call, so it may renew it."""

    api_key: str = ""
    """Instead of a token."""

    tls: bool | None = None
    """None: as the address says, else whether any of the files below is given."""

    ca_file: str | Path | None = None
    """PEM of the authorities to believe. None: those of this machine."""

    cert_file: str | Path | None = None
    """PEM of the caller's own certificate, for mTLS."""

    key_file: str | Path | None = None
    """PEM of that certificate's key."""

    allow_cleartext: bool = False
    """Send the token without TLS to another machine. Whoever listens in can then act as you."""

    async def metadata(self) -> tuple[tuple[str, str], ...]:
        """What every call carries."""
        if self.token is not None:
            token = self.token if isinstance(self.token, str) else self.token()
            return (
                ("authorization", f"Bearer {await token if inspect.isawaitable(token) else token}"),
            )
        return (("x-api-key", self.api_key),) if self.api_key else ()

    def channel_credentials(self, address: Address) -> grpc.ChannelCredentials | None:
        """The TLS to use to `address`; None for cleartext."""
        tls = self._wants_tls(address)
        if not tls:
            self._refuse_to_leak(address)
            return None
        return grpc.ssl_channel_credentials(
            root_certificates=_bytes(self.ca_file),
            private_key=_bytes(self.key_file),
            certificate_chain=_bytes(self.cert_file),
        )

    def _wants_tls(self, address: Address) -> bool:
        if self.tls is not None:
            return self.tls
        if address.tls is not None:
            return address.tls
        return bool(self.ca_file or self.cert_file)

    def _refuse_to_leak(self, address: Address) -> None:
        has_secret = self.token is not None or self.api_key
        if has_secret and not address.is_local and not self.allow_cleartext:
            raise AuthError(
                f"The token would travel in clear to {address.target} (from {address.source}). "
                "Use an https:// address or tls=True; allow_cleartext=True sends it all the same.",
                reason="CREDENTIALS_IN_CLEAR",
                metadata={"address": address.target},
            )


def from_environment(environ: Mapping[str, str] = os.environ) -> Credentials:
    """CHORALE_TOKEN or CHORALE_TOKEN_FILE (read before every call) or CHORALE_API_KEY; CHORALE_TLS,

    CHORALE_CA_FILE, CHORALE_CERT_FILE, CHORALE_KEY_FILE, CHORALE_ALLOW_CLEARTEXT.
    """
    token: Token | None = environ.get("CHORALE_TOKEN") or None
    token_file = environ.get("CHORALE_TOKEN_FILE", "")
    if token is None and token_file:
        path = Path(token_file)
        token = lambda: path.read_text(encoding="utf-8").strip()  # noqa: E731 - rotated in place
    return Credentials(
        token=token,
        api_key=environ.get("CHORALE_API_KEY", ""),
        tls={"": None, "0": False}.get(environ.get("CHORALE_TLS", ""), True),
        ca_file=environ.get("CHORALE_CA_FILE") or None,
        cert_file=environ.get("CHORALE_CERT_FILE") or None,
        key_file=environ.get("CHORALE_KEY_FILE") or None,
        allow_cleartext=environ.get("CHORALE_ALLOW_CLEARTEXT", "") not in ("", "0"),
    )


def _bytes(path: str | Path | None) -> bytes | None:
    return Path(path).read_bytes() if path else None
