"""How complaints come before the public: a copy follows each that was cleared, and goes when it must."""

from __future__ import annotations

import base64
import hashlib
from datetime import datetime
from typing import Final

from msgspec import Struct

from domain.complaint_publication import first_cleared_at, publish
from domain.redaction import Redacted, redact
from domain.working_days import WorkingCalendar
from operations.complaint_care import ReadTexts
from store.complaints import Complaint
from store.public_complaints import PublicComplaintStore
from store.secrets import SecretStore

_SECRET: Final = "complaint-publication"  # noqa: S105 — the name of one
_ID_BYTES: Final = 10


class Publisher(Struct, frozen=True):
    """Keeps the public copies: a follower of complaints (`operations.complaint_care.Follower`)."""

    store: PublicComplaintStore
    secrets: SecretStore
    calendar: WorkingCalendar

    async def public_id(self, number: str) -> str:
        """Give the public id of a complaint, 16 letters and digits from which nobody learns the number."""
        secret = await self.secrets.get(_SECRET)
        digest = hashlib.blake2b(number.encode(), key=secret, digest_size=_ID_BYTES).digest()
        return base64.b32encode(digest).decode().lower()

    async def __call__(self, complaint: Complaint, texts: ReadTexts, *, now: datetime) -> None:
        """Bring the public copy of a complaint to what its history says; may be run again, or too late."""
        published_at = first_cleared_at(complaint.events)
        if published_at is None:
            return
        public_id, standing = await self.public_id(complaint.number), complaint.standing
        shown = publish(public_id, standing, complaint.events, await texts(), complaint.point, self.calendar)
        if shown is None:
            await self.store.remove(public_id, standing.version, published_at, now=now)
        else:
            await self.store.put(shown, now=now)


def propose(text: str) -> Redacted:
    """Propose the public form of a text, and tell what was taken out; somebody of the centre decides."""
    return redact(text)
