"""Open311 partners: letting them in, taking their requests and comments, showing them what is theirs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

import msgspec
import structlog
from msgspec import Struct
from redis.exceptions import RedisError

from domain import complaints as c
from domain.access import is_within
from domain.account import TooManyRequestsError
from domain.complaint_publication import public_state
from domain.complaint_standing import Event
from domain.complaints import Actor, ActorRole, ComplaintChannel
from domain.open311 import (
    ACCOUNT_PREFIX,
    MAX_ROWS,
    ApiKey,
    InvalidApiKeyError,
    InvalidOpen311Error,
    JurisdictionNeededError,
    KeyScope,
    NewComment,
    NewRequest,
    UnknownJurisdictionError,
    UnknownServiceRequestError,
    Wanted,
    day_of,
)
from domain.open311_views import OPEN_STATES, Names, Row, promise, show_own, show_update, told
from operations.account import network_of
from operations.complaint_care import ReadTexts
from operations.complaint_publication import Publisher
from operations.complaint_steps import act
from operations.complaint_submit import Intake, submit
from operations.complaints import Complaints, clock, code_of
from store.complaints import Complaint, Summary
from store.gate import Gate, Window
from store.open311_keys import Open311KeyStore
from store.open311_requests import Open311RequestStore, PartnerRequest, PartnerUpdate

log = structlog.get_logger(__name__)

SAME_WITHIN: Final = timedelta(minutes=10)
"""The same content again within this time is a repetition, not another request."""
_CONTENT_SECRET: Final = "open311-content"  # noqa: S105 — the name of one
_CHUNK: Final = 64
_AGAIN: Final = 3
_SUPPLEMENTED: Final = frozenset(
    {c.State.SUBMITTED, c.State.ACCEPTED, c.State.DISPATCHED, c.State.HANDLING}
    | {c.State.ASKED_BY_SEAT, c.State.ASKED_BY_UNIT}
)


class Open311(Struct, frozen=True):
    """What serving partners needs; `address_limit`: of requests without a valid key, by address."""

    complaints: Complaints
    publisher: Publisher
    keys: Open311KeyStore
    requests: Open311RequestStore
    gate: Gate
    address_limit: str


class Posted(Struct, frozen=True):
    """A request that was taken: its public id, its number and the code to follow it by."""

    id: str
    complaint: Complaint
    code: str


class PartnerFollower(Struct, frozen=True):
    """Notes for partners what happened to their requests (`operations.complaint_care.Follower`)."""

    requests: Open311RequestStore
    publisher: Publisher

    async def __call__(self, complaint: Complaint, texts: ReadTexts, *, now: datetime) -> None:
        """Note what is new; again changes nothing."""
        key_id = _key_of(complaint)
        if key_id is None:
            return
        request = PartnerRequest(await self.publisher.public_id(complaint.number), complaint.number)
        await self.requests.add(key_id, request)  # the process that took it may have died before
        news = told(complaint.events[complaint.told :])
        await self.requests.add_updates(key_id, request, news, now=now)


async def admit(open311: Open311, text: str | None, address: str, *, writes: bool) -> ApiKey | None:
    """Let a call pass: by its key within the key's limits, else by its address within the address's.

    Whoever comes with a wrong key is counted by address, so that keys cannot be tried. While Redis is away
    nothing is counted.
    Raises: TooManyRequestsError, InvalidApiKeyError for a wrong key, and where a key is needed.
    """
    key = None if text is None else await open311.keys.find(text)
    if key is None:
        windows = [Window(open311.address_limit, f"open311:address:{network_of(address)}")]
    else:
        limits = (f"{key.per_minute} per 1 minute", f"{key.per_day} per 1 day")
        windows = [Window(limit, f"open311:key:{key.id}") for limit in limits]
    try:
        wait_s = await open311.gate.enter(windows)
    except (RedisError, OSError) as error:
        log.warning("open311.uncounted", error=type(error).__name__)
        wait_s = 0
    if wait_s:
        raise TooManyRequestsError(seconds=wait_s)
    if (key is None and (text is not None or writes)) or (key and writes and key.scope is not KeyScope.WRITE):
        raise InvalidApiKeyError
    return key


# --- requests ---------------------------------------------------------------------------------------------


async def post(
    open311: Open311,
    key: ApiKey,
    new: NewRequest,
    found_division: str | None,
    idempotency_key: str | None,
    *,
    now: datetime,
) -> Posted:
    """Take a request down; the same `idempotency_key`, or the same content within ten minutes, is the same.

    It lies in the division it names, else in that which its address names (`found_division`), else in the
    key's own.
    Raises: JurisdictionNeededError, UnknownJurisdictionError also for one that is not the key's,
    InvalidOpen311Error, and those of `operations.complaint_submit.submit`.
    """
    complaints = open311.complaints
    division = new.division_code or _fitting(found_division, key) or key.division_code
    if division is None:
        raise JurisdictionNeededError
    if not complaints.is_division(division) or complaints.units().centre(division) is None:
        raise UnknownJurisdictionError(id=division)
    if key.division_code is not None and not is_within(division, key.division_code):
        raise UnknownJurisdictionError(id=division)
    found = complaints.classes.find(new.service_code)
    if found is None or found.parent_code is None:
        raise InvalidOpen311Error(name="service_code", expected="the code of a service")
    intake = Intake(
        kind=new.kind,
        text=new.description,
        division_code=division,
        channel=ComplaintChannel.OPEN311,
        contact=new.contact,
        class_code=new.service_code,
        is_public_wished=new.is_public_wished,
        point=new.point,
        address=new.address,
        name=new.name,
        phone=new.phone,
    )
    stored_key = await _stored_key(open311, key, intake, idempotency_key)
    seat = Actor(ActorRole.SEAT, account=key.account)
    complaint = await submit(complaints, None, seat, intake, stored_key, now=now)
    request = PartnerRequest(await open311.publisher.public_id(complaint.number), complaint.number)
    await open311.requests.add(key.id, request)
    return Posted(request.id, complaint, await code_of(complaints, complaint.number))


def notice(open311: Open311, posted: Posted, names: Names, *, now: datetime) -> str:
    """Say what was promised, and by which number and code the citizen can follow the complaint."""
    words = (
        "受理编号 {number}，查询码 {code}；{promise}。",
        "Number {number}, query code {code}; {promise}.",
    )
    promised = promise(clock(open311.complaints, posted.complaint, now=now), names)
    return names.choose(words).format(number=posted.complaint.number, code=posted.code, promise=promised)


def _fitting(division: str | None, key: ApiKey) -> str | None:
    """Give a division that was guessed unless it lies outside of the key's own."""
    if division is None or (key.division_code and not is_within(division, key.division_code)):
        return None
    return division


