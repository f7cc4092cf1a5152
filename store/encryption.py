"""Encryption of personal fields by the driver, before they leave the process (MongoDB's explicit encryption).

One data key encrypts all fields. It lies in the database, itself encrypted by the master key of a KMS or of a
local file. Which data key counts is written down once: of processes that start together one wins.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from bson.binary import STANDARD, Binary
from bson.codec_options import CodecOptions
from msgspec import Struct
from pymongo import AsyncMongoClient
from pymongo.asynchronous.encryption import AsyncClientEncryption
from pymongo.encryption_shared import Algorithm
from pymongo.errors import DuplicateKeyError

MASTER_KEY_BYTES: Final = 96
KEYS: Final = "encryption_keys"
CHOICES: Final = "encryption_choices"
_PERSONAL: Final = "personal"


class MasterKeyError(Exception):
    """The master key of personal data is missing, damaged, or open to others; the text says what to do."""


class Kms(Struct, frozen=True):
    """Where the master key is: the driver's KMS provider, its settings, and the key's name at it."""

    provider: str
    settings: Mapping[str, Any]
    master_key: Mapping[str, Any] | None = None


def local_kms(file: Path, *, may_create: bool) -> Kms:
    """Read the master key from a file of 96 bytes that only its owner may read; make it where allowed.

    Raises: MasterKeyError.
    """
    if may_create and not file.exists():
        _create(file)
    try:
        mode = file.stat().st_mode
        key = file.read_bytes()
    except OSError as error:
        raise MasterKeyError(f"cannot read the master key {file}: {error.strerror}") from error
    if stat.S_IMODE(mode) & 0o077:
        raise MasterKeyError(f"the master key {file} is open to others: chmod 600 {file}")
    if len(key) != MASTER_KEY_BYTES:
        raise MasterKeyError(f"the master key {file} must have {MASTER_KEY_BYTES} bytes, not {len(key)}")
    return Kms("local", {"key": key})


def _create(file: Path) -> None:
    """Write a whole new key or none; a key that another process wrote first stays."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as out:
            out.write(secrets.token_bytes(MASTER_KEY_BYTES))
            out.flush()
            os.fsync(out.fileno())
        try:
            os.link(draft, file)
        except FileExistsError:
            return
    finally:
        draft.unlink()


class FieldCipher:
    """Encrypts and decrypts single fields; nothing is sent before the first."""

    def __init__(self, client: AsyncMongoClient[dict[str, Any]], database: str, kms: Kms) -> None:
        self._database = client[database]
        self._kms = kms
        options: CodecOptions[dict[str, Any]] = CodecOptions(uuid_representation=STANDARD)
        self._encryption: AsyncClientEncryption[dict[str, Any]] = AsyncClientEncryption(
            {kms.provider: dict(kms.settings)}, f"{database}.{KEYS}", client, options
        )
        self._key_id: Binary | None = None
        self._choosing = asyncio.Lock()

    async def aclose(self) -> None:
        """Free what the driver holds."""
        await self._encryption.close()

    async def encrypt(self, text: str | bytes) -> Binary:
        """Encrypt a value; the same value gives another ciphertext each time."""
        return await self._encrypt(text, Algorithm.AEAD_AES_256_CBC_HMAC_SHA_512_Random)

    async def encrypt_for_lookup(self, text: str) -> Binary:
        """Encrypt a value that is looked up by equality; the same value always gives the same ciphertext."""
        return await self._encrypt(text, Algorithm.AEAD_AES_256_CBC_HMAC_SHA_512_Deterministic)

    async def decrypt(self, value: Binary) -> Any:
        """Decrypt what one of the others has encrypted.

        Raises: pymongo.errors.EncryptionError for a value of another master key.
        """
        return await self._encryption.decrypt(value)

    async def _encrypt(self, text: str | bytes, algorithm: str) -> Binary:
        key_id = self._key_id or await self._choose_key()
        return await self._encryption.encrypt(text, algorithm, key_id=key_id)

    async def _choose_key(self) -> Binary:
        async with self._choosing:
            if self._key_id is None:
                self._key_id = await self._find_choice() or await self._make_choice()
        return self._key_id

    async def _find_choice(self) -> Binary | None:
        choice = await self._database[CHOICES].find_one({"_id": _PERSONAL})
        return None if choice is None else Binary.from_uuid(choice["key"])

    async def _make_choice(self) -> Binary:
        key_id = await self._encryption.create_data_key(self._kms.provider, self._kms.master_key)
        try:
            await self._database[CHOICES].insert_one({"_id": _PERSONAL, "key": key_id})
        except DuplicateKeyError:
            chosen = await self._find_choice()
            if chosen is None:
                raise
            await self._encryption.delete_key(key_id)
            return chosen
        return key_id
