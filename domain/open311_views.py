"""Open311 GeoReport v2: what services, requests and updates look like from outside. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time
from typing import Any, Final

from msgspec import Struct

from domain.complaint_classes import ClassList, ComplaintClass
from domain.complaint_clock import Clock
from domain.complaint_publication import PublicComplaint, PublicState, coarse, public_state
from domain.complaint_standing import Event, Standing
from domain.complaints import ActorRole, Kind, Point
from domain.preferences import SHANGHAI
from domain.redaction import redact

Row = dict[str, Any]
Texts = Mapping[int, Mapping[str, str]]
Pair = tuple[str, str]
"""Chinese, English."""

OPEN_STATES: Final = (PublicState.RECEIVED, PublicState.IN_PROGRESS)
CLOSED_STATES: Final = (PublicState.ANSWERED, PublicState.CLOSED, PublicState.NOT_TAKEN)
UNCLASSIFIED: Final = "unclassified"
_NAMELESS: Final[Pair] = ("未分类", "Not classified yet")
_STATES: Final[Mapping[PublicState, Pair]] = {
    PublicState.RECEIVED: ("已登记", "Received"),
    PublicState.IN_PROGRESS: ("办理中", "In progress"),
    PublicState.ANSWERED: ("已答复", "Answered"),
    PublicState.CLOSED: ("已办结", "Closed"),
    PublicState.NOT_TAKEN: ("不属于12345受理范围", "Not taken: it is for somebody else"),
}
_KINDS: Final[Mapping[Kind, Pair]] = {
    Kind.CONSULT: ("咨询", "Question"),
    Kind.COMPLAINT: ("投诉", "Complaint"),
    Kind.SUGGESTION: ("建议", "Suggestion"),
    Kind.HELP: ("求助", "Request for help"),
}
_UPDATES: Final[Mapping[str, Pair]] = {
    "ACCEPT": ("已受理", "Taken on"),
    "REFUSE": ("不属于12345受理范围，请联系：{next_owner}", "Not for 12345; it is for {next_owner}"),
    "DISPATCH": ("已转派{lead}", "Passed on to {lead}"),
    "TRANSFER": ("已转派{lead}", "Passed on to {lead}"),
    "TAKE_UP": ("开始办理", "Work has begun"),
    "ASK_CITIZEN": ("需补充情况：{text}", "More is needed: {text}"),
    "GRANT_EXTENSION": ("批准延期 {days} 个工作日", "{days} more working days were granted"),
    "ANSWER_DIRECTLY": ("{text}", "{text}"),
    "PASS_CHECK": ("{text}", "{text}"),
    "WRITE": ("{text}", "{text}"),
    "CLOSE": ("已办结", "Closed"),
    "MERGE": ("与同一事项的另一诉求合并办理", "Goes on as part of another request about the same matter"),
    "REOPEN": ("重新办理", "Reopened"),
    "WITHDRAW": ("已撤回", "Withdrawn"),
}
_QUOTED: Final = {"ASK_CITIZEN": "question", "ANSWER_DIRECTLY": "text", "WRITE": "text"}


class Names(Struct, frozen=True):
    """What things are called, in one language; names that are not known are None."""

    classes: ClassList
    unit: Callable[[str], str | None]
    place: Callable[[str], str | None]
    is_english: bool = False

    def choose(self, words: Pair) -> str:
        """Choose the words of the language."""
        return words[1] if self.is_english else words[0]

    def of(self, found: ComplaintClass) -> str:
        """Name a class."""
        return (self.is_english and found.name_en) or found.name


def show_service(found: ComplaintClass, names: Names) -> Row:
    """Show a class of complaints as a service."""
    group = names.classes.find(found.parent_code or "")
    return {
        "service_code": found.code,
        "service_name": names.of(found),
        "description": f"{names.of(group)}: {names.of(found)}" if group else names.of(found),
        "metadata": True,
        "type": "realtime",
        "keywords": ", ".join(found.keywords),
        "group": names.of(group) if group else None,
    }


def show_definition(found: ComplaintClass, names: Names) -> Row:
    """Show which attributes a request for a service may have."""
    wish = ("诉求类型，默认投诉", "What is wanted; by default a complaint")
    kinds = [{"key": kind.value, "name": names.choose(words)} for kind, words in _KINDS.items()]
    answers = {"true": ("可以公开", "May be published"), "false": ("不公开", "Not to be published")}
    consent = [{"key": key, "name": names.choose(words)} for key, words in answers.items()]
    return {
        "service_code": found.code,
        "attributes": [
            _attribute("kind", 1, kinds, wish, names),
            _attribute(
                "public",
                2,
                consent,
                (
                    "经中心审核并去除个人信息后可否公开，默认可以",
                    "Whether it may be published without personal data, once the centre has reviewed it; "
                    "by default it may",
                ),
                names,
            ),
        ],
    }


def _attribute(code: str, order: int, values: list[Row], description: Pair, names: Names) -> Row:
    return {
        "variable": True,
        "code": code,
        "datatype": "singlevaluelist",
        "required": False,
        "datatype_description": None,
        "order": order,
        "description": names.choose(description),
        "values": values,
    }


def show_public(shown: PublicComplaint, names: Names) -> Row:
    """Show a complaint that was cleared for publication; days are all that the public knows of instants."""
    requested = _midnight(shown.submitted_on)
    updated = max(requested, shown.published_at)
    if shown.answered_on is not None:
        updated = max(updated, _midnight(shown.answered_on))
    notice = None
    if shown.working_days is not None:
        in_time = ("按时", "in time") if shown.is_in_time else ("超时", "late")
        words = ("{n} 个工作日，{when}答复", "Answered after {n} working days, {when}")
        notice = names.choose(words).format(n=shown.working_days, when=names.choose(in_time))
    return _request(
        shown.id,
        shown.state,
        names,
        notes=shown.answer,
        class_code=shown.class_code,
        text=shown.text,
        unit=shown.unit,
        notice=notice,
        requested=requested,
        updated=updated,
        expected=None,
        address=names.place(shown.division_code),
        point=shown.point,
    )


def show_own(
    public_id: str,
    standing: Standing,
    events: Sequence[Event],
    texts: Texts,
    point: Point | None,
    clock: Clock,
    names: Names,
) -> Row:
    """Show a complaint to the partner it came from: what the citizen wrote without personal data."""
    state = public_state(standing.state)
    address = texts.get(0, {}).get("address")
    answer = _answer(events, texts) if state in CLOSED_STATES else None
    return _request(
        public_id,
        state,
        names,
        notes=answer and redact(answer).text,
        class_code=standing.class_code,
        text=redact(texts.get(0, {}).get("text", "")).text,
        unit=standing.lead,
        notice=promise(clock, names) if state in OPEN_STATES else None,
        requested=standing.submitted_at,
        updated=standing.changed_at,
        expected=clock.due_at,
        address=redact(address).text if address else names.place(standing.division_code),
        point=None if point is None else coarse(point),
    )


def promise(clock: Clock, names: Names) -> str:
    """Say within how many working days, and by when, an answer was promised."""
    if clock.due_at is None:
        words = (
            "承诺 {n} 个工作日，等待补充情况，暂停计时",
            "{n} working days; the clock waits for more details",
        )
        return names.choose(words).format(n=clock.limit_days)
    words = ("承诺 {n} 个工作日，{due} 前答复", "{n} working days, due {due}")
    due = clock.due_at.astimezone(SHANGHAI).date().isoformat()
    return names.choose(words).format(n=clock.limit_days, due=due)


def _request(
    request_id: str,
    state: PublicState,
    names: Names,
    *,
    notes: str | None,
    class_code: str | None,
    text: str,
    unit: str | None,
    notice: str | None,
    requested: datetime,
    updated: datetime,
    expected: datetime | None,
    address: str | None,
    point: Point | None,
) -> Row:
    found = names.classes.find(class_code) if class_code else None
    return {
        "service_request_id": request_id,
        "status": "open" if state in OPEN_STATES else "closed",
        "status_notes": notes or names.choose(_STATES[state]),
        "service_name": names.of(found) if found else names.choose(_NAMELESS),
        "service_code": class_code or UNCLASSIFIED,
        "description": text,
        "agency_responsible": names.unit(unit) if unit else None,
        "service_notice": notice,
        "requested_datetime": show_instant(requested),
        "updated_datetime": show_instant(updated),
        "expected_datetime": show_instant(expected) if expected else None,
        "address": address,
        "address_id": None,
        "zipcode": None,
        "lat": point.latitude if point else None,
        "long": point.longitude if point else None,
        "media_url": None,
    }


def told(events: Sequence[Event]) -> list[int]:
    """List the events that a partner is told of: what its own comments are, it knows."""
    return [event.seq for event in events if event.action in _UPDATES and _is_for_partner(event)]


def _is_for_partner(event: Event) -> bool:
    return event.action != "WRITE" or event.actor.role is not ActorRole.COMPLAINANT


def show_update(
    public_id: str, events: Sequence[Event], seq: int, texts: Texts, names: Names, *, at: datetime
) -> Row:
    """Show one event of a partner's request."""
    event = events[seq]
    quoted: str | None = texts.get(seq, {}).get(_QUOTED.get(event.action, ""), "")
    if event.action == "PASS_CHECK":
        quoted = _answer(events[:seq], texts)
    lead = str(event.facts.get("lead", ""))
    words = names.choose(_UPDATES[event.action]).format(
        text=redact(quoted or "").text,
        lead=names.unit(lead) or lead,
        next_owner=redact(str(event.facts.get("next_owner", ""))).text,
        days=event.facts.get("days", ""),
    )
    state = public_state(event.state)
    return _update(f"{public_id}_{seq}", public_id, state, words or names.choose(_STATES[state]), at)


def show_public_update(shown: PublicComplaint, names: Names, *, at: datetime) -> Row:
    """Show how a public complaint is since `at`."""
    words = shown.answer or names.choose(_STATES[shown.state])
    return _update(f"{shown.id}_v{shown.version}", shown.id, shown.state, words, at)


def _update(update_id: str, request_id: str, state: PublicState, words: str, at: datetime) -> Row:
    return {
        "update_id": update_id,
        "service_request_id": request_id,
        "status": "open" if state in OPEN_STATES else "closed",
        "updated_datetime": show_instant(at),
        "description": words,
        "media_url": None,
    }


def _answer(events: Sequence[Event], texts: Texts) -> str | None:
    for event in reversed(events):
        if event.action == "REOPEN":
            return None
        if event.action in ("ANSWER", "ANSWER_DIRECTLY"):
            return texts.get(event.seq, {}).get("text")
    return None


def show_instant(instant: datetime) -> str:
    """Write an instant in the W3C's form, in the time of Shanghai, to the millisecond if it has any."""
    shown = instant.astimezone(SHANGHAI)
    return shown.isoformat(timespec="milliseconds" if shown.microsecond else "seconds")


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), SHANGHAI)
