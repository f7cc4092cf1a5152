"""Numbers and addresses of the net that name a person: where they are in a folded text.

Each function gives the spans of its kind, in order, without overlaps. Every repetition in a pattern is
bounded, so the time is linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

Span = tuple[int, int]

_SPOKEN: Final = str.maketrans(
    "〇零○一二三四五六七八九幺两壹贰叁肆伍陆柒捌玖", "00012345678912" + "123456789"
)
_GAP: Final = r"[ \t.\-–—·_()]{0,2}"
_PROVINCES: Final = "(?:1[1-5]|2[1-3]|3[1-7]|4[1-6]|5[0-4]|6[1-5]|71|8[1-3])"
_MONTH_DAY: Final = r"(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])"
_IS: Final = r"(?:号码?|为|是|[ \t:：,，])"


def spoken(view: str) -> str:
    """Read Chinese numerals as digits, character by character."""
    return view.translate(_SPOKEN)


def anything(_: re.Match[str]) -> bool:
    """Accept a match as it is."""
    return True


def scan(
    pattern: re.Pattern[str], view: str, accept: Callable[[re.Match[str]], bool] = anything
) -> list[Span]:
    """Give the spans of matches that are accepted: of the group `own`, where the pattern has one.

    After a match that is not accepted the search goes on one character further, so that it hides nothing.
    """
    own: str | int = "own" if "own" in pattern.groupindex else 0
    spans: list[Span] = []
    place = 0
    while match := pattern.search(view, place):
        is_accepted = accept(match)
        if is_accepted:
            spans.append(match.span(own))
        place = match.end() if is_accepted else match.start() + 1
    return spans


def union(*parts: list[Span]) -> list[Span]:
    """Put spans together; where two overlap, they become one."""
    merged: list[Span] = []
    for start, end in sorted(span for part in parts for span in part):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


# --- telephones -----------------------------------------------------------------------------------------

_MOBILE: Final = re.compile(
    rf"(?<![0-9])(?:(?:\+|00)?86{_GAP}|0)?(?P<body>1{_GAP}[3-9](?:{_GAP}[0-9]){{9}})(?![0-9])"
)
_MASKED_MOBILE: Final = re.compile(r"(?<![0-9])1[3-9][0-9][*xX×]{3,5}[0-9]{3,4}(?![0-9])")
_LANDLINE: Final = re.compile(
    r"(?<![0-9])\(?(?:\+?86[ \-]?)?0(?:10|2[0-9]|[3-9][0-9]{2})\)?[ \-–—]{0,3}"
    r"[2-8][0-9]{2,3}[ \-]?[0-9]{4}(?:(?:[ \-–—]|转){1,2}[0-9]{1,5})?(?![0-9])"
)
_CALLED: Final = re.compile(
    r"(?:电话|手机|座机|固话|号码|联系方式|[Tt][Ee][Ll]|致电|拨打|来电|去电)"
    rf"{_IS}{{0,3}}(?P<own>(?:\+?86[ \-]?)?[0-9](?:[ \-]?[0-9]){{6,12}})(?![0-9])"
)
_OF_SERVICES: Final = re.compile(
    r"(?:400|800)[0-9]{7}|(?:0[0-9]{2,3})?(?:12345|1[0-2][0-9]{1,4}|9[56][0-9]{3,6})"
)
"""Numbers that belong to an office or a company's hotline, area code before them or not."""


def find_phones(view: str) -> list[Span]:
    """Find mobile and fixed lines, written with gaps, in full width or in Chinese numerals."""
    return union(*(_phones(each) for each in {view: None, spoken(view): None}))


def _phones(view: str) -> list[Span]:
    return union(
        scan(_MOBILE, view, _is_grouped),
        scan(_MASKED_MOBILE, view),
        scan(_LANDLINE, view),
        scan(_CALLED, view, lambda match: not _OF_SERVICES.fullmatch(re.sub("[ -]", "", match["own"]))),
    )


def _is_grouped(match: re.Match[str]) -> bool:
    """Tell a number from figures in a row: digits stand together by threes or more, or each for itself."""
    sizes = [len(group) for group in re.findall("[0-9]+", match["body"])]
    return min(sizes) >= 3 or max(sizes) == 1


# --- papers and cards -----------------------------------------------------------------------------------

