"""What staff do with cases of urban management."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from hashlib import blake2b
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from redis.asyncio import Redis

from domain.access import ForbiddenError, Role, Viewer, is_within
from domain.catalogue import InvalidDivisionCodeError, division_code
from domain.city_cases import (
    MAX_NOTE,
    NEEDS_NOTE,
    CityAction,
    CityCase,
    CityCaseChangedError,
    CityCaseNotFoundError,
    CityEvent,
    CityRole,
    CityState,
    InvalidCityCaseError,
    Reported,
    following,
    role_for,
    seal,
    unit_after,
)
from domain.city_classes import CityClassList, division_of_cell
from domain.complaint_classes import ClassList
from domain.ids import new_id
from domain.units import Unit, UnitKind, UnitTree, UnknownUnitError
from domain.working_days import WorkingCalendar
from store.city_cases import CITY_CLASSES, CityCaseStore
from store.reference import announce
from store.secrets import SecretStore

CITY_SECRET: Final = "city-case-history"  # noqa: S105 - the name of one
MAX_KEY_CHARS: Final = 64


class CityCases(Struct, frozen=True):
    """What the work on cases needs."""

    store: CityCaseStore
    secrets: SecretStore
    units: Callable[[], UnitTree]
    classes: Callable[[], CityClassList]
    complaint_classes: Callable[[], ClassList]
    calendar: WorkingCalendar


class Step(Struct, frozen=True):
    """What to do with which version of a case; `unit` goes with DISPATCH and may be left to the duty."""

    case_id: str
    action: CityAction
    expected_version: int
    note: str = ""
    unit: str | None = None


def roles_of(cases: CityCases, viewer: Viewer, division: str, unit: str | None) -> frozenset[CityRole]:
    """Tell as what a viewer may act on a case in a division that a unit works on; empty: may not see it."""
    own, scope = viewer.unit, viewer.division_code
    if not viewer.acts_as(Role.DESK) or own is None or scope is None:
        return frozenset()
    roles = set()
    if own == unit:
        roles.add(CityRole.UNIT)
    if is_within(division, scope):
        if cases.units().is_centre(own):
            roles.add(CityRole.CENTRE)
        elif own != unit:
            roles.add(CityRole.COLLECTOR)
    return frozenset(roles)


async def report_case(
    cases: CityCases, viewer: Viewer, reported: Reported, key: str, *, now: datetime
) -> CityCase:
    """Report what was seen; the same person's same key gives the same case.

    Raises: InvalidCityCaseError, domain.city_classes.UnknownCityClassError and InvalidGridCodeError,
    domain.access.ForbiddenError beyond the viewer's division.
    """
    if not 1 <= len(key) <= MAX_KEY_CHARS:
        raise InvalidCityCaseError(field="idempotencyKey")
    reported = _check(reported, cases.classes())
    roles = roles_of(cases, viewer, reported.division_code, None)
    if not roles:
        raise ForbiddenError
    hidden = blake2b(f"{viewer.account_id}:{key}".encode(), digest_size=16).hexdigest()
    case_id = new_id(now)
    event = CityEvent(
        seq=0,
        action=CityAction.REPORT,
        state=CityState.COLLECTED,
        at=now,
        role=role_for(None, CityAction.REPORT, roles),
        account=viewer.account_id,
        by_unit=viewer.unit or "",
    )
    sealed = seal(await cases.secrets.get(CITY_SECRET), case_id, reported, None, event)
    case = CityCase(case_id, reported, CityState.COLLECTED, 1, (sealed,))
    if await cases.store.insert(case, hidden):
        return case
    stored = await cases.store.find_by_key(hidden)
    if stored is None or stored.reported != reported:
        raise InvalidCityCaseError(field="idempotencyKey")
    return stored


def _check(reported: Reported, classes: CityClassList) -> Reported:
    classes.get(reported.class_code)
    try:
        division = division_code(reported.division_code)
    except InvalidDivisionCodeError as error:
        raise InvalidCityCaseError(field="divisionCode") from error
    if reported.grid_code is not None and not is_within(division_of_cell(reported.grid_code), division):
        raise InvalidCityCaseError(field="gridCode")
    trimmed = replace(
        reported,
        division_code=division,
        description=reported.description.strip(),
        address=reported.address.strip(),
    )
    try:
        return msgspec.convert(msgspec.to_builtins(trimmed), Reported)
    except msgspec.ValidationError as error:
        raise InvalidCityCaseError(field=str(error).rpartition("$.")[2].rstrip("`")) from error


async def get_case(cases: CityCases, viewer: Viewer, case_id: str) -> CityCase:
    """Give a case that the viewer may see: within their division, at their unit, or an operator's any.

    Raises: CityCaseNotFoundError.
    """
    case = await cases.store.find(case_id)
    if case is None or not (
        viewer.acts_as(Role.OPERATOR) or roles_of(cases, viewer, case.reported.division_code, case.unit)
    ):
        raise CityCaseNotFoundError(field="id", id=case_id[:40])
    return case


def suggest_unit(cases: CityCases, class_code: str, division: str) -> Unit | None:
    """Find the unit that usually does the work: whoever answers for the class's complaints."""
    found = cases.classes().get(class_code)
    ranked = cases.units().responsible(cases.complaint_classes(), found.complaint_class, division, first=1)
    return ranked[0].unit if ranked else None


