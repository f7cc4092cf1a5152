"""Attachments in the real engine: kept once, attached once, gone in time, whatever dies in between."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId
from msgspec import Struct

from domain.ids import new_id
from domain.media import (
    LINK_LIFE,
    Cleaned,
    Media,
    MediaKind,
    MediaLinkError,
    MediaNotFoundError,
    MediaVariant,
    TooManyMediaError,
    account_owner,
)
from operations.media import expire
from store.connections import open_mongodb
from store.media import MediaStore
from store.media_links import MediaLinks
from store.media_spool import open_spool, remove_stale

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(hours=24)
ANN, BEN = account_owner("ann"), account_owner("ben")
NUMBER, OTHER = "2611220000014", "2611220000022"


class Shelf(Struct):
    store: MediaStore
    database: Any
    home: Path

    async def add(
        self, owner: str, content: bytes = b"picture", *, sent: str = "", limit: int = 9, now: datetime = NOW
    ) -> Media:
        """Keep a file that came out of cleaning; `sent` stands for what went in."""
        async with open_spool(self.home) as spool:
            spool.target.write_bytes(content)
            spool.thumbnail.write_bytes(b"small " + content)
            media = Media(
                new_id(now),
                owner,
                Cleaned(MediaKind.IMAGE, "image/jpeg", 4, 3, has_thumbnail=True),
                hashlib.sha256(content).hexdigest(),
                len(content),
                now,
                hashlib.sha256(b"small " + content).hexdigest(),
            )
            return await self.store.add(media, sent or media.content, spool, limit, now=now)

    async def read(self, media: Media) -> bytes | None:
        file = await self.store.files.find(media.content)
        if file is None:
            return None
        return b"".join([data async for data in self.store.files.read(file, 0, file.size_bytes)])

    async def counts(self) -> tuple[int, int, int]:
        """Documents, files, parts."""
        names = ("media", "media_files.files", "media_files.chunks")
        documents, files, parts = [await self.database[name].count_documents({}) for name in names]
        return documents, files, parts


@pytest.fixture
def run(mongodb_uri: str, database_name: str, tmp_path: Path) -> Callable[..., Any]:
    @asynccontextmanager
    async def opened() -> Any:
        async with open_mongodb(mongodb_uri, 30_000) as client:
            database = client[database_name]
            store = MediaStore(database)
            await store.ensure_indexes()
            yield Shelf(store, database, tmp_path)

    def run_one(work: Callable[[Shelf], Awaitable[None]]) -> None:
        async def main() -> None:
            async with opened() as shelf:
                await work(shelf)

        asyncio.run(main())

    return run_one


def test_the_same_twice_is_one_and_two_owners_share_the_file(run: Any) -> None:
    async def work(shelf: Shelf) -> None:
        first, again = await asyncio.gather(shelf.add(ANN), shelf.add(ANN))
        assert first.id == again.id
        later = NOW + HOUR
        found = await shelf.store.find_draft(ANN, first.content, now=later)
        assert found is not None
        assert (found.id, found.expires_at) == (first.id, later + DAY)
        assert await shelf.store.find_draft(BEN, first.content, now=later) is None
        other = await shelf.add(BEN)
        assert other.id != first.id
        files = await shelf.database["media_files.files"].distinct("filename")
        assert sorted(files) == sorted([first.content, first.thumbnail])
        # The first goes, the other stays readable; then nothing is left.
        assert await shelf.store.delete_draft(ANN, first.id, now=NOW)
        assert await shelf.store.find(first.id) is None
        assert await expire(shelf.store, now=NOW + 2 * HOUR) == 1
        assert await shelf.read(other) == b"picture"
        assert await expire(shelf.store, now=NOW + DAY + 2 * HOUR) == 1
        assert await shelf.counts() == (0, 0, 0)

    run(work)


def test_an_owner_keeps_so_many_and_not_more_even_at_once(run: Any) -> None:
    async def work(shelf: Shelf) -> None:
        for number in range(2):
            await shelf.add(ANN, b"%d" % number, limit=3)
        adding = (shelf.add(ANN, b"more %d" % number, limit=3) for number in range(4))
        results = await asyncio.gather(*adding, return_exceptions=True)
        refused = [each for each in results if isinstance(each, BaseException)]
        assert all(isinstance(each, TooManyMediaError) and each.params == {"limit": 3} for each in refused)
        kept = await shelf.store.list_drafts(ANN)
        assert 2 <= len(kept) <= 3
        assert await shelf.store.count_drafts(ANN) == len(kept)
        assert len(refused) + len(kept) == 6

    run(work)


def test_attaching_is_all_or_none_and_may_be_repeated(run: Any) -> None:
    async def work(shelf: Shelf) -> None:
        store = shelf.store
        mine = [await shelf.add(ANN, b"%d" % n, now=NOW + n * timedelta(seconds=1)) for n in range(3)]
        theirs = await shelf.add(BEN)
        ids = [media.id for media in mine]
        for wrong in (theirs.id, "no such id"):
            with pytest.raises(MediaNotFoundError) as refused:
                await store.reserve([*ids, wrong], ANN, NUMBER, now=NOW)
            assert refused.value.params["field"] == "mediaIds"
            assert [media.id for media in await store.list_drafts(ANN)] == ids
            assert await store.list_for_complaints([NUMBER]) == {}
        order = [ids[2], ids[0]]
        for _ in range(2):
            reserved = await store.reserve(order, ANN, NUMBER, now=NOW)
            assert [media.id for media in reserved] == order
        assert [media.id for media in await store.list_drafts(ANN)] == [ids[1]]
        with pytest.raises(MediaNotFoundError):
            await store.reserve([ids[0]], ANN, OTHER, now=NOW)
        with pytest.raises(MediaNotFoundError):
            await store.reserve([ids[0]], BEN, NUMBER, now=NOW)
        supplemented = await store.reserve([ids[1]], ANN, NUMBER, now=NOW)
        assert [media.id for media in supplemented] == [*order, ids[1]]
        assert not await store.delete_draft(ANN, ids[0], now=NOW)
        # What was attached may be sent again: it is another attachment of the same file.
        again = await shelf.add(ANN, b"0")
        assert again.id != ids[0]
        many = [await shelf.add(ANN, b"many %d" % number) for number in range(7)]
        with pytest.raises(TooManyMediaError):
            await store.reserve([media.id for media in many], ANN, NUMBER, now=NOW)
        assert len((await store.list_for_complaints([NUMBER, OTHER]))[NUMBER]) == 3

    run(work)


def test_expired_uploads_cannot_be_attached(run: Any) -> None:
    async def work(shelf: Shelf) -> None:
        media = await shelf.add(ANN)
        with pytest.raises(MediaNotFoundError):
            await shelf.store.reserve([media.id], ANN, NUMBER, now=NOW + DAY)

    run(work)


def test_two_submissions_at_once_cannot_share_an_upload(run: Any) -> None:
    async def work(shelf: Shelf) -> None:
        media = await shelf.add(ANN)
        numbers = [str(2_611_220_000_000 + number) for number in range(6)]
        results = await asyncio.gather(
            *(shelf.store.reserve([media.id], ANN, number, now=NOW) for number in numbers),
            return_exceptions=True,
        )
        assert sorted(type(each).__name__ for each in results) == ["MediaNotFoundError"] * 5 + ["list"]

    run(work)


def test_the_sweeper_gives_back_what_no_complaint_came_for(run: Any) -> None:
    async def work(shelf: Shelf) -> None:
        store = shelf.store
        lost, kept = await shelf.add(ANN, b"lost"), await shelf.add(ANN, b"kept")
        await store.reserve([lost.id], ANN, NUMBER, now=NOW)
        await store.reserve([kept.id], ANN, OTHER, now=NOW)
        asked: list[list[str]] = []

        async def exists(numbers: Collection[str]) -> set[str]:
            asked.append(sorted(numbers))
            return {OTHER}

        assert await expire(store, now=NOW + HOUR / 2, exists=exists) == 0
        assert asked == []
        assert await expire(store, now=NOW + HOUR, exists=exists) == 0
        assert asked == [[NUMBER, OTHER]]
        assert [media.id for media in await store.list_drafts(ANN)] == [lost.id]
        assert await expire(store, now=NOW + 10 * DAY, exists=exists) == 1
        assert asked == [[NUMBER, OTHER]]  # what is attached is not asked for again
        assert await shelf.read(kept) == b"kept"
        assert await shelf.read(lost) is None
        # A complaint that is deleted takes its files along.
        assert await store.delete_for_complaint(OTHER, now=NOW + 10 * DAY) == 1
        assert await expire(store, now=NOW + 11 * DAY) == 1
        assert await shelf.counts() == (0, 0, 0)

    run(work)


def test_the_store_knows_which_complaints_exist(run: Any) -> None:
    async def work(shelf: Shelf) -> None:
        await shelf.database["complaints"].insert_one({"_id": NUMBER})
        media = await shelf.add(ANN)
        await shelf.store.reserve([media.id], ANN, NUMBER, now=NOW)
        assert await expire(shelf.store, now=NOW + HOUR) == 0
        found = await shelf.store.find(media.id)
        assert found is not None
        assert found.complaint == NUMBER

    run(work)


def test_a_retry_takes_over_what_its_dead_attempt_has_reserved(run: Any) -> None:
    async def work(shelf: Shelf) -> None:
        media = await shelf.add(ANN)
        await shelf.store.reserve([media.id], ANN, NUMBER, now=NOW)

        async def nothing(numbers: Collection[str]) -> set[str]:
            return set()

        async def all_of_them(numbers: Collection[str]) -> set[str]:
            return set(numbers)

        soon, later = NOW + timedelta(seconds=10), NOW + timedelta(minutes=1)
        for now, exists in ((soon, nothing), (later, all_of_them), (later, None)):
            with pytest.raises(MediaNotFoundError):
                await shelf.store.reserve([media.id], ANN, OTHER, now=now, exists=exists)
        reserved = await shelf.store.reserve([media.id], ANN, OTHER, now=later, exists=nothing)
        assert [each.complaint for each in reserved] == [OTHER]

    run(work)


def test_what_dies_half_way_is_finished_by_a_retry_or_removed(run: Any) -> None:
    async def work(shelf: Shelf) -> None:
        store, media = shelf.store, await shelf.add(ANN)
        # As if the process had died after a part of the file was written.
        document = await shelf.database["media"].find_one({"_id": media.id})
        await shelf.database["media_files.files"].delete_many({})
        await shelf.database["media_files.chunks"].delete_many({})
        half = ObjectId()
        await shelf.database["media_files.chunks"].insert_one({"files_id": half, "n": 0, "data": b"pic"})
        await shelf.database["media"].update_one(
            {"_id": media.id}, {"$set": {"is_stored": False, "writing": [half]}}
        )
        assert await store.find(media.id) is None
        assert await store.find_draft(ANN, media.content, now=NOW) is None
        with pytest.raises(MediaNotFoundError):
            await store.reserve([media.id], ANN, NUMBER, now=NOW)
        again = await shelf.add(ANN)
        assert (again.id, await shelf.read(again)) == (media.id, b"picture")
        # The same once more, and nobody comes back.
        await shelf.database["media"].replace_one(
            {"_id": media.id}, {**document, "is_stored": False, "writing": [half]}
        )
        assert await expire(store, now=NOW + DAY + HOUR) == 1
        assert await shelf.counts() == (0, 0, 0)

    run(work)


def test_a_file_that_is_wanted_while_it_is_removed_stays(run: Any) -> None:
    async def work(shelf: Shelf) -> None:
        store, media = shelf.store, await shelf.add(ANN)
        late = NOW + DAY + HOUR

        async def is_used() -> bool:
            # Right between the look and the removal somebody uploads the same.
            await shelf.add(BEN, now=late)
            return False

        assert not await store.files.remove(media.content, is_used, now=late)
        assert await shelf.read(media) == b"picture"
        assert await expire(store, now=late) == 1
        assert [each.owner for each in await store.list_drafts(BEN)] == [BEN]
        assert await shelf.read(media) == b"picture"

    run(work)


def test_files_are_read_in_parts(run: Any) -> None:
    content = bytes(range(256)) * 10_000

    async def work(shelf: Shelf) -> None:
        media = await shelf.add(ANN, content)
        file = await shelf.store.files.find(media.content)
        assert file is not None
        edges = [0, 1, 1_048_575, 1_048_576, 1_048_577, 2_097_152, len(content)]
        for first in edges:
            for end in edges:
                if first < end:
                    parts = [data async for data in shelf.store.files.read(file, first, end)]
                    assert b"".join(parts) == content[first:end]
        await shelf.database["media_files.chunks"].delete_one({"n": 1})
        with pytest.raises(EOFError):
            _ = [data async for data in shelf.store.files.read(file, 0, len(content))]

    run(work)


def test_an_account_is_exported_and_forgotten(run: Any) -> None:
    async def work(shelf: Shelf) -> None:
        store = shelf.store
        waiting = await shelf.add(ANN, b"waiting")
        attached = await shelf.add(ANN, b"attached", now=NOW + timedelta(seconds=1))
        other = await shelf.add(BEN)
        await store.reserve([attached.id], ANN, NUMBER, now=NOW)
        exported = await store.export_account("ann")
        assert [(each["_id"], each["complaint"]) for each in exported] == [
            (waiting.id, None),
            (attached.id, NUMBER),
        ]
        assert exported[0]["uploaded_at"] == NOW
        assert await store.erase_account("ann", now=NOW) == 2
        assert await store.erase_account("ann", now=NOW) == 0
        assert await store.export_account("ann") == []
        raw = [document async for document in shelf.database["media"].find({})]
        assert "ann" not in str(raw)
        assert [each.id for each in (await store.list_for_complaints([NUMBER]))[NUMBER]] == [attached.id]
        assert await store.find(waiting.id) is None
        assert [each.id for each in await store.list_drafts(BEN)] == [other.id]

    run(work)


class Secrets:
    async def get(self, name: str) -> bytes:
        return name.encode().ljust(32)


def test_links_are_for_one_thing_and_some_minutes() -> None:
    async def work() -> None:
        links = MediaLinks(Secrets(), "https://media.example.cn/")  # type: ignore[arg-type]
        media = Media("01ABC", ANN, Cleaned(MediaKind.IMAGE, "image/jpeg"), "c" * 64, 3, NOW, "t" * 64)
        made = await links.make(media, now=NOW + timedelta(seconds=1))
        assert made == await links.make(media, now=NOW + timedelta(seconds=59))
        assert made.expires_at == NOW + LINK_LIFE + timedelta(minutes=1)
        path, _, query = made.url.partition("?")
        assert path == "https://media.example.cn/media/01ABC"
        until, signature = (part.partition("=")[2] for part in query.split("&"))
        check, original = links.check, MediaVariant.ORIGINAL
        assert await check("01ABC", original, until, signature, now=NOW) == 660
        for media_id, variant, end, proof, now in (
            ("01ABD", original, until, signature, NOW),
            ("01ABC", MediaVariant.THUMBNAIL, until, signature, NOW),
            ("01ABC", original, str(int(until) + 1), signature, NOW),
            ("01ABC", original, until, signature[:-1], NOW),
            ("01ABC", original, until, "", NOW),
            ("01ABC", original, "", signature, NOW),
            ("01ABC", original, "-1", signature, NOW),
            ("01ABC", original, "9" * 400, signature, NOW),
            ("01ABC", original, "٣", signature, NOW),
            ("01ABC", original, until, "é" * 43, NOW),
            ("01ABC", original, until, signature, made.expires_at),
        ):
            with pytest.raises(MediaLinkError):
                await check(media_id, variant, end, proof, now=now)

    asyncio.run(work())


def test_folders_of_dead_uploads_are_removed(tmp_path: Path) -> None:
    async def work() -> None:
        async with open_spool(tmp_path / "uploads") as spool:
            await spool.write(b"a" * 1_000_000)
            assert spool.source.stat().st_size >= 900_000
            dead = tmp_path / "uploads" / "dead"
            dead.mkdir()
            (dead / "source").write_bytes(b"x")
            os.utime(dead, (0, 0))
            assert remove_stale(tmp_path / "uploads") == 1
            assert spool.source.exists()
        assert list((tmp_path / "uploads").iterdir()) == []

    asyncio.run(work())
    assert remove_stale(tmp_path / "nowhere") == 0
