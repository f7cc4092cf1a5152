"""Open311 GeoReport v2: what partners send, read strictly. Rules only.

Source: wiki.open311.org/GeoReport_v2, with the extensions `page`, `page_size` and, by mySociety,
`servicerequestupdates`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, TypeVar

from msgspec import Struct

from domain.catalogue import InvalidDivisionCodeError, division_code
from domain.complaints import MAX_TEXT_CHARS, ContactWish, Kind, Point
from domain.errors import DomainError
from domain.preferences import SHANGHAI

MAX_SPAN: Final = timedelta(days=90)
MAX_IDS: Final = 50
MAX_CODES: Final = 10
PER_PAGE: Final = 50
MAX_PER_PAGE: Final = 200
MAX_ROWS: Final = 2_000
"""So deep pages go: whoever wants more narrows the dates."""
MAX_ADDRESS: Final = 200
MAX_NAME: Final = 40
_NUMBER: Final = re.compile(r"[+-]?\d{1,3}(\.\d{1,20})?", re.ASCII)
_COUNT: Final = re.compile(r"\d{1,4}", re.ASCII)
_PHONE: Final = re.compile(r"\+?[0-9\-]{5,20}", re.ASCII)
_ID: Final = re.compile(r"[a-z2-7]{16}", re.ASCII)
_SERVICE: Final = re.compile(r"\d{2,4}", re.ASCII)
_YEARS: Final = range(2000, 2101)
_UNWANTED: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufdd0-\ufdef\ufffe\uffff]")

T = TypeVar("T")
Form = Mapping[str, Sequence[str]]
"""Parameters by name, each with all its values."""


class InvalidOpen311Error(DomainError):
    """A parameter is missing or out of bounds; `name` names it, `expected` says what it should be."""

    code = "INVALID_OPEN311_PARAMETER"


class UnknownServiceRequestError(DomainError):
    """No service request has that id, or it is not for whoever asks."""

    code = "UNKNOWN_SERVICE_REQUEST"


class UnknownServiceError(DomainError):
    """No service has that code."""

    code = "UNKNOWN_SERVICE"


class UnknownEndpointError(DomainError):
    """An address below `/open311` at which there is nothing."""

    code = "UNKNOWN_OPEN311_ENDPOINT"


class UnknownJurisdictionError(DomainError):
    """A `jurisdiction_id` that names no division served here."""

    code = "UNKNOWN_JURISDICTION"


class JurisdictionNeededError(DomainError):
    """Nothing tells in which division a request lies."""

    code = "JURISDICTION_NEEDED"


class InvalidApiKeyError(DomainError):
    """A key that is missing, unknown, revoked or not meant for this."""

    code = "INVALID_API_KEY"


class KeyScope(StrEnum):
    """What a key is good for."""

    READ = "READ"
    """A partner's own limits for reading."""
    WRITE = "WRITE"
    """Posting requests and comments as well."""


class ApiKey(Struct, frozen=True):
    """A partner's key, without its secret; `division_code`: requests lie there or below, None: anywhere."""

    id: str
    name: str
    contact: str
    scope: KeyScope
    per_minute: int
    per_day: int
    created_at: datetime
    division_code: str | None = None
    revoked_at: datetime | None = None

    @property
    def account(self) -> str:
        """Name the partner as histories do."""
        return f"{ACCOUNT_PREFIX}{self.id}"


ACCOUNT_PREFIX: Final = "open311:"


class Wanted(Struct, frozen=True):
    """Which service requests are asked for; `ids` override everything else, None does not restrict.

    `start` to `end`, both included, is when they were submitted; rows `skip` to before `skip + first`.
    """

    start: datetime
    end: datetime
    skip: int = 0
    first: int = PER_PAGE
    ids: tuple[str, ...] = ()
    service_codes: tuple[str, ...] = ()
    is_open: bool | None = None
    division_code: str | None = None


class NewRequest(Struct, frozen=True):
    """A matter as a partner hands it over."""

    kind: Kind
    service_code: str
    description: str
    contact: ContactWish
    is_public_wished: bool
    division_code: str | None = None
    point: Point | None = None
    address: str | None = None
    name: str | None = None
    phone: str | None = None


class NewComment(Struct, frozen=True):
    """A comment of a partner on one of its requests; `update_id` is the partner's own."""

    request_id: str
    text: str
    update_id: str | None = None


