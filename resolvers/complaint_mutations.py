"""What citizens do with complaints, in GraphQL."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Annotated

import strawberry
from strawberry.permission import BasePermission
from strawberry.types import Info

from domain import complaints as c
from domain.access import SIGNED_IN
from domain.complaints import Actor, ActorRole
from operations import complaint_citizen as operations
from operations import complaint_joins as joins
from operations import complaint_views as views
from operations.complaint_citizen import Make
from operations.complaint_submit import Intake
from resolvers import complaint_enums  # noqa: F401 — describes the enums
from resolvers.access import allow, viewer_of
from resolvers.complaint_drafts import drafts_of, media_ids
from resolvers.complaint_showing import show_complaint, show_view
from resolvers.complaint_types import Complaint, complaints_of
from resolvers.context import Context
from resolvers.mutations import UserError, refusable
from resolvers.places import GeoPointInput
from store.complaints import Complaint as StoredComplaint

_SIGNED_IN: list[type[BasePermission]] = [allow(*SIGNED_IN)]
_OWN = (Actor(ActorRole.COMPLAINANT),)
_SEEN = (
    "The version that was seen; null: on whatever there is now. With it, a repetition after a lost answer "
    "changes nothing, and COMPLAINT_CHANGED comes with the complaint as it is."
)


@strawberry.input(description="A matter for 12345.")
class SubmitComplaintInput:
    """Of submitComplaint."""

    idempotency_key: str = strawberry.field(
        description="Made by the client once for each matter, 8 to 64 characters; again gives the same "
        "complaint. The id of its draft will do."
    )
    kind: c.Kind = strawberry.field(description="What the citizen wants.")
    text: str = strawberry.field(description="The matter, 1 to 2,000 characters.")
    division_code: str = strawberry.field(description="Where it belongs: code of a division, 6 or 9 digits.")
    contact: c.ContactWish = strawberry.field(description="How those who handle it may reach the citizen.")
    channel: c.ComplaintChannel = strawberry.field(
        default=c.ComplaintChannel.APP,
        description="By which of their own ways in the citizen writes: not HOTLINE, SMS, LETTER or OPEN311.",
    )
    class_code: str | None = strawberry.field(
        default=None, description="Four digits of a class; null: a seat decides."
    )
    is_public_wished: bool = strawberry.field(
        default=False,
        description="Whether the public list may show it, without personal data and after a review.",
    )
    media_ids: list[strawberry.ID] = strawberry.field(
        default_factory=list, description="Uploads that belong to it, at most 9."
    )
    point: GeoPointInput | None = strawberry.field(default=None, description="Where; null: nowhere on a map.")
    address: str | None = strawberry.field(
        default=None, description="Where, in words, at most 200 characters."
    )
    name: str | None = strawberry.field(
        default=None, description="For NAMED; null: the account's verified name. At most 40 characters."
    )
    phone: str | None = strawberry.field(
        default=None, description="For NAMED and PHONE_ONLY; null: the account's phone."
    )
    draft_id: strawberry.ID | None = strawberry.field(
        default=None, description="The draft that it was written in, which goes; null: none."
    )

    def read(self) -> Intake:
        """Give the matter. Raises: InvalidComplaintError naming the field."""
        return Intake(
            kind=self.kind,
            text=self.text,
            division_code=self.division_code[:12],
            channel=self.channel,
            contact=self.contact,
            class_code=self.class_code,
            is_public_wished=self.is_public_wished,
            media=media_ids(self.media_ids),
            point=None if self.point is None else self.point.read(),
            address=self.address,
            name=self.name,
            phone=self.phone,
        )


@strawberry.input(description="More about a matter of the viewer's.")
class SupplementComplaintInput:
    """Of supplementComplaint."""

    number: str = strawberry.field(description="Which complaint.")
    text: str = strawberry.field(description="1 to 2,000 characters.")
    media_ids: list[strawberry.ID] = strawberry.field(
        default_factory=list, description="Uploads; with those it has, at most 9."
    )
    expected_version: int | None = strawberry.field(default=None, description=_SEEN)


@strawberry.input(description="A message to those who handle a matter of the viewer's.")
class SendComplaintMessageInput:
    """Of sendComplaintMessage."""

    number: str = strawberry.field(description="Which complaint.")
    text: str = strawberry.field(description="1 to 2,000 characters.")
    expected_version: int | None = strawberry.field(default=None, description=_SEEN)


@strawberry.input(description="Taking a matter of the viewer's back.")
class WithdrawComplaintInput:
    """Of withdrawComplaint."""

    number: str = strawberry.field(description="Which complaint.")
    reason: str | None = strawberry.field(default=None, description="Why, 1 to 500 characters; null: unsaid.")
    expected_version: int | None = strawberry.field(default=None, description=_SEEN)


@strawberry.input(description="A rating; each grade is 1 (very bad) to 5 (very good).")
class RateComplaintInput:
    """Of rateComplaint."""

    number: str = strawberry.field(description="Which complaint.")
    speed: int = strawberry.field(description="How quick it was.")
    attitude: int = strawberry.field(description="How staff behaved.")
    result: int = strawberry.field(description="What came out.")
    comment: str | None = strawberry.field(default=None, description="1 to 500 characters; null: none.")
    expected_version: int | None = strawberry.field(default=None, description=_SEEN)


@strawberry.input(description="Why an answer does not settle a matter of the viewer's.")
class ReopenComplaintInput:
    """Of reopenComplaint."""

    number: str = strawberry.field(description="Which complaint.")
    reason: str = strawberry.field(description="Why, 1 to 500 characters.")
    expected_version: int | None = strawberry.field(default=None, description=_SEEN)


@strawberry.input(description="Somebody else's complaint about the same matter.")
class JoinComplaintInput:
    """Of joinComplaint."""

    number: str = strawberry.field(description="Which complaint.")
    token: str = strawberry.field(
        description="Its `joinToken` of `complaintPreview`, good for this viewer and a day."
    )


@strawberry.input(description="A complaint that the viewer has joined.")
class LeaveComplaintInput:
    """Of leaveComplaint."""

    number: str = strawberry.field(description="Which complaint.")


@strawberry.type(description="Result of submitComplaint.")
class SubmitComplaintPayload:
    """The complaint, or why not."""

    complaint: Complaint | None = strawberry.field(description="The complaint; null when refused.")
    query_code: str | None = strawberry.field(
        description="With the number, whoever has this can follow it without signing in; null when refused."
    )
    user_errors: list[UserError] = strawberry.field(description="Why it was refused.")


@strawberry.type(description="Result of a step on a complaint.")
class ComplaintPayload:
    """The complaint as it is now, and why the step was refused."""

    complaint: Complaint | None = strawberry.field(
        description="The complaint as it is now, also when refused; null when it is not the viewer's to see."
    )
    user_errors: list[UserError] = strawberry.field(description="Why it was refused.")


async def _payload(
    info: Info[Context, None], number: str, work: Awaitable[StoredComplaint]
) -> ComplaintPayload:
    """Run a step and show what the complaint is then to its citizen, refused or not."""
    changed, errors = await refusable(work, info.context.word)
    if changed is not None:
        return ComplaintPayload(complaint=await show_complaint(info.context, changed, _OWN), user_errors=[])
    return ComplaintPayload(complaint=await _find(info, number), user_errors=errors)


async def _find(info: Info[Context, None], number: str) -> Complaint | None:
    context = info.context
    try:
        complaint, view = await views.look(complaints_of(context), viewer_of(info), number, now=context.now)
    except c.ComplaintNotFoundError:
        return None
    return show_view(context, complaint, view)


async def _act(info: Info[Context, None], number: str, make: Make, version: int | None) -> ComplaintPayload:
    work = operations.act_on_own(
        complaints_of(info.context), viewer_of(info), number, make, now=info.context.now, version=version
    )
    return await _payload(info, number, work)


@strawberry.type
class ComplaintsMutation:
    """The citizens' part of Mutation about complaints."""

    @strawberry.mutation(
        description="Bring a matter before 12345. At most 5 in ten minutes and 20 a day.",
        permission_classes=_SIGNED_IN,
    )
    async def submit_complaint(
        self,
        info: Info[Context, None],
        input: Annotated[SubmitComplaintInput, strawberry.argument(description="The matter.")],
    ) -> SubmitComplaintPayload:
        """Run `submit_own`."""
        context, viewer = info.context, viewer_of(info)

        async def submit() -> operations.Submitted:
            return await operations.submit_own(
                complaints_of(context),
                drafts_of(context),
                context.stores.identity.gate,
                viewer,
                input.read(),
                input.idempotency_key,
                None if input.draft_id is None else input.draft_id[:64],
                now=context.now,
            )

        done, errors = await refusable(submit(), context.word)
        if done is None:
            return SubmitComplaintPayload(complaint=None, query_code=None, user_errors=errors)
        complaint = await show_complaint(context, done.complaint, _OWN)
        return SubmitComplaintPayload(complaint=complaint, query_code=done.code, user_errors=[])

    @strawberry.mutation(
        description="Add to a matter; it answers a question that was asked, and the clock goes on.",
        permission_classes=_SIGNED_IN,
    )
    async def supplement_complaint(
        self,
        info: Info[Context, None],
        input: Annotated[SupplementComplaintInput, strawberry.argument(description="What is added.")],
    ) -> ComplaintPayload:
        """Take the step SUPPLEMENT."""

        def make(_: StoredComplaint) -> c.Supplement:
            return c.Supplement(text=input.text, media=media_ids(input.media_ids))

        return await _act(info, input.number, make, input.expected_version)

    @strawberry.mutation(
        description="Write to those who handle a matter, also after its end; at most 50 times.",
        permission_classes=_SIGNED_IN,
    )
    async def send_complaint_message(
        self,
        info: Info[Context, None],
        input: Annotated[SendComplaintMessageInput, strawberry.argument(description="The message.")],
    ) -> ComplaintPayload:
        """Take the step WRITE."""
        return await _act(info, input.number, lambda _: c.Write(text=input.text), input.expected_version)

    @strawberry.mutation(
        description="Take a matter back, before its answer is out.", permission_classes=_SIGNED_IN
    )
    async def withdraw_complaint(
        self,
        info: Info[Context, None],
        input: Annotated[WithdrawComplaintInput, strawberry.argument(description="Which.")],
    ) -> ComplaintPayload:
        """Take the step WITHDRAW."""
        return await _act(
            info, input.number, lambda _: c.Withdraw(reason=input.reason), input.expected_version
        )

    @strawberry.mutation(
        description="Rate an answer, once for each, within 30 days.", permission_classes=_SIGNED_IN
    )
    async def rate_complaint(
        self,
        info: Info[Context, None],
        input: Annotated[RateComplaintInput, strawberry.argument(description="The rating.")],
    ) -> ComplaintPayload:
        """Take the step RATE."""

        def make(_: StoredComplaint) -> c.Rate:
            return c.Rate(
                speed=input.speed, attitude=input.attitude, result=input.result, comment=input.comment
            )

        return await _act(info, input.number, make, input.expected_version)

    @strawberry.mutation(
        description="Say that an answer does not settle the matter, within 30 days and at most twice; a new "
        "limit begins.",
        permission_classes=_SIGNED_IN,
    )
    async def reopen_complaint(
        self,
        info: Info[Context, None],
        input: Annotated[ReopenComplaintInput, strawberry.argument(description="Why.")],
    ) -> ComplaintPayload:
        """Run `reopen_own`."""
        context = info.context
        work = operations.reopen_own(
            complaints_of(context),
            viewer_of(info),
            input.number,
            input.reason,
            now=context.now,
            version=input.expected_version,
        )
        return await _payload(info, input.number, work)

    @strawberry.mutation(
        description="Join somebody else's complaint about the same matter, to be told of its progress; again "
        "is no error. At most 100.",
        permission_classes=_SIGNED_IN,
    )
    async def join_complaint(
        self,
        info: Info[Context, None],
        input: Annotated[JoinComplaintInput, strawberry.argument(description="Which, and its token.")],
    ) -> ComplaintPayload:
        """Run `join`."""
        context = info.context
        work = joins.join(
            complaints_of(context), viewer_of(info), input.number, input.token[:64], now=context.now
        )
        _, errors = await refusable(work, context.word)
        return ComplaintPayload(complaint=await _find(info, input.number), user_errors=errors)

    @strawberry.mutation(
        description="Leave a complaint that the viewer has joined.", permission_classes=_SIGNED_IN
    )
    async def leave_complaint(
        self,
        info: Info[Context, None],
        input: Annotated[LeaveComplaintInput, strawberry.argument(description="Which.")],
    ) -> ComplaintPayload:
        """Run `leave`."""
        work = joins.leave(complaints_of(info.context), viewer_of(info), input.number)
        _, errors = await refusable(work, info.context.word)
        return ComplaintPayload(complaint=await _find(info, input.number), user_errors=errors)
