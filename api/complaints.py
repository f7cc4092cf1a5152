"""Putting together, from settings and open clients, what the work on complaints needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase

from domain.complaint_classes import ClassList
from domain.units import UnitTree
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
from store.working_days import load_calendar


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
    )
