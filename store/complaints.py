"""Complaints in MongoDB: `complaints`, one document each with its whole history.

The document's `_id` is the complaint's number. Beside what its events amount to (`standing`) it has what
queries need: `owner` (the account, encrypted so that equal ones stay equal), `holder` and `act_by` while
somebody must act, `marks` for queues beside the holder's, `cell` (where), and `wake_at`, when the caretaker
must look at it. `told` events were announced. Whatever people said in their own words is encrypted, event by
event, in `texts`.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from bson.binary import Binary
from msgspec import Struct
from pymongo import ASCENDING, DESCENDING
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from domain.complaint_desk import marks_of
from domain.complaint_history import SALT_BYTES, digest_of
from domain.complaint_standing import Event, Standing
from domain.complaints import ComplaintNotFoundError, Point
from store.complaint_queues import ComplaintQueues
from store.encryption import FieldCipher
from store.group_insert import GroupInsert
from store.keys import KEY_BATCH, LONG_AGO, chunks

Document = dict[str, Any]
Texts = Mapping[str, str]
_LATEST: Final = "~"  # sorts behind every number
_SUMMARY: Final = {"history": 0, "texts": 0}


class Summary(Struct, frozen=True):
    """A complaint as lists show it; `excerpt` has no personal data.

    `due_at`: by when the citizen is to have an answer; None while a pause leaves it open. `act_by`: by when
    its holder must do something. `claimed_by`: the staff who work on it, until `claimed_until`.
    """

    number: str
    standing: Standing
    excerpt: str
    due_at: datetime | None
    act_by: datetime | None
    point: Point | None
    media: tuple[str, ...]
    told: int
    claimed_by: str | None = None
    claimed_until: datetime | None = None


class Complaint(Summary, frozen=True):
    """A whole complaint. `sealed_texts`: the encrypted texts by event; `owner`: the encrypted account."""

    events: tuple[Event, ...] = ()
    sealed_texts: Mapping[int, Binary] = {}
    owner: Binary | None = None
    request: bytes = b""
    holder: str | None = None


class NewComplaint(Struct, frozen=True):
    """A complaint to be inserted; the same `key` means the same one, `request` stands for its content."""

    number: str
    key: bytes
    request: bytes
    owner: Binary | None
    standing: Standing
    event: Event
    texts: Binary
    excerpt: str
    due_at: datetime
    point: Point | None
    cell: int | None
    media: tuple[str, ...]


class ComplaintStore:
    """Reads and writes `complaints`."""

    def __init__(self, database: AsyncDatabase[Document], cipher: FieldCipher) -> None:
        self._complaints = database["complaints"]
        self.queues = ComplaintQueues(self._complaints, _summary)
        self._cipher = cipher
        self._is_indexed = False
        self._group = GroupInsert(self._complaints)

    async def ensure_indexes(self) -> None:
        """Make the indexes."""
        for name, keys in INDEXES.items():
            fields = [
                (field.removeprefix("-"), DESCENDING if field[0] == "-" else ASCENDING) for field in keys
            ]
            await self._complaints.create_index(fields, name=name, sparse=True, unique=name == "key")
        self._is_indexed = True

    async def hide(self, account_id: str) -> Binary:
        """Encrypt an account's id as complaints keep it."""
        return await self._cipher.encrypt_for_lookup(account_id)

    async def reveal(self, owner: Binary) -> str:
        """Give the account's id back."""
        return str(await self._cipher.decrypt(owner))

    async def seal_texts(self, texts: Texts) -> tuple[str, Binary]:
        """Encrypt the texts of one event; give the digest for its history beside them."""
        salt = secrets.token_bytes(SALT_BYTES)
        content = msgspec.json.encode({"salt": salt.hex(), "texts": texts})
        return digest_of(texts, salt), await self._cipher.encrypt(content)

    async def open_texts(self, complaint: Complaint) -> dict[int, dict[str, str]]:
        """Decrypt the texts of a complaint, by event; erased ones are missing."""
        return {
            seq: msgspec.json.decode(await self._cipher.decrypt(sealed))["texts"]
            for seq, sealed in complaint.sealed_texts.items()
        }

    async def list_false_texts(self, complaint: Complaint) -> list[str]:
        """List the events whose stored texts are not those that were sealed."""
        false = []
        for seq, sealed in complaint.sealed_texts.items():
            content = msgspec.json.decode(await self._cipher.decrypt(sealed))
            found = digest_of(content["texts"], bytes.fromhex(content["salt"]))
            if seq >= len(complaint.events) or complaint.events[seq].digest != found:
                false.append(f"event {seq}: its text was changed")
        return false

    async def insert(self, new: NewComplaint) -> Complaint:
        """Insert a complaint whole, or give the one that has the same key."""
        if not self._is_indexed:
            await self.ensure_indexes()  # without the unique one a repetition would be a second complaint
        document = {
            "_id": new.number,
            "key": Binary(new.key),
            "request": Binary(new.request),
            "standing": _plain(new.standing),
            "history": [_plain(new.event)],
            "texts": {"0": new.texts},
            "excerpt": new.excerpt,
            "media": list(new.media),
            "holder": new.standing.holder,
            "due_at": new.due_at,
            "act_by": new.due_at,
            "wake_at": new.event.at,
            "told": 0,
            **({} if new.owner is None else {"owner": new.owner}),
            **({} if new.point is None else {"point": _plain(new.point)}),
            **({} if new.cell is None else {"cell": new.cell}),
        }
        try:
            await self._group.insert(document)
        except DuplicateKeyError:
            found = await self._complaints.find_one({"key": document["key"]})
            if found is None:
                raise
            return _complaint(found)
        return _complaint(document)

    async def find_by_key(self, key: bytes) -> Complaint | None:
        """Find the complaint that was made under a key."""
        found = await self._complaints.find_one({"key": Binary(key)})
        return None if found is None else _complaint(found)

    async def get(self, number: str) -> Complaint:
        """Get a whole complaint.

        Raises: ComplaintNotFoundError.
        """
        found = await self._complaints.find_one({"_id": number})
        if found is None:
            raise ComplaintNotFoundError(number=number[:20])
        return _complaint(found)

    async def advance(
        self,
        complaint: Complaint,
        event: Event,
        standing: Standing,
        texts: Binary | None,
        media: Sequence[str] = (),
        *,
        due_at: datetime | None,
        act_by: datetime | None,
    ) -> bool:
        """Write one more event if nothing has happened since `complaint` was read; tell whether it was."""
        change: Document = {"standing": _plain(standing), "wake_at": event.at}
        dropped: Document = {}
        marks = marks_of(standing, (*complaint.events, event)) or None
        sought = (("holder", standing.holder), ("due_at", due_at), ("act_by", act_by), ("marks", marks))
        for name, value in sought:
            (dropped if value is None else change)[name] = "" if value is None else value
        if standing.holder != complaint.standing.holder:
            dropped["claim"] = ""  # a lease ends with the turn
        if texts is not None:
            change[f"texts.{event.seq}"] = texts
        pushed: Document = {"history": _plain(event)}
        if media:
            pushed["media"] = {"$each": list(media)}
        update = {"$set": change, "$push": pushed, **({"$unset": dropped} if dropped else {})}
        as_read = {"_id": complaint.number, "standing.version": complaint.standing.version}
        return bool((await self._complaints.update_one(as_read, update)).matched_count)

    async def forget(self, complaint: Complaint, kept: Iterable[int], point: Point | None) -> None:
        """Take away who complained and all texts but those of the kept events."""
        texts = {str(seq): complaint.sealed_texts[seq] for seq in kept if seq in complaint.sealed_texts}
        change: Document = {"texts": texts, "media": []}
        if point is not None:
            change["point"] = _plain(point)
        as_read = {"_id": complaint.number, "standing.version": complaint.standing.version}
        await self._complaints.update_one(as_read, {"$set": change, "$unset": {"owner": "", "cell": ""}})

    async def list_own(self, owner: Binary, first: int, before: str | None = None) -> list[Summary]:
        """List the complaints of an owner, newest first, older than the number `before`."""
        query = {"owner": owner, "_id": {"$lt": before or _LATEST}}
        found = self._complaints.find(query, _SUMMARY, sort=[("owner", -1), ("_id", -1)], limit=first)
        return [_summary(document) async for document in found]

    async def list_by_numbers(self, numbers: Iterable[str]) -> dict[str, Summary]:
        """Give the complaints that exist among these numbers."""
        rows: dict[str, Summary] = {}
        for some in chunks(numbers, KEY_BATCH):
            async for document in self._complaints.find({"_id": {"$in": some}}, _SUMMARY):
                rows[document["_id"]] = _summary(document)
        return rows

    async def list_whole(self, numbers: Iterable[str]) -> list[Complaint]:
        """List the complaints that exist among these numbers, with their histories."""
        rows: list[Complaint] = []
        for some in chunks(numbers, KEY_BATCH):
            found = self._complaints.find({"_id": {"$in": some}})
            rows += [_complaint(document) async for document in found]
        return rows

    async def list_existing(self, numbers: Iterable[str]) -> set[str]:
        """Tell which of these numbers are complaints."""
        found: set[str] = set()
        for some in chunks(numbers, KEY_BATCH):
            async for document in self._complaints.find({"_id": {"$in": some}}, {"_id": 1}):
                found.add(document["_id"])
        return found

    async def list_near(self, cells: Iterable[int], since: str, first: int) -> list[Summary]:
        """List the newest complaints of each of some cells with a number above `since`."""
        rows = []
        for cell in cells:
            query = {"cell": cell, "_id": {"$gt": since}}
            found = self._complaints.find(query, _SUMMARY, sort=[("cell", -1), ("_id", -1)], limit=first)
            rows += [_summary(document) async for document in found]
        return rows

    async def list_awake(self, first: int, *, now: datetime) -> list[Complaint]:
        """List complaints that must be looked at by now, the longest waiting first."""
        query = {"wake_at": {"$gt": LONG_AGO, "$lte": now}}
        found = self._complaints.find(query, sort=[("wake_at", 1)], limit=first)
        return [_complaint(document) async for document in found]

    async def settle(self, complaint: Complaint, wake_at: datetime | None) -> bool:
        """Note that all events so far were told, and when to look again; False when there are newer ones."""
        change: Document = {"$set": {"told": complaint.standing.version}}
        if wake_at is None:
            change["$unset"] = {"wake_at": ""}
        else:
            change["$set"]["wake_at"] = wake_at
        as_read = {"_id": complaint.number, "standing.version": complaint.standing.version}
        return bool((await self._complaints.update_one(as_read, change)).matched_count)

    async def postpone(self, complaint: Complaint, until: datetime) -> None:
        """Look at a complaint again later, unless it has changed meanwhile."""
        as_read = {"_id": complaint.number, "standing.version": complaint.standing.version}
        await self._complaints.update_one(as_read, {"$set": {"wake_at": until}})


