"""Open311 over real HTTP: by the clients that others wrote, and by those who mean harm."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree import ElementTree as ET

import httpx
import pytest
from civicbot.http import HttpError, HttpTransport, RateLimiter
from civicbot.open311 import Open311Client
from civicbot.registry import Endpoint
from georeport import GeoReport
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from media_world import some_address
from open311_world import MATTER, SECRETS, Desk, serving_open311

from domain import complaints as c
from domain.open311 import KeyScope

TEXT = "东街口垃圾桶满溢三天，我叫林小明，电话13800138000。"
REDACTED = "东街口垃圾桶满溢三天，我叫〔姓名〕，电话〔电话〕。"
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?\+08:00")


@pytest.fixture(scope="module")
def desk(
    mongodb_uri: str, redis_url: str, module_database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Desk]:
    home = tmp_path_factory.mktemp("open311")
    with serving_open311(mongodb_uri, redis_url, module_database, home) as opened:
        yield opened


@pytest.fixture(scope="module")
def partner(desk: Desk) -> str:
    return desk.key()[1]


def get(desk: Desk, path: str, address: str | None = None, **params: Any) -> httpx.Response:
    headers = {"x-forwarded-for": address or some_address()}
    return desk.http.get(f"/open311/{path}", params=params, headers=headers)


def send(desk: Desk, path: str, form: Mapping[str, Any], **headers: str) -> httpx.Response:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    given.setdefault("x-forwarded-for", some_address())
    return desk.http.post(f"/open311/v2/{path}", data=dict(form), headers=given)


def refused(answer: httpx.Response) -> tuple[int, str]:
    """Give status and code of a refusal in JSON, once its form is right."""
    (row,) = answer.json()
    assert set(row) == {"code", "description"}
    assert row["code"] == answer.status_code
    return answer.status_code, row["description"].partition(":")[0]


def post(desk: Desk, key: str, **changes: Any) -> tuple[str, str]:
    """Post a matter of its own; give its public id and its number."""
    form = {**MATTER, "api_key": key, "description": f"{TEXT}第{time.monotonic_ns()}件", **changes}
    answer = send(desk, "requests.json", form)
    assert answer.status_code == 201, answer.text
    (row,) = answer.json()
    number = re.search(r"\d{13}", row["service_notice"])
    assert number is not None
    return row["service_request_id"], number[0]


def clear(desk: Desk, number: str, text: str = TEXT) -> None:
    desk.step(number, c.Review(is_cleared=True, public_text=text))


def eventually(desk: Desk, request_id: str) -> dict[str, Any]:
    """Give a public request once lists show it, too."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        rows = get(desk, "v2/requests.json", page_size=200).json()
        found = [row for row in rows if row["service_request_id"] == request_id]
        if found:
            return dict(found[0])
        time.sleep(0.1)
    raise AssertionError("never in the list")


# The published JSON schemas of GeoReport v2 (open311/schema-validation) as rules: name -> required, type.
TEXT_OR_NONE = (str, type(None))
SERVICE = {
    "service_code": (True, str),
    "service_name": (True, str),
    "description": (False, TEXT_OR_NONE),
    "metadata": (True, bool),
    "type": (True, str),
    "keywords": (False, TEXT_OR_NONE),
    "group": (False, TEXT_OR_NONE),
}
REQUEST = {
    "service_request_id": (True, str),
    "status": (True, str),
    "status_notes": (False, TEXT_OR_NONE),
    "service_name": (False, TEXT_OR_NONE),
    "service_code": (True, str),
    "description": (False, TEXT_OR_NONE),
    "agency_responsible": (False, TEXT_OR_NONE),
    "service_notice": (False, TEXT_OR_NONE),
    "requested_datetime": (True, str),
    "updated_datetime": (False, TEXT_OR_NONE),
    "expected_datetime": (False, TEXT_OR_NONE),
    "address": (False, TEXT_OR_NONE),
    "address_id": (False, TEXT_OR_NONE),
    "zipcode": (False, TEXT_OR_NONE),
    "lat": (False, (int, float, type(None))),
    "long": (False, (int, float, type(None))),
    "media_url": (False, TEXT_OR_NONE),
}


