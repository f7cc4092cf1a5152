"""What an API process holds open while it runs: engines, the served catalogue, counted views."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta
from typing import Any

from msgspec import Struct
from pymongo.asynchronous.database import AsyncDatabase
from redis.asyncio import Redis

from api.auth import Authenticator, EndedSessions
from api.complaints import make_complaints
from api.health import Probe
from api.identity import (
    kms_of,
    make_authenticator,
    make_identity,
    open_identity_register,
    open_senders,
)
from api.media_opening import open_attachments
from api.views import WriteViews
from domain.devices import PushChannel
from loaders.catalogue import Catalogue
from loaders.city_classes import CityClasses
from loaders.complaint_statistics import ComplaintStatistics
from loaders.complaint_sums import ComplaintSums
from loaders.knowledge import Knowledge
from loaders.public_complaints import PublicComplaints
from loaders.reference import Follower
from loaders.units import Units
from notifications.channels.wechat_messages import read_templates
from notifications.outbox import Outbox
from notifications.queue import JobQueue
from notifications.recent import RecentMessages
from operations.city_cases import CityCases
from operations.complaint_forgetting import AccountComplaints
from operations.complaint_publication import Publisher
from operations.devices import Devices
from operations.inbox import Messages
from operations.open311 import Open311
from resolvers.context import Stores
from settings import Settings
from store.account_messages import AccountMessages
from store.catalogue import CatalogueStore
from store.city_cases import CityCaseStore
from store.complaint_drafts import ComplaintDraftStore
from store.complaint_statistics import StatisticsStore
from store.connections import open_mongodb, open_redis
from store.deliveries import DeliveryStore
from store.devices import DeviceStore
from store.digests import DigestStore
from store.encryption import FieldCipher
from store.inbox import InboxStore
from store.knowledge import KnowledgeStore
from store.messages import MessageStore
from store.open311_keys import Open311KeyStore
from store.open311_requests import Open311RequestStore
from store.preferences import PreferenceStore
from store.public_complaints import PublicComplaintStore
from store.sms_days import SmsDayStore
from store.subscriptions import SubscriptionStore
from store.units import UnitStore
from store.wechat_grants import WechatGrantStore


class Resources(Struct, frozen=True):
    """The open resources of one process; `probes` by the engine's name, as `/readyz` shows it.

    `stores`, `authenticator` and `ended` are None where only public data is served.
    """

    catalogue: Catalogue
    redis: Redis
    write_views: WriteViews
    probes: Mapping[str, Probe]
    stores: Stores | None = None
    authenticator: Authenticator | None = None
    ended: EndedSessions | None = None
    follower: Follower | None = None


@asynccontextmanager
async def open_resources(settings: Settings) -> AsyncIterator[Resources]:
    """Open the engines' clients and the catalogue's holder; close them afterwards.

    Engines that are away delay nothing: the newest snapshot on this disk serves meanwhile.

    Raises: ValueError when the settings name no engines, half an outside issuer, or a register without TLS;
    store.encryption.MasterKeyError, and what `api.complaints` raises.
    """
    if settings.mongodb_uri is None or settings.redis_url is None:
        raise ValueError("the API needs MONGODB_URI and REDIS_URL; `mintong run` starts embedded engines")
    kms = kms_of(settings)
    redis = open_redis(settings.redis_url, settings.engine_timeout_ms)
    try:
        async with open_mongodb(settings.mongodb_uri, settings.engine_timeout_ms) as mongodb:
            store = CatalogueStore(mongodb[settings.database])
            catalogue = Catalogue(
                store,
                redis,
                settings.home / "snapshots",
                poll=timedelta(seconds=settings.snapshot_poll_s),
            )
            await catalogue.open_newest_local()
            async with (
                aclosing(FieldCipher(mongodb, settings.database, kms)) as cipher,
                open_senders(settings, redis) as (sms, wechat),
                open_identity_register(settings) as register,
                _open_messages(settings, mongodb[settings.database]) as messages,
            ):
                identity = make_identity(settings, mongodb, redis, cipher, sms, wechat, register)
                ended = EndedSessions(identity.sessions, redis)
                devices = Devices(
                    DeviceStore(mongodb[settings.database]),
                    WechatGrantStore(mongodb[settings.database]),
                    wechat,
                    frozenset(template.id for template in read_templates(settings.wechat_templates).values()),
                )
                units = Units(UnitStore(mongodb[settings.database]))
                knowledge = Knowledge(KnowledgeStore(mongodb[settings.database]))
                complaints = make_complaints(
                    settings,
                    mongodb[settings.database],
                    cipher,
                    units=lambda: units.tree,
                    read_classes=lambda: units.classes,
                    is_division=lambda code: (
                        units.tree.covers(code)
                        or (catalogue.current is not None and catalogue.current.division(code) is not None)
                    ),
                )
                drafts = ComplaintDraftStore(mongodb[settings.database], cipher)
                city_store = CityCaseStore(mongodb[settings.database])
                city_classes = CityClasses(city_store)
                city_cases = CityCases(
                    store=city_store,
                    secrets=complaints.secrets,
                    units=lambda: units.tree,
                    classes=lambda: city_classes.current,
                    complaint_classes=lambda: units.classes,
                    calendar=complaints.calendar,
                )
                public = PublicComplaints(
                    PublicComplaintStore(mongodb[settings.database]),
                    settings.home / "public-complaints",
                    poll=timedelta(seconds=settings.snapshot_poll_s),
                )
                await public.open()
                sums = ComplaintSums(
                    StatisticsStore(mongodb[settings.database]),
                    settings.home / "complaint-statistics",
                    poll=timedelta(seconds=settings.snapshot_poll_s),
                )
                await sums.open()
                publisher = Publisher(public.store, complaints.secrets, complaints.calendar)
                open311 = Open311(
                    complaints=complaints,
                    publisher=publisher,
                    keys=Open311KeyStore(mongodb[settings.database]),
                    requests=Open311RequestStore(mongodb[settings.database], redis),
                    gate=identity.gate,
                    address_limit=settings.open311_address_limit,
                )
                attachments = await open_attachments(settings, mongodb[settings.database], identity)
                yield Resources(
                    catalogue,
                    redis,
                    store.add_views,
                    {"mongodb": lambda: mongodb.admin.command("ping"), "redis": lambda: _ping(redis)},
                    Stores(
                        identity,
                        (
                            identity.sessions,
                            identity.access_log,
                            messages.subscriptions,
                            messages.own,  # before the devices, whose ids it takes out of deliveries
                            devices.store,
                            devices.grants,
                            messages.preferences,
                            SmsDayStore(mongodb[settings.database]),
                            DigestStore(mongodb[settings.database]),
                            attachments.store,
                            AccountComplaints(complaints),
                            drafts,
                        ),
                        devices=devices,
                        messages=messages,
                        units=units,
                        knowledge=knowledge,
                        complaints=complaints,
                        complaint_drafts=drafts,
                        media=attachments,
                        city_cases=city_cases,
                        publisher=publisher,
                        open311=open311,
                        public_complaints=public,
                        statistics=ComplaintStatistics(sums, units),
                    ),
                    make_authenticator(settings, identity, ended),
                    ended,
                    Follower(
                        units.store.reference,
                        redis,
                        (*units.followed, knowledge.followed, city_classes.followed),
                        poll=timedelta(seconds=settings.snapshot_poll_s),
                    ),
                )
    finally:
        await redis.aclose()


@asynccontextmanager
async def _open_messages(
    settings: Settings, database: AsyncDatabase[dict[str, Any]]
) -> AsyncIterator[Messages]:
    """Open what messages need; the worker makes the indexes and does the rest."""
    store = MessageStore(database, timedelta(days=settings.inbox_days))
    queue = JobQueue(settings.redis_url or "", timeout_s=settings.engine_timeout_ms / 1000)
    try:
        yield Messages(
            outbox=Outbox(store, queue),
            recent=RecentMessages(store),
            inbox=InboxStore(database),
            own=AccountMessages(database, timedelta(days=settings.delivery_days)),
            deliveries=DeliveryStore(database),
            subscriptions=SubscriptionStore(database),
            preferences=PreferenceStore(database),
            channels=tuple(channel.value for channel in PushChannel),
        )
    finally:
        await queue.aclose()


async def _ping(redis: Redis) -> object:
    return await redis.ping()
