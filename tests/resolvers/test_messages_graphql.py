"""Inbox, preferences, topics and broadcasts over GraphQL, on the real pipeline."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from messages_world import AIR, NOW, PROGRESS, MessagesWorld, play_messages

from domain.access import Assurance, Role, Viewer
from operations.messages import broadcast, send_message
from resolvers.context import Context, Stores, ViewCounter
from resolvers.schema import schema

INBOX = """query ($first: Int! = 20, $after: String, $kind: MessageKind, $archived: Boolean! = false) {
  viewer {
  inbox(first: $first, after: $after, kind: $kind, archived: $archived) {
    edges { cursor node { id kind title body isUrgent readAt archivedAt } }
    pageInfo { hasNextPage endCursor } }
  unread { total byKind { kind count } } } }"""
READ = """mutation ($input: MarkReadInput!) { markMessagesRead(input: $input) {
  changedCount unread { total } userErrors { code field message } } }"""
DELETE = """mutation ($input: DeleteMessagesInput!) { deleteMessages(input: $input) {
  changedCount unread { total } userErrors { code field } } }"""
PREFERENCES = """{ viewer { notificationPreferences { version quietHours { start end }
  kinds { kind digest canBeCounted consents { way isGiven decidedAt } } } } }"""
UPDATE = """mutation ($input: UpdatePreferencesInput!) { updateNotificationPreferences(input: $input) {
  preferences { version quietHours { start end } } userErrors { code field } } }"""
SUBSCRIBE = """mutation ($input: TopicInput!) { subscribeToTopic(input: $input) {
  topics { kind id name } userErrors { code field } } }"""
COMPOSE = """mutation ($input: ComposeBroadcastInput!) { composeBroadcast(input: $input) {
  broadcast { id state isOwn isUrgent estimatedCount topics { kind id name } texts { language publicBody } }
  userErrors { code field } } }"""
STEP = """mutation ($input: BroadcastInput!) { %s(input: $input) {
  broadcast { state isOwn approvedAt recipientCount } userErrors { code field } } }"""
NOTICE = {
    "authority": "福州市12345",
    "title": "停水通知",
    "summary": "鼓楼区今晚停水",
    "body": "请提前储水。",
}

Ask = Callable[..., Awaitable[dict[str, Any]]]
DIVISIONS = {"350100": "福州市", "350102": "鼓楼区", "350104": "仓山区", "350200": "厦门市"}


def division(code: str) -> Any:
    return SimpleNamespace(code=code, name=DIVISIONS[code]) if code in DIVISIONS else None


CATALOGUE = SimpleNamespace(division=division, item=lambda id: None, category=lambda code: None)


def citizen(account: str) -> Viewer:
    return Viewer(account, "s", frozenset({Role.CITIZEN}), Assurance.L1, NOW + timedelta(days=400))


def staff(account: str, division_code: str = "350100") -> Viewer:
    return Viewer(
        account,
        "s",
        frozenset({Role.DESK}),
        Assurance.L2,
        NOW + timedelta(days=400),
        unit="12345",
        division_code=division_code,
    )


OPERATOR = Viewer("op", "s", frozenset({Role.OPERATOR}), Assurance.L2, NOW + timedelta(days=400))


@pytest.fixture
def play(mongodb_uri: str, redis_url: str, database_name: str) -> Callable[..., None]:
    """A function that runs a coroutine function with a world and somebody who asks."""

    def play(act: Callable[[MessagesWorld, Ask], Awaitable[None]]) -> None:
        async def with_ask(world: MessagesWorld) -> None:
            async def ask(
                viewer: Viewer | str, document: str, language: str = "zh", **variables: Any
            ) -> dict[str, Any]:
                context = Context(
                    cast(Any, CATALOGUE),
                    lambda: None,
                    cast(ViewCounter, None),
                    cast(Any, language),
                    "r",
                    world.now,
                    citizen(viewer) if isinstance(viewer, str) else viewer,
                    Stores(cast(Any, None), (), None, world.messages),
                )
                result = await schema.execute(document, variables, context_value=context)
                if result.errors:
                    return {"errors": [type(error.original_error).__name__ for error in result.errors]}
                assert result.data is not None
                return dict(result.data)

            await act(world, ask)

        play_messages(mongodb_uri, redis_url, database_name, with_ask)

    return play


async def tell(world: MessagesWorld, account: str, count: int) -> None:
    for number in range(count):
        world.now += timedelta(seconds=1)
        key = f"{account}{number}"
        message = await send_message(world.messages.outbox, account, PROGRESS, key, now=world.now)
        await world.worker.fan_out.run([message.id])


def test_an_inbox_is_paged_counted_read_and_emptied(play: Callable[..., None]) -> None:
    async def act(world: MessagesWorld, ask: Ask) -> None:
        await world.messages.subscriptions.subscribe("ann", "station:1")
        await tell(world, "ann", 4)
        public = await broadcast(world.messages.outbox, ["station:1"], AIR, "air", now=world.now)
        await world.worker.fan_out.run([public.id])
        seen: list[dict[str, Any]] = []
        page: dict[str, Any] = {"endCursor": None, "hasNextPage": True}
        while page["hasNextPage"]:
            answer = (await ask("ann", INBOX, first=2, after=page["endCursor"]))["viewer"]
            seen += [edge["node"] for edge in answer["inbox"]["edges"]]
            page = answer["inbox"]["pageInfo"]
        assert len({node["id"] for node in seen}) == len(seen) == 5
        kinds = ["AIR_QUALITY"] + ["APPLICATION_PROGRESS"] * 4
        assert sorted(node["kind"] for node in seen) == kinds
        assert answer["unread"] == {
            "total": 5,
            "byKind": [
                {"kind": "APPLICATION_PROGRESS", "count": 4},
                {"kind": "AIR_QUALITY", "count": 1},
            ],
        }
        bodies = {node["body"] for node in seen if node["kind"] == "APPLICATION_PROGRESS"}
        assert bodies == {"您办理的“社会保障卡申领”已受理。"}
        only = (await ask("ann", INBOX, "en", kind="AIR_QUALITY"))["viewer"]["inbox"]["edges"]
        assert [edge["node"]["title"] for edge in only] == ["Air quality"]
        ids = [node["id"] for node in seen]
        # Nobody else has them, and to nobody else do they exist.
        assert (await ask("bob", INBOX))["viewer"] == {
            "inbox": {"edges": [], "pageInfo": {"hasNextPage": False, "endCursor": None}},
            "unread": {"total": 0, "byKind": []},
        }
        one = "query ($id: ID!) { viewer { message(id: $id) { id } } }"
        assert await ask("bob", one, id=ids[0]) == {"errors": ["MessageNotFoundError"]}
        assert await ask("bob", one, id="unknown") == {"errors": ["MessageNotFoundError"]}
        assert await ask("ann", one, id=public.id) == {"viewer": {"message": {"id": only[0]["node"]["id"]}}}
        refused = (await ask("bob", READ, input={"ids": ids[:1]}))["markMessagesRead"]
        assert (refused["changedCount"], refused["userErrors"][0]["code"]) == (0, "MESSAGE_NOT_FOUND")
        for both in ({}, {"ids": ids, "allUntil": only[0]["cursor"]}):
            refused = (await ask("ann", READ, input=both))["markMessagesRead"]
            assert (refused["unread"]["total"], refused["userErrors"][0]["code"]) == (5, "INVALID_SELECTION")
        refused = (await ask("ann", READ, input={"ids": ids * 21}))["markMessagesRead"]
        assert refused["userErrors"] == []  # the same five
        assert (refused["changedCount"], refused["unread"]["total"]) == (5, 0)
        many = [f"m{number}" for number in range(150)]
        refused = (await ask("ann", DELETE, input={"ids": many}))["deleteMessages"]
        assert refused["userErrors"] == [{"code": "TOO_MANY_MESSAGES", "field": "ids"}]
        gone = (await ask("ann", DELETE, input={"ids": ids[:4]}))["deleteMessages"]
        assert (gone["changedCount"], gone["userErrors"]) == (4, [])
        assert len((await ask("ann", INBOX))["viewer"]["inbox"]["edges"]) == 1
        for first in (0, 101):
            assert await ask("ann", INBOX, first=first) == {"errors": ["InvalidPageSizeError"]}
        assert await ask("ann", INBOX, after="bm9uc2Vuc2U6eA") == {"errors": ["InvalidNodeIdError"]}

    play(act)


def test_preferences_are_shown_changed_and_refused_when_stale(play: Callable[..., None]) -> None:
    async def act(world: MessagesWorld, ask: Ask) -> None:
        shown = (await ask("ann", PREFERENCES))["viewer"]["notificationPreferences"]
        assert (shown["version"], shown["quietHours"], len(shown["kinds"])) == (0, None, 7)
        assert shown["kinds"][2] == {
            "kind": "BUS_ARRIVING",
            "digest": "AT_ONCE",
            "canBeCounted": False,
            "consents": [
                {"way": "PUSH", "isGiven": True, "decidedAt": None},
                {"way": "WECHAT", "isGiven": True, "decidedAt": None},
                {"way": "SMS", "isGiven": False, "decidedAt": None},
            ],
        }
        change = {
            "expectedVersion": 0,
            "quietHours": {"start": "22:30", "end": "07:00"},
            "kinds": [{"kind": "AIR_QUALITY", "digest": "WEEKLY", "sms": True}],
        }
        changed = (await ask("ann", UPDATE, input=change))["updateNotificationPreferences"]
        now = {"version": 1, "quietHours": {"start": "22:30", "end": "07:00"}}
        assert changed == {"preferences": now, "userErrors": []}
        stale = (await ask("ann", UPDATE, input=change))["updateNotificationPreferences"]
        error = {"code": "PREFERENCES_CONFLICT", "field": "expectedVersion"}
        assert stale == {"preferences": now, "userErrors": [error]}
        for quiet in ("24:00", "7:00", "07:60", "xx:yy", "07:000", "٠٧:٠٠", "22:30"):
            hours = {"start": "22:30", "end": quiet}
            answer = (await ask("ann", UPDATE, input={"expectedVersion": 1, "quietHours": hours}))[
                "updateNotificationPreferences"
            ]
            assert answer == {
                "preferences": now,
                "userErrors": [{"code": "INVALID_QUIET_HOURS", "field": "quietHours"}],
            }
        shown = (await ask("ann", PREFERENCES))["viewer"]["notificationPreferences"]
        assert (shown["version"], shown["kinds"][3]["digest"]) == (1, "WEEKLY")
        assert shown["kinds"][3]["consents"][2] == {
            "way": "SMS",
            "isGiven": True,
            "decidedAt": "2026-11-22T04:00:00+00:00",
        }
        # Left out: unchanged; null: taken away.
        kept = (await ask("ann", UPDATE, input={"expectedVersion": 1}))["updateNotificationPreferences"]
        assert kept["preferences"] == now | {"version": 2}
        bare = (await ask("ann", UPDATE, input={"expectedVersion": 2, "quietHours": None}))[
            "updateNotificationPreferences"
        ]
        assert bare["preferences"] == {"version": 3, "quietHours": None}
        assert (await ask("bob", PREFERENCES))["viewer"]["notificationPreferences"]["version"] == 0

    play(act)


def test_topics_are_those_of_the_catalogue_where_it_knows(play: Callable[..., None]) -> None:
    async def act(world: MessagesWorld, ask: Ask) -> None:
        async def subscribe(kind: str, id: str) -> Any:
            return (await ask("ann", SUBSCRIBE, input={"kind": kind, "id": id}))["subscribeToTopic"]

        fuzhou = {"kind": "DIVISION", "id": "350100", "name": "福州市"}
        assert await subscribe("DIVISION", "350100") == {"topics": [fuzhou], "userErrors": []}
        for kind, id in (("DIVISION", "999999"), ("ITEM", "none"), ("CATEGORY", "99")):
            refused = await subscribe(kind, id)
            assert refused == {"topics": [fuzhou], "userErrors": [{"code": "UNKNOWN_TOPIC", "field": "id"}]}
        assert (await subscribe("STOP", "a b"))["userErrors"][0]["code"] == "INVALID_TOPIC"
        stop = {"kind": "STOP", "id": "s-1", "name": None}
        assert (await subscribe("STOP", "s-1"))["topics"] == [fuzhou, stop]
        assert await ask("ann", "{ viewer { topics { id } } }") == {
            "viewer": {"topics": [{"id": "350100"}, {"id": "s-1"}]}
        }

    play(act)


def test_a_large_broadcast_needs_two_people_within_the_division(play: Callable[..., None]) -> None:
    async def act(world: MessagesWorld, ask: Ask) -> None:
        await world.messages.subscriptions.load("division:350102", [f"c{n}" for n in range(1_000)])
        author, second, elsewhere = staff("staff-7"), staff("second"), staff("other", "350200")
        input = {
            "content": {"notice": NOTICE},
            "topics": [{"kind": "DIVISION", "id": "350102"}],
            "idempotencyKey": "k1",
        }
        for topics in (
            [{"kind": "DIVISION", "id": "350200"}],
            [{"kind": "DIVISION", "id": "350102"}, {"kind": "STATION", "id": "1"}],
        ):
            refused = (await ask(author, COMPOSE, input=input | {"topics": topics}))["composeBroadcast"]
            assert refused["userErrors"] == [{"code": "TOPIC_OUT_OF_SCOPE", "field": "topics"}]
        for content, field in (
            ({"notice": NOTICE | {"title": "长" * 41}}, "title"),
            ({"notice": NOTICE | {"body": ""}}, "body"),
            ({}, "content"),
        ):
            refused = (await ask(author, COMPOSE, input=input | {"content": content}))["composeBroadcast"]
            assert refused["userErrors"] == [{"code": "INVALID_MESSAGE", "field": field}]
        assert await world.database["messages"].count_documents({}) == 0
        composed = (await ask(author, COMPOSE, input=input))["composeBroadcast"]["broadcast"]
        again = (await ask(author, COMPOSE, input=input))["composeBroadcast"]["broadcast"]
        assert again == composed
        assert composed["topics"] == [{"kind": "DIVISION", "id": "350102", "name": "鼓楼区"}]
        assert (composed["state"], composed["isOwn"], composed["estimatedCount"]) == ("DRAFT", True, 1_000)
        id = composed["id"]

        async def step(viewer: Viewer, name: str) -> Any:
            return (await ask(viewer, STEP % name, input={"id": id}))[name]

        not_found = [{"code": "MESSAGE_NOT_FOUND", "field": "id"}]
        assert (await step(elsewhere, "submitBroadcast"))["userErrors"] == not_found
        submitted = await step(author, "submitBroadcast")
        assert submitted["broadcast"]["state"] == "AWAITING_APPROVAL"
        assert (await step(author, "approveBroadcast"))["userErrors"][0]["code"] == "SECOND_PERSON_NEEDED"
        assert (await step(elsewhere, "approveBroadcast"))["userErrors"] == not_found
        assert (await step(author, "pauseBroadcast"))["userErrors"][0]["code"] == "STEP_NOT_ALLOWED"
        assert await world.database["inbox"].count_documents({}) == 0
        approved = (await step(second, "approveBroadcast"))["broadcast"]
        assert (approved["state"], approved["isOwn"]) == ("SENDING", False)
        assert approved["approvedAt"] == "2026-11-22T04:00:00+00:00"
        stored = (await world.messages.outbox.messages.list_campaigns(1))[0]
        assert (await step(author, "pauseBroadcast"))["broadcast"]["state"] == "PAUSED"
        await world.worker.fan_out.run([stored.id])
        assert await world.database["inbox"].count_documents({}) == 0
        assert (await step(author, "resumeBroadcast"))["broadcast"]["state"] == "SENDING"
        await world.worker.fan_out.run([stored.id])
        progress = "query ($id: ID!) { desk { broadcastProgress(id: $id) { state recipientCount sent } } }"
        assert await ask(author, progress, id=id) == {
            "desk": {"broadcastProgress": {"state": "SENT", "recipientCount": 1_000, "sent": 0}}
        }
        assert (await step(second, "cancelBroadcast"))["broadcast"]["state"] == "CANCELLED"
        listing = "{ desk { broadcasts(first: 10) { edges { node { id } } pageInfo { hasNextPage } } } }"
        mine = {"desk": {"broadcasts": {"edges": [{"node": {"id": id}}], "pageInfo": {"hasNextPage": False}}}}
        assert await ask(author, listing) == await ask(OPERATOR, listing) == mine
        assert (await ask(elsewhere, listing))["desk"]["broadcasts"]["edges"] == []
        assert "staff-7" not in str(await world.database["messages"].find({}, {"campaign": 0}).to_list())
        await world.messages.own.erase_account("staff-7", now=world.now)
        assert "staff-7" not in str(await world.database["messages"].find({}).to_list())

    play(act)


def test_preview_and_estimate_and_dead_letters(play: Callable[..., None]) -> None:
    async def act(world: MessagesWorld, ask: Ask) -> None:
        preview = """query ($c: BroadcastContentInput!) { desk { previewBroadcast(content: $c) {
          language publicTitle publicBody privateBody } } }"""
        warning = {
            "warningId": "w",
            "hazard": "TYPHOON",
            "colour": "RED",
            "placeName": "福州市",
            "issuer": "福建省气象台",
        }
        shown = await ask(staff("a"), preview, c={"notice": NOTICE | {"summaryEn": "No water tonight"}})
        texts = shown["desk"]["previewBroadcast"]
        assert [(text["language"], text["publicBody"]) for text in texts] == [
            ("zh", "鼓楼区今晚停水"),
            ("en", "No water tonight"),
        ]
        assert texts[0]["privateBody"] == "请提前储水。\n福州市12345"
        shown = await ask(staff("a"), preview, c={"warning": warning})
        assert shown["desk"]["previewBroadcast"][0]["publicTitle"] == "台风红色预警"
        assert await ask(staff("a"), preview, c={"warning": warning, "notice": NOTICE}) == {
            "errors": ["InvalidMessageError"]
        }
        await world.messages.subscriptions.load("division:350102", ["x", "y"])
        estimate = """query ($a: TopicsInput!) { desk { estimateAudience(audience: $a) {
          subscriptionCount needsApproval } } }"""
        topics = {"topics": [{"kind": "DIVISION", "id": "350102"}]}
        found = {"desk": {"estimateAudience": {"subscriptionCount": 2, "needsApproval": False}}}
        assert await ask(staff("a"), estimate, a=topics) == found
        await world.messages.subscriptions.load("division:350104", [f"u{number}" for number in range(101)])
        urgent = """query ($a: TopicsInput!, $u: Boolean!) { desk {
          estimateAudience(audience: $a, isUrgent: $u) { needsApproval } } }"""
        many = {"topics": [{"kind": "DIVISION", "id": "350104"}]}
        for audience, is_urgent, needed in ((many, True, True), (many, False, False), (topics, True, False)):
            answer = await ask(staff("a"), urgent, a=audience, u=is_urgent)
            assert answer == {"desk": {"estimateAudience": {"needsApproval": needed}}}
        assert await ask(staff("a", "350200"), estimate, a=topics) == {"errors": ["TopicOutOfScopeError"]}
        assert await ask(OPERATOR, estimate, a={"topics": []}) == {"errors": ["InvalidTopicError"]}
        letters = "{ desk { deadLetters { edges { node { reason attempts } } } } }"
        assert await ask(staff("a"), letters) == {"errors": ["ForbiddenError"]}
        assert await ask(OPERATOR, letters) == {"desk": {"deadLetters": {"edges": []}}}
        replay = "mutation { replayDeadLetters(input: {}) { replayedCount leftCount } }"
        assert await ask("ann", replay) == {"errors": ["ForbiddenError"]}
        assert await ask(OPERATOR, replay) == {"replayDeadLetters": {"replayedCount": 0, "leftCount": 0}}

    play(act)