async def take_step(cases: CityCases, viewer: Viewer, step: Step, *, now: datetime) -> CityCase:
    """Take one step with a case.

    Raises: CityCaseNotFoundError, CityCaseChangedError with the present state, CityStepError,
    InvalidCityCaseError, domain.units.UnknownUnitError.
    """
    case = await get_case(cases, viewer, step.case_id)
    if case.version != step.expected_version:
        raise _changed(case)
    roles = roles_of(cases, viewer, case.reported.division_code, case.unit)
    state = following(case.state, step.action, roles)
    note = step.note.strip()
    if len(note) > MAX_NOTE or (not note and step.action in NEEDS_NOTE):
        raise InvalidCityCaseError(field="note")
    event = CityEvent(
        seq=case.version,
        action=step.action,
        state=state,
        at=max(now, case.events[-1].at),
        role=role_for(case.state, step.action, roles),
        account=viewer.account_id,
        by_unit=viewer.unit or "",
        note=note,
        unit=_unit_for(cases, case, step) if step.action is CityAction.DISPATCH else None,
    )
    key = await cases.secrets.get(CITY_SECRET)
    sealed = seal(key, case.id, case.reported, case.events[-1], event)
    advanced = replace(
        case,
        state=state,
        version=case.version + 1,
        events=(*case.events, sealed),
        unit=unit_after(case.unit, event),
        due_at=_due_after(cases, case, event),
    )
    if not await cases.store.advance(advanced):
        raise _changed(await get_case(cases, viewer, case.id))
    return advanced


def _unit_for(cases: CityCases, case: CityCase, step: Step) -> str:
    if step.unit is None:
        unit = suggest_unit(cases, case.reported.class_code, case.reported.division_code)
        if unit is None:
            raise InvalidCityCaseError(field="unitId")
        return unit.id
    unit = cases.units().get(step.unit)
    if unit.kind is UnitKind.CENTRE:
        raise UnknownUnitError(id=unit.id, field="unitId")
    return unit.id


def _due_after(cases: CityCases, case: CityCase, event: CityEvent) -> datetime | None:
    if event.action is CityAction.DISPATCH:
        return cases.classes().get(case.reported.class_code).due_at(event.at, cases.calendar)
    return None if event.action is CityAction.RETURN else case.due_at


def _changed(case: CityCase) -> CityCaseChangedError:
    return CityCaseChangedError(field="expectedVersion", version=case.version, state=case.state.value)


async def replace_city_classes(
    store: CityCaseStore, redis: Redis, classes: CityClassList, *, now: datetime
) -> int:
    """Put a list of one's own in place of the classes and give its revision.

    Raises: store.reference.ListChangedError when another import was faster.
    """
    revision, old = await store.load_classes()
    if old is not None and old.select() == classes.select():
        return revision
    revision = await store.replace_classes(classes, expected=revision, now=now)
    await announce(redis, CITY_CLASSES)
    return revision
