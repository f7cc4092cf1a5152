"""Access tokens: JSON Web Tokens signed by keys that rotate, and the checks that every token must pass.

An algorithm belongs to a key, never to a token: the header's `alg` is compared with the key's, so neither
`none` nor a public key misused as a shared secret can pass (RFC 8725, 3.1 and 3.2).
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.utils import base64url_encode
from msgspec import Struct

from domain.access import Assurance, Role, Viewer
from domain.account import ACCESS_LIFE, Account, Session, viewer_assurance
from store.signing_keys import SigningKeyStore, StoredKey

ROTATION: Final = timedelta(days=30)
NOTICE: Final = timedelta(minutes=15)
"""How long a key is published before it signs: everybody who checks tokens has read it by then."""
OVERLAP: Final = ACCESS_LIFE + timedelta(minutes=5)
"""How long a key is still published after the next one signs."""
LEEWAY: Final = timedelta(seconds=30)
MAX_TOKEN: Final = 8_192
MAX_KEYS: Final = 20
MIN_RSA_BITS: Final = 2048
_TYPE: Final = "at+jwt"
_OUTSIDE_TYPES: Final = (None, "JWT", "at+jwt", "application/at+jwt")
_REREAD: Final = timedelta(seconds=60)
_CURVES: Final = {"secp256r1": "ES256", "secp384r1": "ES384"}
_RSA: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")


class InvalidTokenError(Exception):
    """A token that proves nothing; the text says why, for the log only."""


class UnknownKeyError(InvalidTokenError):
    """A token of a key that is not known (yet)."""


class InvalidKeySetError(Exception):
    """A JWK set that cannot be used; the text says why."""


class VerifyingKey(Struct, frozen=True):
    """A public key and the only algorithm it verifies."""

    kid: str
    algorithm: str
    key: Any


class Issuer(Struct, frozen=True):
    """Whose tokens and for whom: the claims `iss` and `aud`; `is_own` where this system signs them."""

    issuer: str
    audience: str
    is_own: bool


class _Claims(Struct, frozen=True):
    sub: str
    sid: str
    exp: int
    roles: list[Role]
    lvl: Assurance
    strong: int | None = None
    company: str | None = None
    unit: str | None = None
    div: str | None = None


# --- checking ---------------------------------------------------------------------------------------------


def read_claims(
    token: str, keys: Mapping[str, VerifyingKey], issuer: Issuer, *, now: datetime
) -> dict[str, Any]:
    """Check a token's signature and for whom and when it is good, and give its claims.

    Raises: UnknownKeyError, InvalidTokenError.
    """
    if len(token) > MAX_TOKEN:
        raise InvalidTokenError("too long")
    try:
        header = jwt.get_unverified_header(token)
    except jwt.PyJWTError as error:
        raise InvalidTokenError("no JSON Web Token") from error
    key = keys.get(str(header.get("kid")))
    if key is None:
        raise UnknownKeyError("unknown key")
    kind = header.get("typ")
    if header.get("alg") != key.algorithm or "crit" in header or "b64" in header:
        raise InvalidTokenError("another algorithm than the key's")
    if kind != _TYPE if issuer.is_own else kind not in _OUTSIDE_TYPES:
        raise InvalidTokenError("another type of token")
    try:
        payload = jwt.PyJWS().decode(token, key.key, algorithms=[key.algorithm])
        claims = msgspec.json.decode(payload, type=dict[str, Any])
    except (jwt.PyJWTError, msgspec.MsgspecError) as error:
        raise InvalidTokenError("bad signature or payload") from error
    _check(claims, issuer, now)
    return claims


def _check(claims: Mapping[str, Any], issuer: Issuer, now: datetime) -> None:
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    if claims.get("iss") != issuer.issuer:
        raise InvalidTokenError("another issuer")
    if issuer.audience not in audiences:
        raise InvalidTokenError("another audience")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= 255:
        raise InvalidTokenError("no subject")
    at, leeway = now.timestamp(), LEEWAY.total_seconds()
    if at >= _instant(claims, "exp") + leeway:
        raise InvalidTokenError("expired")
    for name in ("nbf", "iat"):
        if name in claims and at < _instant(claims, name) - leeway:
            raise InvalidTokenError("not good yet")


def _instant(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    # The bound keeps every later conversion to a datetime within its range.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e11:
        raise InvalidTokenError(f"{name} is no instant")
    return float(value)


def viewer_of_claims(claims: Mapping[str, Any]) -> Viewer:
    """Give the viewer of checked claims of one of this system's own tokens. Raises: InvalidTokenError."""
    try:
        known = msgspec.convert(claims, _Claims)
    except msgspec.ValidationError as error:
        raise InvalidTokenError("claims of another form") from error
    return Viewer(
        account_id=known.sub,
        session_id=known.sid,
        roles=frozenset(known.roles),
        assurance=known.lvl,
        expires_at=datetime.fromtimestamp(known.exp, UTC),
        company_code=known.company,
        unit=known.unit,
        division_code=known.div,
        strong_until=None if known.strong is None else datetime.fromtimestamp(known.strong, UTC),
    )


