"""Encrypted fields: one data key for all processes, a master key that only its owner can read."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, aclosing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pymongo.errors import EncryptionError

from store.connections import open_mongodb
from store.encryption import KEYS, FieldCipher, MasterKeyError, local_kms
from store.secrets import SecretStore
from store.signing_keys import SigningKeyStore, StoredKey


def test_processes_that_start_together_agree_on_one_key(
    mongodb_uri: str, database_name: str, tmp_path: Path
) -> None:
    async def work() -> None:
        kms = local_kms(tmp_path / "key", may_create=True)
        async with open_mongodb(mongodb_uri, 30_000) as mongodb, AsyncExitStack() as stack:
            ciphers = [
                await stack.enter_async_context(aclosing(FieldCipher(mongodb, database_name, kms)))
                for _ in range(6)
            ]
            values = await asyncio.gather(*(each.encrypt_for_lookup("13800138000") for each in ciphers))
            assert len({bytes(value) for value in values}) == 1
            assert await ciphers[3].decrypt(values[0]) == "13800138000"
            assert await mongodb[database_name][KEYS].count_documents({}) == 1
            twice = [await ciphers[0].encrypt("林小明") for _ in range(2)]
            assert twice[0] != twice[1]
            assert [await ciphers[1].decrypt(value) for value in twice] == ["林小明"] * 2
            stores = [SecretStore(mongodb[database_name], each) for each in ciphers]
            secrets = await asyncio.gather(*(store.get("codes") for store in stores))
            assert len(set(secrets)) == 1
            assert len(secrets[0]) == 32
            assert await stores[0].get("refresh") != secrets[0]
            keys = SigningKeyStore(mongodb[database_name], ciphers[0])
            key = StoredKey(1, "k", b"p" * 32, b"q" * 32, active_from=datetime(2026, 11, 22, tzinfo=UTC))
            assert [await keys.insert(key), await keys.insert(key)] == [True, False]
            assert await keys.list_keys() == [key]
            other = local_kms(tmp_path / "other", may_create=True)
            async with aclosing(FieldCipher(mongodb, database_name, other)) as stranger:
                with pytest.raises(EncryptionError):
                    await stranger.decrypt(values[0])

    asyncio.run(work())


def test_the_master_key_is_its_owners_alone(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "key"
    with pytest.raises(MasterKeyError, match="cannot read"):
        local_kms(file, may_create=False)
    made = local_kms(file, may_create=True)
    assert file.stat().st_mode & 0o777 == 0o600
    assert local_kms(file, may_create=True) == made
    assert sorted(path.name for path in file.parent.iterdir()) == ["key"]
    file.chmod(0o640)
    with pytest.raises(MasterKeyError, match="chmod 600"):
        local_kms(file, may_create=False)
    file.chmod(0o600)
    file.write_bytes(b"short")
    with pytest.raises(MasterKeyError, match="96 bytes"):
        local_kms(file, may_create=True)
