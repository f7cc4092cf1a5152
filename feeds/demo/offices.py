"""The demo province's departments: who implements an item in which division, where and by which telephone.

Every number here is made up. Telephone numbers begin with 90 after the area code, which no subscriber has.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from importlib.resources import files

from domain.catalogue import Division, Level
from feeds.catalogue_divisions import fujian, short_name

_AREA_CODES = dict(
    zip(
        ("3500", "3501", "3502", "3509", "3503", "3505", "3506", "3508", "3504", "3507"),
        ("0591", "0591", "0592", "0593", "0594", "0595", "0596", "0597", "0598", "0599"),
        strict=True,
    )
)
_NOT_ADMINISTERED = "350527"  # 金门县: part of the list of divisions, with no departments of this province
_OWN_HALL = {"bdc", "gjj", "sw", "crj", "jj", "gaj", "gzc", "dl", "gs", "rq", "gd", "hg", "ycj"}
_ROADS = (  # noqa: SIM905
    "人民路 解放路 中山路 建设路 新华路 文化路 和平路 朝阳路 滨江路 滨海大道 民生路 府前路 东大路 西环路 "
    "南环路 北环路 学府路 公园路 龙腾路 凤凰路 榕城路 茶亭路 云山路 江滨中路 湖滨路 通港路 迎宾路 兴业路 "
    "金山路 振兴路"
).split()
_HOURS = (
    "周一至周五 9:00—12:00，13:30—17:00（法定节假日除外）",
    "周一至周五 8:30—12:00，14:30—17:30（法定节假日除外）",
    "周一至周五 9:00—17:00，周六 9:00—12:00（法定节假日除外）",
    "周一至周五 8:30—12:00，15:00—18:00（夏令时）；14:30—17:30（冬令时），法定节假日除外",
)
_CREDIT_DIGITS = "0123456789ABCDEFGHJKLMNPQRTUWXY"  # GB 32100: no I, O, S, V, Z
_ORGANISATION_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True)
class OfficePattern:
    """How the departments of one kind are called on each level; `kind` begins their credit codes."""

    key: str
    kind: str
    names: dict[Level, str]


@dataclass(frozen=True, slots=True)
class Office:
    """One department in one division."""

    name: str
    credit_code: str
    address: str
    hours: str
    phone: str
    complaints_phone: str


@cache
def office_patterns() -> dict[str, OfficePattern]:
    """Read the kinds of departments, by key."""
    text = files("feeds.demo").joinpath("offices.csv").read_text(encoding="utf-8")
    levels = (Level.PROVINCE, Level.CITY, Level.COUNTY, Level.TOWNSHIP)
    return {
        row["key"]: OfficePattern(
            row["key"], row["kind"], {level: row[level.value.lower()] for level in levels}
        )
        for row in csv.DictReader(text.splitlines())
    }


def organisation_check(body: str) -> str:
    """Compute the check character of an organisation code's 8 characters. Source: GB 11714."""
    weights = (3, 7, 9, 10, 5, 8, 4, 2)
    total = sum(w * _ORGANISATION_DIGITS.index(c) for w, c in zip(weights, body, strict=True))
    rest = 11 - total % 11
    return "X" if rest == 10 else "0" if rest == 11 else str(rest)


def credit_check(body: str) -> str:
    """Compute the check character of a unified social credit code's 17 characters. Source: GB 32100."""
    total = sum(pow(3, i, 31) * _CREDIT_DIGITS.index(c) for i, c in enumerate(body))
    return _CREDIT_DIGITS[-total % 31]


def _digest(*parts: str) -> bytes:
    return blake2b("\0".join(parts).encode(), digest_size=16).digest()


