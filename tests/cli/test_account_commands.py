"""`mintong account`: the first operator, and keys that have leaked."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from account_world import Worlds, some_phone

from cli.account import grant, rotate_keys
from cli.resources import CommandError
from domain.access import Role
from domain.account import Grant
from settings import Settings


def test_operators_are_appointed_and_keys_rotated(
    mongodb_uri: str, redis_url: str, database_name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {"MONGODB_URI": mongodb_uri, "REDIS_URL": redis_url, "database": database_name, "home": tmp_path}
    settings, phone = Settings.model_validate(given), some_phone()
    asyncio.run(grant(settings, phone, Grant(frozenset({Role.OPERATOR, Role.CITIZEN}))))
    assert capsys.readouterr().out == (
        f"{phone[:3]}****{phone[-4:]}: CITIZEN, OPERATOR. It must sign in again.\n"
    )

    async def keys_and_roles(world):  # type: ignore[no-untyped-def]
        account = await world.identity.accounts.find_by_phone(phone)
        keys = [key.kid for key in await world.identity.ring._store.list_keys()]
        return account.roles, keys

    worlds = Worlds(mongodb_uri, redis_url, database_name, tmp_path)
    asyncio.run(rotate_keys(settings, at_once=False))
    roles, first = worlds.run(keys_and_roles)
    assert roles == {Role.OPERATOR, Role.CITIZEN}
    asyncio.run(rotate_keys(settings, at_once=False))
    _, second = worlds.run(keys_and_roles)
    assert (second[:1], len(second)) == (first, 2)
    asyncio.run(rotate_keys(settings, at_once=True))
    _, third = worlds.run(keys_and_roles)
    assert len(third) == 1
    assert third[0] not in second


def test_production_makes_no_master_key(tmp_path: Path) -> None:
    settings = Settings.model_validate({"environment": "production", "home": tmp_path})
    with pytest.raises(CommandError, match="cannot read the master key"):
        asyncio.run(rotate_keys(settings, at_once=True))
    assert list(tmp_path.iterdir()) == []
