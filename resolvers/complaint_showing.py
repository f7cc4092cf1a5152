"""Complaints shown: a view in the language of a request, with its units, class and division."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import strawberry

from domain import complaints as c
from domain.complaints import Actor
from domain.ids import encode_node_id
from operations import complaint_views as views
from operations.complaint_sight import Sight
from operations.complaint_views import ComplaintView, Party
from resolvers import complaint_types as types
from resolvers.catalogue_types import Division
from resolvers.complaint_words import PAUSE_WORDS, STEP_WORDS, Pair, words_for
from resolvers.context import Context
from resolvers.node import PageInfo
from resolvers.units import ComplaintClass, Unit
from store.complaints import Complaint, Summary


async def show_complaint(context: Context, complaint: Complaint, actors: Sequence[Actor]) -> types.Complaint:
    """Show a complaint to somebody who may act on it as these."""
    complaints = types.complaints_of(context)
    view = await views.show(complaints, complaint, actors, now=context.now)
    return show_view(context, complaint, view)


def show_view(context: Context, complaint: Complaint, view: ComplaintView) -> types.Complaint:
    """Show a complaint as a view does."""
    show, clock, due_at = _Showing(context), view.clock, view.clock.due_at
    is_staff = bool(view.sight & Sight.DESK) and not view.is_own
    return types.Complaint(
        node_id=strawberry.ID(encode_node_id("Complaint", view.number)),
        number=view.number,
        version=view.version,
        state=view.state,
        kind=view.kind,
        class_code=view.class_code,
        complaint_class=show.class_(view.class_code),
        is_convenience=view.is_convenience,
        division_code=view.division_code,
        division=show.division(view.division_code),
        channel=view.channel,
        centre=show.unit(view.centre),
        lead_unit=show.unit(view.lead),
        co_units=[unit for each in view.co_units if (unit := show.unit(each)) is not None],
        submitted_at=view.submitted_at,
        changed_at=view.changed_at,
        due_at=due_at,
        due_is_provisional=clock.is_provisional,
        is_overdue=view.is_overdue,
        limit_days=clock.limit_days,
        used_days=clock.used_days,
        left_days=clock.left_days,
        clock_state=clock.state,
        pause_reason=view.pauses[-1].reason if view.pauses and view.pauses[-1].until is None else None,
        steps=[show.step(step) for step in view.steps],
        events=[show.event(event) for event in view.events],
        pauses=[
            types.ComplaintPause(
                reason=each.reason,
                text=show.pick(PAUSE_WORDS[each.reason]),
                since=each.since,
                until=each.until,
            )
            for each in view.pauses
        ],
        extensions=[show.extension(each) for each in view.extensions],
        text=view.text,
        excerpt=view.excerpt,
        address=view.address,
        contact_wish=view.contact_wish,
        question=view.question,
        messages=[show.message(each) for each in view.messages],
        answer=show.answer(view.answer),
        refusal=_refusal(view.refusal),
        rating=_rating(view.rating),
        call_back=_call_back(view.call_back),
        publication=view.publication,
        reopened_count=view.reopened,
        can_reopen_until=view.reopen_until,
        escalated_level=view.escalated,
        merged_into=view.merged_into,
        is_own=view.is_own,
        allowed_actions=list(view.allowed_actions),
        place=view.point,
        media_key=view.number if view.sight & Sight.MATTER else None,
        contact_key=None
        if view.contact is None
        else types.ContactKey(view.number, view.contact, complaint.owner if is_staff else None),
    )


def show_summary(context: Context, summary: Summary, *, is_joined: bool = False) -> types.ComplaintSummary:
    """Show a complaint in a list; `is_joined`: it is somebody else's, whom the viewer has joined."""
    show, standing = _Showing(context), summary.standing
    return types.ComplaintSummary(
        node_id=strawberry.ID(encode_node_id("Complaint", summary.number)),
        number=summary.number,
        version=standing.version,
        state=standing.state,
        kind=standing.kind,
        class_code=standing.class_code,
        complaint_class=show.class_(standing.class_code),
        division_code=standing.division_code,
        excerpt=summary.excerpt,
        submitted_at=standing.submitted_at,
        changed_at=standing.changed_at,
        due_at=summary.due_at,
        lead_unit=show.unit(standing.lead),
        outcome=standing.outcome if standing.state in c.ANSWER_OUT else None,
        reopened_count=standing.reopened,
        media_count=None if is_joined else len(summary.media),
        is_waiting_for_citizen=standing.state in (c.State.ASKED_BY_SEAT, c.State.ASKED_BY_UNIT),
    )


