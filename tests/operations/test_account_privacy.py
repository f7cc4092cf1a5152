"""The right to all that is kept, and to have it forgotten: looked for in every collection and every key."""

from __future__ import annotations

from typing import Any

import pytest
from account_world import NOW, World, Worlds, some_client, some_phone, with_phones
from bson import encode
from bson.binary import STANDARD
from bson.codec_options import CodecOptions

from domain.access import Assurance, Role, Viewer
from domain.account import (
    EndReason,
    InvalidCodeError,
    SessionEndedError,
    UnknownAccountError,
)
from operations import account as operations
from operations import privacy
from operations.account import SignInLimits
from store.demo_residents import RESIDENTS

_OPTIONS: CodecOptions[Any] = CodecOptions(uuid_representation=STANDARD)
RESIDENT, NAME = list(RESIDENTS.items())[1]
ADDRESS = "福州市鼓楼区湖东路100号"


async def everything(world: World) -> dict[str, list[bytes]]:
    """Give every document of every collection as bytes, and every key and value of Redis that is ours."""
    found = {
        name: [encode(document, codec_options=_OPTIONS) async for document in world.database[name].find({})]
        for name in await world.database.list_collection_names()
    }
    redis = world.identity.redis
    texts = []
    async for key in redis.scan_iter("mintong:*", count=1000):
        texts.append(key)
        if await redis.type(key) == b"hash":
            texts += [part for pair in (await redis.hgetall(key)).items() for part in pair]
    return found | {"redis": texts}


async def a_full_life(world: World) -> tuple[str, Viewer, Viewer]:
    """A citizen who has done everything there is to do; and a member of staff who looked."""
    identity, phone = with_phones(world, limits=SignInLimits(codes_per_phone=())), some_phone()
    signed_in = await world.sign_in(phone)
    viewer = await world.viewer(signed_in)
    await operations.verify_identity(identity, viewer, NAME, RESIDENT, now=NOW)
    await operations.set_address(identity, viewer, ADDRESS)
    await identity.accounts.link_wechat(viewer.account_id, "openid-7")
    staff = Viewer(
        "staff",
        "s",
        frozenset({Role.DESK}),
        Assurance.L2,
        viewer.expires_at,
        unit="12345",
        division_code="350100",
    )
    await operations.look_up_citizen(identity, staff, phone, "来电核实", now=NOW)
    await operations.request_confirmation(identity, viewer, some_client(), now=NOW)
    return phone, viewer, staff


def test_personal_fields_are_ciphertext_in_the_database(worlds: Worlds) -> None:
    async def work(world: World) -> None:
        phone, viewer, _ = await a_full_life(world)
        stored = await everything(world)
        for secret in (phone, NAME, RESIDENT, ADDRESS, "openid-7"):
            for name, documents in stored.items():
                assert not any(secret.encode() in document for document in documents), (secret, name)
        account = await world.identity.accounts.get(viewer.account_id)
        assert (account.phone, account.name, account.resident_id, account.address, account.wechat_openid) == (
            phone,
            NAME,
            RESIDENT,
            ADDRESS,
            "openid-7",
        )
        assert await world.identity.accounts.find_by_phone(phone) == account

    worlds.run(work)


def test_the_export_holds_everything_about_the_citizen(worlds: Worlds) -> None:
    async def work(world: World) -> None:
        phone, viewer, _ = await a_full_life(world)
        identity, client = world.identity, some_client()
        stores = (identity.sessions, identity.access_log)
        code = world.phones.code(phone)
        with pytest.raises(InvalidCodeError):
            await privacy.export_account(identity, stores, viewer, "000000x", client, now=NOW)
        export = await privacy.export_account(identity, stores, viewer, code, client, now=NOW)
        assert list(export) == ["accounts", "sessions", "access_log"]
        account = export["accounts"][0]
        expected = {
            "_id": viewer.account_id,
            "phone": phone,
            "name": NAME,
            "resident_id": RESIDENT,
            "address": ADDRESS,
            "wechat_openid": "openid-7",
            "created_at": NOW,
            "verified_at": NOW,
            "roles": ["CITIZEN"],
            "assurance": 2,
        }
        assert account == expected
        assert [each["_id"] for each in export["sessions"]] == [viewer.session_id]
        assert "seed" not in export["sessions"][0]
        assert [(each["reason"], each["unit"]) for each in export["access_log"]] == [("来电核实", "12345")]
        assert "actor_id" not in export["access_log"][0]
        # Whatever mentions the account anywhere is in the export.
        mentioned = {
            name
            for name, documents in (await everything(world)).items()
            if any(viewer.account_id.encode() in document for document in documents)
        }
        assert mentioned <= set(export)

    worlds.run(work)


