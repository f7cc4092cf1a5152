"""Signing in and everything around it, on the real engines; the clock is an argument."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from account_world import (
    MINUTE,
    NOW,
    World,
    Worlds,
    some_client,
    some_phone,
    with_phones,
    wrong,
)
from msgspec import Struct
from pymongo.monitoring import CommandListener

from domain.access import Assurance, Role, Viewer
from domain.account import (
    CODE_LIFE,
    MAX_SESSIONS,
    SESSION_IDLE,
    SESSION_LIFE,
    STRONG_LIFE,
    CodeNotSentError,
    EndReason,
    Grant,
    IdentityAlreadyVerifiedError,
    IdentityMismatchError,
    IdentityServiceError,
    IdentityTakenError,
    InvalidCodeError,
    InvalidGrantError,
    SessionEndedError,
    SignInLockedError,
    TooManyRequestsError,
    UnknownAccountError,
    UnknownSessionError,
    WechatNotLinkedError,
    WechatSignInError,
    WechatTakenError,
)
from domain.errors import DomainError
from operations import account as operations
from operations.account import Client, SignInLimits, network_of
from store.demo_residents import RESIDENTS

RESIDENT, NAME = next(iter(RESIDENTS.items()))


async def refused(work: Any, error: type[DomainError]) -> DomainError:
    with pytest.raises(error) as caught:
        await work
    return caught.value


def test_the_first_sign_in_makes_the_account_and_the_next_finds_it(worlds: Worlds) -> None:
    async def work(world: World) -> None:
        phone = some_phone()
        first = await world.sign_in(phone)
        unlimited = with_phones(world, limits=SignInLimits(codes_per_phone=()))
        await operations.request_code(unlimited, f"+86 {phone}", some_client(), now=NOW)
        second = await operations.sign_in(
            world.identity, phone, world.phones.code(phone), some_client(), now=NOW
        )
        assert second.account == first.account
        assert first.account.phone == phone
        assert first.account.roles == {Role.CITIZEN}
        assert first.account.assurance is Assurance.L1
        assert first.session.id != second.session.id
        viewer = await world.viewer(second)
        assert viewer == Viewer(
            first.account.id, second.session.id, frozenset({Role.CITIZEN}), Assurance.L1, NOW + 10 * MINUTE
        )
        assert await world.database.accounts.count_documents({}) == 1

    worlds.run(work)


def test_two_first_sign_ins_at_once_make_one_account(worlds: Worlds) -> None:
    async def work(world: World) -> None:
        phone = some_phone()
        found = await asyncio.gather(
            *(world.identity.accounts.find_or_create_by_phone(phone, now=NOW) for _ in range(8))
        )
        assert len({account.id for account in found}) == 1
        assert await world.database.accounts.count_documents({}) == 1

    worlds.run(work)


def test_a_code_is_good_once_for_five_minutes_five_tries_and_its_purpose(worlds: Worlds) -> None:
    async def work(world: World) -> None:
        identity, client = with_phones(world, limits=SignInLimits(codes_per_phone=())), some_client()
        phone = some_phone()

        async def fresh() -> str:
            await operations.request_code(identity, phone, client, now=NOW)
            return world.phones.code(phone)

        code = await fresh()
        late = NOW + CODE_LIFE
        await refused(operations.sign_in(identity, phone, code, client, now=late), InvalidCodeError)
        signed_in = await operations.sign_in(
            identity, phone, code, client, now=late - timedelta(milliseconds=1)
        )
        await refused(operations.sign_in(identity, phone, code, client, now=NOW), InvalidCodeError)
        code = await fresh()
        other = some_phone()
        await refused(operations.sign_in(identity, other, code, client, now=NOW), InvalidCodeError)
        viewer = await world.viewer(signed_in, now=late)
        await refused(operations.confirm_session(identity, viewer, code, client, now=NOW), InvalidCodeError)
        for _ in range(5):
            await refused(operations.sign_in(identity, phone, wrong(code), client, now=NOW), InvalidCodeError)
        await refused(operations.sign_in(identity, phone, code, client, now=NOW), InvalidCodeError)
        assert await world.database.sessions.count_documents({}) == 1

    worlds.run(work)


def test_many_guesses_at_once_are_no_more_than_five(worlds: Worlds) -> None:
    async def work(world: World) -> None:
        limits = SignInLimits(wrong_per_phone=(), wrong_per_address=())
        identity, phone = with_phones(world, limits=limits), some_phone()
        await operations.request_code(identity, phone, some_client(), now=NOW)
        code = world.phones.code(phone)
        guesses = [
            operations.sign_in(identity, phone, wrong(code), some_client(), now=NOW) for _ in range(30)
        ]
        results = await asyncio.gather(*guesses, return_exceptions=True)
        assert {type(result) for result in results} == {InvalidCodeError}
        await refused(operations.sign_in(identity, phone, code, some_client(), now=NOW), InvalidCodeError)

    worlds.run(work)


def test_limits_per_phone_device_and_address(worlds: Worlds) -> None:
    async def work(world: World) -> None:
        identity = with_phones(
            world,
            limits=SignInLimits(
                codes_per_phone=("1 per 1 minute",),
                codes_per_device=("2 per 1 hour",),
                codes_per_address=("3 per 1 hour",),
            ),
        )
        phone, client = some_phone(), some_client()
        device = Client(some_client().address, device_id=some_phone())
        await operations.request_code(identity, phone, client, now=NOW)
        again = await refused(
            operations.request_code(identity, phone, some_client(), now=NOW), TooManyRequestsError
        )
        assert 50 <= int(again.params["seconds"]) <= 61
        for _ in range(2):
            await operations.request_code(identity, some_phone(), client, now=NOW)
        await refused(operations.request_code(identity, some_phone(), client, now=NOW), TooManyRequestsError)
        for _ in range(2):
            elsewhere = Client(some_client().address, device_id=device.device_id)
            await operations.request_code(identity, some_phone(), elsewhere, now=NOW)
        await refused(operations.request_code(identity, some_phone(), device, now=NOW), TooManyRequestsError)
        assert len(world.phones.sent) == 5

    worlds.run(work)


def test_too_many_wrong_codes_lock_a_phone_and_say_until_when(worlds: Worlds) -> None:
    async def work(world: World) -> None:
        limits = SignInLimits(codes_per_phone=(), wrong_per_phone=("3 per 1 hour",))
        identity, phone = with_phones(world, limits=limits), some_phone()
        await operations.request_code(identity, phone, some_client(), now=NOW)
        code = world.phones.code(phone)
        for _ in range(3):
            await refused(
                operations.sign_in(identity, phone, wrong(code), some_client(), now=NOW), InvalidCodeError
            )
        locked = await refused(
            operations.sign_in(identity, phone, code, some_client(), now=NOW), SignInLockedError
        )
        assert 3_590 <= int(locked.params["seconds"]) <= 3_601
        assert locked.params["until"] in ("17:59", "18:00")  # Beijing time
        await refused(operations.request_code(identity, phone, some_client(), now=NOW), SignInLockedError)
        # The code was not used up by the refusal, and others are not locked out.
        free = with_phones(world, limits=SignInLimits(codes_per_phone=(), wrong_per_phone=()))
        assert (await operations.sign_in(free, phone, code, some_client(), now=NOW)).account.phone == phone
        assert (await world.sign_in(some_phone())).session.generation == 1

    worlds.run(work)


def test_a_code_that_cannot_be_sent_says_so(worlds: Worlds) -> None:
    async def work(world: World) -> None:
        world.phones.error = OSError("no network")
        await refused(
            operations.request_code(world.identity, some_phone(), some_client(), now=NOW), CodeNotSentError
        )

    worlds.run(work)


class Commands(CommandListener):
    """Lists the commands that a client sends."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def started(self, event: Any) -> None:
        self.names.append(f"{event.command_name} {event.command[event.command_name]}")

    def succeeded(self, event: Any) -> None:
        """Nothing to do."""

    def failed(self, event: Any) -> None:
        """Nothing to do."""


