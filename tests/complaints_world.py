"""Complaints on the real engines: a small province with a centre, two units and their staff."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from pymongo.asynchronous.database import AsyncDatabase

from domain import complaints as c
from domain.access import Assurance, Role, Viewer
from domain.complaint_limits import limit_rules
from domain.complaints import Actor, ActorRole
from domain.units import Duty, Unit, UnitKind, UnitTree
from domain.working_days import calendar_of
from loaders.complaint_classes import shipped_classes
from operations.complaint_submit import Intake, submit
from operations.complaints import Complaints
from store.access_log import AccessLog
from store.accounts import AccountStore
from store.complaint_joins import JoinStore
from store.complaint_numbers import ComplaintNumbers
from store.complaints import Complaint, ComplaintStore
from store.connections import open_mongodb
from store.encryption import FieldCipher, local_kms
from store.media import MediaStore
from store.secrets import SecretStore

T = TypeVar("T")
NOW = datetime(2026, 3, 2, 2, tzinfo=UTC)
"""A Monday, 10:00 in Fuzhou."""
DAY = timedelta(days=1)
CITY, COUNTY = "350100", "350102"
UNITS = UnitTree(
    [
        Unit("centre-35", "福建省12345中心", UnitKind.CENTRE, "350000"),
        Unit("centre-3501", "福州市12345中心", UnitKind.CENTRE, CITY),
        Unit("water", "福州市水务局", UnitKind.DEPARTMENT, CITY, duties=(Duty("01", CITY),)),
        Unit("water-gulou", "鼓楼区水务局", UnitKind.DEPARTMENT, COUNTY, parent_id="water"),
        Unit("water-taijiang", "台江区水务局", UnitKind.DEPARTMENT, "350103", parent_id="water"),
        Unit("roads", "福州市交通局", UnitKind.DEPARTMENT, CITY),
    ]
)


def viewer(name: str, *roles: Role, unit: str | None = None, division: str | None = None) -> Viewer:
    return Viewer(
        account_id=name,
        session_id=f"session of {name}",
        roles=frozenset(roles or {Role.CITIZEN}),
        assurance=Assurance.L3 if Role.OPERATOR in roles else Assurance.L2,
        expires_at=NOW + 400 * DAY,
        unit=unit,
        division_code=division,
    )


CITIZEN, OTHER = viewer("citizen"), viewer("other")
SEAT = viewer("seat", Role.DESK, unit="centre-3501", division=CITY)
FAR_SEAT = viewer("far seat", Role.DESK, unit="centre-3501", division="350200")
CLERK = viewer("clerk", Role.DESK, unit="water-gulou", division=COUNTY)
CO_CLERK = viewer("co-clerk", Role.DESK, unit="roads", division=CITY)
OPERATOR = viewer("operator", Role.OPERATOR)
COMPLAINANT = Actor(ActorRole.COMPLAINANT)
MATTER = Intake(
    kind=c.Kind.COMPLAINT,
    text="鼓楼区东街口附近水管爆裂，已经三天没有人来修，联系电话13800138000。",
    division_code=COUNTY,
    channel=c.ComplaintChannel.APP,
    contact=c.ContactWish.NAMED,
    is_public_wished=True,
    point=c.Point(119.2965, 26.0871),
    name="林小明",
    phone="13800138000",
)


@dataclass
class World:
    complaints: Complaints
    database: AsyncDatabase[dict[str, Any]]
    cipher: FieldCipher
    count: int = field(default=0)

    async def submit(
        self, by: Viewer = CITIZEN, matter: Intake = MATTER, key: str | None = None, *, now: datetime = NOW
    ) -> Complaint:
        self.count += 1
        return await submit(self.complaints, by, COMPLAINANT, matter, key or f"key-{self.count:08}", now=now)

    async def get(self, number: str) -> Complaint:
        return await self.complaints.store.get(number)


@asynccontextmanager
async def open_world(mongodb_uri: str, database: str, home: Path) -> AsyncIterator[World]:
    async with open_mongodb(mongodb_uri, 30_000) as mongodb:
        cipher = FieldCipher(mongodb, database, local_kms(home / "personal.key", may_create=True))
        own = mongodb[database]
        complaints = Complaints(
            store=ComplaintStore(own, cipher),
            numbers=ComplaintNumbers(own),
            joins=JoinStore(own),
            secrets=SecretStore(own, cipher),
            accounts=AccountStore(own, cipher),
            access_log=AccessLog(own),
            media=MediaStore(own),
            units=lambda: UNITS,
            read_classes=shipped_classes,
            limits=limit_rules(),
            calendar=calendar_of(),
            is_division=lambda code: code in {"350000", CITY, COUNTY, "350103"},
        )
        await complaints.store.ensure_indexes()
        await complaints.joins.ensure_indexes()
        try:
            yield World(complaints, own, cipher)
        finally:
            await cipher.aclose()


class ComplaintWorlds:
    """Runs a coroutine function in a world of its test's own."""

    def __init__(self, mongodb_uri: str, database: str, home: Path) -> None:
        self._place = (mongodb_uri, database, home)

    def run(self, work: Callable[[World], Awaitable[T]]) -> T:
        async def main() -> T:
            async with open_world(*self._place) as world:
                return await work(world)

        return asyncio.run(main())
