"""The FCM channel against a server that speaks FCM's protocol and makes every documented mistake."""

from __future__ import annotations

import asyncio
import json
import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvloop
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from notifications.channels.base import Outcome, Push, Receipt
from notifications.channels.fcm import FcmConfig, open_fcm
from notifications.channels.fcm_client import FcmClient, StaticTokens
from notifications.channels.fcm_errors import VERDICTS, HeldBackError, read_error, read_retry_after
from tests.notifications.fcm_server import (
    FcmServer,
    check_message,
    running_fcm_server,
)

NOW = datetime(2026, 11, 22, 4, tzinfo=UTC)
PROJECT = "mintong-test"


@pytest.fixture(scope="module")
def shared_server() -> Iterator[FcmServer]:
    with running_fcm_server(project=PROJECT) as server:
        yield server


@pytest.fixture
def server(shared_server: FcmServer) -> FcmServer:
    shared_server.control(reset=True, faults={}, seed=0, retry_after_s=7, authorization="Bearer local")
    return shared_server


def push(token: str, device_id: str | None = None, **changes: Any) -> Push:
    values: dict[str, Any] = {
        "device_id": device_id or f"device of {token}",
        "token": token,
        "title": "办件进度更新",
        "body": "您有一条新的办件消息，请打开应用查看。",
        "data": {"message": "m1", "kind": "APPLICATION"},
        "collapse_key": "m1",
        "expires_at": NOW + timedelta(minutes=5),
        "urgent": False,
    }
    return Push(**(values | changes))


def send(server: FcmServer | str, pushes: Sequence[Push], **options: Any) -> list[Receipt]:
    url = server if isinstance(server, str) else server.url

    async def main() -> list[Receipt]:
        async with open_fcm(FcmConfig(PROJECT, endpoint=url, **options)) as channel:
            return await channel.send(pushes, now=NOW)

    return uvloop.run(main())


def test_a_push_reaches_its_device_as_it_was_meant(server: FcmServer) -> None:
    [receipt] = send(server, [push("t1")])
    assert receipt == Receipt(
        "device of t1",
        Outcome.SENT,
        "SENT",
        None,
        f"projects/{PROJECT}/messages/{server.stats()['requests']}",
    )
    assert server.effects() == [("t1", "m1", 1, 0, {"message": "m1", "kind": "APPLICATION"})]


# What the server says -> what the channel makes of it. Together with the table's own reasons for what FCM
# never says, these are all of them: see the next test but one.
SAID: dict[str, tuple[str, Receipt]] = {
    "UNREGISTERED": ("t", Receipt("d", Outcome.DEAD_TOKEN, "UNREGISTERED")),
    "dead": ("dead-1", Receipt("d", Outcome.DEAD_TOKEN, "UNREGISTERED")),
    "malformed": ("malformed-1", Receipt("d", Outcome.DEAD_TOKEN, "INVALID_TOKEN")),
    "INVALID_ARGUMENT": ("t", Receipt("d", Outcome.REFUSED, "INVALID_ARGUMENT")),
    "stranger": ("stranger-1", Receipt("d", Outcome.REFUSED, "SENDER_ID_MISMATCH")),
    "apple": ("apple-1", Receipt("d", Outcome.RETRY, "THIRD_PARTY_AUTH_ERROR", 300)),
    "RATE_LIMITED": ("t", Receipt("d", Outcome.RETRY, "QUOTA_EXCEEDED", 7)),
    "QUOTA_EXCEEDED": ("t", Receipt("d", Outcome.RETRY, "QUOTA_EXCEEDED", 60)),
    "UNAVAILABLE": ("t", Receipt("d", Outcome.RETRY, "UNAVAILABLE")),
    "OVERLOADED": ("t", Receipt("d", Outcome.RETRY, "UNAVAILABLE", 7)),
    "INTERNAL": ("t", Receipt("d", Outcome.RETRY, "INTERNAL")),
    "UNSPECIFIED": ("t", Receipt("d", Outcome.RETRY, "UNSPECIFIED_ERROR")),
    "NOT_JSON": ("t", Receipt("d", Outcome.RETRY, "INTERNAL")),
    "UNAUTHENTICATED": ("t", Receipt("d", Outcome.RETRY, "UNAUTHENTICATED")),
    "PERMISSION_DENIED": ("t", Receipt("d", Outcome.RETRY, "PERMISSION_DENIED", 300)),
    "NOT_FOUND": ("t", Receipt("d", Outcome.RETRY, "NOT_FOUND", 300)),
    "RESET_BEFORE": ("t", Receipt("d", Outcome.RETRY, "ANSWER_LOST")),
    "RESET_AFTER": ("t", Receipt("d", Outcome.RETRY, "ANSWER_LOST")),
    "TIMEOUT_BEFORE": ("t", Receipt("d", Outcome.RETRY, "ANSWER_LOST")),
    "TIMEOUT_AFTER": ("t", Receipt("d", Outcome.RETRY, "ANSWER_LOST")),
    "GARBLED_AFTER": ("t", Receipt("d", Outcome.RETRY, "ANSWER_LOST")),
}


