"""Retention: old messages leave the inboxes, a few accounts at a time, round and round."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import structlog

from store.inbox import InboxStore

log = structlog.get_logger(__name__)

_PAGES_AT_ONCE: Final = 20


class Retention:
    """Walks through all inboxes, and remembers how far it has come."""

    def __init__(self, inbox: InboxStore, kept: timedelta, clock: Callable[[], datetime]) -> None:
        self._inbox = inbox
        self._kept = kept
        self._clock = clock
        self._after = ""

    async def go_on(self) -> int:
        """Look at the next accounts, at most 20,000, and count the rows that are gone."""
        count, before = 0, self._clock() - self._kept
        for _ in range(_PAGES_AT_ONCE):
            last, gone = await self._inbox.delete_old(self._after, before=before)
            count += gone
            self._after = last or ""
            if last is None:
                break
        if count:
            log.info("retention.deleted", rows=count)
        return count
