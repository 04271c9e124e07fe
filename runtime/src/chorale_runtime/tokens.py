"""Bearer tokens: JSON Web Tokens, verified against public keys in a file.

The file is a JWKS document or PEM (public keys or certificates) and is read again when it
changes. A key of each kind verifies only the algorithms of that kind, whatever a token's
header says, and symmetric keys are refused: whoever could read them here could sign.

Claims: `sub` is the principal, `tier` its tier (default `free`), `service` true marks a
service of the mesh. `exp` is required.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from chorale_runtime.caller import Caller
from chorale_runtime.principals import checked_principal
from chorale_runtime.refusals import CredentialsExpired, CredentialsInvalid
from chorale_runtime.settings import ServerSettings, SettingsRefused
from chorale_runtime.tls import WatchedFiles

# Clocks of honest machines differ by this much.
_LEEWAY_SECONDS = 5
_FILE_LOOKED_AT_SECONDS = 1.0
_CACHED_MAX = 10_000
_RSA_BITS_MIN = 2048
_DEFAULT_TIER = "free"

_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_CURVES = {"secp256r1": ("ES256",), "secp384r1": ("ES384",), "secp521r1": ("ES512",)}
_PEM = re.compile(rb"-----BEGIN ([A-Z ]+)-----.*?-----END \1-----", re.DOTALL)

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey

_log = logging.getLogger(__name__)


class KeysUnusable(SettingsRefused):
    """The file of public keys cannot be used."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__((f"The token keys in {path} cannot be used: {why}.",))
        self.path, self.why = path, why


@dataclass(frozen=True)
class Key:
    """One public key and what it may verify."""

    name: str
    public: PublicKey
    algorithms: tuple[str, ...]


@dataclass(frozen=True)
class _Verified:
    caller: Caller
    expires_at: float


class Tokens:
    """Verifies bearer tokens; each is verified once and remembered until it expires."""

    def __init__(self, settings: ServerSettings) -> None:
        self._path = Path(settings.jwt_keys_file)
        self._issuer = settings.jwt_issuer or None
        self._audience = settings.jwt_audience or None
        self._file = WatchedFiles((self._path,))
        self._looked_at = float("-inf")
        self._keys: Sequence[Key] = ()
        self._known: OrderedDict[bytes, _Verified] = OrderedDict()
        self._follow_file()

    def verify(self, token: str) -> Caller:
        """Says whose token it is, or raises a credentials refusal."""
        if time.monotonic() - self._looked_at >= _FILE_LOOKED_AT_SECONDS:
            self._follow_file()
        # The digest, not the token: a core dump must not be a bag of credentials.
        digest = hashlib.sha256(token.encode()).digest()
        known = self._known.get(digest)
        if known is None:
            known = self._verified(token)
            self._known[digest] = known
            if len(self._known) > _CACHED_MAX:
                self._known.popitem(last=False)
        elif time.time() >= known.expires_at:
            del self._known[digest]
            raise CredentialsExpired
        return known.caller

    def _verified(self, token: str) -> _Verified:
        claims = self._claims(token)
        tier = claims.get("tier", _DEFAULT_TIER)
        caller = Caller(
            checked_principal(claims["sub"]), checked_principal(tier), claims.get("service") is True
        )
        return _Verified(caller, float(claims["exp"]) + _LEEWAY_SECONDS)

    def _claims(self, token: str) -> Mapping[str, Any]:
        try:
            header = jwt.get_unverified_header(token)
        except jwt.InvalidTokenError:
            raise CredentialsInvalid("the bearer token is not a JSON Web Token") from None
        for key in self._keys:
            named = header.get("kid")
            if header.get("alg") in key.algorithms and (
                not named or named == key.name or not key.name
            ):
                try:
                    return self._decoded(token, key)
                except jwt.InvalidSignatureError:
                    continue
        raise CredentialsInvalid("no configured key has signed the token")

    def _decoded(self, token: str, key: Key) -> Mapping[str, Any]:
        try:
            claims: Mapping[str, Any] = jwt.decode(
                token,
                key.public,
                algorithms=list(key.algorithms),
                audience=self._audience,
                issuer=self._issuer,
                leeway=_LEEWAY_SECONDS,
                options={"require": ["exp", "sub"], "verify_aud": self._audience is not None},
            )
        except jwt.InvalidSignatureError:
            raise
        except jwt.ExpiredSignatureError:
            raise CredentialsExpired from None
        except jwt.InvalidTokenError as error:
            raise CredentialsInvalid(f"{error}"[:200].rstrip(".")) from None
        return claims

    def _follow_file(self) -> None:
        self._looked_at = time.monotonic()
        try:
            contents = self._file.changed()
            if contents is None:
                return
            self._keys = read_keys(str(self._path), contents[0])
        except OSError as error:
            problem = KeysUnusable(str(self._path), f"{error.strerror}")
        except KeysUnusable as error:
            problem = error
        else:
            # A key that is gone takes every token it signed with it.
            self._known.clear()
            _log.info("token_keys_read", extra={"keys": len(self._keys)})
            return
        if not self._keys:
            raise problem
        _log.warning("token_keys_unusable", extra={"problem": str(problem)})


def read_keys(path: str, content: bytes) -> Sequence[Key]:
    """Reads public keys from a JWKS document or from PEM."""
    try:
        if content.lstrip().startswith(b"{"):
            keys = [_from_jwk(jwk) for jwk in json.loads(content)["keys"] if _is_for_signing(jwk)]
        else:
            keys = [_key("", _from_pem(found[0], found[1])) for found in _PEM.finditer(content)]
    except (ValueError, KeyError, TypeError, jwt.PyJWTError) as error:
        raise KeysUnusable(path, f"{type(error).__name__}: {error}".rstrip(".")) from error
    if not keys:
        raise KeysUnusable(path, "it holds no public key, neither as JWKS nor as PEM")
    return keys


def _is_for_signing(jwk: Mapping[str, Any]) -> bool:
    return bool(jwk.get("use", "sig") == "sig")


def _from_jwk(jwk: dict[str, Any]) -> Key:
    if jwk.get("kty") == "oct" or "d" in jwk:
        raise ValueError("it holds a secret key; only public keys belong there")
    key = _key(str(jwk.get("kid", "")), jwt.PyJWK(jwk).key)
    algorithms = tuple(name for name in key.algorithms if name == jwk.get("alg", name))
    return Key(key.name, key.public, algorithms)


def _from_pem(block: bytes, label: bytes) -> Any:
    if b"PRIVATE" in label:
        raise ValueError("it holds a private key; only public keys belong there")
    if label == b"CERTIFICATE":
        return x509.load_pem_x509_certificate(block).public_key()
    return load_pem_public_key(block)


def _key(name: str, public: object) -> Key:
    if isinstance(public, rsa.RSAPublicKey):
        if public.key_size < _RSA_BITS_MIN:
            raise ValueError(f"an RSA key has {public.key_size} bits, {_RSA_BITS_MIN} are needed")
        return Key(name, public, _RSA)
    if isinstance(public, ec.EllipticCurvePublicKey) and public.curve.name in _CURVES:
        return Key(name, public, _CURVES[public.curve.name])
    if isinstance(public, ed25519.Ed25519PublicKey):
        return Key(name, public, ("EdDSA",))
    raise ValueError(f"keys of type {type(public).__name__} are not supported")
