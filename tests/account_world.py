"""Signing in on the real engines; codes go to a list instead of a phone."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from msgspec.structs import replace
from pymongo.asynchronous.database import AsyncDatabase

from domain.access import Viewer
from operations.account import Client, Identity, SignedIn, request_code, sign_in
from operations.tokens import Issuer, KeyRing, read_claims, viewer_of_claims
from store.access_log import AccessLog
from store.accounts import AccountStore
from store.agencies import AgencyStore
from store.codes import CodeStore
from store.connections import open_mongodb, open_redis
from store.demo_residents import DemoRegister
from store.encryption import FieldCipher, local_kms
from store.gate import Gate
from store.secrets import SecretStore
from store.sessions import SessionStore
from store.signing_keys import SigningKeyStore

T = TypeVar("T")
NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
ISSUER = Issuer("mintong", "mintong", is_own=True)


@dataclass
class Phones:
    """Keeps what would have been sent."""

    sent: list[tuple[str, str, str]] = field(default_factory=list)
    error: Exception | None = None

    async def send_code(self, phone: str, code: str, language: str) -> None:
        if self.error is not None:
            raise self.error
        self.sent.append((phone, code, language))

    def code(self, phone: str) -> str:
        return next(code for to, code, _ in reversed(self.sent) if to == phone)


@dataclass
class World:
    identity: Identity
    database: AsyncDatabase[dict[str, Any]]
    phones: Phones
    cipher: FieldCipher

    async def sign_in(self, phone: str, *, now: datetime = NOW, client: Client | None = None) -> SignedIn:
        client = client or some_client()
        await request_code(self.identity, phone, client, now=now)
        return await sign_in(self.identity, phone, self.phones.code(phone), client, now=now)

    async def viewer(self, signed_in: SignedIn, *, now: datetime = NOW) -> Viewer:
        keys = await self.identity.ring.verifying(now=now)
        return viewer_of_claims(read_claims(signed_in.access.token, keys, ISSUER, now=now))


def some_phone() -> str:
    """Limits last for longer than a test, so each test has phones of its own."""
    return f"13{random.randrange(10**9):09}"


def some_client() -> Client:
    return Client(address=f"10.{random.randrange(256)}.{random.randrange(256)}.{random.randrange(256)}")


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 1_000_000:06}"


@asynccontextmanager
async def open_world(mongodb_uri: str, redis_url: str, database: str, home: Path) -> AsyncIterator[World]:
    async with open_mongodb(mongodb_uri, 30_000) as mongodb, open_redis(redis_url, 30_000) as redis:
        cipher = FieldCipher(mongodb, database, local_kms(home / "personal.key", may_create=True))
        phones, own = Phones(), mongodb[database]
        identity = Identity(
            accounts=AccountStore(own, cipher),
            sessions=SessionStore(own),
            agencies=AgencyStore(own, cipher),
            access_log=AccessLog(own),
            codes=CodeStore(redis),
            gate=Gate(redis),
            secrets=SecretStore(own, cipher),
            ring=KeyRing(SigningKeyStore(own, cipher)),
            issuer=ISSUER,
            redis=redis,
            sms=phones,
            register=DemoRegister(),
        )
        try:
            yield World(identity, own, phones, cipher)
        finally:
            await cipher.aclose()


class Worlds:
    """Runs a coroutine function in a world of its test's own."""

    def __init__(self, mongodb_uri: str, redis_url: str, database: str, home: Path) -> None:
        self._place = (mongodb_uri, redis_url, database, home)

    def run(self, work: Callable[[World], Awaitable[T]]) -> T:
        async def main() -> T:
            async with open_world(*self._place) as world:
                return await work(world)

        return asyncio.run(main())


def with_phones(world: World, **changes: Any) -> Identity:
    return replace(world.identity, **changes)


MINUTE = timedelta(minutes=1)
