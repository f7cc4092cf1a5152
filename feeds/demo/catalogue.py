"""The demo province's catalogue: believable rows in the field names of the national exchange tables.

Basic items are written by hand (`items/*.csv`); who implements them, where and how fast is computed. The same
seed gives the same bytes; row ids do not depend on the seed, so that another seed updates the same items.
"""

from __future__ import annotations

import csv
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from hashlib import blake2b
from importlib.resources import files
from pathlib import Path
from typing import Any

import orjson

from domain.catalogue import Division, Level
from feeds.demo.offices import Office, Province

Row = dict[str, Any]

SOURCE = "闽政通演示目录"
_TARGET = 130_000
_COUNTY_SHARE = 0.86  # of the target, at most, for the three upper levels
_LETTERS = {"P": Level.PROVINCE, "C": Level.CITY, "X": Level.COUNTY, "T": Level.TOWNSHIP}
_LEVEL_CODES = {Level.PROVINCE: "2", Level.CITY: "3", Level.COUNTY: "4", Level.TOWNSHIP: "5"}
_AUDIENCES = {
    "P": "自然人",
    "C": "企业法人",
    "I": "事业法人",
    "S": "社会组织法人",
    "U": "非法人企业",
    "G": "行政机关",
    "O": "其他组织",
}
_RESULT_TYPES = {"证": "10", "批": "20", "其": "30"}
_DEPTHS = {0: "", 1: "I级", 2: "II级", 3: "III级", 4: "IV级"}
_FIRST_DAY = date(2021, 1, 4)
_LAST_DAY = date(2026, 11, 20)
_STEPS = {
    "immediate": ("收件", "受理", "决定", "送达"),
    "licence": ("收件", "受理", "审查", "决定", "制证", "送达"),
    "other": ("收件", "受理", "审查", "决定", "送达"),
}
_STEP_NOTES = {
    "收件": "申请人在网上或窗口提交材料，窗口当场登记。",
    "受理": "材料齐全、符合法定形式的予以受理；需要补正的一次告知。",
    "审查": "承办人员对材料进行审查，需要时组织实地核查或者专家评审。",
    "决定": "作出准予或者不予办理的决定，并说明理由。",
    "制证": "制作证照或者批文。",
    "送达": "网上送达电子证照，或者由申请人自取、邮寄送达。",
}


@dataclass(frozen=True, slots=True)
class _Limit:
    days: int | None
    kind: str  # 工作日 or 自然日

    @classmethod
    def parse(cls, text: str) -> _Limit:
        kind = "自然日" if text.endswith("d") else "工作日"
        digits = text.removesuffix("d")
        return cls(int(digits) if digits else None, kind)


@dataclass(frozen=True, slots=True)
class BasicItem:
    """A row of `items/*.csv` with what its implementations share, made once."""

    code: str
    name: str
    office: str
    levels: tuple[Level, ...]
    legal: _Limit
    promised: _Limit
    visits: int
    depth: int
    shared: Row


def _materials(text: str) -> list[Row]:
    rows = []
    for number, part in enumerate(filter(None, (each.strip() for each in text.split(";"))), 1):
        name = part.rstrip("?~@")
        flags = part[len(name) :]
        from_government = "@" in flags
        rows.append(
            {
                "material_name": name,
                "order_num": number,
                "is_need": "3" if "~" in flags else "2" if "?" in flags else "1",
                "material_type": "1" if from_government else "2" if name.endswith(("表", "书")) else "3",
                "material_format": "3",
                "source_type": "20" if from_government else "10",
                "source_explain": "政府部门核发" if from_government else "申请人自备",
                "page_num": "1",
            }
        )
    return rows


def _questions(text: str) -> list[Row]:
    pairs = (part.partition("|") for part in filter(None, (each.strip() for each in text.split(";"))))
    return [{"question": question, "answer": answer} for question, _, answer in pairs]


def _steps(kind: str) -> list[Row]:
    return [
        {"step_name": name, "order_num": number, "step_explain": _STEP_NOTES[name]}
        for number, name in enumerate(_STEPS[kind], 1)
    ]