@pytest.mark.parametrize("said", SAID)
def test_every_answer_is_judged_by_the_table(server: FcmServer, said: str) -> None:
    token, expected = SAID[said]
    if token == "t":
        token = f"t-{said}"
        server.control(scripts={token: [said]})
    [receipt, beside] = send(server, [push(token, "d"), push("fine", "e")], timeout_s=0.4)
    assert receipt == expected
    # What became of one push is never what becomes of its neighbours, and nothing is sent twice.
    assert beside.outcome is Outcome.SENT
    assert server.counts().get((token, "m1"), 0) == (1 if said.endswith("_AFTER") else 0)
    assert server.counts()["fine", "m1"] == 1
    assert server.stats()["requests"] == 2


def test_the_table_has_no_line_that_is_not_tested() -> None:
    said = {receipt.reason for _, receipt in SAID.values()}
    assert said | {"NOT_SENT", "HELD_BACK", "MALFORMED", "EXPIRED"} == set(VERDICTS)


def test_a_refused_connection_is_known_not_to_have_sent_anything() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    assert send(url, [push("t1", "d")]) == [Receipt("d", Outcome.RETRY, "NOT_SENT")]


def test_what_has_expired_or_cannot_be_encoded_is_not_sent(server: FcmServer) -> None:
    pushes = [push(f"t{number}") for number in range(9)]
    pushes[2] = push("", "empty token")
    pushes[5] = push("t5", "late", expires_at=NOW)
    pushes[7] = push("t7", "no text", data={"count": 3})
    receipts = send(server, pushes)
    assert [(one.device_id, one.outcome, one.reason) for one in receipts] == [
        ("device of t0", Outcome.SENT, "SENT"),
        ("device of t1", Outcome.SENT, "SENT"),
        ("empty token", Outcome.REFUSED, "MALFORMED"),
        ("device of t3", Outcome.SENT, "SENT"),
        ("device of t4", Outcome.SENT, "SENT"),
        ("late", Outcome.REFUSED, "EXPIRED"),
        ("device of t6", Outcome.SENT, "SENT"),
        ("no text", Outcome.REFUSED, "MALFORMED"),
        ("device of t8", Outcome.SENT, "SENT"),
    ]
    assert server.counts() == {(f"t{number}", "m1"): 1 for number in (0, 1, 3, 4, 6, 8)}


def test_no_pushes_no_requests(server: FcmServer) -> None:
    assert send(server, []) == []
    assert send(server, [push("t1", "d", expires_at=NOW)]) == [Receipt("d", Outcome.REFUSED, "EXPIRED")]
    assert server.stats()["requests"] == 0


