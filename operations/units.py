"""Replacing the units and the classes of complaints as a whole."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from msgspec import Struct
from msgspec.structs import replace
from redis.asyncio import Redis

from domain.complaint_classes import ClassList
from domain.errors import DomainError
from domain.units import UnitTree
from store.reference import announce
from store.units import CLASSES, UNITS, UnitStore

_MOST_CLOSED_SHARE: Final = 0.1


class UnitsShrunkError(DomainError):
    """A table lacks over a tenth of the units; nothing was changed."""

    code = "UNITS_SHRUNK"


class UnitsReplaced(Struct, frozen=True):
    """What an import has changed; `closed` are units that the table lacks."""

    revision: int
    added: int
    changed: int
    closed: int
    unchanged: int


async def replace_units(
    store: UnitStore, redis: Redis, tree: UnitTree, *, now: datetime, force: bool = False
) -> UnitsReplaced:
    """Bring the units to those of a complete table; readers see all of it or nothing.

    A unit that the table lacks is closed and not forgotten: complaints and histories go on naming it.
    Raises: UnitsShrunkError unless forced; store.reference.ListChangedError when another import was faster.
    """
    revision, old = await store.load_units()
    missing = [unit for unit in old.all if tree.find(unit.id) is None]
    closed = [unit for unit in missing if unit.is_active]
    active = len(old.select())
    if closed and len(closed) > active * _MOST_CLOSED_SHARE and not force:
        raise UnitsShrunkError(missing=len(closed), units=active)
    merged = UnitTree([*tree.all, *(replace(unit, is_active=False) for unit in missing)])
    added = sum(old.find(unit.id) is None for unit in tree.all)
    unchanged = sum(old.find(unit.id) == unit for unit in tree.all)
    if added or closed or unchanged < len(tree):
        revision = await store.replace_units(merged, expected=revision, now=now)
        await announce(redis, UNITS)
    return UnitsReplaced(revision, added, len(tree) - added - unchanged, len(closed), unchanged)


async def replace_classes(store: UnitStore, redis: Redis, classes: ClassList, *, now: datetime) -> int:
    """Put a list of one's own in place of the classes and give its revision.

    Raises: store.reference.ListChangedError when another import was faster.
    """
    revision, old = await store.load_classes()
    if old is not None and old.all == classes.all:
        return revision
    revision = await store.replace_classes(classes, expected=revision, now=now)
    await announce(redis, CLASSES)
    return revision