_G: Final = r"[ \t\-]?"
_ID18: Final = re.compile(
    rf"(?<![0-9])[1-9](?:{_G}[0-9]){{5}}{_G}(?:1{_G}[89]|2{_G}0)(?:{_G}[0-9]){{2}}{_G}"
    rf"(?:0{_G}[1-9]|1{_G}[0-2]){_G}(?:0{_G}[1-9]|[12]{_G}[0-9]|3{_G}[01])"
    rf"(?:{_G}[0-9]){{3}}{_G}[0-9Xx](?![0-9A-Za-z])"
)
_ID15: Final = re.compile(rf"(?<![0-9A-Za-z]){_PROVINCES}[0-9]{{6}}{_MONTH_DAY}[0-9]{{3}}(?![0-9A-Za-z])")
_ID_CALLED: Final = re.compile(
    rf"(?:身份证|身份号|证件号|身份证明|公民身份|ID ?[Cc]ard){_IS}{{0,4}}"
    r"(?P<own>[0-9](?:[ \-]?[0-9*×Xx]){5,17})(?![0-9A-Za-z])"
)
_ID_MASKED: Final = re.compile(
    rf"(?<![0-9]){_PROVINCES}[0-9]{{1,4}}[0-9*×]{{0,8}}[*×]{{4,12}}[0-9]{{0,3}}[0-9Xx](?![0-9])"
)


def find_resident_ids(view: str) -> list[Span]:
    """Find resident id numbers of 18 or 15 characters; a check digit may be wrong, the birth date may not."""
    return union(*(_resident_ids(each) for each in {view: None, spoken(view): None}))


def _resident_ids(view: str) -> list[Span]:
    return union(*(scan(pattern, view) for pattern in (_ID18, _ID15, _ID_CALLED, _ID_MASKED)))


_PASSPORT: Final = re.compile(
    r"(?<![0-9A-Za-z])(?:[EGDSPKHMegdspkhm][0-9]{8}|[Ee][A-Ha-hJ-Nj-n][0-9]{7})(?![0-9A-Za-z])"
)
_PASSPORT_CALLED: Final = re.compile(
    rf"(?:护照|通行证|回乡证|台胞证|居住证|居留证|驾驶证|驾照){_IS}{{0,4}}(?P<own>[A-Za-z0-9]{{7,18}})(?![0-9A-Za-z])"
)


def find_passports(view: str) -> list[Span]:
    """Find numbers of passports, permits and licences."""
    return union(
        scan(_PASSPORT, view),
        scan(_PASSPORT_CALLED, view, lambda match: bool(re.search("[0-9]{4}", match["own"]))),
    )


_CARD: Final = re.compile(r"(?<![0-9])[3-69](?:[ \t\-]?[0-9]){15,18}(?![0-9])")
_CARD_CALLED: Final = re.compile(
    rf"(?:卡号|银行卡|储蓄卡|信用卡|借记卡|工资卡|[账帐][号户]){_IS}{{0,4}}"
    r"(?P<own>[0-9](?:[ \-]?[0-9*]){11,22})(?![0-9])"
)


def find_cards(view: str) -> list[Span]:
    """Find numbers of bank cards: 16 to 19 digits that pass the check of ISO/IEC 7812, or called a card's."""
    spans: list[Span] = []
    place = 0
    while match := _CARD.search(view, place):
        end = _end_of_card(view, match.start(), match.end())
        if end:
            spans.append((match.start(), end))
        place = end or match.start() + 1
    return union(spans, scan(_CARD_CALLED, view))


def _end_of_card(view: str, start: int, end: int) -> int | None:
    """Find where a card's number ends: a figure behind it may look like its last group."""
    digits = [place for place in range(start, end) if view[place].isdigit()]
    for length in range(len(digits), 15, -1):
        last = digits[length - 1] + 1
        if not view[last : last + 1].isdigit() and _passes_luhn([int(view[p]) for p in digits[:length]]):
            return last
    return None


def _passes_luhn(digits: list[int]) -> bool:
    doubled = [
        digit if place % 2 == 0 else 2 * digit - 9 * (digit > 4) for place, digit in enumerate(digits[::-1])
    ]
    return sum(doubled) % 10 == 0 and any(digits)


# --- accounts -------------------------------------------------------------------------------------------

