"""Personal data in what people write, found by rules and taken out before anything is published.

Detectors read a *view* of the text: width folded, digits of every script made 0-9, invisible characters
dropped, every finding one private character. They run until none finds anything more; since the view of a
redacted text is the view at which they stopped, redacting once is redacting for good.
"""

from __future__ import annotations

import re
import unicodedata
from enum import StrEnum
from functools import lru_cache
from typing import Final

from msgspec import Struct

from domain.redaction_names import find_names
from domain.redaction_places import find_addresses
from domain.redaction_rules import (
    find_accounts,
    find_birth_dates,
    find_cards,
    find_emails,
    find_passports,
    find_phones,
    find_plates,
    find_resident_ids,
)


class PersonalKind(StrEnum):
    """What kind of personal data was found."""

    EMAIL = "EMAIL"
    RESIDENT_ID = "RESIDENT_ID"
    BANK_CARD = "BANK_CARD"
    PHONE = "PHONE"
    ACCOUNT = "ACCOUNT"
    """Of WeChat, QQ and the like; numbers of customers, patients, pupils and staff."""
    PASSPORT = "PASSPORT"
    PLATE = "PLATE"
    BIRTH_DATE = "BIRTH_DATE"
    ADDRESS = "ADDRESS"
    """From the building on; road and community stay."""
    NAME = "NAME"


TOKENS: Final = {
    PersonalKind.EMAIL: "〔邮箱〕",
    PersonalKind.RESIDENT_ID: "〔身份证号〕",
    PersonalKind.BANK_CARD: "〔银行卡号〕",
    PersonalKind.PHONE: "〔电话〕",
    PersonalKind.ACCOUNT: "〔账号〕",
    PersonalKind.PASSPORT: "〔证件号〕",
    PersonalKind.PLATE: "〔车牌〕",
    PersonalKind.BIRTH_DATE: "〔出生日期〕",
    PersonalKind.ADDRESS: "〔门牌〕",
    PersonalKind.NAME: "〔姓名〕",
}
"""What is put in the place of each kind."""

_FINDERS: Final = {
    PersonalKind.EMAIL: find_emails,
    PersonalKind.RESIDENT_ID: find_resident_ids,
    PersonalKind.BANK_CARD: find_cards,
    PersonalKind.PHONE: find_phones,
    PersonalKind.ACCOUNT: find_accounts,
    PersonalKind.PASSPORT: find_passports,
    PersonalKind.PLATE: find_plates,
    PersonalKind.BIRTH_DATE: find_birth_dates,
    PersonalKind.ADDRESS: find_addresses,
    PersonalKind.NAME: find_names,
}
_MARKS: Final = {kind: chr(0xE000 + number) for number, kind in enumerate(PersonalKind)}
_TOKEN: Final = re.compile("|".join(map(re.escape, TOKENS.values())))
_SEAM: Final = "\u2060"
_MOBILE_AT_SEAM: Final = re.compile(
    rf"(?:(?<={_SEAM})(?:86|0086|0)?1[3-9][0-9]{{9}}(?![0-9])"
    rf"|(?<![0-9])(?:86|0086|0)?1[3-9][0-9]{{9}}(?={_SEAM}))"
)
_MARK_OF: Final = {token: _MARKS[kind] for kind, token in TOKENS.items()}


class Finding(Struct, frozen=True):
    """One piece of personal data: characters `start` to before `end` of the text that was given."""

    kind: PersonalKind
    start: int
    end: int


class Redacted(Struct, frozen=True):
    """A text without what was found in it, and what that was, in the order of the text."""

    text: str
    found: tuple[Finding, ...]


class _View(Struct):
    """What detectors read: one character for each piece of the text from `starts[i]` to before `ends[i]`."""

    text: str
    starts: list[int]
    ends: list[int]

    def mask(self, spans: list[tuple[int, int]], mark: str) -> None:
        """Put one mark in the place of each span; they are in order and do not overlap."""
        pieces: list[str] = []
        starts: list[int] = []
        ends: list[int] = []
        done = 0
        for start, end in spans:
            pieces += self.text[done:start], mark
            starts += *self.starts[done:start], self.starts[start]
            ends += *self.ends[done:start], self.ends[end - 1]
            done = end
        self.text = "".join([*pieces, self.text[done:]])
        self.starts = starts + self.starts[done:]
        self.ends = ends + self.ends[done:]


def redact(text: str) -> Redacted:
    """Take personal data out of a text, as far as rules find it; what stays is as it was written.

    Redacting the result again changes nothing. docs/privacy-redaction.md says what is found, and how much.
    """
    found = _at_seams(text)
    view = _view_of(text, found)
    while True:
        before = len(found)
        for kind, finder in _FINDERS.items():
            if spans := finder(view.text):
                found += [Finding(kind, view.starts[start], view.ends[end - 1]) for start, end in spans]
                view.mask(spans, _MARKS[kind])
        if len(found) == before:
            break
    found = _outermost(found)
    pieces: list[str] = []
    done = 0
    for finding in found:
        pieces += text[done : finding.start], TOKENS[finding.kind]
        done = finding.end
    return Redacted("".join([*pieces, text[done:]]), tuple(found))


def _outermost(found: list[Finding]) -> list[Finding]:
    """Drop findings that lie within another, which took their marks in."""
    kept: list[Finding] = []
    for finding in sorted(found, key=lambda each: (each.start, -each.end)):
        if not kept or finding.start >= kept[-1].end:
            kept.append(finding)
    return kept


def _at_seams(text: str) -> list[Finding]:
    """Find plain mobile numbers that the view would run into other digits: 13800138000².

    A seam is a character that the view drops, or makes a digit.
    """
    if text.isascii() and text.isprintable():
        return []
    seamed = "".join(each if each.isascii() and _fold(each) else _seam_of(each) for each in text)
    return [Finding(PersonalKind.PHONE, *match.span()) for match in _MOBILE_AT_SEAM.finditer(seamed)]


def _seam_of(character: str) -> str:
    folded = _fold(character)
    return _SEAM if not folded or folded.isdecimal() else folded


def _view_of(text: str, found: list[Finding]) -> _View:
    """Make the view of a text in which tokens stand and something was found already."""
    masked = [(*token.span(), _MARK_OF[token[0]]) for token in _TOKEN.finditer(text)]
    masked += [(each.start, each.end, _MARKS[each.kind]) for each in found]
    characters: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    position = 0
    for start, end, mark in [*sorted(masked), (len(text), len(text), "")]:
        for place in range(position, start):
            if folded := _fold(text[place]):
                characters.append(folded)
                starts.append(place)
                ends.append(place + 1)
        if mark:
            characters.append(mark)
            starts.append(start)
            ends.append(end)
        position = end
    return _View("".join(characters), starts, ends)


@lru_cache(maxsize=16_384)
def _fold(character: str) -> str:
    """Give the one character that detectors read for one of the text, or nothing for an invisible one."""
    if character.isascii():
        return character if character.isprintable() or character in "\t\n\r" else ""
    category = unicodedata.category(character)
    if category in {"Cf", "Mn", "Me", "Cc"}:
        return ""
    if category == "Co":
        return "\ufffd"
    digit = unicodedata.decimal(character, None)
    if digit is not None:
        return str(digit)
    folded = unicodedata.normalize("NFKC", character)
    return folded if len(folded) == 1 else character
