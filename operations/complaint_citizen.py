"""What citizens do with complaints of their own: submit, add, write, withdraw, rate, reopen."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

import structlog
from msgspec import Struct
from prometheus_client import Counter
from redis.exceptions import RedisError

from domain import complaints as c
from domain.access import Viewer
from domain.account import TooManyRequestsError
from domain.complaints import Actor, ActorRole, ComplaintChannel
from operations.account import network_of
from operations.complaint_steps import act
from operations.complaint_submit import Intake, submit
from operations.complaints import Complaints, code_of, limit_for, look_up
from store.complaint_drafts import ComplaintDraftStore
from store.complaints import Complaint
from store.gate import Gate, Window

log = structlog.get_logger(__name__)

OWN_CHANNELS: Final = frozenset(
    {
        ComplaintChannel.APP,
        ComplaintChannel.MINI_PROGRAM,
        ComplaintChannel.WEBSITE,
        ComplaintChannel.WECHAT,
        ComplaintChannel.QQ,
        ComplaintChannel.WEIBO,
    }
)
"""The ways in on which citizens write themselves; what comes by the others is taken down by staff."""
_TRIES_OF_ADDRESS: Final = ("30 per 10 minute", "300 per 1 day")
_TRIES_OF_NUMBER: Final = ("60 per 10 minute",)
_AGAIN: Final = 3
_UNCOUNTED: Final = Counter(
    "mintong_complaints_uncounted_total", "Submissions that no limit could be asked about: Redis was away."
)
Make = Callable[[Complaint], c.AnyStep]


class Submitted(Struct, frozen=True):
    """A submitted complaint and the code by which it can be followed without signing in."""

    complaint: Complaint
    code: str


async def submit_own(
    complaints: Complaints,
    drafts: ComplaintDraftStore,
    gate: Gate,
    viewer: Viewer,
    intake: Intake,
    key: str,
    draft_key: str | None = None,
    *,
    now: datetime,
) -> Submitted:
    """Submit a matter of the viewer's own; the draft that it was written in goes.

    At most `Complaints.submissions`; a repetition of what was submitted is never too many. While Redis is
    away nothing is counted and everything is taken.
    Raises: TooManyRequestsError and those of `operations.complaint_submit.submit`.
    """
    if intake.channel not in OWN_CHANNELS:
        raise c.InvalidComplaintError(field="channel")

    async def admit(stored_key: bytes) -> None:
        limits = complaints.submissions.split(";")
        windows = [Window(limit.strip(), f"complaints:{viewer.account_id}") for limit in limits]
        try:
            wait_s = await gate.enter(windows)
        except (RedisError, OSError) as error:
            _UNCOUNTED.inc()
            log.warning("complaints.uncounted", error=type(error).__name__)
            return
        if wait_s and await complaints.store.find_by_key(stored_key) is None:
            raise TooManyRequestsError(seconds=wait_s)

    actor = Actor(ActorRole.COMPLAINANT)
    complaint = await submit(complaints, viewer, actor, intake, key, now=now, admit=admit)
    if draft_key is not None:
        await drafts.delete(viewer.account_id, draft_key)
    return Submitted(complaint, await code_of(complaints, complaint.number))


async def limit_following(gate: Gate, number: str, address: str) -> None:
    """Count a try to follow a complaint by its code, right or wrong.

    Raises: TooManyRequestsError; redis.exceptions.RedisError, because codes must not be tried uncounted.
    """
    network = network_of(address)
    windows = [Window(limit, f"complaint-code:address:{network}") for limit in _TRIES_OF_ADDRESS]
    windows += [Window(limit, f"complaint-code:number:{number[:20]}") for limit in _TRIES_OF_NUMBER]
    if wait_s := await gate.enter(windows):
        raise TooManyRequestsError(seconds=wait_s)


async def act_on_own(
    complaints: Complaints,
    viewer: Viewer,
    number: str,
    make: Make,
    *,
    now: datetime,
    version: int | None = None,
) -> Complaint:
    """Take the step that `make` gives on a complaint of the viewer's own; `version` is what they have seen.

    Without a version, staff who are quicker are no conflict: the step is tried again on what there is then.
    Raises: ComplaintNotFoundError also for everybody else's; ComplaintChangedError, and those of `take`.
    """
    for chance in range(_AGAIN):
        complaint, actors = await look_up(complaints, viewer, number)
        if actors[0].role is not ActorRole.COMPLAINANT:
            raise c.ComplaintNotFoundError(number=complaint.number)
        standing = complaint.standing
        if version is not None and version != standing.version:
            raise c.ComplaintChangedError(state=standing.state.value, version=standing.version)
        try:
            return await act(
                complaints, complaint, make(complaint), actors[0], account=viewer.account_id, now=now
            )
        except c.ComplaintChangedError:
            if version is not None or chance == _AGAIN - 1:
                raise
    raise AssertionError("the last chance returns or raises")


async def reopen_own(
    complaints: Complaints,
    viewer: Viewer,
    number: str,
    reason: str,
    *,
    now: datetime,
    version: int | None = None,
) -> Complaint:
    """Say that an answer does not settle the matter; a new limit begins, by the rules of today.

    Raises: ReopenTooLateError, TooManyComplaintStepsError and those of `act_on_own`.
    """

    def make(complaint: Complaint) -> c.Reopen:
        standing = complaint.standing
        limit = limit_for(complaints, standing.kind, standing.class_code, standing.division_code, at=now)
        return c.Reopen(reason=reason, limit_days=limit.days, limit_rule=limit.id)

    return await act_on_own(complaints, viewer, number, make, now=now, version=version)
