"""Figures about complaints: what one complaint adds to which, and how sums and quantiles are read.

A *round* begins with the submission or a reopening and counts in the month (Asia/Shanghai) in which it began.
What a complaint adds is a pure function of its history, so sums can be brought up to date by differences.
Sums are counts in numbered slots, `SLOTS` for each month of a year: the counters first, then how many answers
took how long. The numbers are stored: counters may be added behind the last, none may be moved.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import product
from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from domain.complaint_clock import clock_of
from domain.complaint_standing import Event, Standing, evolve, moves_of
from domain.complaints import ANSWER_OUT, Kind, State
from domain.errors import DomainError
from domain.preferences import SHANGHAI
from domain.units import Outcome, lineage
from domain.working_days import WorkingCalendar, working_time_between

EVERYWHERE: Final = "*"
EVERY_CLASS: Final = "*"
EVERY_KIND: Final = "*"
OUTCOMES: Final = "o:"
"""What the keys of sums begin with that are not for the public."""
SATISFIED_FROM: Final = 3
"""A result graded this or better counts as satisfied (基本满意)."""
BUCKETS_PER_DOUBLING: Final = 8
QUANTILE_ERROR: Final = 2 ** (1 / (2 * BUCKETS_PER_DOUBLING)) - 1
"""Quantiles of a minute or more are off by at most this share of themselves, 4.4%."""
MAX_YEARS: Final = 5
COUNTERS: Final = (
    "received",
    "reopened",
    "answered",
    "in_time",
    "rated",
    "satisfied",
    "refused",
    "withdrawn",
    "merged",
)
SLOTS: Final = 256
"""Slots of a month."""
_FIRST_BUCKET: Final = 16
_SLOT_OF: Final = {name: slot for slot, name in enumerate(COUNTERS)}
_ANSWERED, _RETURNED = 0, 1
_ENDS: Final = {State.REFUSED: "refused", State.WITHDRAWN: "withdrawn", State.MERGED: "merged"}
Deltas = dict[str, dict[int, int]]
"""What to add: by key of the sums and slot in them."""
Counts = NDArray[np.int64]


class InvalidStatisticsError(DomainError):
    """A question about figures that cannot be answered; `field` names the argument."""

    code = "INVALID_STATISTICS"


class Month(Struct, frozen=True, order=True):
    """A month of a year."""

    year: int
    month: int

    def __str__(self) -> str:
        return f"{self.year:04}-{self.month:02}"

    @classmethod
    def of(cls, instant: datetime) -> Month:
        """Give the month of an instant in Asia/Shanghai."""
        day = instant.astimezone(SHANGHAI)
        return cls(day.year, day.month)


class Round(Struct, frozen=True, omit_defaults=True):
    """What one round of a complaint adds: what it counts in, and what it counts as.

    `is_first`: begun by the submission. `end`: a counter for an end without an answer. `minutes`: office time
    until the answer. `returned`: the units that gave it back.
    """

    month: Month
    kind: Kind
    division_code: str
    class_code: str | None = None
    unit: str | None = None
    is_first: bool = False
    is_answered: bool = False
    is_in_time: bool = False
    is_rated: bool = False
    is_satisfied: bool = False
    end: str | None = None
    minutes: int = 0
    returned: tuple[str, ...] = ()


def rounds_of(events: Sequence[Event], calendar: WorkingCalendar) -> tuple[Round, ...]:
    """Give what a complaint adds to the figures, round by round.

    All rounds count under the kind and the class that it has now.
    """
    starts = [event.seq for event in events if event.action in ("SUBMIT", "REOPEN")]
    whole: list[Standing] = []
    for event in events:
        whole.append(evolve(whole[-1] if whole else None, event))
    return tuple(
        _round(events, whole, start, end, calendar)
        for start, end in zip(starts, [*starts[1:], len(events)], strict=True)
    )


def _round(
    events: Sequence[Event], whole: Sequence[Standing], start: int, end: int, calendar: WorkingCalendar
) -> Round:
    now, begun, last = whole[end - 1], events[start].at, whole[-1]
    replied = now.replied_at if now.state in ANSWER_OUT else None
    minutes, is_in_time = 0, False
    if replied is not None:
        clock = clock_of(moves_of(events[:end]), calendar, now=replied)
        is_in_time = not clock.is_overdue(replied)
        minutes = working_time_between(begun, replied, calendar) // timedelta(minutes=1)
    directly = any(event.action == "ANSWER_DIRECTLY" for event in events[start:end])
    graded = now.rating is not None and now.rating.result >= SATISFIED_FROM
    return Round(
        month=Month.of(begun),
        kind=last.kind,
        division_code=last.division_code,
        class_code=last.class_code,
        unit=now.centre if directly else now.lead,
        is_first=start == 0,
        is_answered=replied is not None,
        is_in_time=is_in_time,
        is_rated=now.rating is not None or now.is_satisfied is not None,
        is_satisfied=graded or now.is_satisfied is True,
        end=_ENDS.get(now.state),
        minutes=minutes,
        returned=tuple(_returned(events[start:end], whole)),
    )


def _returned(events: Iterable[Event], whole: Sequence[Standing]) -> list[str]:
    """List the units that gave a complaint back, each as often as it did."""
    leads = (whole[event.seq - 1].lead for event in events if event.action == "RETURN")
    return [lead for lead in leads if lead is not None]


def bucket_of(minutes: int) -> int:
    """Give the bucket of a number of minutes; eight buckets to a doubling, below one minute bucket 0."""
    return 1 + math.floor(BUCKETS_PER_DOUBLING * math.log2(minutes)) if minutes else 0


def minutes_of(bucket: int) -> float:
    """Give the middle of a bucket, in minutes."""
    return 2 ** ((bucket - 0.5) / BUCKETS_PER_DOUBLING) if bucket else 0.0


def division_scope(division_code: str) -> str:
    """Name the scope of a division and all below it; `EVERYWHERE` is one, too."""
    return f"d:{division_code}"


def unit_scope(unit_id: str) -> str:
    """Name the scope of a unit."""
    return f"u:{unit_id}"


def sum_key(scope: str, classes: str, kind: str, year: int) -> str:
    """Name the sums of a scope, a class (or group, or `EVERY_CLASS`), a kind (or `EVERY_KIND`), a year."""
    return f"{scope}|{classes}|{kind}|{year}"


def outcomes_key(class_code: str, division_code: str, unit_id: str = "") -> str:
    """Name what became of a class's complaints of a division with a unit; "": what all these begin with."""
    return f"{OUTCOMES}{class_code}|{division_code}|{unit_id}"


