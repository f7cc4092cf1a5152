"""What operators do to accounts from the command line."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime

from api.identity import NoMobileNetwork, kms_of, make_identity
from cli.resources import CommandError, open_resources, output
from domain.access import Role
from domain.account import Grant
from domain.identifiers import mask_phone
from operations.account import Identity, grant_roles
from settings import Settings
from store.encryption import FieldCipher, MasterKeyError


async def grant(settings: Settings, phone: str, roles: Grant) -> None:
    """Give an account roles in place of those it has."""
    async with _identity(settings) as identity:
        account = await grant_roles(identity, phone, roles, now=datetime.now(UTC))
    names = ", ".join(role.value for role in Role if role in account.roles)
    output.print(f"{mask_phone(account.phone or '')}: {names}. It must sign in again.")


async def rotate_keys(settings: Settings, *, at_once: bool) -> None:
    """Make a new key for access tokens."""
    async with _identity(settings) as identity:
        await identity.ring.rotate(now=datetime.now(UTC), at_once=at_once)
    output.print(
        "A new key signs now; every access token is void within a minute."
        if at_once
        else "A new key is published and signs in 15 minutes."
    )


@asynccontextmanager
async def _identity(settings: Settings) -> AsyncIterator[Identity]:
    try:
        kms = kms_of(settings)
    except MasterKeyError as error:
        raise CommandError(f"{error}.") from None
    async with (
        open_resources(settings) as resources,
        aclosing(FieldCipher(resources.mongodb, settings.database, kms)) as cipher,
    ):
        yield make_identity(settings, resources.mongodb, resources.redis, cipher, NoMobileNetwork(), None)