def check(row: Mapping[str, Any], rules: Mapping[str, tuple[bool, Any]]) -> None:
    assert set(row) == set(rules)
    for name, (required, types) in rules.items():
        assert isinstance(row[name], types), name
        assert not required or row[name] not in (None, ""), name
    for name in row:
        if name.endswith("_datetime") and row[name] is not None:
            assert INSTANT.fullmatch(row[name]), name
    if "status" in row:
        assert row["status"] in ("open", "closed")
        assert len(row["description"]) <= 4000
    if "type" in row:
        assert row["type"] in ("realtime", "batch", "blackbox")


# --- clients that others wrote ----------------------------------------------------------------------------


def test_civicbot_lists_posts_and_reads_back(desk: Desk, partner: str) -> None:
    endpoint = Endpoint("here", "Here", f"{desk.url}/open311/v2", write=True)
    transport = HttpTransport(rate_limiter=RateLimiter(min_interval=0))
    client = Open311Client(endpoint, transport, jurisdiction_id="350100")
    services = client.list_services()
    assert len(services) == 176
    for service in services:
        check(service, SERVICE)
    definition = client.get_service_definition("0101")
    assert [(each["code"], each["required"]) for each in definition["attributes"]] == [
        ("kind", False),
        ("public", False),
    ]
    before = desk.count()
    sent = client.create_request(
        "0101",
        dry_run=False,
        confirm="SEND",
        api_key=partner,
        validate_remote=True,
        lat=26.08,
        lng=119.29,
        description="civicbot：垃圾桶满溢",
        attributes={"kind": "SUGGESTION"},
    )
    (row,) = sent.response
    assert set(row) == {"service_request_id", "service_notice", "account_id"}
    assert "承诺 5 个工作日" in row["service_notice"]
    assert desk.count() == before + 1
    request_id = row["service_request_id"]
    with pytest.raises(HttpError) as unknown:
        client.get_request(request_id)
    assert unknown.value.status == 404
    desk.tend()
    number = re.search(r"\d{13}", row["service_notice"])
    assert number is not None
    clear(desk, number[0], "civicbot：垃圾桶满溢")
    found = client.get_request(request_id)
    assert found is not None
    check(found, REQUEST)
    assert (found["status"], found["description"]) == ("open", "civicbot：垃圾桶满溢")
    assert client.get_token(request_id) == [{"service_request_id": request_id, "token": request_id}]
    eventually(desk, request_id)
    listed = client.list_requests(service_code="0101", status="open", page_size=200)
    assert request_id in [each["service_request_id"] for each in listed]
    assert [
        each["service_request_id"] for each in client.list_requests(service_request_ids=[request_id])
    ] == [request_id]


@pytest.mark.parametrize("form", ["json", "xml"])
def test_georeport_lists_and_reads_what_was_posted(desk: Desk, partner: str, form: str) -> None:
    client = GeoReport(f"{desk.url}/open311/v2/", jurisdiction="350100", output_format=form)
    services = client.get_service_list()
    assert len(services) == 176
    assert services[0]["service_code"] == "0101"
    assert client.get_service_definition("0101")["service_code"] == "0101"
    ids = []
    for _ in range(2):
        request_id, number = post(desk, partner)
        clear(desk, number)
        ids.append(request_id)
        eventually(desk, request_id)
    one = client.get_service_request(ids[0])
    assert (one["service_request_id"], one["description"]) == (ids[0], REDACTED)
    day = timedelta(days=1)
    now = datetime.now(UTC)
    rows = client.get_service_requests(
        service_code="0101",
        status="open",
        start_date=(now - day).isoformat(),
        end_date=(now + day).isoformat(),
    )
    assert {row["service_request_id"] for row in rows} >= set(ids)


# --- what is seen, and by whom ----------------------------------------------------------------------------


