"""Keys of Open311 partners from the command line."""

from __future__ import annotations

import asyncio
import re

import pytest
from rich.console import Console
from typer.testing import CliRunner

from cli.main import app
from cli.resources import CommandError
from domain.open311 import ApiKey
from store.connections import open_mongodb
from store.open311_keys import Open311KeyStore


def test_a_key_is_made_listed_and_revoked(
    mongodb_uri: str, redis_url: str, database_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (
        ("MONGODB_URI", mongodb_uri),
        ("REDIS_URL", redis_url),
        ("MINTONG_DATABASE", database_name),
    ):
        monkeypatch.setenv(name, value)
    # Wide enough for the table, whatever the terminal was when the command line was imported.
    monkeypatch.setattr("cli.open311.output", Console(highlight=False, soft_wrap=True, width=200))

    def call(*arguments: str) -> str:
        result = CliRunner().invoke(app, ["open311", "key", *arguments], catch_exceptions=False)
        assert result.exit_code == 0
        return result.output

    def find(text: str) -> ApiKey | None:
        async def main() -> ApiKey | None:
            async with open_mongodb(mongodb_uri, 30_000) as client:
                return await Open311KeyStore(client[database_name]).find(text)

        return asyncio.run(main())

    made = call("create", "榕城[app]", "a@partner.example", "--division", "350100", "--per-minute", "7")
    head, text = made.strip().splitlines()
    key_id = re.match(r"Key ([0-9a-f]{12}) for 榕城\[app\], WRITE\.", head)
    assert key_id is not None
    found = find(text)
    assert found is not None
    assert (found.id, found.division_code, found.per_minute) == (key_id[1], "350100", 7)
    listed = call("list")
    assert key_id[1] in listed
    assert "榕城[app]" in listed
    assert text not in listed
    assert call("revoke", key_id[1]) == f"Key {key_id[1]} is revoked.\n"
    assert find(text) is None
    with pytest.raises(CommandError, match="is in use"):
        call("revoke", key_id[1])
