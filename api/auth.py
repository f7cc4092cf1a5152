"""From an `Authorization` header to a viewer, without a database for the tokens that are its own.

A token that was checked once is remembered by its hash until it runs out. Sessions that end are told on Redis
and polled from the store, so that every process refuses their tokens within seconds.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import jwt
import structlog
from pymongo.errors import PyMongoError
from redis.asyncio import Redis
from redis.exceptions import RedisError

from api.errors import RequestError
from api.jwks import OutsideKeys
from domain.access import Assurance, Viewer
from domain.account import ACCESS_LIFE
from domain.errors import DomainError
from operations.account import Identity, adopt_outside
from operations.tokens import (
    LEEWAY,
    InvalidTokenError,
    Issuer,
    read_claims,
    viewer_of_claims,
)
from store.sessions import ENDED_CHANNEL, SessionStore

log = structlog.get_logger(__name__)

MAX_REMEMBERED: Final = 50_000
MAX_ENDED: Final = 200_000
_MAX_HEADER: Final = 8_300
_OUTSIDE_LIFE: Final = timedelta(hours=1)
"""An outside token is trusted no longer than this, whatever it says; then its account is looked at again."""
_POLL_S: Final = 2.0
_POLLED_AGAIN: Final = timedelta(seconds=10)
_KNOWN_FOR: Final = max(ACCESS_LIFE, _OUTSIDE_LIFE) + 2 * LEEWAY


class EndedSessions:
    """The sessions that ended a short time ago: their access tokens are still good but for this."""

    def __init__(self, store: SessionStore, redis: Redis, *, poll_s: float = _POLL_S) -> None:
        self._store = store
        self._redis = redis
        self._poll_s = poll_s
        self._ended: OrderedDict[str, datetime] = OrderedDict()
        self._since: datetime | None = None

    def __contains__(self, session_id: str) -> bool:
        """Tell whether a session has ended."""
        return session_id in self._ended

    def add(self, session_id: str, ended_at: datetime) -> None:
        """Remember that a session has ended; the oldest are forgotten, whose tokens have run out."""
        if session_id not in self._ended:
            self._ended[session_id] = ended_at
        while len(self._ended) > MAX_ENDED:
            self._ended.popitem(last=False)

    async def poll(self, *, now: datetime) -> None:
        """Ask the store for what ended since the last time; the first time, for all whose tokens may live."""
        since = self._since or now - _KNOWN_FOR
        for session_id, ended_at in reversed(await self._store.list_ended_since(since)):
            self.add(session_id, ended_at)
        # Processes whose clocks differ, and writes that took a while, are covered by asking twice.
        self._since = now - _POLLED_AGAIN
        while self._ended:
            oldest, ended_at = next(iter(self._ended.items()))
            if now - ended_at < _KNOWN_FOR:
                break
            del self._ended[oldest]

    async def run(self) -> None:
        """Listen and poll until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen())
            group.create_task(self._keep_polling())

    async def _keep_polling(self) -> None:
        while True:
            try:
                await self.poll(now=datetime.now(UTC))
            except PyMongoError as error:
                log.warning("sessions.not_polled", error=type(error).__name__)
            await asyncio.sleep(self._poll_s)

    async def _listen(self) -> None:
        while True:
            try:
                async with self._redis.pubsub() as channel:
                    await channel.subscribe(ENDED_CHANNEL)
                    _honour_cancellation()
                    async for message in channel.listen():
                        if message["type"] == "message":
                            self._hear(message["data"])
            except (RedisError, OSError) as error:
                log.debug("sessions.no_announcements", error=type(error).__name__)
                await asyncio.sleep(self._poll_s)

    def _hear(self, data: bytes) -> None:
        now = datetime.now(UTC)
        for session_id in data.decode("ascii", "ignore").split()[:1_000]:
            self.add(session_id, now)