def deltas_of(before: Iterable[Round], after: Iterable[Round]) -> Deltas:
    """Give what to add when a complaint's rounds change."""
    deltas: Deltas = {}
    for rounds, sign in ((before, -1), (after, 1)):
        for each in rounds:
            add_round(deltas, each, sign)
    return {
        key: kept for key, slots in deltas.items() if (kept := {slot: n for slot, n in slots.items() if n})
    }


def merge_deltas(total: Deltas, more: Deltas) -> None:
    """Add deltas to others in place."""
    for key, slots in more.items():
        into = total.setdefault(key, {})
        for slot, count in slots.items():
            into[slot] = into.get(slot, 0) + count


def add_round(deltas: Deltas, each: Round, sign: int = 1) -> None:
    """Add what one round adds to deltas, or take it away, in place."""
    scopes = [division_scope(code) for code in (EVERYWHERE, *lineage(each.division_code))]
    if each.unit is not None:
        scopes.append(unit_scope(each.unit))
    classes = [EVERY_CLASS, *([each.class_code[:2], each.class_code] if each.class_code else ())]
    slots = _slots_of(each)
    for scope, name, kind in product(scopes, dict.fromkeys(classes), (EVERY_KIND, each.kind.value)):
        _add(deltas, sum_key(scope, name, kind, each.month.year), slots, sign)
    if each.class_code is not None:
        if each.unit is not None and each.is_answered:
            _add(deltas, outcomes_key(each.class_code, each.division_code, each.unit), [_ANSWERED], sign)
        for unit in each.returned:
            _add(deltas, outcomes_key(each.class_code, each.division_code, unit), [_RETURNED], sign)


def _add(deltas: Deltas, key: str, slots: Iterable[int], sign: int) -> None:
    into = deltas.setdefault(key, {})
    for slot in slots:
        into[slot] = into.get(slot, 0) + sign


def _slots_of(each: Round) -> list[int]:
    """List the slots, within the sums of a year, in which a round counts one."""
    counted = {
        "received": each.is_first,
        "reopened": not each.is_first,
        "answered": each.is_answered,
        "in_time": each.is_in_time,
        "rated": each.is_rated,
        "satisfied": each.is_satisfied,
    }
    slots = [_SLOT_OF[name] for name, holds in counted.items() if holds]
    if each.end is not None:
        slots.append(_SLOT_OF[each.end])
    if each.is_answered:
        slots.append(_FIRST_BUCKET + bucket_of(each.minutes))
    first = (each.month.month - 1) * SLOTS
    return [first + slot for slot in slots]


def read_outcome(sums: Mapping[int, int]) -> Outcome:
    """Read the sums that `outcomes_key` names."""
    return Outcome(sums.get(_ANSWERED, 0), sums.get(_RETURNED, 0))


class Tally:
    """Sums of rounds in `SLOTS` slots: a count for each of `COUNTERS`, and how long answers took."""

    def __init__(self, slots: Counts) -> None:
        self._slots = slots
        self.counts: dict[str, int] = dict(zip(COUNTERS, slots[: len(COUNTERS)].tolist(), strict=True))

    def hours(self, share: float) -> float | None:
        """Give the office hours within which a share (0 to 1) of the answers came; None without any.

        It is the value of the answer of that rank, off by at most `QUANTILE_ERROR` of itself, or a minute.
        """
        seen = np.cumsum(self._slots[_FIRST_BUCKET:])
        total = int(seen[-1])
        if not total:
            return None
        rank = max(math.ceil(share * total), 1)
        return minutes_of(int(np.searchsorted(seen, rank))) / 60

    @property
    def is_empty(self) -> bool:
        """Tell whether nothing was counted."""
        return not any(self.counts.values())


def months_between(first: Month, last: Month) -> list[Month]:
    """List the months from one to another, both included.

    Raises: InvalidStatisticsError when they are not in order, no months, or span more than five years.
    """
    for month, field in ((first, "from"), (last, "to")):
        if not (1 <= month.month <= 12 and 2000 <= month.year <= 2999):
            raise InvalidStatisticsError(field=field)
    count = (last.year - first.year) * 12 + last.month - first.month + 1
    if not 1 <= count <= MAX_YEARS * 12:
        raise InvalidStatisticsError(field="to")
    return [
        Month(first.year + (first.month - 1 + n) // 12, (first.month - 1 + n) % 12 + 1) for n in range(count)
    ]
