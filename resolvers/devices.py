"""Devices in GraphQL: the viewer's own, and what the app reports of them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import strawberry
from strawberry.permission import BasePermission
from strawberry.types import Info

from domain.access import SIGNED_IN
from domain.devices import Device, DeviceLocale, Platform
from operations import devices as operations
from operations.devices import Devices, Registration
from resolvers.access import allow, viewer_of
from resolvers.context import Context
from resolvers.mutations import UserError, refusable
from resolvers.node import describe_enum

_SIGNED_IN: list[type[BasePermission]] = [allow(*SIGNED_IN)]
_DEVICE_ID = "Made by the app at random at its first start: 16 to 64 letters, digits, _ or -."

describe_enum(
    Platform,
    "What the app runs on.",
    {
        "ANDROID": "Reached through FCM.",
        "IOS": "Reached through FCM.",
        "HARMONY": "Reached through FCM.",
        "WECHAT": "The mini-program on any phone, reached by subscribe messages.",
    },
)
describe_enum(
    DeviceLocale, "The language of what is pushed to a device.", {"ZH": "Chinese.", "EN": "English."}
)


@strawberry.type(name="Device", description="An installation of the app that pushes can reach.")
class DeviceType:
    """Shows a device to its owner, without its token."""

    device_id: str = strawberry.field(description="The id that the app has made.")
    platform: Platform = strawberry.field(description="What the app runs on.")
    app_version: str = strawberry.field(description="The version it reported last.")
    locale: DeviceLocale = strawberry.field(description="The language of its pushes.")
    registered_at: datetime = strawberry.field(description="When it was registered first, UTC.")
    seen_at: datetime = strawberry.field(description="When it was registered last, UTC.")

    @classmethod
    def of(cls, device: Device) -> DeviceType:
        """Show a device."""
        return cls(
            device_id=device.id,
            platform=device.platform,
            app_version=device.app_version,
            locale=device.locale,
            registered_at=device.registered_at,
            seen_at=device.seen_at,
        )


@strawberry.type(description="What is left of a citizen's consents to one template.")
class TemplateConsents:
    """One-time consents that were not used yet."""

    template_id: str = strawberry.field(description="The template at WeChat.")
    left: int = strawberry.field(description="Messages that may still be sent, at most 20.")


@strawberry.input(description="A device as the app knows it; send it at every start and after every change.")
class RegisterDeviceInput:
    """Of registerDevice."""

    device_id: str = strawberry.field(description=_DEVICE_ID)
    platform: Platform = strawberry.field(description="What the app runs on.")
    app_version: str = strawberry.field(description="Version of the app, at most 32 characters.")
    locale: DeviceLocale = strawberry.field(
        default=DeviceLocale.ZH, description="The language of its pushes."
    )
    token: str | None = strawberry.field(
        default=None, description="FCM's registration token; null in the mini-program."
    )
    wechat_code: str | None = strawberry.field(
        default=None, description="What `wx.login` gave, in the mini-program; null elsewhere."
    )


@strawberry.input(description="Which device.")
class RemoveDeviceInput:
    """Of removeDevice."""

    device_id: str = strawberry.field(description=_DEVICE_ID)


@strawberry.input(description="What the citizen allowed in a dialog of `wx.requestSubscribeMessage`.")
class GrantWechatTemplatesInput:
    """Of grantWechatTemplates."""

    device_id: str = strawberry.field(description="The mini-program's device, registered before.")
    template_ids: list[str] = strawberry.field(description="The templates that were allowed, 1 to 3.")
    idempotency_key: str = strawberry.field(
        description="One for each dialog, 1 to 64 characters; the same one counts once."
    )


@strawberry.type(description="Result of registerDevice.")
class RegisterDevicePayload:
    """The device, or why not."""

    device: DeviceType | None = strawberry.field(description="As it is stored; null when refused.")
    user_errors: list[UserError] = strawberry.field(description="Why it was refused.")


@strawberry.type(description="Result of removeDevice.")
class RemoveDevicePayload:
    """The id of what is gone, or why not."""

    device_id: str | None = strawberry.field(description="The device that is gone; null when refused.")
    user_errors: list[UserError] = strawberry.field(description="Why it was refused.")


@strawberry.type(description="Result of grantWechatTemplates.")
class GrantWechatTemplatesPayload:
    """What is left of each template, or why not."""

    consents: list[TemplateConsents] = strawberry.field(description="One for each template; [] when refused.")
    user_errors: list[UserError] = strawberry.field(description="Why it was refused.")


def _devices(info: Info[Context, None]) -> Devices:
    devices = info.context.stores.devices
    if devices is None:
        raise RuntimeError("this process keeps no devices")
    return devices


@strawberry.type
class ViewerDevices:
    """The devices' part of Viewer."""

    @strawberry.field(
        description="The viewer's devices, at most 10, the one seen last first.",
        permission_classes=_SIGNED_IN,
    )
    async def devices(self, info: Info[Context, None]) -> list[DeviceType]:
        """List the devices."""
        devices = await _devices(info).store.list_for_account(viewer_of(info).account_id)
        return [DeviceType.of(device) for device in devices]


@strawberry.type
class DevicesMutation:
    """The devices' part of Mutation."""

    @strawberry.mutation(
        description="Register a device for pushes, or refresh it. Of more than 10 the longest unseen goes.",
        permission_classes=_SIGNED_IN,
    )
    async def register_device(
        self,
        info: Info[Context, None],
        input: Annotated[RegisterDeviceInput, strawberry.argument(description="The device.")],
    ) -> RegisterDevicePayload:
        """Run `register_device`."""
        registration = Registration(
            device_id=input.device_id,
            platform=input.platform,
            app_version=input.app_version,
            locale=input.locale,
            token=input.token,
            wechat_code=input.wechat_code,
        )
        work = operations.register_device(
            _devices(info), viewer_of(info).account_id, registration, now=info.context.now
        )
        device, errors = await refusable(work, info.context.word)
        return RegisterDevicePayload(device=DeviceType.of(device) if device else None, user_errors=errors)

    @strawberry.mutation(
        description="Remove a device of the viewer's: no push reaches it any more.",
        permission_classes=_SIGNED_IN,
    )
    async def remove_device(
        self,
        info: Info[Context, None],
        input: Annotated[RemoveDeviceInput, strawberry.argument(description="Which.")],
    ) -> RemoveDevicePayload:
        """Run `remove_device`."""
        work = operations.remove_device(_devices(info), viewer_of(info).account_id, input.device_id)
        _, errors = await refusable(work, info.context.word)
        return RemoveDevicePayload(device_id=None if errors else input.device_id, user_errors=errors)

    @strawberry.mutation(
        description="Report the one-time consents that WeChat's dialog gave; each is worth one message.",
        permission_classes=_SIGNED_IN,
    )
    async def grant_wechat_templates(
        self,
        info: Info[Context, None],
        input: Annotated[GrantWechatTemplatesInput, strawberry.argument(description="The consents.")],
    ) -> GrantWechatTemplatesPayload:
        """Run `grant_wechat_templates`."""
        work = operations.grant_wechat_templates(
            _devices(info),
            viewer_of(info).account_id,
            input.device_id,
            input.template_ids,
            key=input.idempotency_key,
            now=info.context.now,
        )
        left, errors = await refusable(work, info.context.word)
        consents = [TemplateConsents(template_id=id_, left=count) for id_, count in (left or {}).items()]
        return GrantWechatTemplatesPayload(consents=consents, user_errors=errors)
