"""What reads cost the engines: nothing; views are written together."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import httpx
import pytest
from journey_world import SERVER_THREAD, World, serving
from pymongo import AsyncMongoClient, monitoring
from redis.asyncio import Redis

import store.connections

CARDS = """
query Cards($text: String!) {
  searchServiceItems(text: $text, filter: { divisionCode: "350102" }, first: 20) {
    totalCount
    facets { categories { value count } departments { value label count } }
    edges { highlights { start end } node { ...Card } }
  }
}

fragment Card on ServiceItem {
  id
  name
  category { name }
  division { name parent { name } }
  department { name division { name } }
}
"""
DETAILS = """
query Details($id: ID!) {
  serviceItem(id: $id) {
    name
    conditions
    materials { name }
    steps { name }
    legalBases { law article }
    places { address hours }
    related(first: 6) { name department { name } }
  }
}
"""


class Calls(monitoring.CommandListener):
    """The commands that went to MongoDB and to Redis, but for the drivers' own talk."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []
        self.updates = 0

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        """Note a command and what it is for."""
        self.sent.append((event.command_name, str(event.command.get(event.command_name))))
        self.updates += len(event.command.get("updates", ()))

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Pass over."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Pass over."""

    def note(self, command: Callable[..., Any], redis: Redis, *arguments: Any, **options: Any) -> Any:
        """Note a command of the application to Redis and send it."""
        # The supervisor of the session's engines asks them from this process as well.
        if threading.current_thread().name == SERVER_THREAD:
            self.sent.append(("redis", str(arguments[0])))
        return command(redis, *arguments, **options)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """A record of what is sent by clients that are opened from now on."""
    listener = Calls()
    client = partial(AsyncMongoClient[dict[str, Any]], event_listeners=[listener])
    monkeypatch.setattr(store.connections, "AsyncMongoClient", client)
    send = Redis.execute_command
    monkeypatch.setattr(
        Redis, "execute_command", lambda redis, *args, **options: listener.note(send, redis, *args, **options)
    )
    return listener


@pytest.fixture
def quiet_client(world: World, calls: Calls) -> Iterator[httpx.Client]:
    """A server whose background jobs are still, so that what is sent is the requests' doing."""
    with serving(world.settings(snapshot_poll_s=60, view_flush_s=2)) as client:
        assert {name for name, _ in calls.sent} >= {"find", "redis"}
        calls.sent.clear()
        yield client


def ask(client: httpx.Client, query: str, **variables: str) -> Any:
    answer = client.post("/graphql", json={"query": query, "variables": variables}).json()
    assert "errors" not in answer
    return answer["data"]


OF_PROCESS = (
    *("access_log", "accounts", "encryption_choices", "encryption_keys", "sessions", "signing_keys"),
    *("knowledge_guides", "public_complaints", "reference_lists", "secrets"),
)


def of_requests(calls: Calls) -> list[tuple[str, str]]:
    """Leave out what a process asks from time to time, however many requests it answers."""
    return [each for each in calls.sent if each[1] not in OF_PROCESS]


def test_reads_cost_no_store_call_and_views_one(quiet_client: httpx.Client, calls: Calls) -> None:
    found: list[str] = []
    for text in ("", "登记", "shenling"):
        page = ask(quiet_client, CARDS, text=text)["searchServiceItems"]
        assert len(page["edges"]) == 20
        assert all(edge["node"]["division"]["name"] for edge in page["edges"])
        assert all(edge["node"]["department"]["name"] for edge in page["edges"])
        found += [edge["node"]["id"] for edge in page["edges"]]
    assert of_requests(calls) == []
    found = list(dict.fromkeys(found))
    for item_id in found:
        assert ask(quiet_client, DETAILS, id=item_id)["serviceItem"]["steps"]
    # Nothing but views was written, and those of all requests of an interval together.
    deadline = time.monotonic() + 10
    while not of_requests(calls):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(2.5)
    assert set(of_requests(calls)) == {("update", "item_views")}
    assert len(of_requests(calls)) <= 2  # the interval may have ended between two requests
    assert calls.updates == len(found) > 40
