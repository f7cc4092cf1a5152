"""Putting together, from settings and open clients, what the work on complaints needs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase

from api.identity import kms_of
from domain.complaint_classes import ClassList
from domain.units import UnitTree
from loaders.complaint_classes import shipped_classes
from operations.complaints import Complaints
from settings import Settings
from store.access_log import AccessLog
from store.accounts import AccountStore
from store.complaint_joins import JoinStore
from store.complaint_limits import load_limit_rules
from store.complaint_numbers import ComplaintNumbers
from store.complaints import ComplaintStore
from store.encryption import FieldCipher
from store.media import MediaStore
from store.secrets import SecretStore
from store.units import UnitStore
from store.working_days import load_calendar


@asynccontextmanager
async def open_complaints(
    settings: Settings, mongodb: AsyncMongoClient[dict[str, Any]]
) -> AsyncIterator[Complaints]:
    """Open complaints for the command line, over the units as they are now.

    Raises: store.encryption.MasterKeyError, and what `make_complaints` raises.
    """
    database = mongodb[settings.database]
    store = UnitStore(database)
    _, tree = await store.load_units()
    _, classes = await store.load_classes()
    async with aclosing(FieldCipher(mongodb, settings.database, kms_of(settings))) as cipher:
        yield make_complaints(
            settings,
            database,
            cipher,
            units=lambda: tree,
            read_classes=lambda: classes or shipped_classes(),
            is_division=tree.covers,
        )


def make_complaints(
    settings: Settings,
    database: AsyncDatabase[dict[str, Any]],
    cipher: FieldCipher,
    *,
    units: Callable[[], UnitTree],
    read_classes: Callable[[], ClassList],
    is_division: Callable[[str], bool],
) -> Complaints:
    """Put the work on complaints together; nothing is sent to the engines yet.

    Raises: domain.complaint_limits.InvalidLimitRulesError, store.working_days.InvalidHolidaysError for
    files of the settings that cannot be read.
    """
    return Complaints(
        store=ComplaintStore(database, cipher),
        numbers=ComplaintNumbers(database),
        joins=JoinStore(database),
        secrets=SecretStore(database, cipher),
        accounts=AccountStore(database, cipher),
        access_log=AccessLog(database),
        media=MediaStore(database),
        units=units,
        read_classes=read_classes,
        limits=load_limit_rules(settings.complaint_limits),
        calendar=load_calendar(settings.holidays),
        is_division=is_division,
        submissions=settings.complaint_account_limit,
    )
