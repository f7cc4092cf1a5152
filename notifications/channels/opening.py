"""All channels of an installation, opened together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from msgspec import Struct
from pymongo.asynchronous.database import AsyncDatabase
from redis.asyncio import Redis

from notifications.channels.base import Channel
from notifications.channels.fcm import FcmConfig, open_fcm
from notifications.channels.log import AllowListChannel, route
from notifications.channels.sms import SmsGatewayConfig, open_sms
from notifications.channels.sms_messages import SmsMessageChannel
from notifications.channels.wechat import WechatConfig, open_wechat
from notifications.channels.wechat_messages import WechatChannel, WechatTemplate
from store.accounts import AccountStore
from store.sms_days import SmsDayStore
from store.wechat_grants import WechatGrantStore


class ChannelsConfig(Struct, frozen=True):
    """Which providers there are, None for one that is not configured; who may be reached from development."""

    production: bool
    fcm: FcmConfig | None = None
    wechat: WechatConfig | None = None
    templates: Mapping[str, WechatTemplate] = {}
    allowed_devices: Collection[str] = ()
    sms: SmsGatewayConfig | None = None
    sms_daily: int = 5
    """Messages a day that an account gets as text messages, urgent ones aside."""


@asynccontextmanager
async def open_channels(
    config: ChannelsConfig, database: AsyncDatabase[dict[str, Any]], redis: Redis, accounts: AccountStore
) -> AsyncIterator[dict[str, Channel]]:
    """Open the channels by name; close their connections afterwards. Outside of production the log has most.

    Text messages without a gateway are shown in the development inbox then, which reaches nobody either.

    Raises: ValueError or OSError for credentials that are missing or cannot be read.
    """
    async with AsyncExitStack() as stack:
        fcm: Channel | None = None
        wechat: Channel | None = None
        if config.fcm is not None:
            fcm = await stack.enter_async_context(open_fcm(config.fcm))
        if config.wechat is not None:
            client = await stack.enter_async_context(open_wechat(config.wechat, redis))
            grants = WechatGrantStore(database)
            await grants.ensure_indexes()
            wechat = WechatChannel(client, grants, config.templates, production=config.production)
        routed = {
            name: route(name, channel, production=config.production, allowed=config.allowed_devices)
            for name, channel in (("fcm", fcm), ("wechat", wechat))
        }
        if config.sms is not None or not config.production:
            brings = await stack.enter_async_context(
                open_sms(config.sms, redis, production=config.production)
            )
            sms = SmsMessageChannel(brings, accounts, SmsDayStore(database), daily=config.sms_daily)
            reaches_phones = config.sms is not None and not config.production
            routed["sms"] = AllowListChannel(sms, config.allowed_devices) if reaches_phones else sms
        yield {name: channel for name, channel in routed.items() if channel is not None}