def test_a_partner_reads_its_own_without_personal_data_and_nobody_else_does(desk: Desk) -> None:
    _, own = desk.key()
    _, other = desk.key()
    request_id, number = post(desk, own, description=TEXT)
    answer = get(desk, f"v2/requests/{request_id}.json", api_key=own)
    assert answer.headers["cache-control"] == "no-store"
    (row,) = answer.json()
    check(row, REQUEST)
    due = row["expected_datetime"][:10]
    assert row | {"requested_datetime": "", "updated_datetime": "", "expected_datetime": ""} == {
        "service_request_id": request_id,
        "status": "open",
        "status_notes": "已登记",
        "service_name": "垃圾清运",
        "service_code": "0101",
        "description": REDACTED,
        "agency_responsible": None,
        "service_notice": f"承诺 3 个工作日，{due} 前答复",
        "requested_datetime": "",
        "updated_datetime": "",
        "expected_datetime": "",
        "address": "福州市鼓楼区东街口",
        "address_id": None,
        "zipcode": None,
        "lat": 26.087,
        "long": 119.296,
        "media_url": None,
    }
    english = desk.http.get(
        f"/open311/v2/requests/{request_id}.json",
        headers={"x-api-key": own, "accept-language": "en"},
    ).json()[0]
    assert english["service_notice"] == f"3 working days, due {due}"
    assert english["service_name"] == "Waste collection"
    for key in ({}, {"api_key": other}):
        assert refused(get(desk, f"v2/requests/{request_id}.json", **key)) == (404, "UNKNOWN_SERVICE_REQUEST")
        assert refused(get(desk, f"v2/tokens/{request_id}.json", **key)) == (404, "UNKNOWN_SERVICE_REQUEST")
        assert get(desk, "v2/requests.json", service_request_id=request_id, **key).json() == []
    assert refused(get(desk, f"v2/requests/{number}.json", api_key=own)) == (404, "UNKNOWN_SERVICE_REQUEST")
    listed = get(desk, "v2/requests.json", api_key=own).json()
    assert listed[0]["service_request_id"] == request_id
    clear(desk, number)
    (public,) = get(desk, f"v2/requests/{request_id}.json").json()
    check(public, REQUEST)
    assert (public["description"], public["lat"], public["long"]) == (REDACTED, 26.087, 119.296)
    assert public["expected_datetime"] is None
    eventually(desk, request_id)
    everything = [
        answer.text,
        get(desk, "v2/requests.json", page_size=200).text,
        get(desk, "v2/requests.xml", page_size=200, api_key=own).text,
        get(desk, "v2/servicerequestupdates.json", api_key=own).text,
        get(desk, "v2/servicerequestupdates.xml").text,
    ]
    for text in everything:
        assert [secret for secret in SECRETS if secret in text] == []
    assert number not in everything[1]
    assert get(desk, "v2/requests.json").headers["cache-control"] == "public, max-age=30"


def test_what_is_not_to_be_published_cannot_be(desk: Desk, partner: str) -> None:
    _, number = post(desk, partner, **{"attribute[public]": "false"})
    with pytest.raises(c.ComplaintStepNotAllowedError):
        clear(desk, number)


def test_pages_are_disjoint_and_whole(desk: Desk) -> None:
    _, key = desk.key()
    ids = [post(desk, key)[0] for _ in range(5)]
    form = {"api_key": key, "service_request_id": ",".join(ids)}
    assert [row["service_request_id"] for row in get(desk, "v2/requests.json", **form).json()] == ids
    public = {row["service_request_id"] for row in get(desk, "v2/requests.json", page_size=200).json()}
    assert public.isdisjoint(ids)
    pages: list[str] = []
    for page in range(1, 200):
        rows = get(desk, "v2/requests.json", api_key=key, per_page=2, page=page).json()
        pages += [row["service_request_id"] for row in rows]
        assert len(rows) <= 2
        if not rows:
            break
    assert pages[:5] == ids[::-1]
    assert len(set(pages)) == len(pages)
    assert set(pages) == public | set(ids)
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    assert get(desk, "v2/requests.json", api_key=key, start_date=tomorrow).json() == []
    assert get(desk, "v2/requests.json", api_key=key, status="closed").json() == []
    assert len(get(desk, "v2/requests.json", api_key=key, service_code="01", page_size=5).json()) == 5