def test_more_than_a_batch_and_many_at_once_keep_their_order(server: FcmServer) -> None:
    async def main() -> list[list[Receipt]]:
        async with open_fcm(FcmConfig(PROJECT, endpoint=server.url, max_in_flight=16)) as channel:
            calls = [[push(f"t{call}-{number}") for number in range(501)] for call in range(2)]
            return await asyncio.gather(*(channel.send(call, now=NOW) for call in calls))

    for call, receipts in enumerate(uvloop.run(main())):
        assert [one.device_id for one in receipts] == [f"device of t{call}-{n}" for n in range(501)]
        assert {one.outcome for one in receipts} == {Outcome.SENT}
    assert set(server.counts().values()) == {1}
    assert len(server.counts()) == 1002


def test_under_a_storm_of_faults_every_receipt_tells_the_truth(server: FcmServer) -> None:
    """Whatever is SENT took effect once; what the provider answered with an error did not."""
    server.control(
        seed=20261122,
        retry_after_s=1,
        faults={
            "RATE_LIMITED": 0.05,
            "INTERNAL": 0.05,
            "UNAVAILABLE": 0.05,
            "RESET_BEFORE": 0.03,
            "RESET_AFTER": 0.03,
            "GARBLED_AFTER": 0.02,
            "UNREGISTERED": 0.05,
        },
    )
    pushes = [push(f"t{number}") for number in range(400)]
    receipts = send(server, pushes)
    counts = server.counts()
    assert Counter(counts.values()).keys() == {1}
    for one, receipt in zip(pushes, receipts, strict=True):
        took_effect = (one.token, "m1") in counts
        if receipt.reason != "ANSWER_LOST":
            assert took_effect == (receipt.outcome is Outcome.SENT), receipt
    reasons = Counter(receipt.reason for receipt in receipts)
    assert set(reasons) == {
        "SENT",
        "QUOTA_EXCEEDED",
        "INTERNAL",
        "UNAVAILABLE",
        "ANSWER_LOST",
        "UNREGISTERED",
    }
    # The plan is a function of the seed: the same storm again.
    server.control(reset=True)
    assert [one.reason for one in send(server, pushes)] == [one.reason for one in receipts]


def test_when_everybody_is_told_to_wait_the_rest_is_held_back(server: FcmServer) -> None:
    server.control(faults={"RATE_LIMITED": 1}, retry_after_s=30)

    async def main() -> tuple[list[Receipt], list[Receipt]]:
        async with open_fcm(FcmConfig(PROJECT, endpoint=server.url, max_in_flight=10)) as channel:
            first = await channel.send([push(f"t{number}") for number in range(200)], now=NOW)
            return first, await channel.send([push("later")], now=NOW)

    first, later = uvloop.run(main())
    reasons = Counter(one.reason for one in first)
    # Twenty in a row close the way, what was in flight by then is answered; the others cost no request.
    assert 20 <= reasons["QUOTA_EXCEEDED"] <= 30
    assert reasons["HELD_BACK"] == 200 - reasons["QUOTA_EXCEEDED"]
    assert server.stats()["requests"] == reasons["QUOTA_EXCEEDED"]
    assert [(one.outcome, one.reason) for one in later] == [(Outcome.RETRY, "HELD_BACK")]
    waits = [one.retry_after_s for one in (*first, *later)]
    assert all(wait is not None and 25 < wait <= 30 for wait in waits)


def test_once_it_was_waited_for_the_way_is_open_again(server: FcmServer) -> None:
    server.control(faults={"OVERLOADED": 1}, retry_after_s=0.2)

    async def main() -> list[Receipt]:
        async with open_fcm(FcmConfig(PROJECT, endpoint=server.url, max_in_flight=10)) as channel:
            first = await channel.send([push(f"t{number}") for number in range(60)], now=NOW)
            assert first[-1].reason == "HELD_BACK"
            await asyncio.to_thread(server.control, faults={})
            await asyncio.sleep(first[-1].retry_after_s or 0)
            return await channel.send([push("later", "d")], now=NOW)

    assert [one.outcome for one in uvloop.run(main())] == [Outcome.SENT]


