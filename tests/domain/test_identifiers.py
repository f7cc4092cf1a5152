"""Numbers of people and companies: real forms pass, every single slip is found."""

from __future__ import annotations

import contextlib
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import DomainError
from domain.identifiers import (
    _COMPANY_ALPHABET,
    InvalidCompanyCodeError,
    InvalidNameError,
    InvalidPhoneError,
    InvalidResidentIdError,
    _company_check,
    _resident_check,
    company_code,
    mask_address,
    mask_name,
    mask_phone,
    mask_resident_id,
    person_name,
    phone_number,
    resident_id,
)

TODAY = date(2026, 11, 22)
births = st.dates(date(1850, 1, 1), TODAY)
residents = st.builds(
    lambda area, born, order: (head := f"{area}{born:%Y%m%d}{order:03}") + _resident_check(head + "0"),
    st.integers(110000, 659999),
    births,
    st.integers(0, 999),
)
companies = st.builds(
    lambda kind, area, rest: (head := kind + f"{area:06}" + rest) + _company_check(head + "0"),
    st.sampled_from(["91", "92", "93", "11", "12", "51", "N2"]),
    st.integers(110000, 659999),
    st.text(_COMPANY_ALPHABET, min_size=9, max_size=9),
)


def test_published_examples() -> None:
    # The example of GB 11643 and codes that companies publish on their own sites.
    assert resident_id("11010519491231002X", today=TODAY) == "11010519491231002X"
    assert resident_id(" 11010519491231002x ", today=TODAY) == "11010519491231002X"
    assert company_code("91350100M000100Y43") == "91350100M000100Y43"


@given(residents)
def test_every_wrong_digit_of_a_resident_id_is_found(number: str) -> None:
    assert resident_id(number, today=TODAY) == number
    for place in range(18):
        for other in "0123456789":
            if other == number[place]:
                continue
            slip = number[:place] + other + number[place + 1 :]
            with pytest.raises(InvalidResidentIdError):
                resident_id(slip, today=TODAY)


@given(companies)
def test_every_wrong_character_of_a_company_code_is_found(code: str) -> None:
    assert company_code(code.lower()) == code
    for place in range(18):
        other = "0" if code[place] != "0" else "1"
        with pytest.raises(InvalidCompanyCodeError):
            company_code(code[:place] + other + code[place + 1 :])


@pytest.mark.parametrize("number", ["", "1", "350102199002301239", "350102202611230010", "３５０１０２"])
def test_what_is_no_resident_id(number: str) -> None:
    head = number[:17]
    number = head + _resident_check(head + "0") if head.isascii() and len(head) == 17 else number
    with pytest.raises(InvalidResidentIdError):
        resident_id(number, today=TODAY)


@pytest.mark.parametrize("text", ["13800138000", "+86 138-0013-8000", "8613800138000", "0086 13800138000"])
def test_phone_numbers(text: str) -> None:
    assert phone_number(text) == "13800138000"


@pytest.mark.parametrize(
    "text", ["", "12800138000", "1380013800", "138001380000", "１３８００１３８０００", "+113800138000"]
)
def test_what_is_no_phone_number(text: str) -> None:
    with pytest.raises(InvalidPhoneError) as caught:
        phone_number(text)
    assert caught.value.params == {"field": "phone"}


@given(st.text(max_size=60))
def test_any_text_is_taken_or_refused(text: str) -> None:
    for check in (phone_number, company_code, person_name, lambda given: resident_id(given, today=TODAY)):
        with contextlib.suppress(DomainError):
            assert check(check(text)) == check(text)


def test_names() -> None:
    assert person_name(" 林小明 ") == "林小明"
    assert person_name("阿卜杜拉•买买提") == "阿卜杜拉·买买提"
    assert person_name("John  Smith") == "John Smith"
    for text in ("林", "林1", "<b>林</b>", "A" * 51, "··"):
        with pytest.raises(InvalidNameError):
            person_name(text)


def test_masks() -> None:
    assert mask_phone("13812345678") == "138****5678"
    assert mask_resident_id("11010519491231002X") == "110*************2X"
    assert (mask_name("张三"), mask_name("欧阳小明")) == ("*三", "***明")
    assert mask_address("福州市鼓楼区湖东路100号") == "福州市鼓楼区****"
