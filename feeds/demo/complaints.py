"""The demo province's complaints of the last four months, taken down on the hotline and handled by its units.

They go through the house's own operations, at times in the past: numbers, histories and clocks are real.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from domain import complaints as c
from domain.complaints import Actor, ActorRole
from domain.units import UnitKind, UnitTree
from feeds.demo.offices import Province
from operations.complaint_steps import act
from operations.complaint_submit import Intake, submit
from operations.complaints import Complaints, limit_for

COUNT: Final = 200
DAYS: Final = 120
SEED: Final = 12345
_STAFF: Final = "demo"
_HOUR: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)
_MATTERS: Final = (
    (
        "0101",
        "{place}的垃圾桶满了三天没有人清运，天气热，异味很大。",
        "已联系环卫单位当日清运，并增加每日收运次数。",
    ),
    ("0201", "{place}路面塌陷，形成一个大坑，骑车经过很危险。", "已设置围挡并完成路面修复。"),
    ("0202", "{place}人行道上的井盖破损，晚上看不清，容易踩空。", "已更换井盖，并对周边井盖进行排查。"),
    ("0203", "{place}一整排路灯不亮，夜里老人出门不方便。", "经查为电缆故障，现已修复并恢复照明。"),
    ("0204", "{place}一下雨就积水，下水道堵塞，水漫到店里。", "已疏通排水管道，并列入汛前重点巡查点位。"),
    ("0302", "{place}楼下烧烤店每天晚上油烟很大，影响休息。", "已责令商家安装油烟净化设施并限期整改。"),
    ("0305", "{place}工地夜里十二点还在打桩，整栋楼都睡不着。", "已对施工单位进行查处，禁止夜间违规施工。"),
    ("0206", "{place}的行道树枝条垂得很低，挡住了红绿灯。", "已安排养护单位完成修剪。"),
    ("0103", "{place}路口长期有流动摊贩占道，车都过不去。", "已加强早晚高峰时段巡查和劝离。"),
)
_PLACES: Final = (
    "中山路",
    "人民路",
    "建设路",
    "文化街",
    "滨江路",
    "新华路",
    "解放路",
    "学府路",
    "环城路",
    "公园路",
)


class Story(Struct, frozen=True):
    """One complaint: when it came, and what the unit in charge answers."""

    key: str
    at: datetime
    intake: Intake
    answer: str


def stories(units: UnitTree, now: datetime, count: int = COUNT, seed: int = SEED) -> Iterator[Story]:
    """Make complaints of the last 120 days; the same seed, units and time give the same ones."""
    dice = random.Random(seed)  # noqa: S311 — the demo must be repeatable
    province = Province(1)
    centres = [unit for unit in units.select(kind=UnitKind.CENTRE) if not unit.division_code.endswith("00")]
    names = {each.code: each.name for level in province.by_level.values() for each in level}
    for number in range(count):
        centre = dice.choice(centres)
        class_code, text, answer = dice.choice(_MATTERS)
        days = dice.uniform(0.1, DAYS)
        place = f"{names.get(centre.division_code, '')}{dice.choice(_PLACES)}"
        kind = dice.choices(list(c.Kind), (1, 6, 1, 2))[0]
        yield Story(
            key=f"demo-{seed}-{number:06}",
            at=now - timedelta(days=days),
            intake=Intake(
                kind=kind,
                text=text.format(place=place),
                division_code=centre.division_code,
                channel=dice.choice([c.ComplaintChannel.HOTLINE, c.ComplaintChannel.WECHAT]),
                contact=c.ContactWish.ANONYMOUS,
                class_code=class_code,
                is_public_wished=dice.random() < 0.8,
                point=c.Point(round(dice.uniform(117.0, 119.4), 4), round(dice.uniform(24.6, 27.2), 4)),
            ),
            answer=answer,
        )


async def play(complaints: Complaints, story: Story, *, now: datetime) -> None:
    """Let a story happen, as far as it has come by now; one that was played is played no further."""
    units, intake = complaints.units(), story.intake
    centre = units.centre(intake.division_code)
    responsible = units.responsible(
        complaints.classes, intake.class_code or "", intake.division_code, first=1
    )
    if centre is None or not responsible:
        return
    seat = Actor(ActorRole.SEAT, account=_STAFF, unit=centre.id)
    unit = Actor(ActorRole.UNIT, account=_STAFF, unit=responsible[0].unit.id)
    complaint = await submit(complaints, None, seat, story.intake, story.key, now=story.at)
    if complaint.standing.version > 1:
        return
    for at, step, actor in _steps(complaints, story, seat, unit):
        if at > now:
            return
        complaint = await act(complaints, complaint, step, actor, now=at)


def _steps(
    complaints: Complaints, story: Story, seat: Actor, unit: Actor
) -> Sequence[tuple[datetime, c.AnyStep, Actor]]:
    dice = random.Random(story.key)  # noqa: S311
    intake, class_code = story.intake, story.intake.class_code or ""
    limit = limit_for(complaints, intake.kind, class_code, intake.division_code, at=story.at)
    found = complaints.classes.find(class_code)
    accept = c.Accept(
        kind=intake.kind,
        class_code=class_code,
        limit_days=limit.days,
        limit_rule=limit.id,
        is_convenience=found is not None and found.is_convenience,
    )
    taken = dice.uniform(0.3, 1.15) * limit.days
    outcome = dice.choices(list(c.Outcome), (7, 2, 1))[0]
    plan: list[tuple[timedelta, c.AnyStep, Actor]] = [
        (dice.uniform(0.2, 3) * _HOUR, accept, seat),
        (dice.uniform(0.2, 5) * _HOUR, c.Dispatch(lead=unit.unit or ""), seat),
        (dice.uniform(1, 20) * _HOUR, c.TakeUp(), unit),
        (taken * _DAY, c.Answer(outcome=outcome, text=story.answer), unit),
        (dice.uniform(0.5, 8) * _HOUR, c.PassCheck(), seat),
    ]
    if intake.is_public_wished:
        plan.append((_HOUR, c.Review(is_cleared=True, public_text=intake.text), seat))
    reached = dice.random() < 0.8
    satisfied = dice.random() < 0.9 if reached else None
    plan += [
        (dice.uniform(1, 4) * _DAY, c.CallBack(was_reached=reached, is_satisfied=satisfied), seat),
        (_HOUR, c.Close(), seat),
    ]
    at, steps = story.at, []
    for after, step, actor in plan:
        at += after
        steps.append((at, step, actor))
    return steps