INDEXES: Final[Mapping[str, Sequence[str]]] = {
    "key": ("key",),
    "owner": ("owner", "_id"),
    "queue": ("holder", "standing.state", "act_by", "_id"),
    "newest": ("holder", "_id"),
    "marks": ("marks", "_id"),
    "claim": ("claim.by", "claim.until"),
    "cell": ("cell", "_id"),
    "wake_at": ("wake_at",),
}


def _plain(value: Struct) -> Document:
    plain: Document = msgspec.to_builtins(value, builtin_types=(datetime,))
    return plain


def _summary(document: Document) -> Summary:
    return Summary(**_fields(document))


def _complaint(document: Document) -> Complaint:
    return Complaint(
        **_fields(document),
        events=tuple(msgspec.convert(event, Event) for event in document["history"]),
        sealed_texts={int(seq): sealed for seq, sealed in document["texts"].items()},
        owner=document.get("owner"),
        request=bytes(document["request"]),
        holder=document.get("holder"),
    )


def _fields(document: Document) -> Document:
    claim = document.get("claim") or {}
    return {
        "number": document["_id"],
        "standing": msgspec.convert(document["standing"], Standing),
        "excerpt": document["excerpt"],
        "due_at": document.get("due_at"),
        "act_by": document.get("act_by"),
        "point": msgspec.convert(document["point"], Point) if "point" in document else None,
        "media": tuple(document["media"]),
        "told": document["told"],
        "claimed_by": claim.get("by"),
        "claimed_until": claim.get("until"),
    }