def _basic_item(row: dict[str, str], category: str, taken: set[str]) -> BasicItem:
    legal, promised = _Limit.parse(row["legal_days"]), _Limit.parse(row["promised_days"])
    if promised.days is None:
        promised = legal
    themes = row["themes"].split(";")
    result_kind, _, result = row["result"].partition(":")
    immediate = promised.days == 0
    fee = row["fee"].strip()
    shared = {
        "task_name": row["name"],
        "task_type": row["type"],
        "task_state": "在用",
        "by_law": "\n".join(row["laws"].split(";")),
        "server_type": ",".join(_AUDIENCES[letter] for letter in row["audience"]),
        "project_type": "1" if immediate else "2",
        "accept_condition": row["conditions"],
        "keywords": row["keywords"],
        "user_topic_type": ",".join(theme[1:] for theme in themes if theme.startswith("N")),
        "corp_topic_type": ",".join(theme[1:] for theme in themes if theme.startswith("L")),
        "is_fee": "1" if fee else "0",
        "fee": [{"fee_name": "收费", "fee_stand": fee, "is_desc": "0"}] if fee else [],
        "material": _materials(row["materials"]),
        "handle_flow": _steps("immediate" if immediate else "licence" if row["type"] == "01" else "other"),
        "result_type": _RESULT_TYPES[result_kind],
        "result_name": result,
        "qa": _questions(row["faq"]),
    }
    levels = tuple(_LETTERS[letter] for letter in "PCXT" if letter in row["levels"])
    code = _basic_code(row["name"], category + row["type"], taken)
    return BasicItem(
        code,
        row["name"],
        row["office"],
        levels,
        legal,
        promised,
        int(row["visits"]),
        int(row["depth"]),
        shared,
    )


def _basic_code(name: str, kind: str, taken: set[str]) -> str:
    """Make a basic code from the name, so that a new item does not change the codes of the others."""
    number = int.from_bytes(_digest("basic", name)[:6], "big")
    while (code := f"35{kind}{number % 10**6:06d}") in taken:
        number += 1
    taken.add(code)
    return code


@cache
def basic_items() -> tuple[BasicItem, ...]:
    """Read the items that were written by hand, in the order of the categories' codes."""
    folder = files("feeds.demo").joinpath("items")
    items = []
    taken: set[str] = set()
    for file in sorted(folder.iterdir(), key=lambda each: each.name):
        if file.name.endswith(".csv"):
            rows = csv.DictReader(file.read_text(encoding="utf-8").splitlines(keepends=True))
            items += [_basic_item(row, file.name[:2], taken) for row in rows]
    return tuple(items)


def _digest(*parts: str) -> bytes:
    return blake2b("\0".join(parts).encode(), digest_size=16).digest()


def _fraction(*parts: str) -> float:
    return int.from_bytes(_digest(*parts)[:6], "big") / 2**48


class _Selection:
    """Chooses where an item is implemented, so that the whole comes near the target.

    A county's townships take an item over together, town districts more often than the countryside.
    """

    def __init__(self, province: Province, items: tuple[BasicItem, ...]) -> None:
        self._province = province
        counts = {
            level: len(province.by_level[level]) * sum(level in item.levels for item in items)
            for level in province.by_level
        }
        townships = counts.pop(Level.TOWNSHIP)
        upper = sum(counts.values())
        rest = upper - counts[Level.COUNTY]
        ceiling = _TARGET * _COUNTY_SHARE if townships else _TARGET
        self._county = min(1.0, max(0.0, (ceiling - rest) / (counts[Level.COUNTY] or 1)))
        left = _TARGET - rest - self._county * counts[Level.COUNTY]
        self._township = min(1.0, max(0.0, left / (townships or 1)))

    def divisions(self, item: BasicItem) -> Iterator[Division]:
        for level in item.levels:
            for division in self._province.by_level[level]:
                if self._takes(item, level, division.code[:6]):
                    yield division

    def _takes(self, item: BasicItem, level: Level, county: str) -> bool:
        share = {Level.COUNTY: self._county, Level.TOWNSHIP: self._township}.get(level, 1.0)
        if share >= 1.0:
            return True
        if level is Level.TOWNSHIP:
            share *= 1.4 if int(county[4:]) <= 20 else 0.83
        return _fraction("selection", level.value, item.code, county) < share