def service_account(tmp_path: Path, url: str) -> Path:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = tmp_path / "service-account.json"
    file.write_text(
        json.dumps(
            {
                "type": "service_account",
                "project_id": PROJECT,
                "private_key_id": "1",
                "private_key": pem.decode(),
                "client_email": "push@mintong-test.example",
                "token_uri": f"{url}/token",
            }
        )
    )
    return file


def test_a_service_account_signs_in_and_does_so_again_when_it_is_refused(tmp_path: Path) -> None:
    with running_fcm_server(project=PROJECT) as server:
        server.control(authorization="Bearer token-1")
        config = FcmConfig(PROJECT, credentials=service_account(tmp_path, server.url), endpoint=server.url)

        async def main() -> list[tuple[str, str]]:
            results = []
            async with open_fcm(config) as channel:
                for step in range(4):
                    if step == 2:
                        await asyncio.to_thread(server.control, authorization="Bearer token-2")
                    [receipt] = await channel.send([push(f"t{step}")], now=NOW)
                    results.append((receipt.outcome.value, receipt.reason))
            return results

        assert uvloop.run(main()) == [
            ("SENT", "SENT"),
            ("SENT", "SENT"),
            ("RETRY", "UNAUTHENTICATED"),
            ("SENT", "SENT"),
        ]
        assert sorted(server.counts()) == [("t0", "m1"), ("t1", "m1"), ("t3", "m1")]


def test_without_an_access_token_nothing_is_sent(server: FcmServer, tmp_path: Path) -> None:
    nowhere = "http://127.0.0.1:1"
    receipts = send(server, [push("t1", "d")], credentials=service_account(tmp_path, nowhere))
    assert receipts == [Receipt("d", Outcome.RETRY, "UNAUTHENTICATED")]
    assert server.stats()["requests"] == 0


def test_fcm_itself_is_never_asked_without_credentials(tmp_path: Path) -> None:
    async def main(config: FcmConfig) -> None:
        async with open_fcm(config):
            raise AssertionError("opened")

    with pytest.raises(ValueError, match="service account"):
        asyncio.run(main(FcmConfig(PROJECT)))
    with pytest.raises(FileNotFoundError):
        asyncio.run(main(FcmConfig(PROJECT, credentials=tmp_path / "missing.json")))


