"""Putting together, from settings and open clients, what signing in needs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson
import structlog
from pymongo import AsyncMongoClient
from redis.asyncio import Redis

from api.auth import Authenticator, EndedSessions
from api.jwks import OutsideKeys
from notifications.channels.sms import SmsGatewayConfig, open_sms
from notifications.channels.wechat import WechatConfig, open_wechat
from operations.account import CodeSender, Identity, IdentityRegister, WechatLogin
from operations.privacy import PersonalStore, finish_deletions
from operations.tokens import Issuer, KeyRing
from settings import Settings
from store.access_log import AccessLog
from store.accounts import AccountStore
from store.agencies import AgencyStore
from store.codes import CodeStore
from store.demo_residents import DemoRegister
from store.encryption import FieldCipher, Kms, MasterKeyError, local_kms
from store.gate import Gate
from store.identity_register import RegisterConfig, open_register
from store.secrets import SecretStore
from store.sessions import SessionStore
from store.signing_keys import SigningKeyStore

log = structlog.get_logger(__name__)

_KEEP_S: Final = 60.0


def kms_of(settings: Settings) -> Kms:
    """Give where the master key of personal data is. Raises: store.encryption.MasterKeyError."""
    if settings.kms_provider != "local":
        given = settings.kms_settings.get_secret_value() or "{}"
        try:
            return Kms(settings.kms_provider, orjson.loads(given), settings.kms_master_key)
        except orjson.JSONDecodeError:
            raise MasterKeyError("MINTONG_KMS_SETTINGS is not JSON") from None
    file = settings.personal_key_file or settings.home / "personal.key"
    # In production a key that is not there must not be replaced: what it encrypted could not be read again.
    return local_kms(Path(file), may_create=not settings.is_production)


def outside_of(settings: Settings) -> tuple[Issuer, str] | None:
    """Give the outside issuer and where its keys are; None when there is none.

    Raises: ValueError when one of the settings is missing.
    """
    given = (settings.oidc_issuer, settings.oidc_audience, settings.oidc_jwks_url)
    if not any(given):
        return None
    issuer, audience, url = given
    if issuer is None or audience is None or url is None:
        raise ValueError("MINTONG_OIDC_ISSUER, _AUDIENCE and _JWKS_URL go together")
    if issuer == settings.token_issuer:
        raise ValueError("MINTONG_OIDC_ISSUER must differ from MINTONG_TOKEN_ISSUER")
    if settings.is_production and not url.startswith("https://"):
        raise ValueError("MINTONG_OIDC_JWKS_URL must be https in production")
    return Issuer(issuer, audience, is_own=False), url


def make_identity(
    settings: Settings,
    mongodb: AsyncMongoClient[dict[str, Any]],
    redis: Redis,
    cipher: FieldCipher,
    sms: CodeSender,
    wechat: WechatLogin | None,
    register: IdentityRegister | None = None,
) -> Identity:
    """Put together what signing in needs; nothing is sent to the engines yet."""
    database = mongodb[settings.database]
    return Identity(
        accounts=AccountStore(database, cipher),
        sessions=SessionStore(database),
        agencies=AgencyStore(database, cipher),
        access_log=AccessLog(database),
        codes=CodeStore(redis),
        gate=Gate(redis),
        secrets=SecretStore(database, cipher),
        ring=KeyRing(SigningKeyStore(database, cipher)),
        issuer=Issuer(settings.token_issuer, settings.token_audience, is_own=True),
        redis=redis,
        sms=sms,
        wechat=wechat,
        register=register,
    )


def make_authenticator(settings: Settings, identity: Identity, ended: EndedSessions) -> Authenticator:
    """Make what checks tokens. Raises: ValueError when an outside issuer is named by half."""
    outside = outside_of(settings)
    if outside is None:
        return Authenticator(identity, ended)
    issuer, url = outside
    keys = OutsideKeys(url, timeout_s=settings.engine_timeout_ms / 1000)
    return Authenticator(identity, ended, outside=issuer, outside_keys=keys)


async def keep_identity(identity: Identity, personal: tuple[PersonalStore, ...]) -> None:
    """Make the indexes, rotate the keys in time and finish deletions, until cancelled."""
    await ensure_indexes(identity)
    while True:
        now = datetime.now(UTC)
        await identity.ring.refresh(now=now)
        if finished := await finish_deletions(identity, personal, now=now):
            log.info("account.deletions_finished", count=finished)
        await asyncio.sleep(_KEEP_S)


def sms_gateway(settings: Settings) -> SmsGatewayConfig | None:
    """Give the gateway for text messages; None where there is none."""
    if settings.sms_url is None:
        return None
    return SmsGatewayConfig(settings.sms_url, settings.sms_token.get_secret_value())


class NoMobileNetwork:
    """Stands where production has no mobile network: says so to whoever wants a code."""

    async def send_code(self, phone: str, code: str, language: str) -> None:
        """Refuse. Raises: OSError."""
        raise OSError("no SMS channel is configured")


@asynccontextmanager
async def open_identity_register(settings: Settings) -> AsyncIterator[IdentityRegister | None]:
    """Open the register of residents; without one the demo's in development, None in production.

    Raises: ValueError when personal data would go to it unencrypted in production.
    """
    if settings.identity_url is None:
        yield None if settings.is_production else DemoRegister()
        return
    if settings.is_production and not settings.identity_url.startswith("https://"):
        raise ValueError("MINTONG_IDENTITY_URL must be https in production")
    token = settings.identity_token.get_secret_value()
    config = RegisterConfig(settings.identity_url, token, settings.identity_timeout_s)
    async with open_register(config) as register:
        yield register


@asynccontextmanager
async def open_senders(
    settings: Settings, redis: Redis
) -> AsyncIterator[tuple[CodeSender, WechatLogin | None]]:
    """Open what brings codes to phones and what asks WeChat; None where WeChat is not configured."""
    async with AsyncExitStack() as stack:
        gateway = sms_gateway(settings)
        sms: CodeSender = NoMobileNetwork()
        if gateway is not None or not settings.is_production:
            sms = await stack.enter_async_context(open_sms(gateway, redis, production=settings.is_production))
        wechat: WechatLogin | None = None
        if settings.wechat_app_id is not None:
            config = WechatConfig(settings.wechat_app_id, settings.wechat_secret.get_secret_value())
            wechat = await stack.enter_async_context(open_wechat(config, redis))
        yield sms, wechat


async def ensure_indexes(identity: Identity) -> None:
    """Make the indexes of what signing in writes; those that exist stay."""
    await identity.accounts.ensure_indexes()
    await identity.agencies.ensure_indexes()
    await identity.sessions.ensure_indexes()
    await identity.access_log.ensure_indexes()