def one(form: Form, name: str) -> str | None:
    """Give the last value of a parameter, stripped; an empty one counts as not given."""
    values = form.get(name)
    return (values[-1].strip() or None) if values else None


def many(form: Form, name: str, most: int) -> tuple[str, ...]:
    """Give the values of a parameter that is repeated or divided by commas, each once.

    Raises: InvalidOpen311Error for more than `most`.
    """
    parts = (part.strip() for value in form.get(name, ()) for part in value.split(","))
    found = tuple(dict.fromkeys(part for part in parts if part))
    if len(found) > most:
        raise InvalidOpen311Error(name=name, expected=f"at most {most} values")
    return found


def clean(text: str) -> str:
    """Drop control characters, which neither XML nor people can read, but for line breaks and tabs."""
    return _UNWANTED.sub("", text.replace("\r\n", "\n")).strip()


def read_instant(form: Form, name: str) -> datetime | None:
    """Read an instant in the W3C's form with its zone, 2000 to 2100.

    A zone's plus sign that a query string has turned into a blank is taken back.
    Raises: InvalidOpen311Error.
    """
    text = one(form, name)
    if text is None:
        return None
    try:
        instant = datetime.fromisoformat(re.sub(r" (?=\d\d:\d\d$)", "+", text))
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None or instant.year not in _YEARS:
        raise InvalidOpen311Error(name=name, expected="an instant with a zone: 2026-11-22T08:00:00+08:00")
    return instant


def read_span(form: Form, *, now: datetime) -> tuple[datetime, datetime]:
    """Read `start_date` and `end_date`; what is missing makes a span of 90 days, by default the last ones.

    Raises: InvalidOpen311Error for longer ones and those that end before they begin.
    """
    start, end = read_instant(form, "start_date"), read_instant(form, "end_date")
    if start is None:
        end = end or now
        start = end - MAX_SPAN
    end = end or start + MAX_SPAN
    if end < start or end - start > MAX_SPAN:
        raise InvalidOpen311Error(name="end_date", expected="at most 90 days after start_date")
    return start, end


def read_page(form: Form) -> tuple[int, int]:
    """Read `page` (from 1) and `page_size` or `per_page`, at most 200; give how many to skip and to show.

    Raises: InvalidOpen311Error, also beyond 2,000 rows.
    """
    size = _count(form, "page_size" if one(form, "page_size") else "per_page", PER_PAGE, MAX_PER_PAGE)
    page = _count(form, "page", 1, MAX_ROWS)
    if page * size > MAX_ROWS:
        raise InvalidOpen311Error(name="page", expected=f"within {MAX_ROWS} rows; narrow the dates")
    return (page - 1) * size, size


def _count(form: Form, name: str, default: int, most: int) -> int:
    text = one(form, name)
    if text is None:
        return default
    if not _COUNT.fullmatch(text) or not 1 <= int(text) <= most:
        raise InvalidOpen311Error(name=name, expected=f"1 to {most}")
    return int(text)


def read_wanted(form: Form, *, now: datetime) -> Wanted:
    """Read what a list of service requests is to show. Raises: InvalidOpen311Error."""
    ids = many(form, "service_request_id", MAX_IDS)
    start, end = read_span(form, now=now)
    skip, first = read_page(form)
    codes = many(form, "service_code", MAX_CODES)
    if not all(_SERVICE.fullmatch(code) for code in codes):
        raise InvalidOpen311Error(name="service_code", expected="codes of services, divided by commas")
    statuses = set(many(form, "status", MAX_CODES))
    if not statuses <= {"open", "closed"}:
        raise InvalidOpen311Error(name="status", expected="open, closed or both")
    return Wanted(
        start=start,
        end=end,
        skip=skip,
        first=first,
        ids=ids,
        service_codes=codes,
        is_open=None if len(statuses) != 1 else "open" in statuses,
        division_code=read_jurisdiction(form),
    )


def read_jurisdiction(form: Form) -> str | None:
    """Read `jurisdiction_id`, a division's code. Raises: UnknownJurisdictionError for what can be none."""
    text = one(form, "jurisdiction_id")
    if text is None:
        return None
    try:
        return division_code(text)
    except InvalidDivisionCodeError:
        raise UnknownJurisdictionError(id=text[:20]) from None


