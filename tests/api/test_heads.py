"""Which heads are remembered, and which of them are plain."""

from __future__ import annotations

from weakref import ref

import pytest

from api.exchange import Scope
from api.heads import Head, KnownHeads, PlainHead

JSON = {"content-type": "application/json", "content-length": "40"}
LIMIT = 1_000


def learnt(headers: dict[str, str], *more: tuple[str, str]) -> Head | None:
    lines = [*headers.items(), *more]
    head = "\r\n".join(["POST /graphql HTTP/1.1", *(f"{name}: {value}" for name, value in lines)]).encode()
    scope: Scope = {
        "type": "http",
        "client": ("127.0.0.1", 1),
        "headers": [(name.encode(), value.encode()) for name, value in lines],
    }
    heads = KnownHeads(LIMIT)
    heads.learn(head, scope)
    found = heads.find(head)
    assert found is None or found.start == head + b"\r\n\r\n"
    assert found is None or found.scope == {"type": "http", "headers": scope["headers"]}
    scope["headers"].clear()
    return found


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"accept": "application/graphql-response+json", "accept-encoding": "gzip"},
        {"content-encoding": "identity", "origin": "https://a.example", "x-forwarded-for": "1.2.3.4"},
        {"content-length": str(LIMIT)},
    ],
)
def test_plain_heads(headers: dict[str, str]) -> None:
    found = learnt(JSON | headers)
    assert isinstance(found, PlainHead)
    assert found.content_length == int((JSON | headers)["content-length"])
    assert found.coding == headers.get("accept-encoding", "")


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer x"},
        {"x-explain": "1"},
        {"content-type": "text/plain"},
        {"content-encoding": "gzip"},
        {"accept": "text/html"},
    ],
)
def test_heads_that_are_known_and_left_to_the_ordinary_way(headers: dict[str, str]) -> None:
    found = learnt(JSON | headers)
    assert found is not None
    assert not isinstance(found, PlainHead)


@pytest.mark.parametrize(
    "headers",
    [
        {"connection": "close"},
        {"expect": "100-continue"},
        {"transfer-encoding": "chunked"},
        {"upgrade": "h2c"},
        {"x-request-id": "mine"},
        {"content-length": "+40"},
        {"content-length": ""},
        {"content-length": "1" * 10},
        {"content-length": str(LIMIT + 1)},
        {"x-long": "x" * 2_048},
    ],
)
def test_heads_that_are_not_kept(headers: dict[str, str]) -> None:
    assert learnt(JSON | headers) is None


def test_a_head_that_says_something_twice_is_not_kept() -> None:
    assert learnt(JSON, ("content-length", "41")) is None
    assert learnt({"content-type": "application/json"}) is None


def test_scopes_of_requests_with_one_head_share_nothing_that_may_be_changed() -> None:
    head = learnt(JSON)
    assert head is not None
    first = head.scope_for(client=("10.0.0.1", 2), state={})
    first["headers"].clear()
    first["path"] = "/elsewhere"
    second = head.scope_for(client=("10.0.0.2", 3), state={})
    assert second["client"] == ("10.0.0.2", 3)
    assert second["headers"] == [(name.encode(), value.encode()) for name, value in JSON.items()]
    assert "path" not in second


def test_heads_are_kept_alive_by_the_cache_alone_within_its_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.heads._MAX_HEADS", 3)
    heads = KnownHeads(LIMIT)
    kept = []
    for number in range(5):
        head = f"POST /graphql HTTP/1.1\r\ncontent-length: {number}".encode()
        heads.learn(head, {"headers": [(b"content-length", str(number).encode())]})
        found = heads.find(head)
        assert found is not None
        kept.append(ref(found))
        del found
    assert [each() is not None for each in kept] == [False, False, True, True, True]
