"""The demo province's units: centres, governments, departments and companies on four levels, with duties.

Names come from the same patterns as those of the demo catalogue; every number is made up. The result is
always the same: nothing here depends on a seed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from domain.catalogue import Division, Level
from domain.complaint_classes import ClassList
from domain.units import Duty, Unit, UnitKind, UnitTree
from feeds.demo.offices import Province

_AT_COUNTIES: Final = (
    *("cgj", "sthj", "gaj", "jtj", "zjj", "rsj", "wjw", "scjg", "jyj", "minzheng", "zrzy", "nyj", "slj"),
)
_AT_CITIES: Final = (
    *_AT_COUNTIES,
    *("jj", "ybj", "wlj", "yjj", "tyjr", "lyj", "hyj", "sw", "gjj", "fgw", "gxj", "yzj", "xzfw", "sfj", "xf"),
)
_COMPANIES: Final = ("gs", "dl", "rq", "gd", "bus")
_BUS: Final = "bus"
_TOWN: Final = "town"
_SHARED_NAMES: Final = {"cgj"}  # at the province the department that zjj names already
_HOURS: Final = "周一至周五 8:30—12:00，14:30—17:30（法定节假日除外）"
_ALWAYS: Final = "全天 24 小时"


def demo_units(classes: ClassList) -> UnitTree:
    """Make the units of the demo province, with the duties that the classes name."""
    return UnitTree(_units(Province(1), classes))


def _units(province: Province, classes: ClassList) -> Iterator[Unit]:
    prefixes = _prefixes(classes)
    for level in (Level.PROVINCE, Level.CITY, Level.COUNTY):
        for division in province.by_level[level]:
            yield _centre(division)
            yield _government(division, ())
            keys = {
                Level.PROVINCE: [key for key in _AT_CITIES if key not in _SHARED_NAMES],
                Level.CITY: [*_AT_CITIES, *_COMPANIES],
                Level.COUNTY: [*_AT_COUNTIES],
            }[level]
            for key in keys:
                duties = prefixes.get(key, ())
                if level is Level.PROVINCE and key == "zjj":
                    duties = (*duties, *prefixes.get("cgj", ()))
                yield _department(province, key, division, duties)
    for division in province.by_level[Level.TOWNSHIP]:
        yield _government(division, prefixes.get(_TOWN, ()))


def _prefixes(classes: ClassList) -> dict[str, tuple[str, ...]]:
    """Gather the codes of each kind of unit: a group's own code for what its classes do not say otherwise."""
    found: dict[str, list[str]] = {}
    for each in classes.all:
        found.setdefault(each.duty, []).append(each.code)
    return {duty: tuple(codes) for duty, codes in found.items() if duty}


def _duties(prefixes: tuple[str, ...], division: Division) -> tuple[Duty, ...]:
    return tuple(Duty(prefix, division.code) for prefix in prefixes)


def _centre(division: Division) -> Unit:
    names = {
        Level.PROVINCE: f"{division.name}12345便民服务平台",
        Level.CITY: f"{division.name}12345政务服务便民热线中心",
        Level.COUNTY: f"{division.name}12345便民服务中心",
    }
    parent = division.parent_code
    return Unit(
        id=f"{division.code}-12345",
        name=names[division.level],
        name_en=f"12345 Centre of {_english(division)}",
        kind=UnitKind.CENTRE,
        division_code=division.code,
        parent_id=None if parent is None else f"{parent}-12345",
        hours=_ALWAYS,
        phone="12345",
    )


def _government(division: Division, prefixes: tuple[str, ...]) -> Unit:
    parent = division.parent_code
    office = "办事处" if division.name.endswith("街道") else "人民政府"
    return Unit(
        id=f"{division.code}-gov",
        name=division.name + office,
        name_en=f"Government of {_english(division)}",
        kind=UnitKind.GOVERNMENT,
        division_code=division.code,
        parent_id=None if parent is None else f"{parent}-gov",
        hours=_HOURS,
        duties=_duties(prefixes, division),
    )


def _department(province: Province, key: str, division: Division, prefixes: tuple[str, ...]) -> Unit:
    parent = division.parent_code
    above = key if key != "cgj" or division.level is not Level.CITY else "zjj"
    is_company = key in _COMPANIES
    has_parent = parent is not None and not is_company
    name = f"{division.name}公共交通集团有限公司"
    phone = ""
    if key != _BUS:
        office = province.office(key, division)
        name, phone = office.name, office.phone
    return Unit(
        id=f"{division.code}-{key}",
        name=name,
        kind=UnitKind.ENTERPRISE if is_company else UnitKind.DEPARTMENT,
        division_code=division.code,
        parent_id=f"{parent}-{above}" if has_parent else None,
        hours=_ALWAYS if is_company else _HOURS,
        phone=phone,
        is_environmental=key == "sthj",
        duties=_duties(prefixes, division),
    )


def _english(division: Division) -> str:
    return "".join(division.pinyin.split()).title()
