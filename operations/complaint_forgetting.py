"""A citizen's right to what is kept of their complaints, and to have themselves forgotten in them.

A complaint is a file of the administration: what was done stays, who asked for it and in which words goes.
The matter itself stays without personal data (State Council rules on 12345 files: kept for five years).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec
from bson.binary import Binary

from domain import complaints as c
from domain.complaints import Actor, ActorRole
from domain.redaction import redact
from operations.complaint_sight import show_events, sight_of
from operations.complaint_steps import act
from operations.complaint_submit import coarse
from operations.complaints import Complaints
from store.complaints import Complaint, Summary

_PAGE: Final = 100
_SYSTEM: Final = Actor(ActorRole.SYSTEM)


class AccountComplaints:
    """Exports and erases an account's complaints and whom it has joined."""

    def __init__(self, complaints: Complaints) -> None:
        self._complaints = complaints

    @property
    def name(self) -> str:
        """Name the collection, as the export shows it."""
        return "complaints"

    async def export_account(self, account_id: str) -> list[dict[str, Any]]:
        """Give an account's complaints with all that was said in them, and the numbers it has joined."""
        store = self._complaints.store
        owner = await store.hide(account_id)
        exported = [await self._export(await store.get(row.number)) for row in await self._own(owner)]
        joined = await self._complaints.joins.list_numbers(owner, _PAGE)
        return [*exported, *({"joined": number} for number in joined)]

    async def erase_account(self, account_id: str, *, now: datetime) -> int:
        """Forget an account in its complaints; count them; may be run again."""
        store = self._complaints.store
        owner = await store.hide(account_id)
        count = await self._complaints.joins.erase(owner)
        while rows := await store.list_own(owner, _PAGE):
            for row in rows:
                await self._forget(row.number, now=now)
            count += len(rows)
        return count

    async def _own(self, owner: Binary) -> list[Summary]:
        rows: list[Summary] = []
        while page := await self._complaints.store.list_own(owner, _PAGE, rows[-1].number if rows else None):
            rows += page
        return rows

    async def _export(self, complaint: Complaint) -> dict[str, Any]:
        texts = await self._complaints.store.open_texts(complaint)
        shown = show_events(sight_of([Actor(ActorRole.COMPLAINANT)]), complaint.events, texts)
        return {
            "number": complaint.number,
            "kind": complaint.standing.kind.value,
            "state": complaint.standing.state.value,
            "division": complaint.standing.division_code,
            "point": msgspec.to_builtins(complaint.point),
            "media": list(complaint.media),
            "steps": [
                {"step": event.action, "at": event.at, "by": event.actor.role.value, **words}
                for event, _, words in shown
            ],
        }

    async def _forget(self, number: str, *, now: datetime) -> None:
        """Write down that the complaint was erased, then erase; whoever acts meanwhile is waited for."""
        store = self._complaints.store
        complaint = await store.get(number)
        if not complaint.standing.is_erased:
            texts = await store.open_texts(complaint)
            step = c.Erase(text=redact(texts.get(0, {}).get("text", "—")).text)
            try:
                complaint = await act(self._complaints, complaint, step, _SYSTEM, now=now)
            except c.ComplaintChangedError:
                return  # it is still on the account's list and comes again at once
        kept = [event.seq for event in complaint.events if event.actor.role is not ActorRole.COMPLAINANT]
        await store.forget(complaint, kept, complaint.point and coarse(complaint.point))
