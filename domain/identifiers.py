"""Numbers that name people and companies: their form, their check digits, and how they are shown."""

from __future__ import annotations

import re
from datetime import date
from typing import Final

from domain.errors import DomainError

_PHONE: Final = re.compile(r"(?:\+?86|0086)?(1[3-9][0-9]{9})", re.ASCII)
_RESIDENT_ID: Final = re.compile(r"[1-9][0-9]{16}[0-9X]", re.ASCII)
_RESIDENT_WEIGHTS: Final = tuple(pow(2, 17 - place, 11) for place in range(17))
_RESIDENT_CHECKS: Final = "10X98765432"
_COMPANY_ALPHABET: Final = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_COMPANY_CODE: Final = re.compile(f"[{_COMPANY_ALPHABET}]{{2}}[0-9]{{6}}[{_COMPANY_ALPHABET}]{{10}}")
_COMPANY_WEIGHTS: Final = tuple(pow(3, place, 31) for place in range(17))
_NAME: Final = re.compile(r"[\u3400-\u9fff\U00020000-\U000323af]+(?:·[\u3400-\u9fff]+)*")
_LATIN_NAME: Final = re.compile(r"[A-Z][A-Z .'-]*", re.IGNORECASE | re.ASCII)
MAX_NAME: Final = 50


class InvalidPhoneError(DomainError):
    """A text that is no mobile number of the mainland."""

    code = "INVALID_PHONE"


class InvalidResidentIdError(DomainError):
    """A text that is no resident id number."""

    code = "INVALID_RESIDENT_ID"


class InvalidCompanyCodeError(DomainError):
    """A text that is no unified social credit code."""

    code = "INVALID_COMPANY_CODE"


class InvalidNameError(DomainError):
    """A text that cannot be a person's name."""

    code = "INVALID_NAME"


def phone_number(text: str) -> str:
    """Bring a mainland mobile number to its 11 digits; blanks, hyphens and the country code are dropped.

    Raises: InvalidPhoneError.
    """
    found = _PHONE.fullmatch(re.sub(r"[ -]", "", text[:30]))
    if found is None:
        raise InvalidPhoneError(field="phone")
    return found[1]


def resident_id(text: str, *, today: date) -> str:
    """Bring a resident id number to its 18 characters, and check its birth date and its check digit.

    Raises: InvalidResidentIdError. Source: GB 11643-1999, 4 and annex A (ISO 7064, MOD 11-2).
    """
    number = text[:30].strip().upper()
    if _RESIDENT_ID.fullmatch(number) is None or number[17] != _resident_check(number):
        raise InvalidResidentIdError(field="residentId")
    try:
        born = date(int(number[6:10]), int(number[10:12]), int(number[12:14]))
    except ValueError as error:
        raise InvalidResidentIdError(field="residentId") from error
    if not date(1850, 1, 1) <= born <= today:
        raise InvalidResidentIdError(field="residentId")
    return number


def _resident_check(number: str) -> str:
    return _RESIDENT_CHECKS[sum(int(n) * w for n, w in zip(number[:17], _RESIDENT_WEIGHTS, strict=True)) % 11]


def company_code(text: str) -> str:
    """Bring a unified social credit code to its 18 characters and check its check digit.

    Raises: InvalidCompanyCodeError. Source: GB 32100-2015, 4 and 6 (MOD 31).
    """
    code = text[:30].strip().upper()
    if _COMPANY_CODE.fullmatch(code) is None or code[17] != _company_check(code):
        raise InvalidCompanyCodeError(field="companyCode")
    return code


def _company_check(code: str) -> str:
    values = (_COMPANY_ALPHABET.index(character) for character in code[:17])
    total = sum(value * weight for value, weight in zip(values, _COMPANY_WEIGHTS, strict=True))
    return _COMPANY_ALPHABET[-total % 31]


def person_name(text: str) -> str:
    """Bring a person's name to one form: no blanks around it, one kind of middle dot.

    Raises: InvalidNameError.
    """
    name = re.sub("[•・‧･．.]", "·", text.strip()) if not text.isascii() else " ".join(text.split())
    fits = _NAME.fullmatch(name) or _LATIN_NAME.fullmatch(name)
    if not fits or not 2 <= len(name) <= MAX_NAME:
        raise InvalidNameError(field="name", maximum=MAX_NAME)
    return name


def mask_phone(phone: str) -> str:
    """Hide the middle of a phone number: 138****5678."""
    return f"{phone[:3]}****{phone[-4:]}"


def mask_resident_id(number: str) -> str:
    """Hide all of a resident id number but its first three and last two characters."""
    return f"{number[:3]}{'*' * 13}{number[-2:]}"


def mask_name(name: str) -> str:
    """Hide a name but its last character: *三, **明, **********r."""
    return "*" * (len(name) - 1) + name[-1]


def mask_address(address: str) -> str:
    """Hide an address but its first six characters, which name the division at most."""
    return f"{address[:6]}****"
