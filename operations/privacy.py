"""A citizen's right to all that is kept about them, and to have it deleted, over every store there is.

Each store says itself what it keeps about an account and how it forgets it; what is not registered here is
found by the test that looks through all collections.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Protocol

from domain.access import Viewer
from domain.account import EndReason
from operations.account import Client, Identity, end_all_sessions, use_confirmation

_AT_ONCE: Final = 20


class PersonalStore(Protocol):
    """A store that keeps something about accounts."""

    @property
    def name(self) -> str:
        """Name the collection, as the export shows it."""

    async def export_account(self, account_id: str) -> list[dict[str, Any]]:
        """Give everything kept about an account, in the clear; instants are UTC."""

    async def erase_account(self, account_id: str, *, now: datetime) -> int:
        """Forget an account and count what was forgotten; may be run again."""


async def export_account(
    identity: Identity,
    stores: Sequence[PersonalStore],
    viewer: Viewer,
    code: str,
    client: Client,
    *,
    now: datetime,
) -> dict[str, list[dict[str, Any]]]:
    """Give everything that is kept about the viewer, by collection; needs a code sent to their phone.

    Raises: InvalidCodeError, SignInLockedError, UnknownAccountError.
    """
    account = await use_confirmation(identity, viewer, code, client, now=now)
    return {store.name: await store.export_account(account.id) for store in (identity.accounts, *stores)}


async def delete_account(
    identity: Identity,
    stores: Sequence[PersonalStore],
    viewer: Viewer,
    code: str,
    client: Client,
    *,
    now: datetime,
) -> None:
    """Delete the viewer's account and everything about it; needs a code sent to their phone.

    The account is closed first: from then on nobody can use it, and `finish_deletions` ends what a crash
    leaves behind. Raises: InvalidCodeError, SignInLockedError, UnknownAccountError.
    """
    account = await use_confirmation(identity, viewer, code, client, now=now)
    await identity.accounts.close(account.id, now=now)
    await _erase(identity, stores, account.id, now=now)


async def finish_deletions(identity: Identity, stores: Sequence[PersonalStore], *, now: datetime) -> int:
    """Finish deletions that were begun, the oldest 20 of them; count them."""
    waiting = await identity.accounts.list_closed(_AT_ONCE)
    for account_id in waiting:
        await _erase(identity, stores, account_id, now=now)
    return len(waiting)


async def _erase(
    identity: Identity, stores: Sequence[PersonalStore], account_id: str, *, now: datetime
) -> None:
    await end_all_sessions(identity, account_id, EndReason.ACCOUNT_DELETED, now=now)
    for store in stores:
        await store.erase_account(account_id, now=now)
    # Last, because it is what remembers that the others are to be done.
    await identity.accounts.erase_account(account_id, now=now)