async def _stored_key(open311: Open311, key: ApiKey, intake: Intake, given: str | None) -> str:
    if given is not None:
        return hashlib.blake2b(given.encode(), digest_size=16, person=b"open311-key").hexdigest()
    secret = await open311.complaints.secrets.get(_CONTENT_SECRET)
    content = msgspec.json.encode((key.id, intake))
    digest = hashlib.blake2b(content, key=secret, digest_size=16).hexdigest()
    try:
        return await open311.requests.same_within(digest, int(SAME_WITHIN.total_seconds()))
    except (RedisError, OSError) as error:
        log.warning("open311.uncounted", error=type(error).__name__)
        return digest  # then the same content is the same request whenever it comes


async def show_by_ids(
    open311: Open311, key: ApiKey, ids: Iterable[str], names: Names, *, now: datetime
) -> dict[str, Row]:
    """Show those of these requests that came with a key."""
    found = await open311.requests.list_by_ids(key.id, ids)
    return await _show(open311, key, list(found.values()), names, now=now)


async def show_newest(
    open311: Open311, key: ApiKey, wanted: Wanted, names: Names, *, now: datetime
) -> tuple[int, list[Row]]:
    """Show the page of a key's own requests that is wanted, newest first; count those up to its end."""
    passed: list[PartnerRequest] = []
    before, scanned, end = f"{day_of(wanted.end)}~", 0, wanted.skip + wanted.first
    while len(passed) < end and scanned < MAX_ROWS:
        rows = await open311.requests.list_newest(key.id, day_of(wanted.start), before, _CHUNK)
        summaries = await open311.complaints.store.list_by_numbers(row.number for row in rows)
        passed += [row for row in rows if row.number in summaries and _passes(summaries[row.number], wanted)]
        scanned += len(rows)
        if len(rows) < _CHUNK:
            break
        before = rows[-1].number
    page = passed[wanted.skip : end]
    shown = await _show(open311, key, page, names, now=now)
    return min(len(passed), end), [shown[row.id] for row in page if row.id in shown]


def _passes(summary: Summary, wanted: Wanted) -> bool:
    standing = summary.standing
    is_open = public_state(standing.state) in OPEN_STATES
    return (
        wanted.start <= standing.submitted_at <= wanted.end
        and (not wanted.service_codes or _is_of(standing.class_code or "", wanted.service_codes))
        and wanted.is_open in (None, is_open)
        and (wanted.division_code is None or is_within(standing.division_code, wanted.division_code))
    )


