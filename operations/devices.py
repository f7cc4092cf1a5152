"""What a citizen does with devices: register one, remove one, report what the mini-program was allowed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from domain.account import WechatSignInError
from domain.devices import (
    MAX_TEMPLATES,
    Device,
    DeviceLocale,
    InvalidDeviceError,
    Platform,
    PushChannel,
    UnknownDeviceError,
    UnknownTemplateError,
    check_device,
    check_device_id,
    choose_channel,
)
from operations.account import WechatLogin
from store.devices import DeviceStore
from store.wechat_grants import WechatGrantStore

_MAX_CODE = 128
_MAX_KEY = 64


class Devices(Struct, frozen=True):
    """What devices need. `wechat` is None and `template_ids` empty where there is no mini-program."""

    store: DeviceStore
    grants: WechatGrantStore
    wechat: WechatLogin | None = None
    template_ids: frozenset[str] = frozenset()


class Registration(Struct, frozen=True):
    """What the app reports of its device: FCM's `token`, or in the mini-program a login code of WeChat's."""

    device_id: str
    platform: Platform
    app_version: str
    locale: DeviceLocale
    token: str | None = None
    wechat_code: str | None = None


async def register_device(
    devices: Devices, account_id: str, registration: Registration, *, now: datetime
) -> Device:
    """Register a device for pushes, or refresh it, and give it as it is stored.

    An openid is never taken from the client, which could name anybody's: WeChat says whose the code is.
    Raises: InvalidDeviceError, domain.account.WechatSignInError.
    """
    channel = choose_channel(registration.platform)
    device = Device(
        id=registration.device_id,
        account_id=account_id,
        channel=channel,
        token="-" if channel is PushChannel.WECHAT else registration.token or "",
        platform=registration.platform,
        app_version=registration.app_version,
        locale=registration.locale,
        registered_at=now,
        seen_at=now,
    )
    check_device(device)
    if channel is PushChannel.WECHAT:
        openid = await _openid(devices, registration.wechat_code)
        device = replace(device, token=openid)
        check_device(device)
    return await devices.store.upsert(device)


async def _openid(devices: Devices, code: str | None) -> str:
    if not code or len(code) > _MAX_CODE:
        raise InvalidDeviceError(field="wechatCode")
    if devices.wechat is None:
        raise WechatSignInError
    return (await devices.wechat.code_to_session(code)).openid


async def remove_device(devices: Devices, account_id: str, device_id: str) -> None:
    """Remove a device of the account; pushes reach it no more.

    Raises: InvalidDeviceError, UnknownDeviceError.
    """
    check_device_id(device_id)
    if not await devices.store.remove(account_id, device_id):
        raise UnknownDeviceError(field="deviceId")


async def grant_wechat_templates(
    devices: Devices,
    account_id: str,
    device_id: str,
    template_ids: Sequence[str],
    *,
    key: str,
    now: datetime,
) -> dict[str, int]:
    """Count what the citizen allowed in the mini-program's dialog; give what is left of each template.

    The same report, told apart by `key`, counts once.
    Raises: InvalidDeviceError, UnknownDeviceError, UnknownTemplateError.
    """
    check_device_id(device_id)
    if not 1 <= len(key) <= _MAX_KEY:
        raise InvalidDeviceError(field="idempotencyKey")
    wanted = list(dict.fromkeys(template_ids))
    if not 1 <= len(wanted) <= MAX_TEMPLATES:
        raise InvalidDeviceError(field="templateIds")
    if not devices.template_ids.issuperset(wanted):
        raise UnknownTemplateError(field="templateIds")
    device = await devices.store.find(device_id)
    if device is None or device.account_id != account_id or device.channel is not PushChannel.WECHAT:
        raise UnknownDeviceError(field="deviceId")
    return await devices.grants.grant(device.token, account_id, wanted, key=key, now=now)
