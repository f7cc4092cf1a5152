"""Accounts: personal fields are encrypted here, on their way in and out; nothing else sees ciphertext.

Phone, resident id number, WeChat's openid and an outside subject are looked up, hence encrypted so that equal
values stay equal; each has a unique index. Name and address are not.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection
from datetime import datetime
from typing import Any, Final

from pymongo import ASCENDING
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from domain.access import Assurance, Role
from domain.account import (
    Account,
    AccountClosedError,
    Grant,
    IdentityAlreadyVerifiedError,
    IdentityTakenError,
    UnknownAccountError,
    WechatTakenError,
)
from store.encryption import FieldCipher
from store.keys import KEY_BATCH, chunks

LOOKED_UP: Final = ("phone", "resident_id", "wechat_openid", "external")
ENCRYPTED: Final = (*LOOKED_UP, "name", "address")


class AccountStore:
    """Reads and writes `accounts`."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]], cipher: FieldCipher) -> None:
        self._accounts = database["accounts"]
        self._cipher = cipher
        self._is_indexed = False

    @property
    def name(self) -> str:
        """Name the collection."""
        return "accounts"

    async def ensure_indexes(self) -> None:
        """Make the indexes."""
        for field in LOOKED_UP:
            await self._accounts.create_index([(field, ASCENDING)], name=field, unique=True, sparse=True)
        await self._accounts.create_index([("closed_at", ASCENDING)], name="closed", sparse=True)
        self._is_indexed = True

    async def find(self, account_id: str) -> Account | None:
        """Find an account by id, closed or not."""
        return await self._read(await self._accounts.find_one({"_id": account_id}))

    async def get(self, account_id: str) -> Account:
        """Get an account that is in use.

        Raises: UnknownAccountError, AccountClosedError.
        """
        account = await self.find(account_id)
        if account is None:
            raise UnknownAccountError
        if account.closed_at is not None:
            raise AccountClosedError
        return account

    async def find_by_phone(self, phone: str) -> Account | None:
        """Find an account by its 11 digits."""
        return await self._find_by("phone", phone)

    async def find_by_wechat(self, openid: str) -> Account | None:
        """Find an account by the openid that is linked to it."""
        return await self._find_by("wechat_openid", openid)

    async def list_phones(self, account_ids: Collection[str]) -> dict[str, str]:
        """Give the phones, 11 digits, of those of these accounts that are in use and have one.

        Nothing else of the accounts is decrypted. One query for every 64 accounts.
        """
        phones: dict[str, str] = {}
        for some in chunks(dict.fromkeys(account_ids), KEY_BATCH):
            found = {"_id": {"$in": some}, "closed_at": None, "phone": {"$exists": True}}
            async for document in self._accounts.find(found, {"phone": 1}):
                phones[document["_id"]] = await self._cipher.decrypt(document["phone"])
        return phones

    async def find_or_create_by_phone(self, phone: str, *, now: datetime) -> Account:
        """Give the account of a phone number, a new one when it has none.

        Raises: AccountClosedError.
        """
        return await self._find_or_create("phone", phone, now=now)

    async def find_or_create_external(self, issuer: str, subject: str, *, now: datetime) -> Account:
        """Give the account of an outside issuer's subject, a new one when it has none.

        Raises: AccountClosedError.
        """
        return await self._find_or_create("external", f"{issuer}|{subject}", now=now)

    async def verify(self, account_id: str, name: str, resident_id: str, *, now: datetime) -> None:
        """Raise an account to L2 with the name and id number that were found to belong together.

        Raises: IdentityTakenError, IdentityAlreadyVerifiedError.
        """
        change = {
            "name": await self._cipher.encrypt(name),
            "resident_id": await self._cipher.encrypt_for_lookup(resident_id),
            "assurance": int(Assurance.L2),
            "verified_at": now,
        }
        as_read = {"_id": account_id, "assurance": int(Assurance.L1), "closed_at": None}
        try:
            done = await self._accounts.update_one(as_read, {"$set": change})
        except DuplicateKeyError as error:
            raise IdentityTakenError(field="residentId") from error
        if not done.matched_count:
            raise IdentityAlreadyVerifiedError

    async def link_wechat(self, account_id: str, openid: str) -> None:
        """Link a WeChat user to an account, in place of whom it was linked to.

        Raises: WechatTakenError, UnknownAccountError.
        """
        value = await self._cipher.encrypt_for_lookup(openid)
        await self._set(account_id, {"wechat_openid": value}, taken=WechatTakenError())

    async def set_address(self, account_id: str, address: str | None) -> None:
        """Write the postal address, or remove it.

        Raises: UnknownAccountError.
        """
        if address is None:
            change: dict[str, Any] = {"$unset": {"address": ""}}
            if not (await self._accounts.update_one(_in_use(account_id), change)).matched_count:
                raise UnknownAccountError
            return
        await self._set(account_id, {"address": await self._cipher.encrypt(address)})

    async def grant(self, account_id: str, grant: Grant) -> None:
        """Write the roles of an account and their scope, in place of those it had, by appointment too.

        Raises: UnknownAccountError.
        """
        roles = [role.value for role in Role if role in grant.roles]
        scope = {
            "company_code": grant.company_code,
            "unit": grant.unit,
            "division_code": grant.division_code,
        }
        change: dict[str, Any] = {"$set": {"roles": roles, **scope}, "$unset": {"appointed": ""}}
        if grant.company_code is not None:
            change["$pull"] = {"offers": {"company": grant.company_code}}
        if not (await self._accounts.update_one(_in_use(account_id), change)).matched_count:
            raise UnknownAccountError

    async def close(self, account_id: str, *, now: datetime) -> bool:
        """Mark an account as being deleted, after which nobody can use it; False when it was already."""
        done = await self._accounts.update_one(_in_use(account_id), {"$set": {"closed_at": now}})
        return bool(done.matched_count)

    async def list_closed(self, limit: int) -> list[str]:
        """List accounts that are marked but not deleted yet, the longest waiting first."""
        query = {"closed_at": {"$exists": True}}
        cursor = self._accounts.find(query, {"_id": 1}, sort=[("closed_at", ASCENDING)], limit=limit)
        return [document["_id"] async for document in cursor]

    async def export_account(self, account_id: str) -> list[dict[str, Any]]:
        """Give everything an account's document holds, decrypted."""
        document = await self._accounts.find_one({"_id": account_id})
        return [] if document is None else [await self._decrypted(document)]

    async def erase_account(self, account_id: str, *, now: datetime) -> int:
        """Delete an account's document; count it."""
        return (await self._accounts.delete_one({"_id": account_id})).deleted_count

    async def _set(self, account_id: str, values: dict[str, Any], *, taken: Exception | None = None) -> None:
        try:
            done = await self._accounts.update_one(_in_use(account_id), {"$set": values})
        except DuplicateKeyError as error:
            raise taken or error from error
        if not done.matched_count:
            raise UnknownAccountError

    async def _find_by(self, field: str, value: str) -> Account | None:
        encrypted = await self._cipher.encrypt_for_lookup(value)
        return await self._read(await self._accounts.find_one({field: encrypted}))

    async def _find_or_create(self, field: str, value: str, *, now: datetime) -> Account:
        encrypted = await self._cipher.encrypt_for_lookup(value)
        document = await self._accounts.find_one({field: encrypted})
        if document is None:
            if not self._is_indexed:
                # Without the unique indexes two processes could make two accounts for one phone.
                await self.ensure_indexes()
            fresh = {
                "_id": secrets.token_hex(12),
                field: encrypted,
                "created_at": now,
                "roles": [Role.CITIZEN.value],
                "assurance": int(Assurance.L1),
            }
            try:
                await self._accounts.insert_one(fresh)
                document = fresh
            except DuplicateKeyError:
                document = await self._accounts.find_one({field: encrypted})
        account = await self._read(document)
        if account is None or account.closed_at is not None:
            raise AccountClosedError
        return account

    async def _decrypted(self, document: dict[str, Any]) -> dict[str, Any]:
        clear = {name: await self._cipher.decrypt(document[name]) for name in ENCRYPTED if name in document}
        return document | clear

    async def _read(self, document: dict[str, Any] | None) -> Account | None:
        if document is None:
            return None
        clear = await self._decrypted(document)
        known = {name: clear[name] for name in Account.__struct_fields__ if name in clear}
        known |= {
            "id": clear["_id"],
            "roles": frozenset(Role(role) for role in clear["roles"]),
            "assurance": Assurance(clear["assurance"]),
        }
        return Account(**known)


def _in_use(account_id: str) -> dict[str, Any]:
    return {"_id": account_id, "closed_at": None}
