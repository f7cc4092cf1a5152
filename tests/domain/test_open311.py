"""What partners send over Open311 is read strictly or refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.complaints import ContactWish, Kind, Point
from domain.errors import DomainError
from domain.open311 import (
    MAX_ROWS,
    MAX_SPAN,
    InvalidOpen311Error,
    NewRequest,
    clean,
    read_comment,
    read_instant,
    read_new,
    read_page,
    read_span,
    read_wanted,
)

NOW = datetime(2026, 11, 22, 4, tzinfo=UTC)
FORM = st.dictionaries(
    st.sampled_from(
        [
            *("service_request_id", "service_code", "start_date", "end_date", "status", "page", "per_page"),
            *("page_size", "jurisdiction_id", "lat", "long", "description", "update_id", "phone", "email"),
            *("first_name", "last_name", "address_string", "attribute[kind]", "attribute[public]"),
        ]
    ),
    st.lists(st.text(max_size=30) | st.datetimes().map(lambda at: f"{at.isoformat()}Z"), max_size=3),
)


def test_a_request_is_read_as_the_citizen_meant_it() -> None:
    form = {
        "service_code": ["0101"],
        "lat": ["26.08"],
        "long": ["119.3"],
        "description": [" 垃圾\x07满溢\r\n三天 "],
        "first_name": ["小明"],
        "last_name": ["林"],
        "phone": ["+86 (138) 0013-8000"],
        "email": ["a@example.com"],
        "attribute[kind]": ["HELP"],
        "jurisdiction_id": ["350102000000"],
    }
    new = NewRequest(
        kind=Kind.HELP,
        service_code="0101",
        description="垃圾满溢\n三天",
        contact=ContactWish.NAMED,
        is_public_wished=True,
        division_code="350102",
        point=Point(119.3, 26.08),
        name="林小明",
        phone="+861380013-8000",
    )
    assert read_new(form) == new
    english = read_new({**form, "first_name": ["Ann"], "last_name": ["Lee"]})
    assert english.name == "Ann Lee"
    nameless = read_new({**form, "first_name": [""], "last_name": [""]})
    assert (nameless.contact, nameless.name) == (ContactWish.PHONE_ONLY, None)
    anonymous = read_new({**form, "phone": [" "], "attribute[public]": ["false"]})
    assert (anonymous.contact, anonymous.name, anonymous.phone) == (ContactWish.ANONYMOUS, None, None)
    assert anonymous.is_public_wished is False


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-22T12:00:00+08:00", NOW),
        ("2026-11-22T12:00:00 08:00", NOW),
        ("2026-11-22T04:00:00Z", NOW),
        ("", None),
    ],
)
def test_instants(text: str, expected: datetime | None) -> None:
    assert read_instant({"start_date": [text]}, "start_date") == expected


@pytest.mark.parametrize("text", ["2026-11-22", "2026-11-22T04:00:00", "1999-12-31T23:59:59Z", "soon"])
def test_instants_without_a_zone_or_far_away_are_refused(text: str) -> None:
    with pytest.raises(InvalidOpen311Error):
        read_instant({"start_date": [text]}, "start_date")


def test_spans_are_ninety_days_at_most() -> None:
    day = timedelta(days=1)
    assert read_span({}, now=NOW) == (NOW - MAX_SPAN, NOW)
    start = {"start_date": [(NOW - 200 * day).isoformat()]}
    assert read_span(start, now=NOW) == (NOW - 200 * day, NOW - 110 * day)
    end = {"end_date": [(NOW - 200 * day).isoformat()]}
    assert read_span(end, now=NOW) == (NOW - 290 * day, NOW - 200 * day)
    for wrong in (NOW - 201 * day, NOW):
        with pytest.raises(InvalidOpen311Error):
            read_span({**start, "end_date": [wrong.isoformat()]}, now=NOW)


def test_pages_end_where_they_would_become_dear() -> None:
    assert read_page({}) == (0, 50)
    assert read_page({"page": ["10"], "page_size": ["200"]}) == (1800, 200)
    assert read_page({"page": ["2"], "per_page": ["7"]}) == (7, 7)
    for page, size in (("11", "200"), ("0", "5"), ("1", "201"), ("-1", "5"), ("1.5", "5"), ("٣", "5")):
        with pytest.raises(InvalidOpen311Error):
            read_page({"page": [page], "page_size": [size]})


@given(FORM)
def test_whatever_is_sent_is_read_or_refused(form: dict[str, list[str]]) -> None:
    for read in (read_new, read_comment, lambda given: read_wanted(given, now=NOW)):
        try:
            found = read(form)
        except DomainError:
            continue
        if isinstance(found, NewRequest):
            assert clean(found.description) == found.description
            assert (found.point, found.address) != (None, None)
        elif hasattr(found, "skip"):
            assert timedelta() <= found.end - found.start <= MAX_SPAN
            assert found.skip + found.first <= MAX_ROWS
