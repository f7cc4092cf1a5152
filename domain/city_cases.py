"""Cases of urban management (数字城管): six steps, 信息收集 → 立案 → 派遣 → 处置 → 核查 → 结案.

The table is the only place that knows the steps. The history is a chain of events; what a case is follows
from it alone.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from domain.complaint_history import chain
from domain.complaints import Point
from domain.errors import DomainError

MAX_DESCRIPTION: Final = 1_000
MAX_ADDRESS: Final = 200
MAX_NOTE: Final = 500


class CityState(StrEnum):
    """Where a case is; the six steps are those in capital order, REJECTED lies beside them."""

    COLLECTED = "COLLECTED"
    """信息收集: reported, not yet looked at."""
    FILED = "FILED"
    """立案"""
    DISPATCHED = "DISPATCHED"
    """派遣: the unit works on it."""
    HANDLED = "HANDLED"
    """处置: done, as the unit says."""
    VERIFIED = "VERIFIED"
    """核查: somebody else has seen that it is done."""
    CLOSED = "CLOSED"
    """结案"""
    REJECTED = "REJECTED"
    """不予立案"""


class CityAction(StrEnum):
    """What is done with a case."""

    REPORT = "REPORT"
    FILE = "FILE"
    REJECT = "REJECT"
    DISPATCH = "DISPATCH"
    RETURN = "RETURN"
    """The unit is not responsible: back to whoever dispatched."""
    HANDLE = "HANDLE"
    VERIFY = "VERIFY"
    FAIL = "FAIL"
    """It is not done: back to the unit, whose time goes on."""
    CLOSE = "CLOSE"


class CityRole(StrEnum):
    """As what somebody acts on a case."""

    COLLECTOR = "COLLECTOR"
    """信息采集员: staff of any unit within whose division the case lies, but the one that does the work."""
    CENTRE = "CENTRE"
    """Staff of the centre of the division or of one above it."""
    UNIT = "UNIT"
    """Staff of the unit that does the work."""


_C, _M, _U = CityRole.COLLECTOR, CityRole.CENTRE, CityRole.UNIT
TRANSITIONS: Final[dict[tuple[CityState | None, CityAction], tuple[frozenset[CityRole], CityState]]] = {
    (None, CityAction.REPORT): (frozenset({_C, _M}), CityState.COLLECTED),
    (CityState.COLLECTED, CityAction.FILE): (frozenset({_M}), CityState.FILED),
    (CityState.COLLECTED, CityAction.REJECT): (frozenset({_M}), CityState.REJECTED),
    (CityState.FILED, CityAction.DISPATCH): (frozenset({_M}), CityState.DISPATCHED),
    (CityState.DISPATCHED, CityAction.RETURN): (frozenset({_U}), CityState.FILED),
    (CityState.DISPATCHED, CityAction.HANDLE): (frozenset({_U}), CityState.HANDLED),
    (CityState.HANDLED, CityAction.VERIFY): (frozenset({_C, _M}), CityState.VERIFIED),
    (CityState.HANDLED, CityAction.FAIL): (frozenset({_C, _M}), CityState.DISPATCHED),
    (CityState.VERIFIED, CityAction.CLOSE): (frozenset({_M}), CityState.CLOSED),
}
NEEDS_NOTE: Final = frozenset({CityAction.REJECT, CityAction.RETURN, CityAction.HANDLE, CityAction.FAIL})


class CityCaseNotFoundError(DomainError):
    """A number that names no case, or none within the asker's division."""

    code = "CITY_CASE_NOT_FOUND"


class CityCaseChangedError(DomainError):
    """Somebody else has taken a step meanwhile; `state` and `version` are the present ones."""

    code = "CITY_CASE_CHANGED"


class CityStepError(DomainError):
    """The state of a case does not allow an action, or not to this person."""

    code = "CITY_STEP_NOT_ALLOWED"


class InvalidCityCaseError(DomainError):
    """A part of a case or a step is missing, too long or names nothing; `field` says which."""

    code = "INVALID_CITY_CASE"