class Province:
    """The divisions of the demo and the departments in them, all computed from `seed`."""

    def __init__(self, seed: int) -> None:
        self._seed = str(seed)
        self.divisions = fujian()
        self._by_code = {division.code: division for division in self.divisions}
        self._credit_codes: dict[tuple[str, str], str] = {}
        self._taken: set[str] = set()
        self.by_level: dict[Level, list[Division]] = {
            level: [
                d for d in self.divisions if d.level is level and not d.code.startswith(_NOT_ADMINISTERED)
            ]
            for level in (Level.PROVINCE, Level.CITY, Level.COUNTY, Level.TOWNSHIP)
        }
        self._words = {division.code: self._name_parts(division) for division in self.divisions}

    def lineage(self, division: Division) -> Sequence[Division]:
        """List a division and its ancestors, nearest first."""
        found = [division]
        while (parent := found[-1].parent_code) is not None:
            found.append(self._by_code[parent])
        return found

    def _name_parts(self, division: Division) -> dict[str, str]:
        at = {each.level: each for each in self.lineage(division)}
        city, county, town = (at.get(level) for level in (Level.CITY, Level.COUNTY, Level.TOWNSHIP))
        parts = {"province": "福建省"}
        if city is not None:
            parts.update(city=city.name, city_short=city.short_name)
        if city is not None and county is not None:
            is_district = county.name.endswith("区")
            local = city.name + county.name if is_district else county.name
            police = f"{city.name}公安局{county.short_name}分局" if is_district else f"{county.name}公安局"
            parts.update(county=county.name, county_short=county.short_name, local=local, police=police)
        if town is not None:
            parts.update(town=town.name, town_short=short_name(town.name))
        return parts

    def office(self, key: str, division: Division) -> Office:
        """Give the department of a kind in a division."""
        pattern = office_patterns()[key]
        name = pattern.names[division.level].format_map(self._words[division.code])
        # One centre serves for many kinds of departments: a public institution whoever delegates to it.
        kind = "12" if name.endswith("便民服务中心") else pattern.kind
        digest = _digest(self._seed, division.code, name)
        area = _AREA_CODES[division.code[:4]]
        width = 6 if area in ("0591", "0592", "0595") else 5
        numbers = [int.from_bytes(digest[i : i + 4], "big") % 10**width for i in (0, 4)]
        phone, complaints = (f"{area}-90{number:0{width}d}" for number in numbers)
        return Office(
            name,
            self._credit_code(kind, division, name),
            self._address(key, division, digest),
            _HOURS[_digest(self._seed, division.code[:4])[0] % len(_HOURS)],
            phone,
            complaints,
        )

    def _address(self, key: str, division: Division, digest: bytes) -> str:
        own_hall = key in _OWN_HALL and division.level is not Level.TOWNSHIP
        site = digest if own_hall else _digest(self._seed, "hall", division.code)
        place = "".join(each.name for each in reversed(self.lineage(division)))
        place += "福州市" if division.level is Level.PROVINCE else ""
        road = f"{_ROADS[site[0] % len(_ROADS)]}{site[1] + 1}号"
        window = digest[9] % 48 + 1
        if division.level is Level.TOWNSHIP:
            return f"{place}{road}便民服务中心{window % 9 + 1}号窗口"
        hall = "办证大厅" if own_hall else f"政务服务中心{digest[8] % 4 + 1}楼{'ABCD'[digest[10] % 4]}区"
        return f"{place}{road}{hall}{window}号窗口"

    def _credit_code(self, kind: str, division: Division, name: str) -> str:
        known = self._credit_codes.get((division.code, name))
        if known is not None:
            return known
        for attempt in range(100):
            number = int.from_bytes(_digest("credit", division.code, name, str(attempt))[:6], "big")
            body = "MB" + f"{number % 10**6:06d}"
            code = f"{kind}{division.code[:6]}{body}{organisation_check(body)}"
            code += credit_check(code)
            if code not in self._taken:
                break
        else:
            raise RuntimeError(f"no free credit code for {name}")
        self._taken.add(code)
        self._credit_codes[division.code, name] = code
        return code
