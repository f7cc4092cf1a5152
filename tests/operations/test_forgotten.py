"""A citizen's whole life in the system, exported and then forgotten by what production registers."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

from account_world import NOW, some_client, some_phone
from bson import encode
from bson.binary import STANDARD
from bson.codec_options import CodecOptions
from messages_world import AIR, PROGRESS, open_messages_world
from msgspec.structs import replace

from api.resources import open_resources
from domain.access import Role, Viewer
from domain.account import Grant
from domain.agencies import AgencyState
from domain.complaint_drafts import DraftContent
from domain.devices import DeviceLocale, Platform
from domain.preferences import Digest, KindChange, MessageKind, NotificationWay, QuietHours
from notifications.channels.sms import DevelopmentSms
from notifications.channels.sms_messages import SmsMessageChannel
from operations import account as operations
from operations import agencies, privacy
from operations.account import SignedIn
from operations.complaint_drafts import save_draft
from operations.devices import Registration, register_device
from operations.messages import broadcast, send_message
from operations.preferences import update_preferences
from operations.tokens import read_claims, viewer_of_claims
from resolvers.context import Stores
from settings import Settings
from store.sms_days import SmsDayStore

_OPTIONS: CodecOptions[Any] = CodecOptions(uuid_representation=STANDARD)
TOPIC = "division:350200"
COMPANY, OTHER_COMPANY = "91350100M000100Y43", "913501007890123454"
TOKEN = "token-of-the-citizens-phone"
DEVICE = "device-of-the-citizen"


async def everything(database: Any, redis: Any, prefixes: tuple[str, ...]) -> dict[str, list[bytes]]:
    """Give every document of every collection as bytes, and every key and value of Redis that is ours."""
    found = {
        name: [encode(document, codec_options=_OPTIONS) async for document in database[name].find({})]
        for name in await database.list_collection_names()
    }
    texts: list[bytes] = []
    for prefix in prefixes:
        async for key in redis.scan_iter(f"{prefix}*", count=1000):
            texts.append(key)
            kind = await redis.type(key)
            if kind == b"hash":
                texts += [part for pair in (await redis.hgetall(key)).items() for part in pair]
            elif kind == b"string":
                texts.append(await redis.get(key))
    return found | {"redis": texts}


async def sign_in(stores: Stores, sms: DevelopmentSms, phone: str) -> SignedIn:
    identity, client = stores.identity, some_client()
    await operations.request_code(identity, phone, client, now=NOW)
    return await operations.sign_in(identity, phone, await code_for(sms, phone), client, now=NOW)


async def code_for(sms: DevelopmentSms, phone: str) -> str:
    return next(each.code for each in await sms.list_sent() if each.phone == phone and each.code)


async def viewer_of(stores: Stores, signed_in: SignedIn) -> Viewer:
    keys = await stores.identity.ring.verifying(now=NOW)
    return viewer_of_claims(read_claims(signed_in.access.token, keys, stores.identity.issuer, now=NOW))


def test_a_whole_life_is_exported_and_forgotten(
    mongodb_uri: str, redis_url: str, database_name: str, tmp_path: Path
) -> None:
    settings = Settings.model_validate(
        {
            "mongodb_uri": mongodb_uri,
            "redis_url": redis_url,
            "database": database_name,
            "home": tmp_path,
            "engine_timeout_ms": 30_000,
        }
    )

    async def work() -> None:
        async with AsyncExitStack() as stack:
            world = await stack.enter_async_context(
                open_messages_world(mongodb_uri, redis_url, database_name)
            )
            resources = await stack.enter_async_context(open_resources(settings))
            stores = resources.stores
            assert stores is not None
            await live_and_be_forgotten(stores, world, resources.redis)

    asyncio.run(work())


async def live_and_be_forgotten(stores: Stores, world: Any, redis: Any) -> None:
    identity = replace(stores.identity, limits=operations.SignInLimits(codes_per_phone=()))
    stores = replace(stores, identity=identity)
    sms = identity.sms
    assert isinstance(sms, DevelopmentSms)
    phone, neighbour = some_phone(), some_phone()
    others = await sign_in(stores, sms, neighbour)
    principal = Grant(frozenset({Role.CITIZEN, Role.AGENT}), COMPANY)
    await operations.grant_roles(identity, phone, principal, now=NOW)
    signed_in = await sign_in(stores, sms, phone)
    account = signed_in.account.id
    messages = stores.messages
    viewer = await viewer_of(stores, signed_in)
    await agencies.appoint(identity, messages.outbox, viewer, neighbour, now=NOW)
    assert await identity.agencies.offer(account, OTHER_COMPANY, now=NOW)
    await register_device(
        stores.devices,
        account,
        Registration(DEVICE, Platform.ANDROID, "5.0", DeviceLocale.ZH, token=TOKEN),
        now=NOW,
    )
    for each in (account, others.account.id):
        await messages.subscriptions.subscribe(each, TOPIC)
    await update_preferences(
        messages.preferences,
        account,
        [
            KindChange(MessageKind.AUTHORITY, digest=Digest.DAILY),
            KindChange(MessageKind.APPLICATION_PROGRESS, {NotificationWay.SMS: True}),
            KindChange(MessageKind.AIR_QUALITY, {NotificationWay.SMS: True}),
        ],
        QuietHours(1320, 420),
        expected_version=0,
        now=NOW,
    )
    drafts = stores.complaint_drafts
    for each in (account, others.account.id):
        content = DraftContent(text="水管爆裂")
        await save_draft(drafts, each, "form-0001", content, expected_version=0, now=NOW)
    days = SmsDayStore(world.database)
    world.channels["sms"] = SmsMessageChannel(sms, identity.accounts, days, daily=5)
    await world.run(await send_message(messages.outbox, account, PROGRESS, "application:a1:1", now=NOW))
    await world.run(await broadcast(messages.outbox, [TOPIC], AIR, "air:350200:1", now=NOW))

    waiting = await send_message(messages.outbox, account, PROGRESS, "application:a1:2", now=NOW)
    await operations.request_confirmation(identity, viewer, some_client(), now=NOW)
    code = await code_for(sms, phone)
    export = await privacy.export_account(identity, stores.personal, viewer, code, some_client(), now=NOW)
    assert {name: len(documents) for name, documents in export.items() if documents} == {
        "accounts": 1,
        "sessions": 1,
        "devices": 1,
        "subscriptions": 1,
        "preferences": 1,
        "messages": 2,
        "sms_days": 1,
        "complaint_drafts": 1,
    }
    assert waiting.id
    prefixes = ("mintong:", world.database.name)
    before = await everything(world.database, redis, prefixes)
    assert any(account.encode() in document for document in before["inbox"])
    assert any(DEVICE.encode() in document for document in before["deliveries"])

    later = NOW + timedelta(minutes=2)
    await operations.request_confirmation(identity, viewer, some_client(), now=later)
    code = await code_for(sms, phone)
    await privacy.delete_account(identity, stores.personal, viewer, code, some_client(), now=later)
    for name, documents in (await everything(world.database, redis, prefixes)).items():
        for secret in (account, TOKEN, DEVICE):
            assert not any(secret.encode() in document for document in documents), (name, secret)
    assert await messages.subscriptions.list_topics(others.account.id) == [TOPIC]
    # Whom the principal appointed keeps the appointment, which names only the company.
    [offer] = await identity.agencies.list_for_account(others.account.id)
    assert (offer.company_code, offer.state) == (COMPANY, AgencyState.OFFERED)
    assert await identity.agencies.list_for_company(OTHER_COMPANY) == []
    assert await drafts.count(account, now=NOW) == 0
    assert await drafts.count(others.account.id, now=NOW) == 1
    # A message that was on its way finds nobody.
    world.told()
    shown = len(await sms.list_sent())
    await world.run(waiting)
    assert (world.told(), len(await sms.list_sent())) == ([], shown)
    after = await everything(world.database, redis, prefixes)
    assert not any(
        account.encode() in document for name in ("inbox", "deliveries") for document in after[name]
    )