def test_after_deletion_nothing_holds_any_of_it(worlds: Worlds) -> None:
    async def work(world: World) -> None:
        phone, viewer, staff = await a_full_life(world)
        identity, client = world.identity, some_client()
        stores = (identity.sessions, identity.access_log)
        encrypted = [
            bytes(await world.cipher.encrypt_for_lookup(text)) for text in (phone, RESIDENT, "openid-7")
        ]
        with pytest.raises(InvalidCodeError):
            await privacy.delete_account(identity, stores, viewer, "", client, now=NOW)
        assert await identity.accounts.get(viewer.account_id)
        await privacy.delete_account(identity, stores, viewer, world.phones.code(phone), client, now=NOW)
        secrets = [viewer.account_id.encode(), *encrypted]
        secrets += [text.encode() for text in (phone, NAME, RESIDENT, ADDRESS, "openid-7", "来电核实")]
        for name, documents in (await everything(world)).items():
            for document in documents:
                assert not any(secret in document for secret in secrets), name
        assert await identity.accounts.find(viewer.account_id) is None
        # Processes that poll still learn that the access token is void.
        assert await identity.sessions.list_ended_since(NOW) == [(viewer.session_id, NOW)]
        assert await identity.sessions.find(viewer.session_id) is None
        # The phone may come back, as somebody new.
        again = with_phones(world, limits=SignInLimits(codes_per_phone=()))
        await operations.request_code(again, phone, client, now=NOW)
        anew = await operations.sign_in(again, phone, world.phones.code(phone), client, now=NOW)
        assert anew.account.id != viewer.account_id
        assert (anew.account.name, anew.account.assurance) == (None, Assurance.L1)
        assert staff.account_id == "staff"

    worlds.run(work)


def test_staff_who_leave_are_forgotten_in_what_citizens_read(worlds: Worlds) -> None:
    async def work(world: World) -> None:
        _, viewer, staff = await a_full_life(world)
        await world.identity.access_log.erase_account(staff.account_id, now=NOW)
        documents: list[dict[str, Any]] = [each async for each in world.database.access_log.find({})]
        assert [(each["account_id"], each["actor_id"], each["reason"]) for each in documents] == [
            (viewer.account_id, "deleted", "来电核实")
        ]

    worlds.run(work)


class CrashError(Exception):
    """What a test's store dies of."""


class Dying:
    """A store whose process dies the first time it is to forget."""

    name = "dying"

    def __init__(self) -> None:
        self.asked = 0

    async def export_account(self, account_id: str) -> list[dict[str, Any]]:
        return []

    async def erase_account(self, account_id: str, *, now: Any) -> int:
        self.asked += 1
        if self.asked == 1:
            raise CrashError
        return 0


def test_a_deletion_that_breaks_off_is_finished_later_and_nobody_gets_in_meanwhile(worlds: Worlds) -> None:
    async def work(world: World) -> None:
        phone, viewer, _ = await a_full_life(world)
        identity, client = world.identity, some_client()
        dying = Dying()
        stores = (dying, identity.sessions, identity.access_log)
        code = world.phones.code(phone)
        with pytest.raises(CrashError):
            await privacy.delete_account(identity, stores, viewer, code, client, now=NOW)
        session = await identity.sessions.find(viewer.session_id)
        assert session is not None
        assert session.end_reason is EndReason.ACCOUNT_DELETED
        with pytest.raises(SessionEndedError):
            await operations.refresh(identity, "x.1.y", now=NOW)
        staff = Viewer("staff", "s", frozenset({Role.OPERATOR}), Assurance.L2, viewer.expires_at)
        with pytest.raises(UnknownAccountError):
            await operations.look_up_citizen(identity, staff, phone, "来电核实", now=NOW)
        assert await privacy.finish_deletions(identity, stores, now=NOW) == 1
        assert await privacy.finish_deletions(identity, stores, now=NOW) == 0
        assert await identity.accounts.find(viewer.account_id) is None
        assert await world.database.access_log.count_documents({}) == 0

    worlds.run(work)
