"""Administrative divisions from a table of codes and names: levels, parents, short names, pinyin."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from importlib.resources import files

from pypinyin import Style, lazy_pinyin

from domain.catalogue import Division, division_code, level_of_division, parent_division_code

_PEOPLES = (
    "蒙古|回|藏|维吾尔|苗|彝|壮|布依|朝鲜|满|侗|瑶|白|土家|哈尼|哈萨克|傣|黎|傈僳|佤|畲|高山|拉祜|水|东乡|"
    "纳西|景颇|柯尔克孜|土|达斡尔|仫佬|羌|布朗|撒拉|毛南|仡佬|锡伯|阿昌|普米|塔吉克|怒|乌孜别克|俄罗斯|鄂温克|"
    "德昂|保安|裕固|京|塔塔尔|独龙|鄂伦春|赫哲|门巴|珞巴|基诺|各"
)
_PEOPLE = f"(?:(?:{_PEOPLES})族|维吾尔)"
_SUFFIX = re.compile(
    f"(?:{_PEOPLE}*自治[区州县旗]|特别行政区|地区|新区|林区|矿区|{_PEOPLE}*乡|街道办事处|街道|(?<!开发|工业|管理)区|[省市县盟旗镇])$"
)

# Place names that the general dictionary reads wrongly.
_READINGS = {"马尾": "ma wei", "长泰": "chang tai"}


def short_name(name: str) -> str:
    """Give a division's name as people say it: 福州市 -> 福州, 小沧畲族乡 -> 小沧; 城区 stays what it is."""
    short = _SUFFIX.sub("", name)
    return short if len(short) >= 2 else name


def make_division(code: str, name: str) -> Division:
    """Make a division from its code and full name.

    Raises: domain.catalogue.InvalidDivisionCodeError.
    """
    code = division_code(code)
    short = short_name(name)
    pinyin = _READINGS.get(short) or " ".join(lazy_pinyin(short, style=Style.NORMAL, errors="ignore"))
    return Division(code, name, level_of_division(code), parent_division_code(code), short, pinyin)


def fujian() -> list[Division]:
    """List the divisions of Fujian: the province, 9 cities, 84 counties and their townships."""
    text = files("feeds.demo").joinpath("divisions.csv").read_text(encoding="utf-8")
    return [make_division(row["code"], row["name"]) for row in csv.DictReader(text.splitlines())]


def missing_parents(divisions: Iterable[Division]) -> set[str]:
    """Name the parents that a set of divisions refers to and lacks."""
    by_code = {division.code: division for division in divisions}
    return {
        division.parent_code
        for division in by_code.values()
        if division.parent_code is not None and division.parent_code not in by_code
    }