# --- posting ----------------------------------------------------------------------------------------------


def test_a_repetition_is_the_same_request(desk: Desk, partner: str) -> None:
    before = desk.count()
    form = {**MATTER, "api_key": partner, "description": "重复提交的内容"}
    answers = [send(desk, "requests.json", form) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [201] * 3
    assert len({answer.text for answer in answers}) == 1
    keyed = [
        send(desk, "requests.json", {**form, "description": "另一件"}, Idempotency_Key="partner-0001")
        for _ in range(2)
    ]
    assert keyed[0].json() == keyed[1].json() != answers[0].json()
    other = send(desk, "requests.json", form, Idempotency_Key="partner-0001")
    assert refused(other) == (409, "IDEMPOTENCY_KEY_REUSED")
    assert desk.count() == before + 2


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"service_code": "9999"}, 400, "INVALID_OPEN311_PARAMETER"),
        ({"service_code": "01"}, 400, "INVALID_OPEN311_PARAMETER"),
        ({"service_code": ""}, 400, "INVALID_OPEN311_PARAMETER"),
        ({"description": "   "}, 400, "INVALID_OPEN311_PARAMETER"),
        ({"description": "长" * 2001}, 400, "INVALID_OPEN311_PARAMETER"),
        ({"lat": "", "long": "", "address_string": ""}, 400, "INVALID_OPEN311_PARAMETER"),
        ({"lat": "91"}, 400, "INVALID_OPEN311_PARAMETER"),
        ({"lat": "nan"}, 400, "INVALID_OPEN311_PARAMETER"),
        ({"long": ""}, 400, "INVALID_OPEN311_PARAMETER"),
        ({"phone": "ring me"}, 400, "INVALID_OPEN311_PARAMETER"),
        ({"attribute[kind]": "NOISE"}, 400, "INVALID_OPEN311_PARAMETER"),
        ({"jurisdiction_id": "sfgov.org"}, 404, "UNKNOWN_JURISDICTION"),
        ({"jurisdiction_id": "110000"}, 404, "UNKNOWN_JURISDICTION"),
        ({"jurisdiction_id": "350000"}, 404, "UNKNOWN_JURISDICTION"),
        ({"api_key": ""}, 403, "INVALID_API_KEY"),
        ({"api_key": "nonsense"}, 403, "INVALID_API_KEY"),
    ],
)
def test_what_is_out_of_bounds_changes_nothing(
    desk: Desk, partner: str, changes: dict[str, str], status: int, code: str
) -> None:
    before = desk.count()
    answer = send(desk, "requests.json", {**MATTER, "api_key": partner, **changes})
    assert refused(answer) == (status, code)
    assert desk.count() == before


def test_where_nothing_tells_the_division_it_must_be_named(desk: Desk) -> None:
    _, key = desk.key(division=None)
    form = {**MATTER, "api_key": key}
    assert refused(send(desk, "requests.json", form)) == (400, "JURISDICTION_NEEDED")
    assert send(desk, "requests.json", {**form, "jurisdiction_id": "350102"}).status_code == 201


def test_keys_are_scoped_revoked_and_limited(desk: Desk) -> None:
    reading, text = desk.key(KeyScope.READ)
    before = desk.count()
    assert refused(send(desk, "requests.json", {**MATTER, "api_key": text})) == (403, "INVALID_API_KEY")
    assert get(desk, "v2/requests.json", api_key=text).status_code == 200
    desk.revoke(reading)
    assert refused(get(desk, "v2/requests.json", api_key=text)) == (403, "INVALID_API_KEY")
    _, few = desk.key(per_minute=3)
    statuses = [get(desk, "v2/services.json", api_key=few).status_code for _ in range(4)]
    assert statuses == [200, 200, 200, 429]
    refusal = send(desk, "requests.json", {**MATTER, "api_key": few})
    assert refused(refusal) == (429, "TOO_MANY_REQUESTS")
    assert 0 < int(refusal.headers["retry-after"]) <= 60
    assert desk.count() == before


