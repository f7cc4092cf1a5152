"""Many citizens who submit complaints over HTTP and try again until they are told that it worked."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from domain.account import Account, Session
from operations.tokens import Issuer, KeyRing, issue
from store.connections import open_mongodb
from store.encryption import FieldCipher, local_kms
from store.signing_keys import SigningKeyStore

SUBMIT = """
mutation Submit($input: SubmitComplaintInput!) {
  submitComplaint(input: $input) { complaint { number } queryCode userErrors { code } }
}
"""
_GIVE_UP_AFTER_S = 120


async def make_tokens(mongodb_uri: str, database: str, home: Path, count: int) -> list[str]:
    """Sign the access tokens of `count` citizens, as the API's own issuer."""
    async with open_mongodb(mongodb_uri, 30_000) as mongodb:
        cipher = FieldCipher(mongodb, database, local_kms(home / "personal.key", may_create=True))
        try:
            ring = KeyRing(SigningKeyStore(mongodb[database], cipher))
            now = datetime.now(UTC)
            return [
                (
                    await issue(
                        ring,
                        Issuer("mintong", "mintong", is_own=True),
                        Account(id=f"citizen-{number}", created_at=now),
                        Session(
                            id=f"session-{number}",
                            account_id=f"citizen-{number}",
                            seed=b"",
                            generation=0,
                            created_at=now,
                            refreshed_at=now,
                            expires_at=now + timedelta(days=1),
                        ),
                        now=now,
                    )
                ).token
                for number in range(count)
            ]
        finally:
            await cipher.aclose()


def matter(key: str, citizen: int) -> dict[str, object]:
    """A matter that tells whose it is."""
    return {
        "idempotencyKey": key,
        "kind": random.choice(["CONSULT", "COMPLAINT", "SUGGESTION", "HELP"]),
        "text": f"第{citizen}位市民的第{key}件事：路灯不亮，已经报修三次。",
        "divisionCode": "350102",
        "contact": "PHONE_ONLY",
        "phone": "13800138000",
    }


class Citizens:
    """Submits `each` complaints for every token; `acknowledged` are number and key of those that were.

    After each one a connection rests for up to `pause_s`.
    """

    def __init__(self, url: str, tokens: Sequence[str], each: int, pause_s: float) -> None:
        self._url = url
        self._tokens = tokens
        self._each = each
        self._pause_s = pause_s
        self.acknowledged: dict[str, str] = {}
        self.tries: Counter[str] = Counter()

    async def submit_all(self, connections: int) -> None:
        """Go on until everything is acknowledged."""
        work = [(citizen, turn) for turn in range(self._each) for citizen in range(len(self._tokens))]
        waiting = iter(work)
        async with httpx.AsyncClient(trust_env=False, timeout=10) as client:

            async def one_after_another() -> None:
                for citizen, turn in waiting:
                    await self._submit(client, citizen, f"matter-{citizen}-{turn}")
                    await asyncio.sleep(random.uniform(0, self._pause_s))

            await asyncio.gather(*(one_after_another() for _ in range(connections)))

    async def _submit(self, client: httpx.AsyncClient, citizen: int, key: str) -> None:
        body = {"query": SUBMIT, "variables": {"input": matter(key, citizen)}}
        # What is sent again must be the same matter.
        headers = {"authorization": f"Bearer {self._tokens[citizen]}"}
        async with asyncio.timeout(_GIVE_UP_AFTER_S):
            number = await self._try(client, body, headers)
            while number is None:
                await asyncio.sleep(random.uniform(0.05, 0.3))
                number = await self._try(client, body, headers)
        assert number not in self.acknowledged, "one number for two matters"
        self.acknowledged[number] = key

    async def _try(
        self, client: httpx.AsyncClient, body: dict[str, object], headers: dict[str, str]
    ) -> str | None:
        try:
            answer = await client.post(self._url, json=body, headers=headers)
        except httpx.HTTPError as error:
            self.tries[type(error).__name__] += 1
            return None
        payload = (answer.json().get("data") or {}).get("submitComplaint")
        if payload is None:
            codes = [error.get("extensions", {}).get("code") for error in answer.json().get("errors", [])]
            self.tries[f"{answer.status_code} {codes}"] += 1
            return None
        assert payload["userErrors"] == [], payload
        self.tries["acknowledged"] += 1
        return str(payload["complaint"]["number"])