class Captured:
    """A server in this process that keeps the bodies it was sent."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
            self.bodies.append(json.loads(await reader.readexactly(length)))
            writer.write(b'HTTP/1.1 200 OK\r\ncontent-length: 14\r\nconnection: close\r\n\r\n{"name":"n/1"}')
            await writer.drain()
            break
        writer.close()


def captured(pushes: Sequence[Push]) -> list[dict[str, Any]]:
    async def main() -> list[dict[str, Any]]:
        kept = Captured()
        server = await asyncio.start_server(kept.answer, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server, open_fcm(FcmConfig(PROJECT, endpoint=url, max_in_flight=1)) as channel:
            await channel.send(pushes, now=NOW)
        return [body["message"] for body in kept.bodies]

    return asyncio.run(main())


def test_what_a_phone_is_told() -> None:
    calm, urgent, long = captured(
        [
            push("t1"),
            push("t2", urgent=True, expires_at=None),
            push("t3", collapse_key="很长" * 30, expires_at=NOW + timedelta(weeks=9)),
        ]
    )
    assert calm == {
        "token": "t1",
        "notification": {"title": "办件进度更新", "body": "您有一条新的办件消息，请打开应用查看。"},
        "data": {"message": "m1", "kind": "APPLICATION"},
        "android": {
            "priority": "normal",
            "ttl": "300s",
            "notification": {"tag": "m1", "notification_priority": "PRIORITY_DEFAULT"},
        },
        "apns": {
            "headers": {
                "apns-priority": "5",
                "apns-collapse-id": "m1",
                "apns-expiration": str(int((NOW + timedelta(minutes=5)).timestamp())),
            }
        },
    }
    assert urgent["android"] == {
        "priority": "high",
        "ttl": "2419200s",
        "notification": {"tag": "m1", "notification_priority": "PRIORITY_HIGH"},
    }
    assert urgent["apns"] == {
        "headers": {"apns-priority": "10", "apns-collapse-id": "m1"},
        "payload": {"aps": {"sound": "default"}},
    }
    assert long["android"]["ttl"] == "2419200s"
    assert long["apns"]["headers"]["apns-collapse-id"] == long["android"]["notification"]["tag"]
    assert len(long["android"]["notification"]["tag"]) == 64


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@given(
    title=text,
    key=st.text(st.characters(exclude_categories=["Cs"]), max_size=100),
    data=st.dictionaries(
        st.from_regex(r"[a-z]{1,8}", fullmatch=True).filter(
            lambda name: name != "from" and not name.startswith("gcm")
        ),
        text,
    ),
    seconds=st.none() | st.floats(min_value=0.001, max_value=1e8),
    urgent=st.booleans(),
)
def test_fcm_takes_whatever_a_push_may_say(
    title: str, key: str, data: dict[str, str], seconds: float | None, urgent: bool
) -> None:
    from notifications.channels.fcm import _messages  # noqa: PLC0415

    expires_at = None if seconds is None else NOW + timedelta(seconds=seconds)
    made = push("t1", title=title, collapse_key=key, data=data, expires_at=expires_at, urgent=urgent)
    [first, second] = _messages([made, made], now=NOW)
    assert str(first) == str(second)
    token, collapse_key, seen = check_message(json.loads(str(first)))
    assert (token, seen) == ("t1", data)
    assert (collapse_key == "") == (key == "")


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("0", 0),
        ("120", 120),
        ("1.5", 1.5),
        ("999999", 3600),
        ("Sun, 22 Nov 2026 04:00:30 GMT", 30),
        ("Sun, 22 Nov 2026 03:00:00 GMT", 0),
        ("-5", None),
        ("soon", None),
        ("Sun, 22 Nov 2026 04:00:30", None),
        ("", None),
    ],
)
def test_retry_after(header: str | None, seconds: float | None) -> None:
    assert read_retry_after(header, now=NOW) == seconds


@given(
    st.sampled_from([400, 401, 403, 404, 429, 500, 502, 503, 418]),
    st.binary()
    | st.recursive(
        st.none() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["error", "details", "errorCode", "@type", "fieldViolations", "message"]),
                inner,
            )
        ),
    ).map(lambda value: json.dumps(value).encode()),
)
def test_no_error_body_is_too_strange(status: int, body: bytes) -> None:
    reason, wait_s = read_error(httpx.Response(status, content=body), now=NOW)
    assert reason in VERDICTS
    assert wait_s is None
    assert VERDICTS[reason].outcome is not Outcome.DEAD_TOKEN


def test_a_field_violation_of_the_token_is_a_bad_token() -> None:
    def answer(*fields: str) -> httpx.Response:
        violations = [{"field": field, "description": "Invalid"} for field in fields]
        details = [{"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": violations}]
        error = {"status": "INVALID_ARGUMENT", "message": "registration token", "details": details}
        return httpx.Response(400, json={"error": error})

    assert read_error(answer("message.token"), now=NOW) == ("INVALID_TOKEN", None)
    # Where FCM names the field it is believed, whatever the words are.
    assert read_error(answer("message.android.ttl"), now=NOW) == ("INVALID_ARGUMENT", None)
    assert read_error(answer("message.token", "message.data"), now=NOW) == ("INVALID_ARGUMENT", None)
    assert read_error(answer(), now=NOW) == ("INVALID_ARGUMENT", None)


def test_held_back_pushes_never_open_a_connection() -> None:
    async def main() -> None:
        client = FcmClient("http://127.0.0.1:1", StaticTokens("local"), max_in_flight=1, timeout_s=1)
        for _ in range(20):
            client._gate.answered(503, 60)
        with pytest.raises(HeldBackError) as caught:
            await client.request("post", "", headers={}, json={})
        assert 59 < caught.value.wait_s <= 60
        await client.aclose()

    uvloop.run(main())
