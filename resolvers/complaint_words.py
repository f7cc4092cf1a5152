"""What happened to a complaint, in a sentence, Chinese or English; names of units are filled in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from domain import complaints as c
from domain.complaint_course import LoopStep, PauseReason
from operations.complaint_views import EventView

Pair = tuple[str, str]
"""Chinese, English."""

STEP_WORDS: Final[Mapping[LoopStep, Pair]] = {
    LoopStep.SUBMITTED: ("提交诉求", "Submitted"),
    LoopStep.ACCEPTED: ("坐席受理", "Taken on by the centre"),
    LoopStep.DISPATCHED: ("转派单位", "Passed on"),
    LoopStep.HANDLED: ("单位办理", "Handled"),
    LoopStep.ANSWERED: ("答复诉求人", "Answered"),
    LoopStep.RATED: ("诉求人评价", "Rated"),
    LoopStep.CALLED_BACK: ("中心回访", "Called back"),
}
PAUSE_WORDS: Final[Mapping[PauseReason, Pair]] = {
    PauseReason.CITIZEN_ASKED: ("等待诉求人补充情况，最长一周", "Waits for the citizen, a week at most"),
}
_OUTCOMES: Final[Mapping[str, Pair]] = {
    c.Outcome.FULL: ("已解决", "settled"),
    c.Outcome.PARTIAL: ("部分解决", "settled in part"),
    c.Outcome.NOT_FEASIBLE: ("暂无法解决", "it cannot be done"),
}
_EVENTS: Final[Mapping[str, Pair]] = {
    "SUBMIT": ("诉求已提交", "Submitted"),
    "ACCEPT": ("{unit}已受理", "Taken on by {unit}"),
    "CLASSIFY": ("{unit}调整了诉求类型或分类", "{unit} changed kind or class"),
    "REFUSE": ("不属于12345受理范围，请联系：{next_owner}", "Not for 12345; it is for {next_owner}"),
    "DISPATCH": ("{unit}转派{lead}办理", "{unit} passed it on to {lead}"),
    "TRANSFER": ("{unit}转由{lead}办理", "{unit} passed it on to {lead}"),
    "ANSWER_DIRECTLY": ("{unit}直接答复", "{unit} answered at once"),
    "TAKE_UP": ("{unit}开始办理", "{unit} began to handle it"),
    "RETURN": ("{unit}退回，将重新转派", "{unit} gave it back; it will be passed on anew"),
    "ASK_CITIZEN": ("{unit}请诉求人补充情况，计时暂停", "{unit} asked the citizen for more; no day counts"),
    "RESUME_WORK": ("继续办理，恢复计时", "Work goes on; the clock runs"),
    "ADVISE": ("{unit}提供了协办意见", "{unit} told what it found"),
    "REQUEST_EXTENSION": ("{unit}申请延期 {days} 个工作日", "{unit} asked for {days} more working days"),
    "GRANT_EXTENSION": ("批准延期 {days} 个工作日", "{days} more working days were granted"),
    "DENY_EXTENSION": ("未批准延期", "The extension was denied"),
    "MERGE": ("与同一事项的诉求 {into} 合并办理", "Goes on as part of {into}, about the same matter"),
    "ANSWER": ("{unit}已办理答复，中心审核中", "{unit} answered; the centre checks the answer"),
    "PASS_CHECK": ("答复已送达诉求人", "The answer went to the citizen"),
    "FAIL_CHECK": ("答复需补充，退回单位继续办理", "The answer was not enough; the unit goes on"),
    "RATE": ("诉求人已评价", "The citizen rated"),
    "CALL_BACK": ("{unit}进行了回访", "{unit} called back"),
    "CLOSE": ("已办结", "Closed"),
    "REOPEN": ("诉求人未认可答复，重新办理", "Reopened: the answer did not settle the matter"),
    "SUPPLEMENT": ("诉求人补充了情况", "The citizen added to the matter"),
    "WITHDRAW": ("诉求人已撤回", "Withdrawn by the citizen"),
    "WRITE": ("新的留言", "A new message"),
    "REVIEW": ("完成公开审核", "Reviewed for the public list"),
    "REMIND": ("办理时限已过 {percent}%，已提醒", "{percent}% of the time has passed; a reminder was sent"),
    "ESCALATE": ("超过办理时限，已报{to}督办", "Overdue; {to} was told"),
    "ERASE": ("诉求人已注销，个人信息已删除", "The citizen's account was deleted; personal data are gone"),
}


def words_for(event: EventView, unit_name: Callable[[str], str | None], language: str) -> str:
    """Say what happened, in the language of the request."""
    index = 1 if language == "en" else 0

    def name(unit_id: str | None) -> str:
        found = unit_name(unit_id) if unit_id else None
        return found or ("12345中心", "the centre")[index]

    facts = event.facts
    filled = {key: value for key, value in facts.items() if isinstance(value, str | int)}
    for key in ("lead", "to"):
        if key in facts:
            filled[key] = name(facts[key])
    said = _EVENTS[event.action][index].format(**filled, unit=name(event.party.unit))
    if event.action == "ANSWER" and "outcome" in facts:
        said = ("{}已答复：{}", "{} answered: {}")[index].format(
            name(event.party.unit), _OUTCOMES[facts["outcome"]][index]
        )
    return said