def _is_of(class_code: str, wanted: Iterable[str]) -> bool:
    return any(code in (class_code, class_code[:2]) for code in wanted)


async def _show(
    open311: Open311, key: ApiKey, rows: Iterable[PartnerRequest], names: Names, *, now: datetime
) -> dict[str, Row]:
    store, shown = open311.complaints.store, {}
    ids = {row.number: row.id for row in rows}
    for complaint in await store.list_whole(ids):
        if _key_of(complaint) != key.id:
            continue
        public_id = ids[complaint.number]
        shown[public_id] = show_own(
            public_id,
            complaint.standing,
            complaint.events,
            await store.open_texts(complaint),
            complaint.point,
            clock(open311.complaints, complaint, now=now),
            names,
        )
    return shown


# --- updates ----------------------------------------------------------------------------------------------


async def show_updates(
    open311: Open311, key: ApiKey, start: datetime, end: datetime, first: int, names: Names
) -> list[tuple[datetime, Row]]:
    """Show what happened to a key's own requests, as noted from `start` to `end`, oldest first."""
    rows = await open311.requests.list_updates(key.id, start, end, first)
    store, shown = open311.complaints.store, []
    found = {each.number: each for each in await store.list_whole({row.request.number for row in rows})}
    texts = {number: await store.open_texts(each) for number, each in found.items()}
    for row in rows:
        complaint = found.get(row.request.number)
        if complaint is not None and _key_of(complaint) == key.id and row.seq < len(complaint.events):
            shown.append(_update(row, complaint.events, texts[complaint.number], names))
    return shown


def _update(
    row: PartnerUpdate, events: tuple[Event, ...], texts: dict[int, dict[str, str]], names: Names
) -> tuple[datetime, Row]:
    return row.at, show_update(row.request.id, events, row.seq, texts, names, at=row.at)


async def comment(open311: Open311, key: ApiKey, new: NewComment, *, now: datetime) -> str:
    """Add to a request that came with the key, in the citizen's name; give the update's id.

    The same `update_id`, or the same text within ten minutes, is the same comment.
    Raises: UnknownServiceRequestError, ComplaintStepNotAllowedError, TooManyComplaintStepsError,
    ComplaintChangedError.
    """
    row = (await open311.requests.list_by_ids(key.id, [new.request_id])).get(new.request_id)
    if row is None:
        raise UnknownServiceRequestError(id=new.request_id)
    if new.update_id is not None:
        seq = await open311.requests.find_comment(row.id, new.update_id)
        if seq is not None:
            return f"{row.id}_{seq}"
    seq = await _comment(open311, row, new.text, now=now)
    if new.update_id is not None:
        await open311.requests.add_comment(row.id, new.update_id, seq)
    return f"{row.id}_{seq}"


async def _comment(open311: Open311, row: PartnerRequest, text: str, *, now: datetime) -> int:
    """Take the step, again when somebody else was quicker; give its event."""
    complaints = open311.complaints
    for chance in range(_AGAIN):
        complaint = await complaints.store.get(row.number)
        seq = await _same_comment(complaints, complaint, text, now=now)
        if seq is not None:
            return seq
        answers = complaint.standing.state in _SUPPLEMENTED
        step = c.Supplement(text=text) if answers else c.Write(text=text)
        try:
            done = await act(complaints, complaint, step, Actor(ActorRole.COMPLAINANT), now=now)
        except c.ComplaintChangedError:
            if chance == _AGAIN - 1:
                raise
        else:
            return done.events[-1].seq
    raise AssertionError("the last chance returns or raises")


async def _same_comment(
    complaints: Complaints, complaint: Complaint, text: str, *, now: datetime
) -> int | None:
    recent = [
        event.seq
        for event in complaint.events
        if event.action in ("SUPPLEMENT", "WRITE")
        and event.actor.role is ActorRole.COMPLAINANT
        and now - event.at < SAME_WITHIN
    ]
    if not recent:
        return None
    texts = await complaints.store.open_texts(complaint)
    return next((seq for seq in recent if texts.get(seq, {}).get("text") == text), None)


def _key_of(complaint: Complaint) -> str | None:
    """Name the key that a complaint came with, as its history says."""
    if complaint.standing.channel is not ComplaintChannel.OPEN311:
        return None
    account = complaint.events[0].actor.account or ""
    return account.removeprefix(ACCOUNT_PREFIX) if account.startswith(ACCOUNT_PREFIX) else None
