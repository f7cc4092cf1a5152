"""Rules for devices: what a registration may say, how many an account has, when one is forgotten."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from msgspec import Struct

from domain.errors import DomainError

MAX_DEVICES: Final = 10
"""Devices of one account; a further one replaces the one not seen for longest."""
MAX_DEVICE_AGE: Final = timedelta(days=270)
"""FCM's own bound: a token that an Android app has not refreshed for this long is dead."""
MAX_TOKEN_CHARS: Final = 4096
MAX_TEMPLATES: Final = 3
"""Templates in one of WeChat's consent dialogs, hence in one report of it."""
MAX_GRANTS: Final = 20
"""Unused one-time consents kept per person and template."""

_DEVICE_ID = re.compile(r"[A-Za-z0-9_-]{16,64}")
_TOKEN = re.compile(r"[A-Za-z0-9_:.\-]{1,4096}")
_SMS_PREFIX: Final = "sms@"
_APP_VERSION = re.compile(r"[0-9A-Za-z.+-]{1,32}")


class Platform(StrEnum):
    """What the app runs on."""

    ANDROID = "ANDROID"
    IOS = "IOS"
    HARMONY = "HARMONY"
    WECHAT = "WECHAT"
    """The mini-program, on whatever phone."""


class PushChannel(StrEnum):
    """Which channel reaches a device; the values are the names that channels and deliveries use."""

    FCM = "fcm"
    WECHAT = "wechat"
    SMS = "sms"
    """No device: the phone of an account, for whoever allowed text messages (`sms_target`)."""


class DeviceLocale(StrEnum):
    """The language of what is pushed to a device."""

    ZH = "zh"
    EN = "en"


class InvalidDeviceError(DomainError):
    """A field of a registration has no form that a device's can have."""

    code = "INVALID_DEVICE"


class UnknownDeviceError(DomainError):
    """The account has no device of this id."""

    code = "UNKNOWN_DEVICE"


class UnknownTemplateError(DomainError):
    """The installation uses no WeChat template of this id."""

    code = "UNKNOWN_TEMPLATE"


class Target(Struct, frozen=True, gc=False):
    """What a push to a device needs to know of it."""

    id: str
    account_id: str
    channel: PushChannel
    token: str
    locale: DeviceLocale


def sms_target(account_id: str, locale: DeviceLocale) -> Target:
    """Make the target of text messages to an account: there is one, known by the account.

    It names no phone number, which only the channel reads. No app can register a device of such an id.
    """
    return Target(f"{_SMS_PREFIX}{account_id}", account_id, PushChannel.SMS, account_id, locale)


def account_of_sms_target(target_id: str) -> str | None:
    """Give the account of a target of text messages; None for the id of a device."""
    return target_id.removeprefix(_SMS_PREFIX) if target_id.startswith(_SMS_PREFIX) else None


class Device(Struct, frozen=True):
    """One installation of the app, or one citizen's mini-program, that pushes can reach.

    `id` is made by the app, at random, at its first start. `token` is what the channel's provider addresses:
    an FCM registration token or a WeChat openid. Instants are UTC; `seen_at` is the last registration.
    """

    id: str
    account_id: str
    channel: PushChannel
    token: str
    platform: Platform
    app_version: str
    locale: DeviceLocale
    registered_at: datetime
    seen_at: datetime

    @property
    def target(self) -> Target:
        """Give what a push needs to know."""
        return Target(self.id, self.account_id, self.channel, self.token, self.locale)


def check_device_id(device_id: str) -> None:
    """Check that an id has 16 to 64 letters, digits, `_` or `-`: enough to be unguessable.

    Raises: InvalidDeviceError.
    """
    if not _DEVICE_ID.fullmatch(device_id):
        raise InvalidDeviceError(field="deviceId")


def check_device(device: Device) -> None:
    """Check every text of a device. Raises: InvalidDeviceError."""
    check_device_id(device.id)
    if not _TOKEN.fullmatch(device.token):
        raise InvalidDeviceError(field="token")
    if not _APP_VERSION.fullmatch(device.app_version):
        raise InvalidDeviceError(field="appVersion")


def choose_channel(platform: Platform) -> PushChannel:
    """Choose the channel that reaches a platform."""
    return PushChannel.WECHAT if platform is Platform.WECHAT else PushChannel.FCM