def connection(
    edges: Sequence[tuple[str, types.ComplaintSummary]], *, has_more: bool, is_later: bool
) -> types.ComplaintConnection:
    """Make a page of cursors and complaints."""
    return types.ComplaintConnection(
        edges=[types.ComplaintEdge(cursor=cursor, node=node) for cursor, node in edges],
        page_info=PageInfo(
            has_next_page=has_more,
            has_previous_page=is_later,
            start_cursor=edges[0][0] if edges else None,
            end_cursor=edges[-1][0] if edges else None,
        ),
    )


class _Showing:
    """Puts the parts of a view into the language and the types of a request."""

    def __init__(self, context: Context) -> None:
        complaints = types.complaints_of(context)
        self._catalogue = context.catalogue
        self._classes = complaints.classes
        self._units = complaints.units()
        self._language = context.language

    def pick(self, pair: Pair) -> str:
        return pair[1 if self._language == "en" else 0]

    def unit(self, unit_id: str | None) -> Unit | None:
        unit = self._units.find(unit_id) if unit_id else None
        return None if unit is None else Unit.of(unit)

    def class_(self, code: str | None) -> ComplaintClass | None:
        found = self._classes.find(code) if code else None
        return None if found is None else ComplaintClass.of(found)

    def division(self, code: str) -> Division | None:
        return None if self._catalogue is None else cast("Division | None", self._catalogue.division(code))

    def party(self, party: Party) -> types.ComplaintParty:
        return types.ComplaintParty(role=party.role, unit=self.unit(party.unit), account_id=party.account)

    def step(self, step: views.StepView) -> types.ComplaintLoopEntry:
        return types.ComplaintLoopEntry(
            step=step.step,
            name=self.pick(STEP_WORDS[step.step]),
            is_reached=step.at is not None,
            at=step.at,
            by=None if step.party is None else self.party(step.party),
        )

    def event(self, event: views.EventView) -> types.ComplaintEvent:
        return types.ComplaintEvent(
            seq=event.seq,
            at=event.at,
            action=event.action,
            state=event.state,
            by=self.party(event.party),
            title=words_for(event, self._unit_name, self._language),
            text=event.words,
            private_text=event.private_words,
        )

    def _unit_name(self, unit_id: str) -> str | None:
        unit = self._units.find(unit_id)
        if unit is None:
            return None
        return (unit.name_en or unit.name) if self._language == "en" else unit.name

    def extension(self, each: views.ExtensionView) -> types.ComplaintExtension:
        extension = each.extension
        return types.ComplaintExtension(
            state=extension.state,
            asked_days=extension.asked_days,
            granted_days=extension.granted_days,
            reason=each.reason,
            asked_at=extension.asked_at,
            decided_at=extension.decided_at,
        )

    def message(self, each: views.MessageView) -> types.ComplaintMessage:
        return types.ComplaintMessage(
            seq=each.seq,
            at=each.at,
            kind=each.kind,
            by=self.party(each.party),
            text=each.text,
            media_ids=[strawberry.ID(media_id) for media_id in each.media],
        )

    def answer(self, answer: views.AnswerView | None) -> types.ComplaintAnswer | None:
        if answer is None:
            return None
        return types.ComplaintAnswer(
            at=answer.at,
            by=self.party(answer.party),
            outcome=answer.outcome,
            is_out=answer.is_out,
            text=answer.text,
            private_text=answer.private_text,
            guide_id=answer.guide,
        )


def _refusal(refusal: views.RefusalView | None) -> types.ComplaintRefusal | None:
    if refusal is None:
        return None
    return types.ComplaintRefusal(ground=refusal.ground, next_owner=refusal.next_owner, note=refusal.note)


def _rating(rating: views.RatingView | None) -> types.ComplaintRating | None:
    if rating is None:
        return None
    return types.ComplaintRating(
        at=rating.at,
        speed=rating.speed,
        attitude=rating.attitude,
        result=rating.result,
        comment=rating.comment,
    )


def _call_back(call: views.CallBackView | None) -> types.ComplaintCallBack | None:
    if call is None:
        return None
    return types.ComplaintCallBack(
        at=call.at, was_reached=call.was_reached, is_satisfied=call.is_satisfied, note=call.note
    )
