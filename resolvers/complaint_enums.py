"""The enums of complaints in GraphQL, each value described."""

from __future__ import annotations

from domain import complaints as c
from domain.complaint_actions import Action
from domain.complaint_clock import ClockState
from domain.complaint_course import ExtensionState, LoopStep, PauseReason
from operations.complaint_views import MessageKind
from resolvers.node import describe_enum

describe_enum(
    c.Kind,
    "What a citizen wants (诉求类型).",
    {
        "CONSULT": "咨询: to know something.",
        "COMPLAINT": "投诉: that something be put right.",
        "SUGGESTION": "建议: that something be done better.",
        "HELP": "求助: to be helped.",
    },
    name="ComplaintKind",
)
describe_enum(
    c.ComplaintChannel,
    "The way by which a complaint came in.",
    {
        "APP": "The native app.",
        "MINI_PROGRAM": "The mini-program of WeChat.",
        "WEBSITE": "The website.",
        "HOTLINE": "A call to 12345.",
        "WECHAT": "The official account of WeChat.",
        "QQ": "QQ.",
        "WEIBO": "Weibo.",
        "SMS": "A text message.",
        "LETTER": "A letter.",
        "OPEN311": "Another system, over Open311.",
    },
)
describe_enum(
    c.ContactWish,
    "How much of themselves a citizen gives to those who handle the complaint.",
    {
        "NAMED": "Name and phone.",
        "PHONE_ONLY": "The phone.",
        "ANONYMOUS": "Nothing.",
    },
)
describe_enum(
    c.State,
    "Where a complaint is.",
    {
        "SUBMITTED": "Waits for a seat of the centre.",
        "ACCEPTED": "Taken on by a seat; waits to be passed on.",
        "ASKED_BY_SEAT": "The seat has asked the citizen for more; the clock stands.",
        "DISPATCHED": "Passed on; waits for the unit in charge.",
        "HANDLING": "The unit handles it.",
        "ASKED_BY_UNIT": "The unit has asked the citizen for more; the clock stands.",
        "ANSWERED": "The unit has answered; the centre checks the answer, and the clock stands.",
        "REPLIED": "The answer is with the citizen, to be rated.",
        "RATED": "Rated; waits for the call back and for being closed.",
        "CLOSED": "Closed; within the window it can still be reopened.",
        "REFUSED": "Not for 12345; who it is for is named.",
        "WITHDRAWN": "Taken back by the citizen.",
        "MERGED": "Goes on as part of another complaint.",
    },
    name="ComplaintState",
)
describe_enum(
    c.ActorRole,
    "As what somebody took a step.",
    {
        "COMPLAINANT": "The citizen.",
        "SEAT": "Staff of a 12345 centre.",
        "UNIT": "Staff of the unit in charge.",
        "CO_UNIT": "Staff of a unit that helps.",
        "SYSTEM": "The clock.",
    },
    name="ComplaintRole",
)
describe_enum(
    c.Outcome,
    "What became of the matter.",
    {
        "FULL": "Settled.",
        "PARTIAL": "Settled in part.",
        "NOT_FEASIBLE": "It cannot be done.",
    },
    name="ComplaintOutcome",
)
describe_enum(
    c.RefusalGround,
    "Why the hotline does not take a matter.",
    {
        "COURT_OR_ARBITRATION": "It is before a court or an arbitrator, or must be brought there.",
        "EMERGENCY": "It is for 110, 119, 120 or 122.",
        "PARTY_DISCIPLINE": "It is about the discipline of party members and officials.",
        "PETITION_FINAL": "The petition about it has been decided for good.",
        "COMMERCIAL_DISPUTE": "It is a dispute between parties to a contract.",
        "STATE_SECRET": "It touches secrets of the state.",
        "OUTSIDE_PROVINCE": "It belongs to another province.",
        "NO_MATTER": "Nothing is asked for.",
    },
)
describe_enum(
    c.Publication,
    "Whether the public list may show a complaint.",
    {
        "NOT_WISHED": "The citizen does not want it.",
        "TO_REVIEW": "A seat will look whether it can be shown.",
        "CLEARED": "Shown, under a text without personal data.",
        "WITHHELD": "Not shown.",
    },
    name="ComplaintPublication",
)
describe_enum(
    ClockState,
    "Whether working days are being counted.",
    {
        "RUNNING": "They are.",
        "PAUSED": "They are not, for a while; `pauseReason` says why.",
        "STOPPED": "The clock has ended; only reopening starts it anew.",
    },
)
describe_enum(
    PauseReason,
    "Why a clock stands.",
    {
        "CITIZEN_ASKED": "The citizen was asked for more; it goes on by itself after a week.",
    },
)
describe_enum(
    LoopStep,
    "The seven steps of the closed loop.",
    {
        "SUBMITTED": "诉求人诉求",
        "ACCEPTED": "市中心坐席受理",
        "DISPATCHED": "市中心批转",
        "HANDLED": "职能部门办理",
        "ANSWERED": "职能部门回复",
        "RATED": "诉求人评价",
        "CALLED_BACK": "市中心回访",
    },
    name="ComplaintLoopStep",
)
describe_enum(
    ExtensionState,
    "What became of an extension that was asked for.",
    {
        "REQUESTED": "The centre has not decided yet.",
        "GRANTED": "Granted.",
        "DENIED": "Denied.",
        "LAPSED": "The matter went on before the centre decided.",
    },
)
describe_enum(
    MessageKind,
    "What somebody wrote.",
    {
        "MESSAGE": "A message.",
        "QUESTION": "A question to the citizen; the clock stands until it is answered, a week at most.",
        "SUPPLEMENT": "What the citizen added to the matter.",
    },
    name="ComplaintMessageKind",
)
describe_enum(
    Action,
    "A step that can be taken on a complaint.",
    {
        "SUBMIT": "Bring a matter before the hotline.",
        "ACCEPT": "Take it on.",
        "CLASSIFY": "Give it another class or kind.",
        "REFUSE": "Refuse it and name whom it is for.",
        "DISPATCH": "Pass it on to the unit in charge and those that help.",
        "TRANSFER": "Pass it on from one unit to another.",
        "ANSWER_DIRECTLY": "Answer at once.",
        "TAKE_UP": "Begin to handle it.",
        "RETURN": "Give it back to the centre.",
        "ASK_CITIZEN": "Ask the citizen for more.",
        "RESUME_WORK": "Go on without the citizen's answer.",
        "ADVISE": "Tell the unit in charge what a helping unit found.",
        "REQUEST_EXTENSION": "Ask the centre for more working days.",
        "GRANT_EXTENSION": "Grant them.",
        "DENY_EXTENSION": "Deny them.",
        "MERGE": "Let it go on as part of another.",
        "ANSWER": "Answer; the centre checks it.",
        "PASS_CHECK": "Let an answer go to the citizen.",
        "FAIL_CHECK": "Send an answer back to the unit.",
        "RATE": "Rate speed, attitude and result.",
        "CALL_BACK": "Note what a call to the citizen found.",
        "CLOSE": "Close the loop.",
        "REOPEN": "Say that the answer does not settle the matter.",
        "SUPPLEMENT": "Add to the matter.",
        "WITHDRAW": "Take it back.",
        "WRITE": "Write a message.",
        "REVIEW": "Clear it for the public list, or withhold it.",
        "REMIND": "The clock reminds whoever holds it.",
        "ESCALATE": "The clock tells the unit above that the time has passed.",
        "ERASE": "Forget who complained, because they deleted their account.",
    },
    name="ComplaintAction",
)
