"""Citizens and staff who ask the whole schema about complaints, on the real engines."""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import complaints_world
from complaints_world import NOW, UNITS, World, viewer

from api.app import make_preparer
from api.errors import RequestError, word_refusal
from domain.access import Viewer
from domain.ids import new_id
from domain.media import Cleaned, Media, MediaKind, account_owner
from notifications.live import LiveHub
from operations.complaint_publication import Publisher
from resolvers.context import Context, Stores
from resolvers.schema import schema
from settings import Settings
from store.complaint_drafts import ComplaintDraftStore
from store.connections import open_redis
from store.gate import Gate
from store.media_links import MediaLinks
from store.media_spool import open_spool
from store.public_complaints import PublicComplaintStore
from store.units import UnitStore

PREPARER = make_preparer(Settings.model_validate({}), schema, observe_error=lambda _code: None)


class Citizens:
    """A world of complaints and whoever asks."""

    def __init__(self, world: World, redis: Any, home: Path) -> None:
        self.world = world
        self.redis = redis
        self.hub = LiveHub(redis)
        self.now = NOW
        mark = secrets.token_hex(4)  # limits last for longer than a test
        self.address = f"test-{mark}"
        self.citizen, self.other = viewer(f"citizen-{mark}"), viewer(f"other-{mark}")
        self._home = home
        complaints = world.complaints
        self.drafts = ComplaintDraftStore(world.database, world.cipher)
        self.stores = Stores(
            cast(Any, SimpleNamespace(gate=Gate(redis))),
            (),
            units=cast(
                Any,
                SimpleNamespace(tree=UNITS, classes=complaints.classes, store=UnitStore(world.database)),
            ),
            complaints=complaints,
            complaint_drafts=self.drafts,
            publisher=Publisher(
                PublicComplaintStore(world.database), complaints.secrets, complaints.calendar
            ),
            media=cast(Any, SimpleNamespace(store=complaints.media, links=MediaLinks(complaints.secrets))),
        )

    def context(self, viewer: Viewer | None, language: str = "zh") -> Context:
        return Context(
            catalogue=None,
            catalogue_freshness=lambda: None,
            views=cast(Any, None),
            language=cast(Any, language),
            request_id="r",
            now=self.now,
            viewer=viewer,
            opened=self.stores,
            word=lambda error: word_refusal(error, cast(Any, language)),
            client_address=lambda: self.address,
            hub=self.hub,
        )

    async def ask(
        self, viewer: Viewer | None, document: str, language: str = "zh", **variables: Any
    ) -> dict[str, Any]:
        """Give the data, or `{"errors": [codes]}`, as production executes: compiled, within its limits."""
        try:
            operation = PREPARER.prepare(document, None)
            outcome = await operation.execute(variables, self.context(viewer, language))
        except RequestError as error:
            return {"errors": [error.code]}
        answer = json.loads(outcome.body)
        if "errors" in answer:
            return {"errors": [each["extensions"]["code"] for each in answer["errors"]]}
        return dict(answer["data"])

    async def upload(self, viewer: Viewer, content: bytes) -> str:
        """Keep a cleaned photo of somebody, not attached yet."""
        store = self.world.complaints.media
        async with open_spool(self._home) as spool:
            spool.target.write_bytes(content)
            spool.thumbnail.write_bytes(b"small " + content)
            digests = [hashlib.sha256(data).hexdigest() for data in (content, b"small " + content)]
            cleaned = Cleaned(MediaKind.IMAGE, "image/jpeg", 4, 3, has_thumbnail=True)
            owner = account_owner(viewer.account_id)
            media = Media(new_id(self.now), owner, cleaned, digests[0], len(content), self.now, digests[1])
            return (await store.add(media, digests[0], spool, 9, now=self.now)).id


@asynccontextmanager
async def open_citizens(
    mongodb_uri: str, redis_url: str, database: str, home: Path
) -> AsyncIterator[Citizens]:
    async with complaints_world.open_world(mongodb_uri, database, home) as world:
        redis = open_redis(redis_url, 30_000)
        try:
            citizens = Citizens(world, redis, home)
            await citizens.drafts.ensure_indexes()
            await world.complaints.media.ensure_indexes()
            yield citizens
        finally:
            await redis.aclose()


def play(
    mongodb_uri: str,
    redis_url: str,
    database: str,
    home: Path,
    act: Callable[[Citizens], Awaitable[None]],
) -> None:
    """Run a coroutine function in a world of its own."""

    async def main() -> None:
        async with open_citizens(mongodb_uri, redis_url, database, home) as citizens:
            await act(citizens)

    asyncio.run(main())