def test_known_and_unknown_phones_take_the_same_steps(worlds: Worlds) -> None:
    """Whatever takes time is a command to an engine: the same commands, hence the same time."""

    async def work(world: World) -> None:
        known = some_phone()
        await world.sign_in(known)
        listener = Commands()
        listeners: Any = world.database.client._event_listeners
        listeners._EventListeners__command_listeners.append(listener)
        listeners._EventListeners__enabled_for_commands = True

        async def redis_commands() -> Counter[str]:
            stats = await world.identity.redis.info("commandstats")
            return Counter({name: numbers["calls"] for name, numbers in stats.items() if "info" not in name})

        identity = with_phones(world, limits=SignInLimits(codes_per_phone=()))
        steps = []
        for phone in (known, some_phone()):
            client = some_client()
            listener.names.clear()
            before = await redis_commands()
            await operations.request_code(identity, phone, client, now=NOW)
            await refused(
                operations.sign_in(identity, phone, wrong(world.phones.code(phone)), client, now=NOW),
                InvalidCodeError,
            )
            steps.append((list(listener.names), await redis_commands() - before))
        assert steps[0] == steps[1]
        assert steps[0][1]["cmdstat_eval"] == 1
        assert not any("accounts" in name for name in steps[0][0])

    worlds.run(work)


