"""Devices over GraphQL: registered, refreshed, removed; an openid is WeChat's word, never the client's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from domain.access import Assurance, Role, Viewer
from domain.account import WechatSignInError
from domain.devices import PushChannel
from operations.devices import Devices
from resolvers.context import Context, Stores, ViewCounter
from resolvers.schema import schema
from store.connections import open_mongodb
from store.devices import DeviceStore
from store.wechat_grants import WechatGrantStore

NOW = datetime(2026, 11, 22, 4, tzinfo=UTC)
ID = "0123456789abcdef-A"
REGISTER = """mutation ($input: RegisterDeviceInput!) { registerDevice(input: $input) {
  device { deviceId platform appVersion locale registeredAt seenAt } userErrors { code field message } } }"""
REMOVE = """mutation ($input: RemoveDeviceInput!) { removeDevice(input: $input) {
  deviceId userErrors { code field } } }"""
GRANT = """mutation ($input: GrantWechatTemplatesInput!) { grantWechatTemplates(input: $input) {
  consents { templateId left } userErrors { code field } } }"""
MINE = "{ viewer { devices { deviceId platform } } }"


class Login:
    """Says whose a code is; refuses every other one."""

    class User:
        openid = "openid-1"

    async def code_to_session(self, code: str) -> User:
        if code != "good":
            raise WechatSignInError
        return self.User()


Ask = Callable[..., Awaitable[dict[str, Any]]]


def with_schema(
    uri: str, name: str, work: Callable[[Ask, Devices], Awaitable[None]], *, wechat: bool = True
) -> None:
    async def main() -> None:
        async with open_mongodb(uri, 20_000) as client:
            devices = Devices(
                DeviceStore(client[name]),
                WechatGrantStore(client[name]),
                Login() if wechat else None,
                frozenset({"template-1", "template-2"}),
            )
            await devices.store.ensure_indexes()
            await devices.grants.ensure_indexes()

            async def ask(
                document: str, account: str | None = "a", now: datetime = NOW, **values: Any
            ) -> dict[str, Any]:
                viewer = account and Viewer(
                    account, "s", frozenset({Role.CITIZEN}), Assurance.L1, NOW + timedelta(days=2)
                )
                context = Context(
                    None,
                    lambda: None,
                    cast(ViewCounter, None),
                    "zh",
                    "r",
                    now,
                    viewer or None,
                    Stores(cast(Any, None), (), devices),
                )
                result = await schema.execute(document, {"input": values}, context_value=context)
                if result.errors:
                    return {"errors": [type(error.original_error).__name__ for error in result.errors]}
                assert result.data is not None
                return dict(result.data)

            await work(ask, devices)

    asyncio.run(main())


def phone(**changes: Any) -> dict[str, Any]:
    return {"deviceId": ID, "platform": "ANDROID", "appVersion": "3.2.1", "token": "t:1_a-b", **changes}


def test_register_list_and_remove(mongodb_uri: str, database_name: str) -> None:
    async def work(ask: Ask, devices: Devices) -> None:
        answer = await ask(REGISTER, **phone(locale="EN"))
        assert answer["registerDevice"] == {
            "device": {
                "deviceId": ID,
                "platform": "ANDROID",
                "appVersion": "3.2.1",
                "locale": "EN",
                "registeredAt": "2026-11-22T04:00:00+00:00",
                "seenAt": "2026-11-22T04:00:00+00:00",
            },
            "userErrors": [],
        }
        later = await ask(REGISTER, now=NOW + timedelta(days=1), **phone(token="t2"))
        assert later["registerDevice"]["device"]["registeredAt"] == "2026-11-22T04:00:00+00:00"
        assert later["registerDevice"]["device"]["seenAt"] == "2026-11-23T04:00:00+00:00"
        assert await ask(MINE) == {"viewer": {"devices": [{"deviceId": ID, "platform": "ANDROID"}]}}
        assert await ask(MINE, "b") == {"viewer": {"devices": []}}
        refused = {"deviceId": None, "userErrors": [{"code": "UNKNOWN_DEVICE", "field": "deviceId"}]}
        assert await ask(REMOVE, "b", deviceId=ID) == {"removeDevice": refused}
        assert len(await devices.store.list_for_account("a")) == 1
        assert await ask(REMOVE, deviceId=ID) == {"removeDevice": {"deviceId": ID, "userErrors": []}}
        assert await ask(REMOVE, deviceId=ID) == {"removeDevice": refused}
        assert await ask(MINE) == {"viewer": {"devices": []}}

    with_schema(mongodb_uri, database_name, work)


def test_what_is_no_device_changes_nothing(mongodb_uri: str, database_name: str) -> None:
    async def work(ask: Ask, devices: Devices) -> None:
        for changes, field in (
            ({"deviceId": "short"}, "deviceId"),
            ({"deviceId": "sms@0123456789abcdef01234567"}, "deviceId"),
            ({"token": None}, "token"),
            ({"token": "x" * 4097}, "token"),
            ({"appVersion": "1 0"}, "appVersion"),
            ({"platform": "WECHAT"}, "wechatCode"),
            ({"platform": "WECHAT", "wechatCode": "x" * 129}, "wechatCode"),
        ):
            answer = (await ask(REGISTER, **phone(**changes)))["registerDevice"]
            assert answer["device"] is None
            assert [(error["code"], error["field"]) for error in answer["userErrors"]] == [
                ("INVALID_DEVICE", field)
            ]
        assert await devices.store.list_for_accounts(["a"]) == {}
        assert (await ask(REMOVE, deviceId="short"))["removeDevice"]["userErrors"] == [
            {"code": "INVALID_DEVICE", "field": "deviceId"}
        ]

    with_schema(mongodb_uri, database_name, work)


def test_nobody_registers_without_signing_in(mongodb_uri: str, database_name: str) -> None:
    async def work(ask: Ask, devices: Devices) -> None:
        for document, values in ((REGISTER, phone()), (REMOVE, {"deviceId": ID})):
            assert await ask(document, None, **values) == {"errors": ["UnauthenticatedError"]}
        assert await devices.store.find(ID) is None

    with_schema(mongodb_uri, database_name, work)


def test_an_openid_is_what_wechat_says(mongodb_uri: str, database_name: str) -> None:
    async def work(ask: Ask, devices: Devices) -> None:
        mini = phone(platform="WECHAT", token="somebody-elses-openid")
        refused = (await ask(REGISTER, **mini, wechatCode="bad"))["registerDevice"]
        assert (refused["device"], refused["userErrors"][0]["code"]) == (None, "WECHAT_SIGN_IN_FAILED")
        assert await devices.store.find(ID) is None
        answer = (await ask(REGISTER, **mini, wechatCode="good"))["registerDevice"]
        assert answer["userErrors"] == []
        stored = await devices.store.find(ID)
        assert stored is not None
        assert (stored.channel, stored.token) == (PushChannel.WECHAT, "openid-1")

    with_schema(mongodb_uri, database_name, work)


def test_without_a_mini_program_there_are_no_wechat_devices(mongodb_uri: str, database_name: str) -> None:
    async def work(ask: Ask, devices: Devices) -> None:
        answer = (await ask(REGISTER, **phone(platform="WECHAT", wechatCode="good")))["registerDevice"]
        assert answer["userErrors"][0]["code"] == "WECHAT_SIGN_IN_FAILED"
        assert await devices.store.find(ID) is None

    with_schema(mongodb_uri, database_name, work, wechat=False)


def test_consents_are_counted_once_and_only_for_ones_own_mini_program(
    mongodb_uri: str, database_name: str
) -> None:
    async def work(ask: Ask, devices: Devices) -> None:
        report = {"deviceId": ID, "templateIds": ["template-1", "template-2"], "idempotencyKey": "k1"}

        async def refusal(account: str = "a", **changes: Any) -> tuple[str, str]:
            answer = (await ask(GRANT, account, **(report | changes)))["grantWechatTemplates"]
            assert answer["consents"] == []
            [error] = answer["userErrors"]
            return error["code"], error["field"]

        assert await refusal() == ("UNKNOWN_DEVICE", "deviceId")
        await ask(REGISTER, **phone())
        assert await refusal() == ("UNKNOWN_DEVICE", "deviceId")
        await ask(REGISTER, **phone(platform="WECHAT", wechatCode="good"))
        assert await refusal("b") == ("UNKNOWN_DEVICE", "deviceId")
        assert await refusal(templateIds=["template-9"]) == ("UNKNOWN_TEMPLATE", "templateIds")
        assert await refusal(templateIds=[]) == ("INVALID_DEVICE", "templateIds")
        assert await refusal(idempotencyKey="") == ("INVALID_DEVICE", "idempotencyKey")
        assert await devices.grants.get_left("openid-1", "template-1") == 0
        both = [{"templateId": "template-1", "left": 1}, {"templateId": "template-2", "left": 1}]
        for _ in range(2):
            answer = (await ask(GRANT, **report))["grantWechatTemplates"]
            assert answer == {"consents": both, "userErrors": []}
        answer = (await ask(GRANT, **(report | {"idempotencyKey": "k2"})))["grantWechatTemplates"]
        assert [each["left"] for each in answer["consents"]] == [2, 2]

    with_schema(mongodb_uri, database_name, work)
