"""What a citizen says about being told: consents, digests, quiet hours; each write over a known version."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from domain.message_texts import Language
from domain.preferences import (
    KindChange,
    Preferences,
    PreferencesConflictError,
    QuietHours,
    change_kinds,
    check_quiet_hours,
)
from store.preferences import PreferenceStore


class Keep(Struct, frozen=True):
    """Says that quiet hours stay as they are, which None cannot: that takes them away."""


KEEP: Final = Keep()


async def update_preferences(
    store: PreferenceStore,
    account: str,
    changes: Sequence[KindChange],
    quiet_hours: QuietHours | Keep | None = KEEP,
    *,
    expected_version: int,
    language: Language = Language.ZH,
    now: datetime,
) -> Preferences:
    """Change what an account wants, as it was at a version, and give it as it is then.

    `language` is that of the request, in which text messages come from then on.

    Raises: domain.preferences.PreferencesConflictError, with the version there is, when it was changed
    meanwhile; InvalidQuietHoursError, DigestNotPossibleError. Nothing is changed then.
    """
    current = await store.get(account)
    if current.version != expected_version:
        raise PreferencesConflictError(field="expectedVersion", current=current.version)
    changed = change_kinds(current, tuple(changes), now=now)
    if not isinstance(quiet_hours, Keep):
        hours = None if quiet_hours is None else check_quiet_hours(quiet_hours)
        changed = replace(changed, quiet_hours=hours)
    changed = replace(changed, updated_at=now, language=language)
    return await store.save(account, changed, expected=expected_version)
