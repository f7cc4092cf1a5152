"""Companies' agents, in the documents of their accounts, so that every step is one conditional update.

`offers`: `{company, at}` for each appointment that waits to be accepted. An agent has the role AGENT and the
`company_code`; `appointed`: `{at}` where it came by an appointment, missing where an operator gave it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from pymongo import ASCENDING
from pymongo.asynchronous.database import AsyncDatabase

from domain.access import Role
from domain.agencies import MAX_AGENTS, MAX_OFFERS, Agency, AgencyState, CompanyAgent
from store.encryption import FieldCipher

Document = dict[str, Any]
_OF_AGENCY: Final = ("company_code", "appointed", "offers", "phone", "name")


class AgencyStore:
    """Reads and writes what accounts are to companies."""

    def __init__(self, database: AsyncDatabase[Document], cipher: FieldCipher) -> None:
        self._accounts = database["accounts"]
        self._cipher = cipher

    async def ensure_indexes(self) -> None:
        """Make the indexes."""
        for field, name in (("company_code", "company"), ("offers.company", "offers")):
            await self._accounts.create_index([(field, ASCENDING)], name=name, sparse=True)

    async def list_for_account(self, account_id: str) -> list[Agency]:
        """List what an account is to companies: the one it acts for first, then offers, the oldest first."""
        found = await self._accounts.find_one({"_id": account_id, "closed_at": None}, _OF_AGENCY)
        if found is None:
            return []
        offers = [_offer(each) for each in found.get("offers", ())]
        return [_active(found), *offers] if found.get("company_code") else offers

    async def list_for_company(self, company_code: str) -> list[CompanyAgent]:
        """List at most `MAX_AGENTS` agents of a company, and then as many who have not accepted yet."""
        active = self._accounts.find({"company_code": company_code, "closed_at": None}, _OF_AGENCY)
        agents = [
            await self._shown(each, _active(each), named=True) async for each in active.limit(MAX_AGENTS)
        ]
        asked = self._accounts.find({"offers.company": company_code, "closed_at": None}, _OF_AGENCY)
        async for each in asked.limit(MAX_AGENTS):
            offer = next(offer for offer in each["offers"] if offer["company"] == company_code)
            agents.append(await self._shown(each, _offer(offer), named=False))
        return agents

    async def offer(self, account_id: str, company_code: str, *, now: datetime) -> bool:
        """Appoint an account that must accept; False when it has too many offers or is not in use."""
        free = {
            "_id": account_id,
            "closed_at": None,
            "company_code": {"$ne": company_code},
            "offers.company": {"$ne": company_code},
            f"offers.{MAX_OFFERS - 1}": {"$exists": False},
        }
        change = {"$push": {"offers": {"company": company_code, "at": now}}}
        return bool((await self._accounts.update_one(free, change)).matched_count)

    async def accept(self, account_id: str, company_code: str, *, now: datetime) -> bool:
        """Make an account that was appointed act for the company; False: no offer, or it acts for another."""
        offered = {
            "_id": account_id,
            "closed_at": None,
            "offers.company": company_code,
            "company_code": None,
        }
        change = {
            "$pull": {"offers": {"company": company_code}},
            "$set": {"company_code": company_code, "appointed": {"at": now}},
            "$addToSet": {"roles": Role.AGENT.value},
        }
        return bool((await self._accounts.update_one(offered, change)).matched_count)

    async def end(self, account_id: str, company_code: str, *, principals: bool) -> AgencyState | None:
        """End what an account is to a company, and tell what it was; None: nothing.

        Without `principals` whom an operator has named stays.
        """
        # An offer first: gone, it cannot be accepted; if it just was, the second update finds it.
        asked = {"_id": account_id, "offers.company": company_code}
        withdrawn = await self._accounts.update_one(asked, {"$pull": {"offers": {"company": company_code}}})
        if withdrawn.matched_count:
            return AgencyState.OFFERED
        acts: Document = {"_id": account_id, "company_code": company_code}
        if not principals:
            acts["appointed"] = {"$exists": True}
        change = {"$pull": {"roles": Role.AGENT.value}, "$unset": {"company_code": "", "appointed": ""}}
        ended = await self._accounts.update_one(acts, change)
        return AgencyState.ACTIVE if ended.matched_count else None

    async def _shown(self, document: Document, agency: Agency, *, named: bool) -> CompanyAgent:
        phone, name = document.get("phone"), document.get("name") if named else None
        return CompanyAgent(
            document["_id"],
            phone and await self._cipher.decrypt(phone),
            name and await self._cipher.decrypt(name),
            agency,
        )


def _active(document: Document) -> Agency:
    appointed = document.get("appointed")
    since = None if appointed is None else appointed["at"]
    return Agency(document["company_code"], AgencyState.ACTIVE, appointed is None, since)


def _offer(offer: Document) -> Agency:
    return Agency(offer["company"], AgencyState.OFFERED, is_principal=False, since=offer["at"])