def _shorter(promised: int, chance: int) -> int:
    """Shorten a promised limit as some units do: a quarter of them by a fifth, some by a half."""
    if chance < 154 or promised < 2:
        return promised
    return max(1, promised * 4 // 5 if chance < 218 else promised // 2)


def _row(item: BasicItem, division: Division, office: Office, seed: str) -> Row:
    chance = _digest("item", seed, item.code, division.code)
    level = _LEVEL_CODES[division.level]
    task_code = office.credit_code + level + item.code
    depth = item.depth - 1 if item.depth == 4 and chance[1] < 20 else item.depth
    promised = item.promised.days and _shorter(item.promised.days, chance[0])
    row_guid = _row_id(item, division)
    changed = _LAST_DAY - timedelta(days=int.from_bytes(chance[2:4], "big") % 900)
    effective = min(_FIRST_DAY + timedelta(days=int.from_bytes(chance[4:6], "big") % 1500), changed)
    at = f"{changed:%Y-%m-%d} {8 + chance[6] % 10:02d}:{chance[7] % 60:02d}:{chance[8] % 60:02d}"
    is_online = depth >= 2
    windows = "窗口办理,网上办理" if is_online else "窗口办理"
    url = f"https://zwfw.fujian.example/item/{row_guid}" if is_online else ""
    return {
        "row_guid": row_guid,
        "cd_operation": "I",
        "cd_time": at,
        "data_source": SOURCE,
        "task_version": 1 + chance[9] % 3,
        "catalog_code": item.code,
        "task_code": task_code,
        "task_handle_item": task_code + "01",
        "area_code": division.code.ljust(12, "0"),
        "dept_code": office.credit_code,
        "dept_name": office.name,
        "use_level": level,
        **item.shared,
        "anticipate_day": item.legal.days,
        "anticipate_type": item.legal.kind,
        "promise_day": promised,
        "promise_type": item.promised.kind,
        "handle_type": windows + (",快递申请" if chance[10] < 90 else ""),
        "limit_scene_num": item.visits,
        "transact_addr": office.address,
        "transact_time": office.hours,
        "link_way": office.phone,
        "supervise_way": f"12345；{office.complaints_phone}",
        "is_online": "1" if is_online else "0",
        "online_handle_depth": _DEPTHS[depth],
        "link_addr": url,
        "mobile_terminal_url": url.replace("/item/", "/m/item/"),
        "plan_effective_date": f"{effective:%Y-%m-%d}",
    }


def row_ids(seed: int = 1) -> Iterator[tuple[BasicItem, list[str]]]:
    """Yield every basic item with the ids of its rows, in the order of `generate`."""
    items = basic_items()
    selection = _Selection(Province(seed), items)
    for item in items:
        yield item, [_row_id(item, division) for division in selection.divisions(item)]


def _row_id(item: BasicItem, division: Division) -> str:
    return _digest("row", item.code, division.code).hex()


def count_rows(seed: int = 1) -> int:
    """Count the rows that `generate` yields without a limit."""
    items = basic_items()
    selection = _Selection(Province(seed), items)
    return sum(1 for item in items for _ in selection.divisions(item))


def generate(seed: int = 1, *, limit: int | None = None) -> Iterator[Row]:
    """Yield the rows of the demo catalogue, about 130,000, in a fixed order.

    `limit`: yield that many only, spread evenly over the whole. Rows share their nested lists: do not change
    them. Townships and counties take over fewer items when all of them would give more; province and cities
    always implement theirs.
    """
    items = basic_items()
    province = Province(seed)
    selection = _Selection(province, items)
    places = ((item, division) for item in items for division in selection.divisions(item))
    if limit is not None:
        total = count_rows(seed)
        kept = min(limit, total)
        places = (
            place
            for number, place in enumerate(places)
            if (number + 1) * kept // total > number * kept // total
        )
    for item, division in places:
        yield _row(item, division, province.office(item.office, division), str(seed))


def generate_to_file(
    path: Path,
    seed: int = 1,
    *,
    limit: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Write the demo catalogue as JSON lines and tell how many; the file appears complete or not at all.

    `progress` is told the number of rows after each 1,000.
    """
    count = 0
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    work = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as target:
            for count, row in enumerate(generate(seed, limit=limit), 1):
                target.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
                if progress is not None and count % 1000 == 0:
                    progress(count)
        work.chmod(0o644)
        work.replace(path)
    finally:
        work.unlink(missing_ok=True)
    return count
