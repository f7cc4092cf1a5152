"""Keys of Open311 partners from the command line: make one, list them, revoke one."""

from __future__ import annotations

from datetime import UTC, datetime

from rich.markup import escape
from rich.table import Table

from cli.resources import CommandError, open_resources, output
from domain.account import short_text
from domain.catalogue import division_code
from domain.open311 import KeyScope
from domain.preferences import SHANGHAI
from settings import Settings
from store.open311_keys import Open311KeyStore

_MAX_CHARS = 100


async def create_key(
    settings: Settings,
    name: str,
    contact: str,
    scope: KeyScope,
    *,
    division: str | None,
    per_minute: int,
    per_day: int,
) -> None:
    """Make a key and print it, this once.

    Raises: domain.account.TextTooLongError, domain.catalogue.InvalidDivisionCodeError.
    """
    code = None if division is None else division_code(division)
    name, contact = short_text(name, _MAX_CHARS, "name"), short_text(contact, _MAX_CHARS, "contact")
    async with open_resources(settings) as resources:
        store = Open311KeyStore(resources.database)
        await store.ensure_indexes()
        key, text = await store.create(
            name,
            contact,
            scope,
            per_minute=per_minute,
            per_day=per_day,
            division_code=code,
            now=datetime.now(UTC),
        )
    output.print(f"Key {key.id} for {key.name}, {key.scope.value}. It is shown this once:", markup=False)
    output.print(text, markup=False)


async def list_keys(settings: Settings) -> None:
    """Print all keys, revoked ones too; the keys themselves are known to their holders only."""
    async with open_resources(settings) as resources:
        keys = await Open311KeyStore(resources.database).list_all()
    table = Table("Key", "Name", "Contact", "Scope", "Division", "Per minute", "Per day", "Since", "Revoked")
    for key in keys:
        days = [
            f"{at.astimezone(SHANGHAI):%Y-%m-%d}" if at else "" for at in (key.created_at, key.revoked_at)
        ]
        table.add_row(
            key.id,
            escape(key.name),
            escape(key.contact),
            key.scope.value,
            key.division_code or "",
            str(key.per_minute),
            str(key.per_day),
            *days,
        )
    output.print(table)


async def revoke_key(settings: Settings, key_id: str) -> None:
    """Revoke a key for good.

    Raises: CommandError when there is none, or none any more.
    """
    async with open_resources(settings) as resources:
        revoked = await Open311KeyStore(resources.database).revoke(key_id, now=datetime.now(UTC))
    if not revoked:
        raise CommandError(f"No key {key_id[:20]} is in use.")
    output.print(f"Key {key_id} is revoked.")