class Authenticator:
    """Checks bearer tokens of this system's own issuer and of one outside issuer."""

    def __init__(
        self,
        identity: Identity,
        ended: EndedSessions,
        *,
        outside: Issuer | None = None,
        outside_keys: OutsideKeys | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._identity = identity
        self._ended = ended
        self._outside = outside
        self._outside_keys = outside_keys
        self._clock = clock
        self._known: OrderedDict[bytes, Viewer] = OrderedDict()

    async def authenticate(self, authorization: bytes) -> Viewer:
        """Give the viewer of an `Authorization` header.

        Raises: RequestError INVALID_TOKEN, or NOT_READY while the keys cannot be read.
        """
        now = self._clock()
        digest = hashlib.blake2b(authorization, digest_size=20).digest()
        viewer = self._known.get(digest)
        if viewer is None:
            viewer = await self._check(authorization, now)
            self._remember(digest, viewer)
        if now >= viewer.expires_at or viewer.session_id in self._ended:
            self._known.pop(digest, None)
            raise RequestError("INVALID_TOKEN")
        return viewer

    def _remember(self, digest: bytes, viewer: Viewer) -> None:
        self._known[digest] = viewer
        while len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)

    async def _check(self, authorization: bytes, now: datetime) -> Viewer:
        scheme, _, rest = authorization[:_MAX_HEADER].partition(b" ")
        try:
            if scheme.lower() != b"bearer" or len(authorization) >= _MAX_HEADER:
                raise InvalidTokenError("no bearer token")
            token = rest.strip().decode("ascii")
            kid, issuer = _unchecked(token)
            if self._outside is not None and issuer == self._outside.issuer:
                return await self._check_outside(token, kid, self._outside, now)
            return await self._check_own(token, kid, now)
        except (InvalidTokenError, UnicodeDecodeError, DomainError) as error:
            log.info("auth.refused", reason=str(error))
            raise RequestError("INVALID_TOKEN") from None
        except (PyMongoError, RedisError) as error:
            log.warning("auth.engine_unavailable", error=type(error).__name__)
            raise RequestError("NOT_READY") from error

    async def _check_own(self, token: str, kid: str, now: datetime) -> Viewer:
        ring = self._identity.ring
        await ring.has(kid, now=now)
        keys = await ring.verifying(now=now)
        return viewer_of_claims(read_claims(token, keys, self._identity.issuer, now=now))

    async def _check_outside(self, token: str, kid: str, outside: Issuer, now: datetime) -> Viewer:
        if self._outside_keys is None:
            raise InvalidTokenError("no keys of the outside issuer")
        claims = read_claims(token, await self._outside_keys.keys(kid, now=now), outside, now=now)
        expires_at = min(datetime.fromtimestamp(float(claims["exp"]), UTC), now + _OUTSIDE_LIFE)
        return await adopt_outside(
            self._identity,
            outside.issuer,
            str(claims["sub"]),
            _session_name(claims),
            Assurance.L2 if claims.get("acr") in ("L2", "L3") else Assurance.L1,
            expires_at=expires_at,
            now=now,
        )


def _session_name(claims: dict[str, Any]) -> str:
    """Give the outside issuer's name for its session, by the first claim that it sends."""
    for name in ("sid", "jti", "iat"):
        if isinstance(claims.get(name), str | int):
            return f"{name}:{str(claims[name])[:200]}"
    return f"exp:{claims['exp']}"


def _unchecked(token: str) -> tuple[str, object]:
    """Read which key and issuer a token names, to know where to check it; nothing is believed yet."""
    try:
        header = jwt.get_unverified_header(token)
        claims = jwt.decode(token, options={"verify_signature": False})
    except jwt.PyJWTError as error:
        raise InvalidTokenError("no JSON Web Token") from error
    return str(header.get("kid")), claims.get("iss")


def _honour_cancellation() -> None:
    """Raise a cancellation that `asyncio.wait_for` of Python 3.11 swallowed inside the Redis client."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
