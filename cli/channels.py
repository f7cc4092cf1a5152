"""Which channels the settings ask for."""

from __future__ import annotations

from api.identity import sms_gateway
from notifications.channels.fcm import FcmConfig
from notifications.channels.opening import ChannelsConfig
from notifications.channels.wechat import WechatConfig
from notifications.channels.wechat_messages import read_templates
from settings import Settings


def channels_config(settings: Settings) -> ChannelsConfig:
    """Gather what `open_channels` needs. Raises: ValueError for templates that cannot be read."""
    fcm: FcmConfig | None = None
    wechat: WechatConfig | None = None
    if settings.fcm_project is not None:
        fcm = FcmConfig(
            settings.fcm_project,
            settings.fcm_credentials,
            settings.fcm_endpoint,
            max_in_flight=settings.fcm_max_in_flight,
        )
    if settings.wechat_app_id is not None:
        wechat = WechatConfig(settings.wechat_app_id, settings.wechat_secret.get_secret_value())
    return ChannelsConfig(
        settings.is_production,
        fcm,
        wechat,
        read_templates(settings.wechat_templates),
        settings.push_allowed_devices,
        sms_gateway(settings),
        settings.sms_daily,
    )