def test_addresses_are_limited_and_wrong_keys_with_them(desk: Desk) -> None:
    address = some_address()
    statuses = [get(desk, "discovery.json", address).status_code for _ in range(59)]
    statuses.append(get(desk, "discovery.json", address, api_key="guess").status_code)
    assert statuses == [200] * 59 + [403]
    assert get(desk, "discovery.json", address, api_key="guess").status_code == 429


# --- updates ----------------------------------------------------------------------------------------------


def test_updates_reach_the_partner_and_comments_the_desk(desk: Desk, partner: str) -> None:
    start = datetime.now(UTC).isoformat()
    request_id, number = post(desk, partner)
    _, other = desk.key()
    form = {
        "api_key": partner,
        "service_request_id": request_id,
        "update_id": "u-1",
        "description": "还是满的",
    }
    alien = send(desk, "servicerequestupdates.json", {**form, "api_key": other})
    assert refused(alien) == (404, "UNKNOWN_SERVICE_REQUEST")
    first = send(desk, "servicerequestupdates.json", form)
    assert (first.status_code, first.json()) == (201, [{"update_id": f"{request_id}_1"}])
    again = send(desk, "servicerequestupdates.xml", form)
    assert again.text.endswith(
        "<service_request_updates><request_update>"
        f"<update_id>{request_id}_1</update_id></request_update></service_request_updates>"
    )
    del form["update_id"]
    assert send(desk, "servicerequestupdates.json", form).json() == first.json()
    desk.step(number, c.Accept(kind=c.Kind.COMPLAINT, class_code="0101", limit_days=10, limit_rule="r"))
    desk.step(number, c.AnswerDirectly(text="已清运，联系人王大力，电话13900139000。"))
    rows = get(desk, "v2/servicerequestupdates.json", api_key=partner, start_date=start).json()
    mine = [row for row in rows if row["service_request_id"] == request_id]
    assert [(row["update_id"], row["status"], row["description"]) for row in mine] == [
        (f"{request_id}_2", "open", "已受理"),
        (f"{request_id}_3", "closed", mine[1]["description"]),
    ]
    assert mine[1]["description"].startswith("已清运")
    assert "13900139000" not in mine[1]["description"]
    on = mine[1]["updated_datetime"]
    rest = get(desk, "v2/servicerequestupdates.json", api_key=partner, start_date=on).json()
    assert mine[1] in rest
    assert mine[0] not in rest
    (row,) = get(desk, f"v2/requests/{request_id}.json", api_key=partner).json()
    assert (row["status"], row["service_notice"]) == ("closed", None)
    assert request_id not in get(desk, "v2/servicerequestupdates.json", start_date=start).text
    clear(desk, number)
    public = get(desk, "v2/servicerequestupdates.json", start_date=start).json()
    assert [row["status"] for row in public if row["service_request_id"] == request_id] == ["closed"]
    late = send(desk, "servicerequestupdates.json", {**form, "description": "谢谢"})
    assert late.status_code == 201


# --- form -------------------------------------------------------------------------------------------------