def test_refresh_tokens_rotate_and_one_used_twice_ends_the_session(worlds: Worlds) -> None:
    async def work(world: World) -> None:
        identity = world.identity
        first = await world.sign_in(some_phone())
        assert first.refresh_token is not None
        later = NOW + timedelta(days=1)
        second = await operations.refresh(identity, first.refresh_token, now=later)
        assert second.refresh_token not in (None, first.refresh_token)
        assert second.session.id == first.session.id
        assert second.session.expires_at == later + SESSION_IDLE
        assert second.refresh_token is not None
        forged = second.refresh_token[:-1] + ("0" if second.refresh_token[-1] != "0" else "1")
        for token in ("", "x", "..", forged, f"{first.session.id}.2.", f"{first.session.id}.٢.x", "a" * 9000):
            await refused(operations.refresh(identity, token, now=later), SessionEndedError)
        assert (await identity.sessions.find(first.session.id)) == second.session
        await refused(operations.refresh(identity, first.refresh_token, now=later), SessionEndedError)
        await refused(operations.refresh(identity, second.refresh_token, now=later), SessionEndedError)
        ended = await identity.sessions.find(first.session.id)
        assert ended is not None
        assert (ended.ended_at, ended.end_reason) == (later, EndReason.REFRESH_REUSED)

    worlds.run(work)


def test_of_two_refreshes_at_once_one_wins_and_the_session_ends(worlds: Worlds) -> None:
    async def work(world: World) -> None:
        signed_in = await world.sign_in(some_phone())
        token = signed_in.refresh_token or ""
        results = await asyncio.gather(
            *(operations.refresh(world.identity, token, now=NOW) for _ in range(4)), return_exceptions=True
        )
        assert sum(isinstance(result, SessionEndedError) for result in results) >= 3
        assert await world.identity.sessions.list_open(signed_in.account.id, now=NOW) == []

    worlds.run(work)


def test_sessions_end_when_unused_and_at_last(worlds: Worlds) -> None:
    async def work(world: World) -> None:
        unused = await world.sign_in(some_phone())
        assert unused.session.expires_at == NOW + SESSION_IDLE
        assert not unused.session.ends_soon(NOW)
        assert unused.session.ends_soon(NOW + SESSION_IDLE - timedelta(days=3))
        end = NOW + SESSION_IDLE
        await refused(
            operations.refresh(world.identity, unused.refresh_token or "", now=end), SessionEndedError
        )
        used, now = await world.sign_in(some_phone()), NOW
        while now + timedelta(days=29) < NOW + SESSION_LIFE:
            now += timedelta(days=29)
            used = await operations.refresh(world.identity, used.refresh_token or "", now=now)
        assert used.session.expires_at == NOW + SESSION_LIFE
        await refused(
            operations.refresh(world.identity, used.refresh_token or "", now=NOW + SESSION_LIFE),
            SessionEndedError,
        )

    worlds.run(work)


def test_sessions_are_listed_and_ended_by_their_owner_only(worlds: Worlds) -> None:
    async def work(world: World) -> None:
        identity, phone = world.identity, some_phone()
        here = await world.sign_in(phone)
        unlimited = with_phones(world, limits=SignInLimits(codes_per_phone=()))
        client = Client(some_client().address, device_name="客厅平板", platform="android")
        await operations.request_code(unlimited, phone, client, now=NOW)
        there = await operations.sign_in(unlimited, phone, world.phones.code(phone), client, now=NOW + MINUTE)
        stranger = await world.viewer(await world.sign_in(some_phone()))
        await refused(
            operations.end_session(identity, stranger, there.session.id, now=NOW), UnknownSessionError
        )
        listed = await identity.sessions.list_open(here.account.id, now=NOW)
        assert [(each.id, each.device_name) for each in listed] == [
            (there.session.id, "客厅平板"),
            (here.session.id, None),
        ]
        viewer = await world.viewer(here)
        await operations.end_session(identity, viewer, there.session.id, now=NOW)
        await refused(
            operations.end_session(identity, viewer, there.session.id, now=NOW), UnknownSessionError
        )
        await refused(operations.refresh(identity, there.refresh_token or "", now=NOW), SessionEndedError)
        assert (
            await operations.end_all_sessions(identity, here.account.id, EndReason.SIGNED_OUT, now=NOW) == 1
        )
        assert await identity.sessions.list_open(here.account.id, now=NOW) == []

    worlds.run(work)


