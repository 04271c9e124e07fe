"""Who a call comes from: bearer tokens, API keys, certificates, or loopback itself.

A token or key says who calls, whatever certificate the connection shows. Without either, a
certificate whose name is that of a service makes the caller that service. Where there are no
certificates, services may share a token that makes them one. Services may say
whom they act for; nobody else is believed.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from chorale_runtime.caller import LOCAL, Caller
from chorale_runtime.principals import checked_principal
from chorale_runtime.refusals import CallForbidden, CredentialsInvalid, CredentialsMissing

if TYPE_CHECKING:
    from chorale_runtime.apikeys import ApiKeys
    from chorale_runtime.calls import Context
    from chorale_runtime.tokens import Tokens

ON_BEHALF_OF = "chorale-on-behalf-of"
ON_BEHALF_OF_TIER = "chorale-on-behalf-of-tier"
SERVICE_TIER = "service"


class LocalIdentity:
    """Everyone is `local`: for loopback addresses without authentication."""

    async def identify(self, metadata: Mapping[str, Any], _context: Context) -> Caller:
        """Makes the caller `local`, or whoever it says it acts for."""
        return acting_for(LOCAL, metadata)


class CredentialIdentity:
    """Callers say who they are, and prove it."""

    def __init__(
        self,
        tokens: Tokens | None,
        keys: ApiKeys | None,
        services: Sequence[str],
        shared: str = "",
    ) -> None:
        self._tokens, self._keys, self._services = tokens, keys, services
        self._shared = shared.encode()

    async def identify(self, metadata: Mapping[str, Any], context: Context) -> Caller:
        """Reads a token, a key or a certificate, in this order."""
        authorization = metadata.get("authorization")
        if authorization is not None:
            who = self._by_token(authorization)
        elif (key := metadata.get("x-api-key")) is not None:
            who = await self._by_key(key)
        else:
            who = self._by_certificate(context)
        return acting_for(who, metadata)

    def _by_token(self, authorization: str) -> Caller:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise CredentialsInvalid("`authorization` must be `Bearer <token>`")
        if self._shared and hmac.compare_digest(token.strip().encode(), self._shared):
            return Caller(SERVICE_TIER, SERVICE_TIER, is_service=True)
        if self._tokens is None:
            raise CredentialsInvalid("bearer tokens are not accepted here")
        return self._tokens.verify(token.strip())

    async def _by_key(self, key: str) -> Caller:
        if self._keys is None:
            raise CredentialsInvalid("API keys are not accepted here")
        return await self._keys.find(key)

    def _by_certificate(self, context: Context) -> Caller:
        if self._services:
            names = context.auth_context().get("x509_subject_alternative_name", ())
            service = _service_among(names, self._services)
            if service is not None:
                return Caller(checked_principal(service), SERVICE_TIER, is_service=True)
        raise CredentialsMissing


def acting_for(who: Caller, metadata: Mapping[str, Any]) -> Caller:
    """Makes a service's call its principal's, where the service says whom it acts for."""
    principal = metadata.get(ON_BEHALF_OF)
    if principal is None:
        return who
    if not who.is_service:
        raise CallForbidden(ON_BEHALF_OF, "services of the mesh")
    tier = metadata.get(ON_BEHALF_OF_TIER, who.tier)
    return Caller(checked_principal(principal), checked_principal(tier), is_service=True)


def _service_among(names: Iterable[bytes], patterns: Sequence[str]) -> str | None:
    for raw in names:
        name = raw.decode("utf-8", "replace")
        if any(fnmatchcase(name, pattern) for pattern in patterns):
            return name
    return None
