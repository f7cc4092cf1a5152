"""The indexes that the collections must have, to be looked for by `mintong doctor`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase

INDEX_NAMES: Mapping[str, tuple[str, ...]] = {
    "access_log": ("account_newest", "actor", "delete"),
    "accounts": ("closed", "company", "external", "offers", "phone", "resident_id", "wechat_openid"),
    "devices": ("account_seen", "seen_at", "shard", "token"),
    "dead_letters": ("device", "failed_at", "message"),
    "complaints": ("cell", "claim", "key", "marks", "newest", "owner", "queue", "wake_at"),
    "complaint_drafts": ("delete", "owner"),
    "complaint_joins": ("number", "owner"),
    "complaint_sums": ("generation_batch",),
    "deliveries": ("broadcast", "wake_at", "written_at"),
    "digests": ("account", "due_at"),
    "device_targets": ("shard",),
    "inbox": ("owner", "place"),
    "item_views": ("day",),
    "media": ("complaint", "contents", "draft", "owner", "wake_at"),
    "media_files.files": ("filename",),
    "city_cases": ("city", "county", "due_at", "key", "province", "unit"),
    "knowledge_guides": ("review_by", "state"),
    "messages": ("broadcast", "composed", "dedupe_key", "delete", "wake_at"),
    "open311_keys": ("digest",),
    "open311_requests": ("key",),
    "open311_updates": ("key",),
    "preferences": ("shard",),
    "public_complaints": ("changed_at",),
    "sessions": ("account", "delete", "ended"),
    "sms_days": ("account", "delete"),
    "subscriptions": ("accounts", "topic"),
    "wechat_grants": ("account", "changed_at"),
    "workers": ("alive_until",),
}


async def list_missing_indexes(database: AsyncDatabase[dict[str, Any]]) -> list[str]:
    """List the indexes that do not exist, as `collection.name`."""
    missing = []
    for collection, names in INDEX_NAMES.items():
        existing = await database[collection].index_information()
        missing += [f"{collection}.{name}" for name in names if name not in existing]
    return missing
