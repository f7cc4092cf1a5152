"""Journeys of people: several steps one after the other, signed in, with what happens meanwhile.

A folder of `people/` is a journey, its steps are in the order of their names:

- `01_name.graphql` is sent, with `01_name.variables.json`: `variables`, `headers`, `as`, the step that gave
  the access token, and `until`, an HTTP status that is to come within five seconds;
- `01_name.event.json` happens: `{"tell": …}` sends a message and lets a worker deliver it, `{"grant": …}` is
  what an operator does; its answer are the pushes that went out.

Either has its answer in `01_name.json`. In variables, `@step:path` is a value of an earlier answer
as it came; `@phone:ann`, `@device:ann` and `@token:ann` are a person's own, new in every run;
`@code:ann` is the last code that was sent there. In answers such values, ids, tokens and instants are
replaced by words that tell as much: equal values have the same word, different ones never do, and instants
say how far they are from now.
"""

from __future__ import annotations

import asyncio
import random
import re
import secrets
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import reduce
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec
import orjson
from journey_world import FOLDER, World
from messages_world import KeepingChannel

from api.identity import kms_of
from cli.account import grant
from domain.access import Role
from domain.account import Grant
from domain.identifiers import mask_phone
from domain.message_texts import AnyPayload
from notifications.outbox import Outbox
from notifications.queue import JobQueue, Lane
from notifications.worker import make_worker
from operations.messages import send_message
from store.accounts import AccountStore
from store.connections import open_mongodb, open_redis
from store.encryption import FieldCipher
from store.messages import MessageStore

PEOPLE: Final = FOLDER / "people"
_TIMES: Final = 5
_UNTIL_S: Final = 5.0
_REFERENCE: Final = re.compile(r"@(\w+):([\w.]+)")
_GENERATED: Final = re.compile(r"[A-Za-z0-9_=-]{16,}")
_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")
_WORDS: Final = {
    "accessToken": "token",
    "refreshToken": "token",
    "id": "id",
    "cursor": "cursor",
    "startCursor": "cursor",
    "endCursor": "cursor",
}
_LIVES: Final = {
    "now": timedelta(0),
    "now+5m": timedelta(minutes=5),
    "now+10m": timedelta(minutes=10),
    "now+30d": timedelta(days=30),
}
_SLACK: Final = timedelta(seconds=60)


def scenarios() -> list[str]:
    """List the journeys."""
    return sorted(path.name for path in PEOPLE.iterdir() if path.is_dir())


def steps(scenario: str) -> list[Path]:
    """List the files of a journey's steps in their order."""
    folder = PEOPLE / scenario
    return sorted([*folder.glob("*.graphql"), *folder.glob("*.event.json")])


def stem(step: Path) -> str:
    """Give the name of a step."""
    return step.name.partition(".")[0]


@dataclass
class Masks:
    """Replaces what differs from run to run, each value by a word of its own."""

    _words: dict[str, str] = field(default_factory=dict)
    _numbers: Counter[str] = field(default_factory=Counter)

    def know(self, value: str, word: str) -> None:
        """Remember what a value stands for."""
        self._words[value] = f"<{word}>"

    def mask(self, value: Any, now: datetime, key: str = "") -> Any:
        """Give a value with all its parts replaced."""
        if isinstance(value, dict):
            return {name: self.mask(part, now, name) for name, part in value.items()}
        if isinstance(value, list):
            return [self.mask(part, now, key) for part in value]
        if not isinstance(value, str):
            return value
        if value not in self._words and key in _WORDS and _GENERATED.fullmatch(value.replace(".", "")):
            word = _WORDS[key]
            self._numbers[word] += 1
            self.know(value, f"{word} {self._numbers[word]}")
        if value not in self._words and _INSTANT.fullmatch(value):
            return _since(datetime.fromisoformat(value) - now) or value
        return self._words.get(value, value)


def _since(distance: timedelta) -> str | None:
    return next((f"<{word}>" for word, life in _LIVES.items() if abs(distance - life) < _SLACK), None)


