"""Companies appoint their agents: what each step changes, and that a refused one changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from account_world import NOW, World, Worlds, some_client, some_phone, with_phones

from domain.access import Role, Viewer
from domain.account import (
    EndReason,
    Grant,
    SessionEndedError,
    TooManyRequestsError,
    UnknownSessionError,
)
from domain.agencies import (
    MAX_AGENTS,
    MAX_OFFERS,
    AgencyNotFoundError,
    AgencyState,
    AgentElsewhereError,
    AgentNotAvailableError,
    MayNotAppointError,
    TooManyAgentsError,
    UnknownAgentError,
)
from domain.identifiers import InvalidCompanyCodeError, InvalidPhoneError
from domain.message_texts import SystemEvent
from notifications.outbox import Outbox
from notifications.queue import JobQueue
from operations import account as accounts
from operations import agencies as operations
from operations.account import SignedIn, SignInLimits
from store.demo_residents import RESIDENTS
from store.messages import MessageStore

COMPANY, OTHER = "91350100M000100Y43", "913501007890123454"
OFFERED, ACTIVE = AgencyState.OFFERED, AgencyState.ACTIVE


@dataclass
class Office:
    """A company with a principal, in a world to sign in to."""

    world: World
    outbox: Outbox
    principal: Viewer

    async def citizen(self, place: int = 0) -> tuple[str, SignedIn, Viewer]:
        """Sign a verified person in; give phone, session and viewer."""
        phone = some_phone()
        signed_in = await self.world.sign_in(phone)
        viewer = await self.world.viewer(signed_in)
        number, name = list(RESIDENTS.items())[place]
        await accounts.verify_identity(self.world.identity, viewer, name, number, now=NOW)
        return phone, signed_in, viewer

    async def appoint(self, phone: str, by: Viewer | None = None) -> Any:
        identity = self.world.identity
        return await operations.appoint(identity, self.outbox, by or self.principal, phone, now=NOW)

    async def dismiss(self, account_id: str, by: Viewer | None = None) -> AgencyState:
        identity = self.world.identity
        return await operations.dismiss(identity, self.outbox, by or self.principal, account_id, now=NOW)

    async def accept(self, viewer: Viewer, code: str = COMPANY) -> Viewer:
        return await self.world.viewer(await operations.accept(self.world.identity, viewer, code, now=NOW))

    async def seen(self) -> list[tuple[str, AgencyState, bool]]:
        """Give what the principal sees."""
        agents = await operations.list_agents(self.world.identity, self.principal)
        return [(each.account_id, each.agency.state, each.agency.is_principal) for each in agents]

    async def mine(self, account_id: str) -> list[tuple[str, AgencyState]]:
        """Give what an agent sees."""
        found = await self.world.identity.agencies.list_for_account(account_id)
        return [(each.company_code, each.state) for each in found]

    async def refused(self, work: Awaitable[object], error: type[Exception]) -> None:
        """Check that something is refused and nothing changed but the accounts that phones have."""
        before = await self._everything()
        with pytest.raises(error):
            await work
        assert await self._everything() == before

    async def _everything(self) -> list[Any]:
        database = self.world.database
        acting = {"$or": [{"company_code": {"$ne": None}}, {"offers": {"$exists": True}}]}
        return [
            await database["accounts"].find(acting).sort("_id").to_list(),
            await database["sessions"].find({}).sort("_id").to_list(),
            await database["access_log"].find({}).sort("_id").to_list(),
            await database["messages"].find({}).sort("_id").to_list(),
        ]


async def principal_of(world: World, code: str) -> Viewer:
    phone = some_phone()
    grant = Grant(frozenset({Role.CITIZEN, Role.AGENT}), company_code=code)
    await accounts.grant_roles(world.identity, phone, grant, now=NOW)
    return await world.viewer(await world.sign_in(phone))


@pytest.fixture
def play(worlds: Worlds, redis_url: str, database_name: str) -> Callable[[Any], None]:
    """A function that runs a coroutine function in an office of its own."""

    @asynccontextmanager
    async def open_office(world: World) -> AsyncIterator[Office]:
        queue = JobQueue(redis_url, timeout_s=5, prefix=f"{database_name}:jobs")
        try:
            store = MessageStore(world.database)
            await store.ensure_indexes()
            await world.identity.agencies.ensure_indexes()
            yield Office(world, Outbox(store, queue), await principal_of(world, COMPANY))
        finally:
            await queue.aclose()

    def run(act: Callable[[Office], Awaitable[None]]) -> None:
        async def work(world: World) -> None:
            async with open_office(world) as office:
                await act(office)

        worlds.run(work)

    return run


def test_an_agent_is_appointed_accepts_and_is_dismissed(play: Any) -> None:
    async def act(office: Office) -> None:
        identity, head = office.world.identity, office.principal
        phone, signed_in, viewer = await office.citizen()
        agent = await office.appoint(phone)
        assert (agent.account_id, agent.phone, agent.name) == (viewer.account_id, phone, None)
        assert await office.appoint(phone) == agent  # again changes nothing
        assert await office.mine(viewer.account_id) == [(COMPANY, OFFERED)]
        # Until it is accepted the agent may do nothing.
        refreshed = await accounts.refresh(identity, signed_in.refresh_token or "", now=NOW)
        assert not (await office.world.viewer(refreshed)).acts_as(Role.AGENT)

        acting = await office.accept(viewer)
        assert (acting.acts_as(Role.AGENT), acting.company_code) == (True, COMPANY)
        assert acting.roles == {Role.CITIZEN, Role.AGENT}
        assert await office.accept(acting) == acting  # again gives the same
        assert await office.mine(viewer.account_id) == [(COMPANY, ACTIVE)]
        shown = await operations.list_agents(identity, head)
        assert sorted((each.name, each.agency.is_principal) for each in shown if each.name) == [
            (next(iter(RESIDENTS.values())), False)
        ]
        assert {each.account_id for each in shown} == {head.account_id, viewer.account_id}

        assert await office.dismiss(viewer.account_id) is ACTIVE
        # The tokens end at once: the session is gone, and a new one does not act for the company.
        with pytest.raises(SessionEndedError):
            await accounts.refresh(identity, refreshed.refresh_token or "", now=NOW)
        session = await identity.sessions.find(viewer.session_id)
        assert session is not None
        assert session.end_reason is EndReason.ROLES_CHANGED
        account = await identity.accounts.get(viewer.account_id)
        assert (account.roles, account.company_code) == ({Role.CITIZEN}, None)
        assert await office.mine(viewer.account_id) == []
        assert await office.seen() == [(head.account_id, ACTIVE, True)]

        entries = await identity.access_log.list_newest(viewer.account_id, 9, None)
        assert [(each.role, each.fields, COMPANY in each.reason) for each in entries] == [
            (Role.AGENT, ("phone",), True),
            (Role.AGENT, ("phone",), True),
        ]
        told = await office.world.database["messages"].find({}).sort("payload.event").to_list()
        assert [(each["audience"]["account"], each["payload"]["event"]) for each in told] == [
            (viewer.account_id, SystemEvent.AGENT_APPOINTED.value),
            (viewer.account_id, SystemEvent.AGENT_DISMISSED.value),
        ]
        # Whoever was dismissed can be appointed again.
        assert (await office.appoint(phone)).agency.state is OFFERED

    play(act)


def test_an_appointment_can_be_declined_taken_back_and_laid_down(play: Any) -> None:
    async def act(office: Office) -> None:
        identity = office.world.identity
        phone, signed_in, viewer = await office.citizen()
        await office.appoint(phone)
        assert await operations.end_agency(identity, viewer, COMPANY.lower(), now=NOW) is OFFERED
        assert await office.mine(viewer.account_id) == []
        await office.appoint(phone)
        assert await office.dismiss(viewer.account_id) is OFFERED
        await office.refused(office.accept(viewer), AgencyNotFoundError)
        # Nobody acted for anybody so far: the session goes on.
        refreshed = await accounts.refresh(identity, signed_in.refresh_token or "", now=NOW)
        await office.appoint(phone)
        acting = await office.accept(await office.world.viewer(refreshed))
        assert await operations.end_agency(identity, acting, COMPANY, now=NOW) is ACTIVE
        with pytest.raises(SessionEndedError):
            await accounts.refresh(identity, refreshed.refresh_token or "", now=NOW)
        await office.refused(operations.end_agency(identity, acting, COMPANY, now=NOW), AgencyNotFoundError)
        assert await office.seen() == [(office.principal.account_id, ACTIVE, True)]

    play(act)


def test_only_principals_appoint_and_dismiss_and_nobody_dismisses_them(play: Any) -> None:
    async def act(office: Office) -> None:
        identity, head = office.world.identity, office.principal
        phone, _, viewer = await office.citizen()
        await office.appoint(phone)
        acting = await office.accept(viewer)
        third = some_phone()
        await office.refused(office.appoint(third, by=acting), MayNotAppointError)
        await office.refused(office.dismiss(head.account_id, by=acting), MayNotAppointError)
        await office.refused(operations.list_agents(identity, acting), MayNotAppointError)
        assert await identity.accounts.find_by_phone(third) is None
        await office.refused(office.dismiss(head.account_id), UnknownAgentError)
        await office.refused(office.dismiss("nobody"), UnknownAgentError)
        # Another company's principal neither sees nor touches this one's agents.
        stranger = await principal_of(office.world, OTHER)
        await office.refused(office.dismiss(acting.account_id, by=stranger), UnknownAgentError)
        assert len(await operations.list_agents(identity, stranger)) == 1
        # A token that outlived the role is worth nothing here.
        await accounts.grant_roles(
            identity, await phone_of(office, head), Grant(frozenset({Role.CITIZEN})), now=NOW
        )
        await office.refused(office.appoint(third), MayNotAppointError)
        # What an operator grants takes the place of an appointment: the agent is a principal now.
        grant = Grant(frozenset({Role.AGENT}), company_code=COMPANY)
        await accounts.grant_roles(identity, phone, grant, now=NOW)
        assert (await office.appoint(third, by=acting)).agency.state is OFFERED

    play(act)


async def phone_of(office: Office, viewer: Viewer) -> str:
    return (await office.world.identity.accounts.get(viewer.account_id)).phone or ""


def test_one_acts_for_one_company_at_a_time(play: Any) -> None:
    async def act(office: Office) -> None:
        phone, _, viewer = await office.citizen()
        stranger = await principal_of(office.world, OTHER)
        for head in (office.principal, stranger):
            await office.appoint(phone, by=head)
        assert await office.mine(viewer.account_id) == [(COMPANY, OFFERED), (OTHER, OFFERED)]
        await office.accept(viewer, OTHER)
        assert await office.mine(viewer.account_id) == [(OTHER, ACTIVE), (COMPANY, OFFERED)]
        await office.refused(office.accept(viewer), AgentElsewhereError)
        await office.refused(office.accept(viewer, COMPANY[:-1] + "0"), InvalidCompanyCodeError)
        await office.refused(office.accept(viewer, "91350200M0001A0X1M"), InvalidCompanyCodeError)
        # The other company is no business of the first one.
        assert (viewer.account_id, OFFERED, False) in await office.seen()

    play(act)


def test_acceptance_and_dismissal_at_the_same_moment_leave_no_agent_behind(play: Any) -> None:
    async def act(office: Office) -> None:
        identity = office.world.identity
        phone, _, _ = await office.citizen()
        for minute in range(8):
            unlimited = with_phones(office.world, limits=SignInLimits(codes_per_phone=()))
            await accounts.request_code(unlimited, phone, some_client(), now=NOW)
            code = office.world.phones.code(phone)
            viewer = await office.world.viewer(
                await accounts.sign_in(unlimited, phone, code, some_client(), now=NOW)
            )
            await office.appoint(phone)
            results = await asyncio.gather(
                office.accept(viewer), office.dismiss(viewer.account_id), return_exceptions=True
            )
            expected = (Viewer, AgencyState, AgencyNotFoundError, UnknownSessionError)
            assert all(isinstance(each, expected) for each in results), (minute, results)
            account = await identity.accounts.get(viewer.account_id)
            assert (account.roles, account.company_code) == ({Role.CITIZEN}, None)
            assert await office.mine(viewer.account_id) == []

    play(act)


def test_everything_is_bounded(play: Any) -> None:
    async def act(office: Office) -> None:
        identity, database = office.world.identity, office.world.database
        await office.refused(office.appoint("12345"), InvalidPhoneError)
        limits = SignInLimits(appointments_per_principal=("1 per 1 day",))
        narrow = with_phones(office.world, limits=limits)
        first, second = some_phone(), some_phone()
        await operations.appoint(narrow, office.outbox, office.principal, first, now=NOW)
        again = operations.appoint(narrow, office.outbox, office.principal, second, now=NOW)
        await office.refused(again, TooManyRequestsError)
        assert await identity.accounts.find_by_phone(second) is None
        # A person whom too many companies ask.
        phone, _, viewer = await office.citizen()
        offers = [{"company": f"company-{number}", "at": NOW} for number in range(MAX_OFFERS)]
        await database["accounts"].update_one({"_id": viewer.account_id}, {"$set": {"offers": offers}})
        await office.refused(office.appoint(phone), AgentNotAvailableError)
        # Somebody whose account is being deleted.
        gone = some_phone()
        leaving = await identity.accounts.find_or_create_by_phone(gone, now=NOW)
        await identity.accounts.close(leaving.id, now=NOW)
        await office.refused(office.appoint(gone), AgentNotAvailableError)
        # A company with too many agents.
        for number in range(MAX_AGENTS - 2):
            offer = [{"company": COMPANY, "at": NOW}]
            await database["accounts"].insert_one(
                {"_id": f"agent-{number}", "offers": offer, "roles": ["CITIZEN"], "assurance": 1}
            )
        await office.refused(office.appoint(some_phone()), TooManyAgentsError)

    play(act)


def test_accounts_that_are_deleted_leave_nothing_with_the_company(play: Any) -> None:
    async def act(office: Office) -> None:
        identity, head = office.world.identity, office.principal
        phone, _, viewer = await office.citizen()
        await office.appoint(phone)
        await office.accept(viewer)
        [exported] = await identity.accounts.export_account(viewer.account_id)
        assert (exported["company_code"], exported["appointed"]["at"]) == (COMPANY, NOW)
        # The principal leaves: agents stay, and nothing of theirs names who appointed them.
        for store in (identity.access_log, identity.accounts):
            await store.erase_account(head.account_id, now=NOW)
        for name in ("accounts", "access_log", "messages"):
            documents = [each async for each in office.world.database[name].find({})]
            assert head.account_id not in str(documents), name
        assert await office.mine(viewer.account_id) == [(COMPANY, ACTIVE)]
        other = await principal_of(office.world, COMPANY)
        await identity.accounts.erase_account(viewer.account_id, now=NOW)
        agents = await operations.list_agents(identity, other)
        assert [each.account_id for each in agents] == [other.account_id]

    play(act)