def read_request_id(text: str) -> str:
    """Give an id of a service request back. Raises: UnknownServiceRequestError for what can be none."""
    if not _ID.fullmatch(text):
        raise UnknownServiceRequestError(id=text[:20])
    return text


def read_new(form: Form) -> NewRequest:
    """Read a posted service request. Raises: InvalidOpen311Error, UnknownJurisdictionError.

    What cannot be kept (`email`, `account_id`, `device_id`, `media_url`) is passed over; a `media_url` is
    never fetched.
    """
    code = one(form, "service_code")
    if code is None or not _SERVICE.fullmatch(code):
        raise InvalidOpen311Error(name="service_code", expected="the code of a service")
    point = read_point(form)
    address = _text(form, "address_string", MAX_ADDRESS) or _text(form, "address_id", MAX_ADDRESS)
    if point is None and address is None:
        raise InvalidOpen311Error(name="lat", expected="lat and long, address_string or address_id")
    name, phone = _name(form), _phone(form)
    contact = ContactWish.ANONYMOUS
    if phone is not None:
        contact = ContactWish.PHONE_ONLY if name is None else ContactWish.NAMED
    return NewRequest(
        kind=_choice(form, "attribute[kind]", {kind.value: kind for kind in Kind}, Kind.COMPLAINT),
        service_code=code,
        description=_required(form, "description", MAX_TEXT_CHARS),
        contact=contact,
        is_public_wished=_choice(form, "attribute[public]", {"true": True, "false": False}, True),
        division_code=read_jurisdiction(form),
        point=point,
        address=address,
        name=name if phone is not None else None,
        phone=phone,
    )


def read_comment(form: Form) -> NewComment:
    """Read a posted comment. Raises: InvalidOpen311Error, UnknownServiceRequestError."""
    return NewComment(
        request_id=read_request_id(one(form, "service_request_id") or ""),
        text=_required(form, "description", MAX_TEXT_CHARS),
        update_id=_text(form, "update_id", 64),
    )


def read_point(form: Form) -> Point | None:
    """Read `lat` and `long`, WGS-84, degrees; both or neither. Raises: InvalidOpen311Error."""
    latitude, longitude = _degrees(form, "lat", 90), _degrees(form, "long", 180)
    if (latitude is None) != (longitude is None):
        raise InvalidOpen311Error(name="lat" if latitude is None else "long", expected="both lat and long")
    return None if latitude is None or longitude is None else Point(longitude, latitude)


def _degrees(form: Form, name: str, most: int) -> float | None:
    text = one(form, name)
    if text is None:
        return None
    degrees = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not -most <= degrees <= most:
        raise InvalidOpen311Error(name=name, expected=f"degrees (WGS-84), -{most} to {most}")
    return degrees


def _text(form: Form, name: str, most: int) -> str | None:
    text = clean(one(form, name) or "")
    if len(text) > most:
        raise InvalidOpen311Error(name=name, expected=f"at most {most} characters")
    return text or None


def _required(form: Form, name: str, most: int) -> str:
    text = _text(form, name, most)
    if text is None:
        raise InvalidOpen311Error(name=name, expected=f"1 to {most} characters")
    return text


def _name(form: Form) -> str | None:
    """Put a name together: the family's first in Chinese, last elsewhere."""
    first, last = _text(form, "first_name", MAX_NAME), _text(form, "last_name", MAX_NAME)
    if first is None or last is None:
        return first or last
    name = f"{first} {last}" if (first + last).isascii() else f"{last}{first}"
    if len(name) > MAX_NAME:
        raise InvalidOpen311Error(name="last_name", expected=f"at most {MAX_NAME} characters in all")
    return name


def _phone(form: Form) -> str | None:
    text = one(form, "phone")
    if text is None:
        return None
    phone = re.sub(r"[ ().]", "", text)
    if not _PHONE.fullmatch(phone):
        raise InvalidOpen311Error(name="phone", expected="5 to 20 digits")
    return phone


def _choice(form: Form, name: str, choices: Mapping[str, T], default: T) -> T:
    text = one(form, name)
    if text is None:
        return default
    if text not in choices:
        raise InvalidOpen311Error(name=name, expected=" or ".join(choices))
    return choices[text]


def day_of(instant: datetime) -> str:
    """Give the day of an instant as numbers of complaints begin."""
    return f"{instant.astimezone(SHANGHAI):%y%m%d}"