class Run:
    """One run of a journey against a server, with people of its own."""

    def __init__(self, world: World, client: httpx.Client) -> None:
        self._world = world
        self._client = client
        self._masks = Masks()
        self._people: dict[tuple[str, str], str] = {}
        self._answers: dict[str, Any] = {}

    def take(self, step: Path) -> Any:
        """Take a step and give its answer, masked."""
        if step.suffix == ".graphql":
            return self._ask(step)
        event = self._resolve(orjson.loads(step.read_bytes()))
        return self._masks.mask(asyncio.run(self._happen(event)), datetime.now(UTC))

    def _ask(self, step: Path) -> Any:
        given = step.with_name(f"{stem(step)}.variables.json")
        request = orjson.loads(given.read_bytes()) if given.exists() else {}
        query = step.read_text("utf-8")
        body = {"query": query, "variables": self._resolve(request.get("variables", {}))}
        headers = {"accept": "application/graphql-response+json", **request.get("headers", {})}
        if "as" in request:
            data = self._answers[request["as"]]["data"]
            headers["authorization"] = f"Bearer {next(iter(data.values()))['accessToken']}"
        deadline = time.monotonic() + _UNTIL_S
        while "until" in request and time.monotonic() < deadline:
            if self._client.post("/graphql", json=body, headers=headers).status_code == request["until"]:
                break
            time.sleep(0.05)
        seen = []
        # What only reads says the same every time, compiled or not.
        for _ in range(_TIMES if query.startswith("query") else 1):
            response = self._client.post("/graphql", json=body, headers=headers)
            self._answers[stem(step)] = answer = response.json()
            shown = (
                answer
                if response.status_code == httpx.codes.OK
                else {"status": response.status_code} | answer
            )
            seen.append(self._masks.mask(shown, datetime.now(UTC)))
        assert seen == seen[:1] * len(seen)
        return seen[0]

    # --- people -------------------------------------------------------------------------------------------

    def _resolve(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self._resolve(part) for name, part in value.items()}
        if isinstance(value, list):
            return [self._resolve(part) for part in value]
        if isinstance(value, str) and (reference := _REFERENCE.fullmatch(value)):
            return self._look_up(reference[1], reference[2])
        return value

    def _look_up(self, what: str, path: str) -> Any:
        if what == "code":
            return self._code(self._own("phone", path))
        if what in ("phone", "device", "token"):
            return self._own(what, path)
        return reduce(_step, path.split("."), self._answers[what])

    def _own(self, what: str, person: str) -> str:
        value = self._people.get((what, person))
        if value is None:
            value = f"13{random.randrange(10**9):09}" if what == "phone" else secrets.token_hex(16)
            self._people[what, person] = value
            self._masks.know(value, f"{what} of {person}")
            if what == "phone":
                self._masks.know(mask_phone(value), f"masked phone of {person}")
        return value

    def _code(self, phone: str) -> str:
        sent = self._client.get("/development/sms").json()
        text = next(sms["text"] for sms in sent if sms["phone"] == phone)
        return "".join(re.findall(r"\d", text))[:6]

    # --- events -------------------------------------------------------------------------------------------

    async def _happen(self, event: dict[str, Any]) -> Any:
        [(what, given)] = event.items()
        if what == "grant":
            roles = frozenset(Role(role) for role in given["roles"])
            await grant(self._world.settings(), given["phone"], Grant(roles, given.get("companyCode")))
            return []
        assert what == "tell"
        return await self._tell(given["phone"], msgspec.convert(given["payload"], AnyPayload))

    async def _tell(self, phone: str, payload: Any) -> Sequence[Any]:
        """Send a message as an operation does, and deliver it as a worker does; give the pushes."""
        world, now = self._world, datetime.now(UTC)
        channels = {name: KeepingChannel(name) for name in ("fcm", "sms", "wechat")}
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(open_mongodb(world.mongodb_uri, 30_000))
            redis = await stack.enter_async_context(open_redis(world.redis_url, 30_000))
            queue = JobQueue(world.redis_url, timeout_s=5, prefix=f"{world.database}:jobs")
            stack.push_async_callback(queue.aclose)
            database, settings = client[world.database], world.settings()
            cipher = FieldCipher(client, world.database, kms_of(settings))
            await stack.enter_async_context(aclosing(cipher))
            messages = MessageStore(database)
            await messages.ensure_indexes()
            account = await AccountStore(database, cipher).find_by_phone(phone)
            assert account is not None
            worker = make_worker(database, redis, queue, channels)
            outbox = Outbox(messages, queue)
            message = await send_message(outbox, account.id, payload, secrets.token_hex(8), now=now)
            await worker.fan_out.run([message.id])
            due = await database["deliveries"].find({"message": message.id}, {"_id": 1}).to_list()
            await worker.delivery.deliver([each["_id"] for each in due])
            for lane in Lane:
                await redis.delete(f"{world.database}:jobs:{lane}")
        return [
            {
                "channel": name,
                "to": push.token if name == "fcm" else "",
                "title": push.title,
                "body": push.body,
            }
            for name, channel in channels.items()
            for push in channel.pushes
        ]

    def forget(self) -> None:
        """Delete the accounts of this run's people, whose names others may verify then."""
        phones = [value for (what, _), value in self._people.items() if what == "phone"]

        async def erase() -> None:
            async with open_mongodb(self._world.mongodb_uri, 30_000) as client:
                cipher = FieldCipher(client, self._world.database, kms_of(self._world.settings()))
                async with aclosing(cipher):
                    accounts = AccountStore(client[self._world.database], cipher)
                    for phone in phones:
                        account = await accounts.find_by_phone(phone)
                        if account is not None:
                            await accounts.erase_account(account.id, now=datetime.now(UTC))

        asyncio.run(erase())


def _step(value: Any, part: str) -> Any:
    return value[int(part)] if isinstance(value, list) else value[part]