_NET: Final = re.compile(
    r"(?<![A-Za-z])(?:微信|威信|薇信|[Vv]信|[VvWw][Xx]|[Ww]e[Cc]hat|[Qq]{2}|扣扣|企鹅|抖音|快手|小红书|支付宝|钉钉|微博)群?"
    r"(?P<cue>(?:号码?|账号|帐号|ID|id|名|同号|联系|加我?|是|为|[ \t:：,，\-]){0,5})"
    r"(?P<own>[A-Za-z0-9][A-Za-z0-9_\-]{4,19})(?![A-Za-z0-9_\-])"
)
_NUMBERED: Final = re.compile(
    r"(?:户号|用户编?号|客户编?号|缴费编?号|社保(?:卡|编)?号|社会保障号|医保(?:卡|编)?号|公积金(?:账|帐|编)?号|工号|警号|胸牌号?|"
    r"学号|学籍号|考号|准考证号?|病历号|住院号|就诊号|门诊号|档案编?号|会员号|账号|帐号|账户|帐户)"
    rf"(?:{_IS}){{0,4}}(?P<own>[A-Za-z]{{0,4}}[0-9](?:[\-]?[0-9A-Za-z*]){{2,23}})(?![0-9A-Za-z])"
)


def find_accounts(view: str) -> list[Span]:
    """Find names at WeChat, QQ and the like, and numbers of customers, patients, pupils and staff."""
    return union(scan(_NET, view, _is_account), scan(_NUMBERED, view))


def _is_account(match: re.Match[str]) -> bool:
    own = match["own"]
    if own.isdigit():
        return not _OF_SERVICES.fullmatch(own)
    return any(character.isdigit() for character in own) or bool(re.search("[号名ID:：是为]", match["cue"]))


_MAIL_LOCAL: Final = re.compile(r"(?<![A-Za-z0-9])[A-Za-z0-9][A-Za-z0-9._%+\-]{0,63}\Z")
_MAIL_HOST: Final = re.compile(
    r"[ ]?[A-Za-z0-9][A-Za-z0-9\-]{0,62}(?:[.。][A-Za-z0-9\-]{1,63}){1,4}(?![A-Za-z0-9])"
)


def find_emails(view: str) -> list[Span]:
    """Find addresses of electronic mail, around each @."""
    spans: list[Span] = []
    for at in re.finditer(" ?@", view):
        floor = max(at.start() - 65, spans[-1][1] if spans else 0)
        local = _MAIL_LOCAL.search(view[floor : at.start()])
        host = _MAIL_HOST.match(view, at.end())
        if local and host:
            spans.append((floor + local.start(), host.end()))
    return spans


# --- vehicles and birthdays -----------------------------------------------------------------------------

_PLATE: Final = re.compile(
    r"[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼使][ ·.\-•]?[A-Za-z][ ·.\-•:]{0,2}"
    r"(?P<body>[A-Za-z0-9*]{5,6}|[A-Za-z0-9*]{4}[学警港澳领挂试超])(?![A-Za-z0-9*])"
)
_PLATE_CALLED: Final = re.compile(
    rf"(?:车牌|牌照|车号){_IS}{{0,3}}(?P<own>[A-Za-z][ ·.\-•]?(?P<body>[A-Za-z0-9*]{{5,6}}))(?![A-Za-z0-9*])"
)


def find_plates(view: str) -> list[Span]:
    """Find number plates of vehicles, of combustion and of new energy (GA 36-2018)."""
    return union(scan(_PLATE, view, _has_digits), scan(_PLATE_CALLED, view, _has_digits))


def _has_digits(match: re.Match[str]) -> bool:
    return sum(character in "0123456789*" for character in match["body"]) >= 2


_DATE: Final = (
    r"(?:(?:1[89]|20)[0-9]{6}|(?:(?:1[89]|20)[0-9]{2}|[0-9]{2})[ ]?[年./\-][ ]?[0-9十]{1,3}"
    r"(?:[ ]?[月./\-](?:[ ]?[0-9十]{1,3}[ ]?[日号]?)?)?)"
)
_BORN: Final = re.compile(
    r"(?:出生(?:日期|年月日?|时间|于|在)?|生日|生于|诞生于?|[Bb]irthday)(?:为|是|[ \t:：,，]){0,3}"
    rf"(?P<own>{_DATE})(?![0-9])"
)
_BORN_AFTER: Final = re.compile(rf"(?<![0-9年月])(?P<own>{_DATE})[ ]?(?:出生|生人|诞生|生日|生[，。,;；）)])")


def find_birth_dates(view: str) -> list[Span]:
    """Find dates that are called the birth of somebody."""
    read = spoken(view)
    return union(scan(_BORN, read), scan(_BORN_AFTER, read))