def test_an_account_has_a_bounded_number_of_sessions(worlds: Worlds) -> None:
    async def work(world: World) -> None:
        identity = with_phones(world, limits=SignInLimits(codes_per_phone=()))
        phone, first = some_phone(), None
        for minute in range(MAX_SESSIONS + 2):
            now = NOW + minute * MINUTE
            await operations.request_code(identity, phone, some_client(), now=now)
            signed_in = await operations.sign_in(
                identity, phone, world.phones.code(phone), some_client(), now=now
            )
            first = first or signed_in
        assert first is not None
        assert len(await identity.sessions.list_open(first.account.id, now=now)) == MAX_SESSIONS
        oldest = await identity.sessions.find(first.session.id)
        assert oldest is not None
        assert oldest.end_reason is EndReason.TOO_MANY

    worlds.run(work)


def test_levels_rise_by_name_and_by_a_fresh_code_and_fall_with_time(worlds: Worlds) -> None:
    async def work(world: World) -> None:
        identity, phone, client = world.identity, some_phone(), some_client()
        signed_in = await world.sign_in(phone)
        viewer = await world.viewer(signed_in)
        assert viewer.level(NOW) is Assurance.L1
        await refused(
            operations.verify_identity(identity, viewer, "王小明", RESIDENT, now=NOW), IdentityMismatchError
        )
        without = with_phones(world, register=None)
        await refused(
            operations.verify_identity(without, viewer, NAME, RESIDENT, now=NOW), IdentityServiceError
        )
        later = NOW + STRONG_LIFE
        verified = await operations.verify_identity(identity, viewer, NAME, RESIDENT, now=later)
        assert verified.refresh_token is None
        assert (verified.account.name, verified.account.resident_id) == (NAME, RESIDENT)
        viewer = await world.viewer(verified, now=later)
        assert (viewer.level(later), viewer.strong_until) == (Assurance.L2, None)
        await refused(
            operations.verify_identity(identity, viewer, NAME, RESIDENT, now=later),
            IdentityAlreadyVerifiedError,
        )
        unlimited = with_phones(world, limits=SignInLimits(codes_per_phone=()))
        await operations.request_confirmation(unlimited, viewer, client, now=later)
        strong = await operations.confirm_session(
            identity, viewer, world.phones.code(phone), client, now=later
        )
        viewer = await world.viewer(strong, now=later)
        assert viewer.level(later) is Assurance.L3
        assert viewer.level(later + STRONG_LIFE) is Assurance.L2
        refreshed = await operations.refresh(identity, signed_in.refresh_token or "", now=later + STRONG_LIFE)
        assert (await world.viewer(refreshed, now=later + STRONG_LIFE)).assurance is Assurance.L2

    worlds.run(work)


def test_a_person_verifies_one_account(worlds: Worlds) -> None:
    async def work(world: World) -> None:
        first = await world.viewer(await world.sign_in(some_phone()))
        await operations.verify_identity(world.identity, first, NAME, RESIDENT, now=NOW)
        second = await world.viewer(await world.sign_in(some_phone()))
        await refused(
            operations.verify_identity(world.identity, second, NAME, RESIDENT, now=NOW), IdentityTakenError
        )
        account = await world.identity.accounts.get(second.account_id)
        assert (account.name, account.resident_id, account.assurance) == (None, None, Assurance.L1)

    worlds.run(work)


def test_verification_cannot_be_used_to_guess(worlds: Worlds) -> None:
    async def work(world: World) -> None:
        viewer = await world.viewer(await world.sign_in(some_phone()))
        for _ in range(5):
            await refused(
                operations.verify_identity(world.identity, viewer, "王小明", RESIDENT, now=NOW),
                IdentityMismatchError,
            )
        await refused(
            operations.verify_identity(world.identity, viewer, NAME, RESIDENT, now=NOW), TooManyRequestsError
        )

    worlds.run(work)


class WechatPerson(Struct, frozen=True):
    openid: str


class Wechat:
    """Answers as code2session does: every code is a user of the same name."""

    async def code_to_session(self, code: str) -> WechatPerson:
        if code == "bad":
            raise WechatSignInError
        return WechatPerson(f"openid-{code}")