class Reported(Struct, frozen=True):
    """What was seen, where; the point is WGS-84 and may be missing."""

    class_code: str
    division_code: str
    description: Annotated[str, Meta(min_length=1, max_length=MAX_DESCRIPTION)]
    grid_code: str | None = None
    address: Annotated[str, Meta(max_length=MAX_ADDRESS)] = ""
    point: Point | None = None


class CityEvent(Struct, frozen=True):
    """One step; `hash` seals it over the event before. `unit` is the one that a DISPATCH names."""

    seq: int
    action: CityAction
    state: CityState
    at: datetime
    role: CityRole
    account: str
    by_unit: str
    note: str = ""
    unit: str | None = None
    hash: str = ""


class CityCase(Struct, frozen=True):
    """A case; `version` counts its events. `due_at`: when the unit has to be done; None until dispatched."""

    id: str
    reported: Reported
    state: CityState
    version: int
    events: tuple[CityEvent, ...]
    unit: str | None = None
    due_at: datetime | None = None

    @property
    def dispatched_at(self) -> datetime | None:
        """When it was dispatched to its present unit; work sent back does not begin anew."""
        found = (event.at for event in reversed(self.events) if event.action is CityAction.DISPATCH)
        return next(found, None) if self.unit is not None else None

    @property
    def handled_at(self) -> datetime | None:
        """When the unit last said that it was done; None while it works."""
        if self.state not in (CityState.HANDLED, CityState.VERIFIED, CityState.CLOSED):
            return None
        return next(event.at for event in reversed(self.events) if event.action is CityAction.HANDLE)

    def is_overdue(self, now: datetime) -> bool:
        """Tell whether the unit was not done in time, or is not yet."""
        return self.due_at is not None and (self.handled_at or now) > self.due_at


def following(state: CityState | None, action: CityAction, roles: frozenset[CityRole]) -> CityState:
    """Give the state that an action leads to. Raises: CityStepError."""
    allowed, after = TRANSITIONS.get((state, action), (frozenset(), None))
    if after is None or not allowed & roles:
        raise CityStepError(state=state.value if state else "", action=action.value)
    return after


def role_for(state: CityState | None, action: CityAction, roles: frozenset[CityRole]) -> CityRole:
    """Choose as what a step is taken by somebody who is several. Raises: CityStepError."""
    following(state, action, roles)
    allowed, _ = TRANSITIONS[state, action]
    return next(role for role in (_U, _M, _C) if role in allowed & roles)


def unit_after(unit: str | None, event: CityEvent) -> str | None:
    """Give the unit that does the work after an event."""
    if event.action is CityAction.DISPATCH:
        return event.unit
    return None if event.action is CityAction.RETURN else unit


def seal(
    key: bytes, case_id: str, reported: Reported, previous: CityEvent | None, event: CityEvent
) -> CityEvent:
    """Give an event with its seal: the first one over the case's number and what was reported."""
    unsealed = msgspec.structs.replace(event, hash="")
    content = msgspec.json.encode(unsealed if previous else (unsealed, reported), order="sorted")
    return msgspec.structs.replace(event, hash=chain(key, previous.hash if previous else case_id, content))


def faults_of(key: bytes, case: CityCase) -> list[str]:
    """Say what is wrong with a stored case: its chain, its order, its steps, what they amount to."""
    faults: list[str] = []
    previous: CityEvent | None = None
    unit: str | None = None
    for index, event in enumerate(case.events):
        before = previous.state if previous else None
        roles, state = TRANSITIONS.get((before, event.action), (frozenset(), None))
        if event.seq != index:
            faults.append(f"event {index}: has number {event.seq}")
        if state is not event.state or event.role not in roles:
            faults.append(f"event {index}: {event.action} does not lead from {before} to {event.state}")
        if seal(key, case.id, case.reported, previous, event).hash != event.hash:
            faults.append(f"event {index}: its seal is broken")
        if previous is not None and event.at < previous.at:
            faults.append(f"event {index}: is older than the one before")
        unit, previous = unit_after(unit, event), event
    amounts = (previous.state if previous else None, len(case.events), unit)
    if amounts != (case.state, case.version, case.unit):
        faults.append("the stored case is not what its events amount to")
    return faults
