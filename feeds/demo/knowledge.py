"""The demo province's guides: what people ask about the items of the demo catalogue, answered from them.

The result is always the same; over 3,000 guides that hold in the whole province.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any, Final

from domain.knowledge import MAX_ITEMS, MAX_KEYWORDS, GuideContent
from feeds.demo.catalogue import BasicItem, row_ids
from operations.knowledge import ImportRow

_CLASS: Final = "1801"  # 办事流程咨询
_FIRST_REVIEW: Final = date(2026, 11, 1)
_REVIEW_DAYS: Final = 360
_NEEDS: Final = {"1": "", "2": "（如有）", "3": "（可容缺后补）"}
_DEPTHS: Final = {
    0: "请到窗口办理",
    1: "网上可以查看办事指南，请到窗口办理",
    2: "可以在网上申请",
    3: "可以在网上预审",
    4: "可以全程网上办理",
}


def demo_guides() -> Iterator[ImportRow]:
    """Yield the guides of the demo, to be published."""
    for item, ids in row_ids():
        linked = _spread(ids)
        questions = [
            (f"办理{item.name}需要什么材料？", _materials(item)),
            (f"{item.name}怎么办，要多久，收费吗？", _handling(item)),
            *((each["question"], each["answer"]) for each in item.shared["qa"]),
        ]
        for number, (question, answer) in enumerate(questions, 1):
            yield _guide(item, number, question, answer, linked)


def _guide(item: BasicItem, number: int, question: str, answer: str, linked: tuple[str, ...]) -> ImportRow:
    keywords = tuple(dict.fromkeys([item.name, *filter(None, item.shared["keywords"].split(";"))]))
    content = GuideContent(question, answer, _CLASS, None, linked, keywords[:MAX_KEYWORDS])
    day = int(item.code[-6:]) * 7 + number
    return ImportRow(
        f"demo-{item.code}-{number}", content, _FIRST_REVIEW + timedelta(days=day % _REVIEW_DAYS)
    )


def _spread(ids: list[str]) -> tuple[str, ...]:
    """Take as many rows of an item as a guide may link, spread over all."""
    count = min(len(ids), MAX_ITEMS)
    return tuple(ids[index * len(ids) // count] for index in range(count))


def _materials(item: BasicItem) -> str:
    materials: list[dict[str, Any]] = item.shared["material"]
    if not materials:
        return f"办理{item.name}不需要提交材料。"
    lines = [
        f"{each['order_num']}. {each['material_name']}{_NEEDS[each['is_need']]}"
        + ("（由政府部门核发，可用电子证照）" if each["source_type"] == "20" else "")
        for each in materials
    ]
    return f"办理{item.name}需要以下材料：\n" + "\n".join(lines)


def _handling(item: BasicItem) -> str:
    days, kind = item.promised.days, item.promised.kind
    limit = "当场办结" if not days else f"承诺 {days} 个{kind}内办结"
    fees = item.shared["fee"]
    fee = f"收费标准：{fees[0]['fee_stand']}" if fees else "不收费"
    visits = "无需到现场" if not item.visits else f"最多到现场 {item.visits} 次"
    condition = item.shared["accept_condition"]
    parts = [f"{_DEPTHS[item.depth]}，{limit}，{visits}，{fee.rstrip('。')}。"]
    if condition:
        parts.append(f"办理条件：{condition}")
    parts.append("办理地点、时间和电话以您所在地的事项指南为准。")
    return "\n".join(parts)