def read_key_set(data: bytes) -> dict[str, VerifyingKey]:
    """Read a JWK set into keys by id: those for signatures, of sound kinds; others are left out.

    Raises: InvalidKeySetError when it is none, is too large, or has no usable key. Source: RFC 7517, 8037.
    """
    try:
        entries = msgspec.json.decode(data, type=dict[str, Any]).get("keys")
    except msgspec.MsgspecError as error:
        raise InvalidKeySetError("not JSON") from error
    if not isinstance(entries, list) or len(entries) > MAX_KEYS:
        raise InvalidKeySetError("no list of keys, or too many")
    keys = [key for entry in entries if isinstance(entry, dict) and (key := _read_key(entry))]
    if not keys:
        raise InvalidKeySetError("no key that can be used")
    if len({key.kid for key in keys}) != len(keys):
        raise InvalidKeySetError("two keys of one id")
    return {key.kid: key for key in keys}


def _read_key(entry: dict[str, Any]) -> VerifyingKey | None:
    kid, named = entry.get("kid"), entry.get("alg")
    if (
        not isinstance(kid, str)
        or entry.get("use", "sig") != "sig"
        or entry.get("kty") not in ("RSA", "EC", "OKP")
    ):
        return None
    try:
        key = jwt.PyJWK(entry).key
    except jwt.PyJWTError:
        return None
    algorithm = _algorithm_of(key, named)
    return None if algorithm is None else VerifyingKey(kid, algorithm, key)


def _algorithm_of(key: object, named: object) -> str | None:
    """Give the one algorithm of a public key; None when its kind is unknown, weak, or named otherwise."""
    if isinstance(key, RSAPublicKey):
        if key.key_size < MIN_RSA_BITS:
            return None
        return next((name for name in _RSA if name == (named or "RS256")), None)
    found: str | None = None
    if isinstance(key, Ed25519PublicKey):
        found = "EdDSA"
    elif isinstance(key, EllipticCurvePublicKey):
        found = _CURVES.get(key.curve.name)
    return found if named in (None, found) else None


# --- signing ----------------------------------------------------------------------------------------------


