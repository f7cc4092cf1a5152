from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from cli.doctor import Level, check_disk, check_settings, examine, judge_clock, show
from notifications.worker import ensure_indexes
from settings import Settings
from store.access_log import AccessLog
from store.accounts import AccountStore
from store.agencies import AgencyStore
from store.catalogue import CatalogueStore
from store.city_cases import CityCaseStore
from store.complaint_drafts import ComplaintDraftStore
from store.complaint_joins import JoinStore
from store.complaint_statistics import StatisticsStore
from store.complaints import ComplaintStore
from store.connections import open_mongodb
from store.indexes import INDEX_NAMES
from store.knowledge import KnowledgeStore
from store.media import MediaStore
from store.open311_keys import Open311KeyStore
from store.open311_requests import Open311RequestStore
from store.public_complaints import PublicComplaintStore
from store.sessions import SessionStore


def settings_for(mongodb_uri: str, redis_url: str, database: str, home: Path) -> Settings:
    return Settings(MONGODB_URI=mongodb_uri, REDIS_URL=redis_url, database=database, home=home)


def made_elsewhere(database: Any) -> list[Any]:
    """Give the stores whose indexes the API or a worker's chores make."""
    no_cipher = cast(Any, None)
    return [
        AccountStore(database, no_cipher),
        AgencyStore(database, no_cipher),
        SessionStore(database),
        AccessLog(database),
        ComplaintStore(database, no_cipher),
        JoinStore(database),
        ComplaintDraftStore(database, no_cipher),
        MediaStore(database),
        KnowledgeStore(database),
        CityCaseStore(database),
        PublicComplaintStore(database),
        Open311KeyStore(database),
        Open311RequestStore(database),
        StatisticsStore(database),
    ]


def levels(settings: Settings) -> dict[str, Level]:
    return {finding.subject: finding.level for finding in asyncio.run(examine(settings))}


def test_new_installation_lacks_indexes_and_a_catalogue(
    mongodb_uri: str, redis_url: str, database_name: str, tmp_path: Path
) -> None:
    found = levels(settings_for(mongodb_uri, redis_url, database_name, tmp_path))
    assert found["MongoDB"] is found["Clock"] is found["Settings"] is found["Python"] is Level.OK
    assert found["Indexes"] is found["Catalogue"] is Level.WARN


def test_what_it_asks_for_makes_it_content(
    mongodb_uri: str, redis_url: str, database_name: str, tmp_path: Path
) -> None:
    async def prepare() -> None:
        async with open_mongodb(mongodb_uri, 5000) as client:
            store = CatalogueStore(client[database_name])
            await client[database_name].service_items.insert_one({"_id": "an item"})
            await store.ensure_indexes()
            await ensure_indexes(client[database_name])
            for each in made_elsewhere(client[database_name]):
                await each.ensure_indexes()
            await store.set_published(1, 20, datetime.now(UTC))
            names = {
                collection: set(await client[database_name][collection].index_information()) - {"_id_"}
                for collection in ("service_items", *INDEX_NAMES)
            }
            # doctor's list and what the store makes are the same
            assert names == {"service_items": set()} | {key: set(kept) for key, kept in INDEX_NAMES.items()}

    asyncio.run(prepare())
    found = levels(settings_for(mongodb_uri, redis_url, database_name, tmp_path))
    assert found["Indexes"] is found["Catalogue"] is Level.OK


def test_silent_engines_are_failures_and_the_rest_is_still_checked(tmp_path: Path) -> None:
    settings = Settings(
        MONGODB_URI="mongodb://127.0.0.1:9",
        REDIS_URL="redis://127.0.0.1:9",
        home=tmp_path,
        engine_timeout_ms=200,
    )
    findings = asyncio.run(examine(settings))
    failed = {finding.subject: finding.advice for finding in findings if finding.level is Level.FAIL}
    assert failed == {
        "MongoDB": "Check MONGODB_URI, the network and the server.",
        "Redis": "Check REDIS_URL, the network and the server.",
    }
    assert show(findings) is False


def test_production_must_not_run_on_embedded_engines() -> None:
    findings = {
        finding.subject: finding.level
        for finding in check_settings(
            Settings(environment="production", graphiql=True, cors_origins="*", MONGODB_URI="", REDIS_URL="")
        )
    }
    assert findings == {
        "Settings": Level.OK,
        "Engines' addresses": Level.FAIL,
        "Exposure": Level.WARN,
        "CORS": Level.WARN,
    }


def test_home_that_cannot_be_written_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (finding,) = check_disk(tmp_path / "file" / "home")
    assert finding.level is Level.FAIL
    assert finding.advice == "Set MINTONG_HOME."


@pytest.mark.parametrize(
    ("ahead_s", "uncertainty_s", "level"),
    [
        (0.0, 0.0, Level.OK),
        (-0.999, 0.0, Level.OK),
        (1.2, 0.3, Level.OK),
        (1.2, 0.1, Level.WARN),
        (-59.0, 0.0, Level.WARN),
        (60.0, 0.0, Level.FAIL),
    ],
)
def test_clock_is_judged_within_what_is_known(ahead_s: float, uncertainty_s: float, level: Level) -> None:
    assert judge_clock(timedelta(seconds=ahead_s), timedelta(seconds=uncertainty_s)).level is level
