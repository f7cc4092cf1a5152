"""What staff do with guides, and bringing many in at once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from hashlib import blake2b
from typing import Final

from msgspec import UNSET, Struct, UnsetType
from redis.asyncio import Redis

from domain.complaint_classes import ClassList
from domain.errors import DomainError
from domain.knowledge import (
    Guide,
    GuideAction,
    GuideChange,
    GuideChangedError,
    GuideContent,
    GuideNotFoundError,
    GuideState,
    InvalidGuideError,
    apply,
    check_content,
    check_scope,
)
from domain.preferences import SHANGHAI
from store.knowledge import GUIDES, ImportedGuides, KnowledgeStore
from store.reference import announce

MAX_KEY_CHARS: Final = 64
IMPORTER: Final = "import"
_VISIBLE: Final = frozenset({GuideAction.PUBLISH, GuideAction.RETIRE})


class GuideKeyReusedError(DomainError):
    """The idempotency key was used for another guide."""

    code = "GUIDE_KEY_REUSED"


class Editor(Struct, frozen=True):
    """Who writes; `scope` is the division of staff, None for an operator."""

    account: str
    unit: str | None = None
    scope: str | None = None


class Step(Struct, frozen=True):
    """What to do with which version of a guide; `content` goes with REVISE.

    `review_by` stays as it is where it is not given.
    """

    guide_id: str
    action: GuideAction
    expected_version: int
    content: GuideContent | None = None
    review_by: date | UnsetType | None = UNSET


class ImportRow(Struct, frozen=True):
    """A guide as it is to be published."""

    id: str
    content: GuideContent
    review_by: date | None = None


class ImportReport(Struct, frozen=True):
    """What an import has done; `overtaken` were changed by somebody else meanwhile and left as they are."""

    added: int
    changed: int
    unchanged: int
    overtaken: tuple[str, ...]


async def create_guide(
    store: KnowledgeStore,
    classes: ClassList,
    editor: Editor,
    content: GuideContent,
    key: str,
    *,
    now: datetime,
    review_by: date | None = None,
) -> Guide:
    """Write the draft of a guide; the same editor's same key gives the same guide.

    Raises: domain.knowledge.InvalidGuideError, GuideOutOfScopeError; GuideKeyReusedError.
    """
    if not 1 <= len(key) <= MAX_KEY_CHARS:
        raise InvalidGuideError(field="idempotencyKey")
    content = check_content(content, classes)
    check_scope(content, editor.scope)
    guide_id = "g" + blake2b(f"{editor.account}:{key}".encode(), digest_size=12).hexdigest()
    guide = Guide(guide_id, 1, GuideState.DRAFT, content, now, review_by=review_by)
    change = GuideChange(1, GuideAction.CREATE, now, editor.account, editor.unit, content)
    if await store.insert(guide, change):
        return guide
    stored = await get_guide(store, guide_id)
    history = await store.history(guide_id)
    if history[0].version == 1 and history[0].content != content:
        raise GuideKeyReusedError(field="idempotencyKey")
    return stored


async def get_guide(store: KnowledgeStore, guide_id: str) -> Guide:
    """Give a guide in any state. Raises: domain.knowledge.GuideNotFoundError."""
    guide = await store.find(guide_id)
    if guide is None:
        raise GuideNotFoundError(field="id", id=guide_id[:64])
    return guide


async def change_guide(
    store: KnowledgeStore, redis: Redis, classes: ClassList, editor: Editor, step: Step, *, now: datetime
) -> Guide:
    """Take one step with a guide.

    Raises: domain.knowledge.GuideNotFoundError, GuideChangedError, GuideStepError, InvalidGuideError,
    GuideOutOfScopeError.
    """
    guide = await get_guide(store, step.guide_id)
    check_scope(guide.content, editor.scope)
    if guide.version != step.expected_version:
        raise GuideChangedError(field="expectedVersion", version=guide.version)
    content = None
    if step.action is GuideAction.REVISE:
        if step.content is None:
            raise InvalidGuideError(field="content")
        content = check_content(step.content, classes)
        check_scope(content, editor.scope)
    if step.action is GuideAction.CONFIRM and not step.review_by:
        raise InvalidGuideError(field="reviewBy")
    changed = apply(guide, step.action, now=now, content=content, review_by=step.review_by)
    change = GuideChange(changed.version, step.action, now, editor.account, editor.unit, content)
    if not await store.replace(changed, change, expected=guide.version):
        current = await get_guide(store, step.guide_id)
        raise GuideChangedError(field="expectedVersion", version=current.version)
    if step.action in _VISIBLE:
        await _tell(store, redis, now=now)
    return changed


async def import_guides(
    store: KnowledgeStore, redis: Redis, rows: Sequence[ImportRow], *, now: datetime
) -> ImportReport:
    """Publish guides, whose contents were checked, under ids of their own; the same twice changes nothing.

    Guides that the rows do not name stay as they are.
    """
    known = await store.find_many([row.id for row in rows])
    added: list[tuple[Guide, GuideChange]] = []
    changed: list[tuple[Guide, GuideChange]] = []
    for row in rows:
        old = known.get(row.id)
        if old is not None and old.published == row.content and old.review_by == row.review_by:
            continue
        version = 1 if old is None else old.version + 1
        guide = Guide(
            row.id, version, GuideState.PUBLISHED, row.content, now, row.content, now, row.review_by
        )
        change = GuideChange(version, GuideAction.PUBLISH, now, IMPORTER, content=row.content)
        (added if old is None else changed).append((guide, change))
    done = await store.write_many(added, changed) if added or changed else ImportedGuides()
    if done.added or done.changed:
        await _tell(store, redis, now=now)
    return ImportReport(
        done.added, done.changed, len(rows) - len(added) - len(changed), tuple(done.overtaken)
    )


def local_day(now: datetime) -> date:
    """Give the day that it is in Fujian."""
    return now.astimezone(SHANGHAI).date()


async def _tell(store: KnowledgeStore, redis: Redis, *, now: datetime) -> None:
    await store.reference.touch(GUIDES, now=now)
    await announce(redis, GUIDES)