class KeyRing:
    """The keys of this system's own tokens, kept in memory and rotated by whichever process is first."""

    def __init__(self, store: SigningKeyStore) -> None:
        self._store = store
        self._keys: Sequence[StoredKey] = ()
        self._verifying: dict[str, VerifyingKey] = {}
        self._read_at: datetime | None = None
        self._reading = asyncio.Lock()

    async def refresh(self, *, now: datetime) -> None:
        """Read the keys, and make one where there is none or the newest has signed for long enough."""
        async with self._reading:
            keys = await self._store.list_keys()
            if not keys or now - keys[-1].active_from >= ROTATION:
                await self._make(keys, now + NOTICE if keys else now)
                keys = await self._store.list_keys()
            oldest = _oldest_published(keys, now)
            if oldest > 0:
                await self._store.delete_before(keys[oldest].generation)
            self._keep(keys[oldest:], now)

    async def rotate(self, *, now: datetime, at_once: bool) -> None:
        """Make a new key; `at_once`: it signs now and the others are gone, with every token they signed."""
        async with self._reading:
            keys = await self._store.list_keys()
            await self._make(keys, now if at_once or not keys else now + NOTICE)
            keys = await self._store.list_keys()
            if at_once:
                await self._store.delete_before(keys[-1].generation)
                keys = keys[-1:]
            self._keep(keys, now)

    async def verifying(self, *, now: datetime) -> Mapping[str, VerifyingKey]:
        """Give the public keys by id."""
        await self._ensure_read(now)
        return self._verifying

    async def has(self, kid: str, *, now: datetime) -> bool:
        """Tell whether a key is known, having looked again when that was not done within the last seconds."""
        if kid not in self._verifying and (
            self._read_at is None or abs(now - self._read_at) >= timedelta(seconds=5)
        ):
            await self.refresh(now=now)
        return kid in self._verifying

    async def key_set(self, *, now: datetime) -> dict[str, Any]:
        """Give the JWK set to publish. Source: RFC 8037."""
        await self._ensure_read(now)
        return {
            "keys": [
                {
                    "kty": "OKP",
                    "crv": "Ed25519",
                    "alg": "EdDSA",
                    "use": "sig",
                    "kid": key.kid,
                    "x": base64url_encode(key.public).decode("ascii"),
                }
                for key in self._keys
            ]
        }

    async def sign(self, claims: Mapping[str, Any], *, now: datetime) -> str:
        """Sign claims with the newest key that may sign."""
        await self._ensure_read(now)
        active = [key for key in self._keys if key.active_from <= now] or list(self._keys[:1])
        key = active[-1]
        return jwt.encode(
            dict(claims),
            Ed25519PrivateKey.from_private_bytes(key.private),
            algorithm="EdDSA",
            headers={"kid": key.kid, "typ": _TYPE},
        )

    async def _ensure_read(self, now: datetime) -> None:
        if self._read_at is None or abs(now - self._read_at) >= _REREAD:
            await self.refresh(now=now)

    async def _make(self, keys: Sequence[StoredKey], active_from: datetime) -> None:
        private = Ed25519PrivateKey.generate()
        generation = keys[-1].generation + 1 if keys else 1
        public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        kid = f"{generation}-{secrets.token_hex(4)}"
        # When another process was first, its key is as good.
        await self._store.insert(StoredKey(generation, kid, private.private_bytes_raw(), public, active_from))

    def _keep(self, keys: Sequence[StoredKey], now: datetime) -> None:
        self._keys = tuple(keys)
        self._verifying = {
            key.kid: VerifyingKey(key.kid, "EdDSA", Ed25519PublicKey.from_public_bytes(key.public))
            for key in keys
        }
        self._read_at = now


def _oldest_published(keys: Sequence[StoredKey], now: datetime) -> int:
    """Give the place of the oldest key whose tokens may still be good."""
    ended = [place for place, key in enumerate(keys) if key.active_from + OVERLAP <= now]
    return ended[-1] if ended else 0


class AccessToken(Struct, frozen=True):
    """A signed token and when it runs out, UTC."""

    token: str
    expires_at: datetime


async def issue(
    ring: KeyRing, issuer: Issuer, account: Account, session: Session, *, now: datetime
) -> AccessToken:
    """Make the access token of a session: ten minutes, with the account's roles and level as they are now."""
    expires_at = datetime.fromtimestamp(int((now + ACCESS_LIFE).timestamp()), UTC)
    strong = session.strong_until
    level = viewer_assurance(account.assurance, strong, now)
    claims: dict[str, Any] = {
        "iss": issuer.issuer,
        "aud": issuer.audience,
        "sub": account.id,
        "sid": session.id,
        "iat": int(now.timestamp()),
        "exp": int(expires_at.timestamp()),
        "jti": secrets.token_hex(8),
        "roles": [role.value for role in Role if role in account.roles],
        "lvl": int(level),
    }
    if level is Assurance.L3 and strong is not None:
        claims["strong"] = int(strong.timestamp())
    scope = {"company": account.company_code, "unit": account.unit, "div": account.division_code}
    claims |= {name: value for name, value in scope.items() if value is not None}
    return AccessToken(await ring.sign(claims, now=now), expires_at)
