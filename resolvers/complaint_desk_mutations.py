"""The steps of the desk as mutations: each takes one input and gives the complaint back, or why not."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Annotated

import strawberry
from msgspec import Struct
from strawberry.permission import BasePermission
from strawberry.types import Info

from domain import complaints as c
from domain.access import Assurance, Role
from domain.complaints import ComplaintChangedError
from domain.ids import raw_id_of
from domain.knowledge import GuideNotFoundError
from operations import complaint_desk_intake as intake
from operations import complaint_desk_work as work
from operations import complaint_steps as steps
from operations.complaint_desk_work import BulkResult
from operations.complaints import actors_of, look_up
from resolvers.access import allow, viewer_of
from resolvers.account_types import CitizenRecord
from resolvers.complaint_desk_inputs import (
    AnswerComplaintInput,
    AnswerDirectlyInput,
    AskCitizenInput,
    CheckAnswerInput,
    ClassifyComplaintInput,
    ComplaintNumberInput,
    ComplaintReasonInput,
    ComplaintStepInput,
    ComplaintTextInput,
    DispatchComplaintInput,
    DispatchComplaintsInput,
    GrantExtensionInput,
    MergeComplaintsInput,
    RecordCallBackInput,
    RefuseComplaintInput,
    RequestExtensionInput,
    ReturnComplaintInput,
    ReviewPublicationInput,
    TakeDownComplaintInput,
    TraceComplaintInput,
    trimmed,
)
from resolvers.complaint_desk_types import (
    BulkComplaintResult,
    BulkComplaintsPayload,
    ClaimPayload,
    ComplaintConflict,
    ComplaintStepPayload,
    TakenDownPayload,
    TracePayload,
)
from resolvers.complaint_showing import show_complaint
from resolvers.complaint_types import complaints_of
from resolvers.context import Context
from resolvers.knowledge import knowledge_of
from resolvers.mutations import UserError, refusable
from resolvers.units import raw_unit_id
from store.complaints import Complaint

_STAFF: list[type[BasePermission]] = [allow(Role.DESK, level=Assurance.L2)]
_Step = Annotated[ComplaintStepInput, strawberry.argument(description="Which.")]
_Classify = Annotated[ClassifyComplaintInput, strawberry.argument(description="Which, and what it is.")]
_Dispatch = Annotated[DispatchComplaintInput, strawberry.argument(description="Which, and who.")]
_Text = Annotated[ComplaintTextInput, strawberry.argument(description="Which, and the text.")]
_Reason = Annotated[ComplaintReasonInput, strawberry.argument(description="Which, and why.")]
_Number = Annotated[ComplaintNumberInput, strawberry.argument(description="Which.")]


class _Outcome(Struct):
    """What a piece of work came to; at most one of `done` and `errors` says something."""

    done: Complaint | None
    errors: list[UserError]
    conflict: ComplaintConflict | None = None


async def _run(info: Info[Context, None], doing: Awaitable[Complaint]) -> _Outcome:
    """Run an operation; what a conflict came to is kept."""
    conflict: ComplaintConflict | None = None

    async def watched() -> Complaint:
        nonlocal conflict
        try:
            return await doing
        except ComplaintChangedError as error:
            state, version = error.params["state"], error.params["version"]
            conflict = ComplaintConflict(state=c.State(str(state)), version=int(version))
            raise

    done, errors = await refusable(watched(), info.context.word)
    return _Outcome(done, errors, conflict)


async def _payload(
    info: Info[Context, None], number: str, doing: Awaitable[Complaint]
) -> ComplaintStepPayload:
    """Run a step; show what became of the complaint, after a conflict too."""
    outcome, context = await _run(info, doing), info.context
    complaints, viewer = complaints_of(context), viewer_of(info)
    shown = None
    if outcome.done is not None:
        actors = await actors_of(complaints, viewer, outcome.done)
        shown = await show_complaint(context, outcome.done, actors)
    elif outcome.conflict is not None:
        found, _ = await refusable(look_up(complaints, viewer, number), context.word)
        shown = await show_complaint(context, *found) if found is not None else None
    return ComplaintStepPayload(complaint=shown, conflict=outcome.conflict, user_errors=outcome.errors)


async def _step(
    info: Info[Context, None], input: ComplaintStepInput, step: c.AnyStep
) -> ComplaintStepPayload:
    doing = work.take_step(
        complaints_of(info.context),
        viewer_of(info),
        input.number,
        step,
        now=info.context.now,
        version=input.expected_version,
    )
    return await _payload(info, input.number, doing)


async def _claim_payload(info: Info[Context, None], doing: Awaitable[Complaint]) -> ClaimPayload:
    outcome, context, viewer = await _run(info, doing), info.context, viewer_of(info)
    if outcome.done is None:
        return ClaimPayload(complaint=None, claimed_until=None, user_errors=outcome.errors)
    actors = await actors_of(complaints_of(context), viewer, outcome.done)
    is_own = outcome.done.claimed_by == viewer.account_id
    return ClaimPayload(
        complaint=await show_complaint(context, outcome.done, actors),
        claimed_until=outcome.done.claimed_until if is_own else None,
        user_errors=[],
    )


async def _bulk_payload(
    info: Info[Context, None], doing: Awaitable[list[BulkResult]]
) -> BulkComplaintsPayload:
    results, errors = await refusable(doing, info.context.word)
    shown = [await _bulk_result(info, each) for each in results or ()]
    return BulkComplaintsPayload(results=shown, user_errors=errors)


async def _bulk_result(info: Info[Context, None], result: BulkResult) -> BulkComplaintResult:
    async def replay() -> Complaint:
        if result.refusal is not None:
            raise result.refusal
        if result.complaint is None:
            raise RuntimeError("neither a complaint nor a refusal")
        return result.complaint

    outcome = await _run(info, replay())
    standing = outcome.done.standing if outcome.done else outcome.conflict
    return BulkComplaintResult(
        number=result.number[:20],
        state=standing.state if standing else None,
        version=standing.version if standing else None,
        user_errors=outcome.errors,
    )


async def _classify(info: Info[Context, None], input: ClassifyComplaintInput, action: str) -> Complaint:
    complaints, viewer, now = complaints_of(info.context), viewer_of(info), info.context.now
    seen = await work.ready(complaints, viewer, input.number, action, now=now, version=input.expected_version)
    return await steps.accept(
        complaints, viewer, input.number, input.kind, input.class_code, now=now, version=seen
    )


async def _answer_directly(info: Info[Context, None], input: AnswerDirectlyInput) -> Complaint:
    text, guide_id = trimmed(input.text), None
    if input.guide_id is not None:
        guide = knowledge_of(info).index.find(raw_id_of("Guide", input.guide_id[:200]))
        if guide is None:
            raise GuideNotFoundError(id=input.guide_id[:64], field="guideId")
        text, guide_id = text or guide.content.answer, guide.id
    return await work.take_step(
        complaints_of(info.context),
        viewer_of(info),
        input.number,
        c.AnswerDirectly(text=text or "", guide=guide_id),
        now=info.context.now,
        version=input.expected_version,
    )


async def _reopen(info: Info[Context, None], input: ComplaintReasonInput) -> Complaint:
    complaints, viewer, now = complaints_of(info.context), viewer_of(info), info.context.now
    seen = await work.ready(
        complaints, viewer, input.number, "REOPEN", now=now, version=input.expected_version
    )
    return await steps.reopen(complaints, viewer, input.number, input.reason.strip(), now=now, version=seen)


@strawberry.type
class DeskIntakeMutation:
    """What a centre does beside the loop."""

    @strawberry.mutation(
        description="Take a matter down that came by phone, by letter or in a chat. For seats.",
        permission_classes=_STAFF,
    )
    async def take_down_complaint(
        self,
        info: Info[Context, None],
        input: Annotated[TakeDownComplaintInput, strawberry.argument(description="The matter.")],
    ) -> TakenDownPayload:
        """Run `take_down`."""
        context, viewer, complaints = info.context, viewer_of(info), complaints_of(info.context)
        code: str | None = None

        async def take_down() -> Complaint:
            nonlocal code
            taken = await intake.take_down(
                complaints, viewer, input.read(), input.idempotency_key, now=context.now
            )
            code = taken.query_code
            return taken.complaint

        outcome = await _run(info, take_down())
        if outcome.done is None:
            return TakenDownPayload(complaint=None, query_code=None, user_errors=outcome.errors)
        shown = await show_complaint(context, outcome.done, await actors_of(complaints, viewer, outcome.done))
        return TakenDownPayload(complaint=shown, query_code=code, user_errors=[])

    @strawberry.mutation(
        description="Clear a complaint for the public list under a text without personal data, or withhold "
        "it. For seats.",
        permission_classes=_STAFF,
    )
    async def review_publication(
        self,
        info: Info[Context, None],
        input: Annotated[ReviewPublicationInput, strawberry.argument(description="Which, and whether.")],
    ) -> ComplaintStepPayload:
        """Run `review_publication`."""
        doing = intake.review_publication(
            complaints_of(info.context),
            viewer_of(info),
            input.number,
            trimmed(input.public_text),
            is_cleared=input.is_cleared,
            now=info.context.now,
            version=input.expected_version,
        )
        return await _payload(info, input.number, doing)

    @strawberry.mutation(
        description="Tell who is behind an anonymous complaint, masked. For operators with a fresh code and "
        "nobody else; the owner's access log says who looked and why, before it is told.",
        permission_classes=[allow(Role.OPERATOR, level=Assurance.L3)],
    )
    async def trace_anonymous_complaint(
        self,
        info: Info[Context, None],
        input: Annotated[TraceComplaintInput, strawberry.argument(description="Which, and why.")],
    ) -> TracePayload:
        """Run `trace`."""
        doing = intake.trace(
            complaints_of(info.context), viewer_of(info), input.number, input.reason, now=info.context.now
        )
        account, errors = await refusable(doing, info.context.word)
        return TracePayload(
            citizen=None if account is None else CitizenRecord.of(account), user_errors=errors
        )


@strawberry.type
class DeskClaimMutation:
    """Claims."""

    @strawberry.mutation(
        description="Claim a complaint for 20 minutes, or renew the claim. While it holds, colleagues of the "
        "same side are refused with COMPLAINT_CLAIMED; it ends when another unit has to act.",
        permission_classes=_STAFF,
    )
    async def claim_complaint(self, info: Info[Context, None], input: _Number) -> ClaimPayload:
        """Run `claim`."""
        doing = work.claim(complaints_of(info.context), viewer_of(info), input.number, now=info.context.now)
        return await _claim_payload(info, doing)

    @strawberry.mutation(
        description="Give up a claim of the viewer's; without one nothing changes.", permission_classes=_STAFF
    )
    async def release_complaint(self, info: Info[Context, None], input: _Number) -> ClaimPayload:
        """Run `release`."""
        doing = work.release(complaints_of(info.context), viewer_of(info), input.number)
        return await _claim_payload(info, doing)


@strawberry.type
class DeskSeatMutation:
    """Steps of the centre."""

    @strawberry.mutation(
        description="Take a matter on under a kind and a class, which set its limit.",
        permission_classes=_STAFF,
    )
    async def accept_complaint(self, info: Info[Context, None], input: _Classify) -> ComplaintStepPayload:
        """Run `accept`."""
        return await _payload(info, input.number, _classify(info, input, "ACCEPT"))

    @strawberry.mutation(
        description="Give a complaint another kind or class; its limit changes with them.",
        permission_classes=_STAFF,
    )
    async def classify_complaint(self, info: Info[Context, None], input: _Classify) -> ComplaintStepPayload:
        """Run `accept` on what was taken on already."""
        return await _payload(info, input.number, _classify(info, input, "CLASSIFY"))

    @strawberry.mutation(
        description="Refuse a matter that is not for 12345, and name who it is for.",
        permission_classes=_STAFF,
    )
    async def refuse_complaint(
        self,
        info: Info[Context, None],
        input: Annotated[RefuseComplaintInput, strawberry.argument(description="Which, and why.")],
    ) -> ComplaintStepPayload:
        """Take the step REFUSE."""
        step = c.Refuse(ground=input.ground, next_owner=input.next_owner.strip(), note=trimmed(input.note))
        return await _step(info, input, step)

    @strawberry.mutation(
        description="Pass a complaint on to the unit in charge and those that help.",
        permission_classes=_STAFF,
    )
    async def dispatch_complaint(self, info: Info[Context, None], input: _Dispatch) -> ComplaintStepPayload:
        """Take the step DISPATCH."""
        return await _step(info, input, input.read(c.Dispatch))

    @strawberry.mutation(
        description="Pass several complaints on at once; what one is refused for stops no other.",
        permission_classes=_STAFF,
    )
    async def dispatch_complaints(
        self,
        info: Info[Context, None],
        input: Annotated[DispatchComplaintsInput, strawberry.argument(description="Which, and who.")],
    ) -> BulkComplaintsPayload:
        """Run `dispatch_many`."""
        items = [each.read() for each in input.complaints]
        doing = work.dispatch_many(
            complaints_of(info.context), viewer_of(info), items, input.read(), now=info.context.now
        )
        return await _bulk_payload(info, doing)

    @strawberry.mutation(
        description="Let complaints go on as part of another open one about the same matter; what one is "
        "refused for stops no other.",
        permission_classes=_STAFF,
    )
    async def merge_complaints(
        self,
        info: Info[Context, None],
        input: Annotated[MergeComplaintsInput, strawberry.argument(description="Which, and into which.")],
    ) -> BulkComplaintsPayload:
        """Run `merge_many`."""
        items = [each.read() for each in input.complaints]
        doing = work.merge_many(
            complaints_of(info.context), viewer_of(info), items, input.into, now=info.context.now
        )
        return await _bulk_payload(info, doing)

    @strawberry.mutation(
        description="Answer a matter at once, with a guide of the knowledge base or without.",
        permission_classes=_STAFF,
    )
    async def answer_complaint_directly(
        self,
        info: Info[Context, None],
        input: Annotated[AnswerDirectlyInput, strawberry.argument(description="Which, and the answer.")],
    ) -> ComplaintStepPayload:
        """Take the step ANSWER_DIRECTLY."""
        return await _payload(info, input.number, _answer_directly(info, input))

    @strawberry.mutation(description="Grant an extension that was asked for.", permission_classes=_STAFF)
    async def grant_extension(
        self,
        info: Info[Context, None],
        input: Annotated[GrantExtensionInput, strawberry.argument(description="Which, and how long.")],
    ) -> ComplaintStepPayload:
        """Take the step GRANT_EXTENSION."""
        return await _step(info, input, c.GrantExtension(days=input.days))

    @strawberry.mutation(description="Deny an extension that was asked for.", permission_classes=_STAFF)
    async def deny_extension(self, info: Info[Context, None], input: _Reason) -> ComplaintStepPayload:
        """Take the step DENY_EXTENSION."""
        return await _step(info, input, c.DenyExtension(reason=input.reason.strip()))

    @strawberry.mutation(
        description="Check an answer: it goes to the citizen, or back to the unit and the clock goes on.",
        permission_classes=_STAFF,
    )
    async def check_complaint_answer(
        self,
        info: Info[Context, None],
        input: Annotated[CheckAnswerInput, strawberry.argument(description="Which, and the finding.")],
    ) -> ComplaintStepPayload:
        """Take the step PASS_CHECK or FAIL_CHECK."""
        failed = c.FailCheck(reason=(input.reason or "").strip())
        return await _step(info, input, c.PassCheck() if input.is_passed else failed)

    @strawberry.mutation(description="Note what a call to the citizen found.", permission_classes=_STAFF)
    async def record_call_back(
        self,
        info: Info[Context, None],
        input: Annotated[RecordCallBackInput, strawberry.argument(description="Which, and what.")],
    ) -> ComplaintStepPayload:
        """Take the step CALL_BACK."""
        satisfied = input.is_satisfied if input.was_reached else None
        step = c.CallBack(was_reached=input.was_reached, is_satisfied=satisfied, note=trimmed(input.note))
        return await _step(info, input, step)

    @strawberry.mutation(
        description="Reopen a complaint for a citizen who says so in a call back.", permission_classes=_STAFF
    )
    async def reopen_for_citizen(self, info: Info[Context, None], input: _Reason) -> ComplaintStepPayload:
        """Run `reopen`."""
        return await _payload(info, input.number, _reopen(info, input))

    @strawberry.mutation(description="Close the loop.", permission_classes=_STAFF)
    async def close_complaint(self, info: Info[Context, None], input: _Step) -> ComplaintStepPayload:
        """Take the step CLOSE."""
        return await _step(info, input, c.Close())


@strawberry.type
class DeskUnitMutation:
    """Steps of units, some of them the centre's, too."""

    @strawberry.mutation(
        description="Pass a complaint on to another unit: a unit to those below it or beside it, the centre "
        "to any.",
        permission_classes=_STAFF,
    )
    async def transfer_complaint(self, info: Info[Context, None], input: _Dispatch) -> ComplaintStepPayload:
        """Take the step TRANSFER."""
        return await _step(info, input, input.read(c.Transfer))

    @strawberry.mutation(
        description="Give a complaint back to the dispatcher, saying why and whose it should be.",
        permission_classes=_STAFF,
    )
    async def return_complaint(
        self,
        info: Info[Context, None],
        input: Annotated[ReturnComplaintInput, strawberry.argument(description="Which, and why.")],
    ) -> ComplaintStepPayload:
        """Take the step RETURN."""
        suggested = None if input.suggested_unit is None else raw_unit_id(input.suggested_unit)
        return await _step(info, input, c.Return(reason=input.reason.strip(), suggested=suggested))

    @strawberry.mutation(description="Begin to handle a complaint.", permission_classes=_STAFF)
    async def take_up_complaint(self, info: Info[Context, None], input: _Step) -> ComplaintStepPayload:
        """Take the step TAKE_UP."""
        return await _step(info, input, c.TakeUp())

    @strawberry.mutation(
        description="Ask the citizen for more; the clock stands until they answer, a week at most.",
        permission_classes=_STAFF,
    )
    async def ask_citizen(
        self,
        info: Info[Context, None],
        input: Annotated[AskCitizenInput, strawberry.argument(description="Which, and the question.")],
    ) -> ComplaintStepPayload:
        """Take the step ASK_CITIZEN."""
        return await _step(info, input, c.AskCitizen(question=input.question.strip()))

    @strawberry.mutation(
        description="Go on without the citizen's answer; the clock goes on.", permission_classes=_STAFF
    )
    async def resume_complaint(self, info: Info[Context, None], input: _Step) -> ComplaintStepPayload:
        """Take the step RESUME_WORK."""
        return await _step(info, input, c.ResumeWork())

    @strawberry.mutation(
        description="Tell the unit in charge what a helping unit found.", permission_classes=_STAFF
    )
    async def advise_complaint(self, info: Info[Context, None], input: _Text) -> ComplaintStepPayload:
        """Take the step ADVISE."""
        return await _step(info, input, c.Advise(text=input.text.strip()))

    @strawberry.mutation(
        description="Ask the centre for more working days, before the complaint is due; twice at most.",
        permission_classes=_STAFF,
    )
    async def request_extension(
        self,
        info: Info[Context, None],
        input: Annotated[RequestExtensionInput, strawberry.argument(description="Which, and how long.")],
    ) -> ComplaintStepPayload:
        """Take the step REQUEST_EXTENSION."""
        return await _step(info, input, c.RequestExtension(days=input.days, reason=input.reason.strip()))

    @strawberry.mutation(
        description="Answer a complaint; the centre checks the answer before the citizen gets it.",
        permission_classes=_STAFF,
    )
    async def answer_complaint(
        self,
        info: Info[Context, None],
        input: Annotated[AnswerComplaintInput, strawberry.argument(description="Which, and the answer.")],
    ) -> ComplaintStepPayload:
        """Take the step ANSWER."""
        step = c.Answer(
            outcome=input.outcome, text=input.text.strip(), private_text=trimmed(input.private_text)
        )
        return await _step(info, input, step)

    @strawberry.mutation(
        description="Write a message to the citizen, also after the end.", permission_classes=_STAFF
    )
    async def send_message_to_citizen(self, info: Info[Context, None], input: _Text) -> ComplaintStepPayload:
        """Take the step WRITE."""
        return await _step(info, input, c.Write(text=input.text.strip()))


@strawberry.type
class DeskComplaintsMutation(DeskIntakeMutation, DeskClaimMutation, DeskSeatMutation, DeskUnitMutation):
    """The desk's part of Mutation, as far as complaints go."""
