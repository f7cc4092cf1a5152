"""What an API process holds open while it runs: engines, the served catalogue, counted views."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta

from msgspec import Struct
from redis.asyncio import Redis

from api.auth import Authenticator, EndedSessions
from api.health import Probe
from api.identity import kms_of, make_authenticator, make_identity, open_senders
from api.views import WriteViews
from loaders.catalogue import Catalogue
from notifications.channels.wechat_messages import read_templates
from operations.devices import Devices
from resolvers.context import Stores
from settings import Settings
from store.account_messages import AccountMessages
from store.catalogue import CatalogueStore
from store.connections import open_mongodb, open_redis
from store.devices import DeviceStore
from store.encryption import FieldCipher
from store.subscriptions import SubscriptionStore
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


@asynccontextmanager
async def open_resources(settings: Settings) -> AsyncIterator[Resources]:
    """Open the engines' clients and the catalogue's holder; close them afterwards.

    Engines that are away delay nothing: the newest snapshot on this disk serves meanwhile.

    Raises: ValueError when the settings name no engines, or half an outside issuer;
    store.encryption.MasterKeyError.
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
            ):
                identity = make_identity(settings, mongodb, redis, cipher, sms, wechat)
                ended = EndedSessions(identity.sessions, redis)
                devices = Devices(
                    DeviceStore(mongodb[settings.database]),
                    WechatGrantStore(mongodb[settings.database]),
                    wechat,
                    frozenset(template.id for template in read_templates(settings.wechat_templates).values()),
                )
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
                            devices.store,
                            devices.grants,
                            SubscriptionStore(mongodb[settings.database]),
                            AccountMessages(mongodb[settings.database]),
                        ),
                        devices,
                    ),
                    make_authenticator(settings, identity, ended),
                    ended,
                )
    finally:
        await redis.aclose()


async def _ping(redis: Redis) -> object:
    return await redis.ping()