def test_wechat_signs_in_whom_it_was_linked_to(worlds: Worlds) -> None:
    async def work(world: World) -> None:
        identity, client = with_phones(world, wechat=Wechat()), some_client()
        await refused(operations.sign_in_by_wechat(world.identity, "lin", client, now=NOW), WechatSignInError)
        await refused(operations.sign_in_by_wechat(identity, "bad", client, now=NOW), WechatSignInError)
        await refused(operations.sign_in_by_wechat(identity, "lin", client, now=NOW), WechatNotLinkedError)
        signed_in = await world.sign_in(some_phone())
        await operations.link_wechat(identity, await world.viewer(signed_in), "lin")
        by_wechat = await operations.sign_in_by_wechat(identity, "lin", client, now=NOW)
        assert by_wechat.account.id == signed_in.account.id
        assert by_wechat.session.strong_until is None
        other = await world.viewer(await world.sign_in(some_phone()))
        await refused(operations.link_wechat(identity, other, "lin"), WechatTakenError)

    worlds.run(work)


def test_roles_need_their_scope_and_end_the_sessions_that_had_others(worlds: Worlds) -> None:
    async def work(world: World) -> None:
        identity, phone = world.identity, some_phone()
        signed_in = await world.sign_in(phone)
        for grant in (
            Grant(frozenset()),
            Grant(frozenset({Role.DESK}), unit="12345"),
            Grant(frozenset({Role.AGENT})),
            Grant(frozenset({Role.CITIZEN}), company_code="91350100M000100Y43"),
        ):
            await refused(operations.grant_roles(identity, phone, grant, now=NOW), InvalidGrantError)
        assert await identity.accounts.get(signed_in.account.id) == signed_in.account
        both = Grant(frozenset({Role.CITIZEN, Role.DESK}), unit="市12345中心", division_code="350100000000")
        account = await operations.grant_roles(identity, phone, both, now=NOW)
        assert (account.roles, account.unit, account.division_code) == (both.roles, "市12345中心", "350100")
        await refused(operations.refresh(identity, signed_in.refresh_token or "", now=NOW), SessionEndedError)
        again = with_phones(world, limits=SignInLimits(codes_per_phone=()))
        await operations.request_code(again, phone, some_client(), now=NOW)
        staff = await operations.sign_in(again, phone, world.phones.code(phone), some_client(), now=NOW)
        viewer = await world.viewer(staff)
        assert (viewer.roles, viewer.unit, viewer.division_code) == (both.roles, "市12345中心", "350100")
        assert viewer.acts_as(Role.DESK)

    worlds.run(work)


def test_whoever_looks_is_written_down_for_the_citizen(worlds: Worlds) -> None:
    async def work(world: World) -> None:
        identity, phone = world.identity, some_phone()
        citizen = await world.sign_in(phone)
        staff = Viewer(
            "staff",
            "s",
            frozenset({Role.DESK}),
            Assurance.L2,
            NOW + MINUTE,
            unit="12345",
            division_code="350100",
        )
        await refused(
            operations.look_up_citizen(identity, staff, some_phone(), "来电核实", now=NOW),
            UnknownAccountError,
        )
        await refused(operations.look_up_citizen(identity, staff, phone, "  ", now=NOW), DomainError)
        assert await identity.access_log.list_newest(citizen.account.id, 10, None) == []
        for minute in range(3):
            found = await operations.look_up_citizen(
                identity, staff, phone, f"来电核实 {minute}", now=NOW + minute * MINUTE
            )
            assert found.id == citizen.account.id
        entries = await identity.access_log.list_newest(citizen.account.id, 2, None)
        assert [(e.reason, e.role, e.unit, e.fields) for e in entries] == [
            ("来电核实 2", Role.DESK, "12345", ("name", "phone")),
            ("来电核实 1", Role.DESK, "12345", ("name", "phone")),
        ]
        rest = await identity.access_log.list_newest(citizen.account.id, 2, entries[-1].id)
        assert [entry.reason for entry in rest] == ["来电核实 0"]

    worlds.run(work)


def test_addresses_are_counted_by_network() -> None:
    assert network_of("10.1.2.3") == "10.1.2.3"
    assert network_of("::ffff:10.1.2.3") == "10.1.2.3"
    assert network_of("240e:1:2:3:4:5:6:7") == network_of("240e:1:2:3::1") == "240e:1:2:3::"
    assert network_of("unknown") == "unknown"
