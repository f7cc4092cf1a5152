"""A citizen's way from the first code to the deleted account, over the real application and engines."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from account_world import some_phone
from api_harness import Answer, InProcess

from api.app import create_app
from api.documents import TrustedDocuments
from cli.account import grant
from domain.access import Role
from domain.account import Grant
from settings import Settings
from store.demo_residents import RESIDENTS

COMPANY = "91350100M000100Y43"
RESIDENT, NAME = list(RESIDENTS.items())[2]
SESSION = "accessToken refreshToken assurance session { id isCurrent } userErrors { code field retryAfterS }"


class Citizen:
    """Speaks GraphQL as an app does."""

    def __init__(self, app: InProcess) -> None:
        self.app = app
        self.token: str | None = None

    def ask(self, query: str, **variables: Any) -> Answer:
        headers = {"content-type": "application/json", "accept": "application/graphql-response+json"}
        if self.token is not None:
            headers["authorization"] = f"Bearer {self.token}"
        body = orjson.dumps({"query": query, "variables": variables})
        return self.app.send("POST", body=body, headers=headers)

    def mutate(self, name: str, kind: str, given: dict[str, Any], selection: str) -> Any:
        answer = self.ask(
            f"mutation($input: {kind}!) {{ {name}(input: $input) {{ {selection} }} }}", input=given
        )
        assert answer.codes == [], answer.json
        return answer.json["data"][name]

    def code(self, phone: str) -> str:
        inbox = self.app.send("GET", "/development/sms").json
        text = next(sms["text"] for sms in inbox if sms["phone"] == phone)
        return "".join(character for character in text if character.isdigit())[:6]

    def sign_in(self, phone: str) -> Any:
        given = {"phone": phone}
        sent = self.mutate(
            "requestSignInCode", "RequestSignInCodeInput", given, "isSent expiresInS userErrors { code }"
        )
        assert sent == {"isSent": True, "expiresInS": 300, "userErrors": []}
        given["code"] = self.code(phone)
        signed_in = self.mutate("signIn", "SignInInput", given, SESSION)
        self.token = signed_in["accessToken"]
        return signed_in


@pytest.fixture
def settings(mongodb_uri: str, redis_url: str, database_name: str, tmp_path: Path) -> Settings:
    return Settings.model_validate(
        {
            "home": tmp_path,
            "MONGODB_URI": mongodb_uri,
            "REDIS_URL": redis_url,
            "database": database_name,
            "engine_timeout_ms": 30_000,
            "log_sample": 0,
        }
    )


@pytest.fixture
def app(settings: Settings) -> Iterator[InProcess]:
    with InProcess(create_app(settings, trusted=TrustedDocuments({}))) as running:
        yield running


def test_from_the_first_code_to_the_deleted_account(app: InProcess) -> None:
    phone, citizen = some_phone(), Citizen(app)
    nobody = citizen.ask("{ viewer { account { phone } } }")
    assert (nobody.codes, nobody.json["data"]) == (["UNAUTHENTICATED"], {"viewer": None})
    signed_in = citizen.sign_in(phone)
    assert (signed_in["assurance"], signed_in["session"]["isCurrent"]) == ("L1", True)

    mine = "{ viewer { assurance account { phone name residentId } sessions { id isCurrent endsSoon } } }"
    seen = citizen.ask(mine).json["data"]["viewer"]
    assert seen == {
        "assurance": "L1",
        "account": {"phone": f"{phone[:3]}****{phone[-4:]}", "name": None, "residentId": None},
        "sessions": [{"id": signed_in["session"]["id"], "isCurrent": True, "endsSoon": False}],
    }
    full = "{ viewer { account { phone(full: true) } } }"
    low = citizen.ask(full)
    assert low.codes == ["ASSURANCE_TOO_LOW"]
    assert low.json["errors"][0]["extensions"]["required"] == "L2"
    assert citizen.ask("{ desk { unit } }").codes == ["FORBIDDEN"]
    refused = citizen.mutate(
        "verifyIdentity",
        "VerifyIdentityInput",
        {"name": NAME, "residentId": "350102199001011230"},
        "accessToken userErrors { code field message }",
    )
    assert refused["accessToken"] is None
    assert [(each["code"], each["field"]) for each in refused["userErrors"]] == [
        ("INVALID_RESIDENT_ID", "residentId")
    ]
    verified = citizen.mutate(
        "verifyIdentity", "VerifyIdentityInput", {"name": NAME, "residentId": RESIDENT}, SESSION
    )
    assert (verified["refreshToken"], verified["userErrors"]) == (None, [])
    citizen.token = verified["accessToken"]
    assert citizen.ask(full).json["data"]["viewer"]["account"] == {"phone": phone}

    refreshed = citizen.mutate(
        "refreshSession", "RefreshSessionInput", {"refreshToken": signed_in["refreshToken"]}, SESSION
    )
    assert refreshed["userErrors"] == []
    citizen.token = refreshed["accessToken"]
    citizen.mutate("requestConfirmationCode", "RequestConfirmationInput", {}, "isSent")
    exported = citizen.mutate(
        "exportAccount", "ConfirmationInput", {"code": citizen.code(phone)}, "document userErrors { code }"
    )
    document = orjson.loads(exported["document"])
    assert document["accounts"][0]["resident_id"] == RESIDENT
    assert [each["_id"] for each in document["sessions"]] == [signed_in["session"]["id"]]
    again = citizen.mutate(
        "requestConfirmationCode", "RequestConfirmationInput", {}, "isSent userErrors { code retryAfterS }"
    )
    assert (again["isSent"], again["userErrors"][0]["code"]) == (False, "TOO_MANY_REQUESTS")
    assert again["userErrors"][0]["retryAfterS"] > 0
    wrong = citizen.mutate(
        "deleteAccount", "ConfirmationInput", {"code": "0000000"}, "isDeleted userErrors { code }"
    )
    assert wrong == {"isDeleted": False, "userErrors": [{"code": "INVALID_CODE"}]}
    ended = citizen.ask("mutation { signOut { endedCount sessions { id } userErrors { code } } }")
    assert ended.json["data"]["signOut"] == {"endedCount": 1, "sessions": [], "userErrors": []}


def test_a_company_appoints_an_agent_who_loses_it_at_once(app: InProcess, settings: Settings) -> None:
    head, agent, head_phone, agent_phone = Citizen(app), Citizen(app), some_phone(), some_phone()
    # An operator names the principal before they sign in for the first time.
    app.run(grant(settings, head_phone, Grant(frozenset({Role.CITIZEN, Role.AGENT}), COMPANY)))
    people = list(RESIDENTS.items())
    for citizen, phone, (number, name) in ((head, head_phone, people[0]), (agent, agent_phone, people[1])):
        citizen.sign_in(phone)
        given = {"name": name, "residentId": number}
        citizen.token = citizen.mutate("verifyIdentity", "VerifyIdentityInput", given, SESSION)["accessToken"]
    appoint = ("appointAgent", "AppointAgentInput", {"phone": agent_phone})
    mine = "{ viewer { roles agencies { companyCode state isPrincipal } } }"
    agents = "{ viewer { companyAgents { id phone name state isPrincipal } } }"
    document = "mutation($i: AppointAgentInput!) { appointAgent(input: $i) { agent { id } } }"
    assert agent.ask(document, i=appoint[2]).codes == ["FORBIDDEN"]
    done = head.mutate(*appoint, "agent { phone name state isPrincipal } userErrors { code }")
    masked = f"{agent_phone[:3]}****{agent_phone[-4:]}"
    assert done == {
        "agent": {"phone": masked, "name": None, "state": "OFFERED", "isPrincipal": False},
        "userErrors": [],
    }
    agency = {"companyCode": COMPANY, "state": "OFFERED", "isPrincipal": False}
    assert agent.ask(mine).json["data"]["viewer"] == {"roles": ["CITIZEN"], "agencies": [agency]}
    code = {"companyCode": COMPANY}
    accepted = agent.mutate("acceptAgency", "AgencyInput", code, "accessToken account { companyCode }")
    assert accepted["account"] == code
    assert agent.ask(agents).codes == ["FORBIDDEN"]  # the token from before says nothing of it
    agent.token = accepted["accessToken"]
    seen = agent.ask(mine).json["data"]["viewer"]
    assert seen == {"roles": ["CITIZEN", "AGENT"], "agencies": [agency | {"state": "ACTIVE"}]}
    assert agent.ask(agents).codes == ["MAY_NOT_APPOINT"]
    refused = agent.mutate(*appoint, "agent { id } userErrors { code }")
    assert refused == {"agent": None, "userErrors": [{"code": "MAY_NOT_APPOINT"}]}

    listed = head.ask(agents).json["data"]["viewer"]["companyAgents"]
    found = next(each for each in listed if not each["isPrincipal"])
    assert (found["phone"], found["name"], found["state"]) == (masked, "**" + people[1][1][-1], "ACTIVE")
    dismiss = ("dismissAgent", "DismissAgentInput")
    for wrong in ("nonsense", found["id"][:-4]):
        answer = head.mutate(*dismiss, {"agentId": wrong}, "ended userErrors { code field message }")
        assert (answer["ended"], answer["userErrors"][0]["code"]) == (None, "UNKNOWN_AGENT")
    assert agent.ask(mine).json["data"]["viewer"] == seen
    assert head.mutate(*dismiss, {"agentId": found["id"]}, "ended userErrors { code }") == {
        "ended": "ACTIVE",
        "userErrors": [],
    }
    deadline = time.monotonic() + 5
    while agent.ask(mine).status != 401:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    left = head.ask(agents).json["data"]["viewer"]["companyAgents"]
    assert [each["isPrincipal"] for each in left] == [True]


def test_a_used_refresh_token_ends_the_session_and_a_bad_token_is_401(app: InProcess) -> None:
    citizen = Citizen(app)
    signed_in = citizen.sign_in(some_phone())
    given = {"refreshToken": signed_in["refreshToken"]}
    citizen.mutate("refreshSession", "RefreshSessionInput", given, SESSION)
    replayed = citizen.mutate("refreshSession", "RefreshSessionInput", given, SESSION)
    assert replayed["accessToken"] is None
    assert replayed["userErrors"] == [{"code": "SESSION_ENDED", "field": None, "retryAfterS": None}]
    citizen.token = "x.y.z"
    bad = citizen.ask("{ viewer { assurance } }")
    assert (bad.status, bad.codes) == (401, ["INVALID_TOKEN"])


def test_the_keys_are_published_and_the_inbox_is_development_only(app: InProcess, tmp_path: Path) -> None:
    Citizen(app).sign_in(some_phone())
    published = app.send("GET", "/.well-known/jwks.json")
    assert published.status == 200
    assert [sorted(key) for key in published.json["keys"]] == [["alg", "crv", "kid", "kty", "use", "x"]]
    production = Settings.model_validate({"environment": "production", "home": tmp_path})
    routes = [route.path for route in create_app(production)._routes()]  # type: ignore[attr-defined]
    assert "/.well-known/jwks.json" in routes
    assert "/development/sms" not in routes