def test_discovery_and_errors_in_both_forms(desk: Desk) -> None:
    found = get(desk, "discovery.json").json()
    (endpoint,) = found["endpoints"]
    assert endpoint["url"] == f"{desk.url}/open311/v2"
    assert endpoint["formats"] == ["text/xml", "application/json"]
    answer = get(desk, "v2/discovery")
    assert answer.headers["content-type"] == "text/xml; charset=utf-8"
    root = ET.fromstring(answer.content)
    assert root.tag == "discovery"
    assert [each.text for each in root.iter("format")] == ["text/xml", "application/json"]
    missing = get(desk, "v2/services/9999.xml")
    assert missing.status_code == 404
    errors = ET.fromstring(missing.content)
    assert [errors.tag, errors[0].tag, errors[0][0].tag, errors[0][0].text] == [
        "errors",
        "error",
        "code",
        "404",
    ]
    assert errors.findtext("error/description") == "UNKNOWN_SERVICE: 没有代码为 9999 的服务。"
    assert desk.http.head("/open311/v2/services.json").headers["content-type"].startswith("application/json")
    for path in ("", "v1/services.json", "v2/nothing.json", "v2/requests/a/b.json", "v2/services.json/"):
        assert get(desk, path).status_code == 404
    put = desk.http.put("/open311/v2/requests.json", headers={"x-forwarded-for": some_address()})
    assert (put.status_code, put.headers["allow"]) == (405, "GET, HEAD, POST")
    multipart = desk.http.post("/open311/v2/requests.json", files={"media": b"x"})
    assert refused(multipart) == (400, "INVALID_OPEN311_PARAMETER")
    large = desk.http.post("/open311/v2/requests.json", data={"description": "x" * 70_000})
    assert refused(large) == (413, "BODY_TOO_LARGE")


def test_control_characters_never_break_xml(desk: Desk, partner: str) -> None:
    text = "坏\x00\x0b\x1f\ufffe字<符>&\U0001f600\r\n完"
    request_id, number = post(desk, partner, description=text)
    answer = get(desk, f"v2/requests/{request_id}.xml", api_key=partner)
    assert ET.fromstring(answer.content).findtext("request/description") == "坏字<符>&\U0001f600\n完"
    clear(desk, number, "看\x0b\x00见\ud7ff\ufffe")
    public = get(desk, f"v2/requests/{request_id}.xml")
    assert ET.fromstring(public.content).findtext("request/description") == "看见\ud7ff"


NASTY = st.one_of(
    st.text(max_size=60),
    st.sampled_from(
        ["2026-01-01", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "1e400", "-0", "٣", "\x00"]
    ),
    st.integers().map(str),
    st.floats().map(str),
)
NAMES = st.sampled_from(
    [
        *("service_request_id", "service_code", "start_date", "end_date", "status", "page", "per_page"),
        *("page_size", "jurisdiction_id", "api_key", "lat", "long", "description", "update_id", "phone"),
        *("first_name", "last_name", "address_string", "address_id", "attribute[kind]", "media_url"),
    ]
)
HOSTILE = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@HOSTILE
@given(
    path=st.sampled_from(["requests", "servicerequestupdates", "services", "tokens/x", "requests/x"]),
    params=st.dictionaries(NAMES, NASTY, max_size=5),
    form=st.sampled_from(["json", "xml"]),
)
def test_hostile_parameters_are_refused_in_form(
    desk: Desk, path: str, params: dict[str, str], form: str
) -> None:
    answer = get(desk, f"v2/{path}.{form}", **params)
    assert answer.status_code in (200, 400, 403, 404), answer.text
    if form == "xml":
        ET.fromstring(answer.content)
    else:
        assert isinstance(answer.json(), list)


@HOSTILE
@given(
    params=st.dictionaries(NAMES, NASTY, max_size=6),
    path=st.sampled_from(["requests", "servicerequestupdates"]),
)
def test_hostile_posts_are_refused_in_form(
    desk: Desk, partner: str, params: dict[str, str], path: str
) -> None:
    answer = send(desk, f"{path}.json", {**MATTER, **params, "api_key": partner})
    assert answer.status_code in (201, 400, 404), answer.text
    assert isinstance(answer.json(), list)


@HOSTILE
@given(raw=st.binary(max_size=200))
def test_hostile_bytes_are_refused(desk: Desk, raw: bytes) -> None:
    headers = {"content-type": "application/x-www-form-urlencoded", "x-forwarded-for": some_address()}
    answer = desk.http.post("/open311/v2/requests.json", content=raw, headers=headers)
    assert refused(answer)[0] in (400, 403, 404)
