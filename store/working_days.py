"""Calendars of years that are not shipped: notices of the State Council as files of the form holiday-cn."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from domain.errors import DomainError
from domain.working_days import PublishedYear, WorkingCalendar, calendar_of

_MAX_BYTES = 1_000_000


class InvalidHolidaysError(DomainError):
    """A file of holidays that cannot be read or does not hold together; `reason` says where and why."""

    code = "INVALID_HOLIDAYS"


class _Day(Struct, rename="camel"):
    name: str
    date: date
    is_off_day: bool


class _Notice(Struct):
    year: Annotated[int, Meta(ge=1949, le=2200)]
    days: list[_Day]


def load_calendar(folder: Path | None) -> WorkingCalendar:
    """Build the calendar from what is shipped and every `*.json` in a folder; None: from what is shipped.

    A file without days, as holiday-cn keeps for a year whose notice is awaited, is passed over.

    Raises: InvalidHolidaysError.
    """
    if folder is None:
        return calendar_of()
    if not folder.is_dir():
        raise InvalidHolidaysError(reason=f"{folder}: there is no such folder")
    notices = (parse_holidays(file) for file in sorted(folder.glob("*.json")))
    return calendar_of([notice for notice in notices if notice is not None])


def parse_holidays(file: Path) -> PublishedYear | None:
    """Read one year's notice: `{year, days: [{name, date, isOffDay}]}`; None when it has no days yet.

    Raises: InvalidHolidaysError.
    """
    try:
        if file.stat().st_size > _MAX_BYTES:
            raise InvalidHolidaysError(reason=f"{file}: larger than {_MAX_BYTES} bytes")
        notice = msgspec.json.decode(file.read_bytes(), type=_Notice)
    except OSError as error:
        raise InvalidHolidaysError(reason=f"{file}: {error.strerror or error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidHolidaysError(reason=f"{file}: {error}") from error
    if problem := _problem(notice):
        raise InvalidHolidaysError(reason=f"{file}: {problem}")
    if not notice.days:
        return None
    return PublishedYear(
        notice.year,
        frozenset(day.date for day in notice.days if day.is_off_day),
        frozenset(day.date for day in notice.days if not day.is_off_day),
    )


def _problem(notice: _Notice) -> str | None:
    seen: set[date] = set()
    for number, day in enumerate(notice.days):
        place = f"days[{number}] ({day.date})"
        if abs(day.date.year - notice.year) > 1:
            return f"{place} is not of the year {notice.year}"
        if day.date in seen:
            return f"{place} is there twice"
        seen.add(day.date)
    return None
