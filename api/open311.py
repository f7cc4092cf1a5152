"""`/open311`: GeoReport v2 for partners and their clients, in XML and JSON; docs/open311.md says the rest.

Everybody reads what was cleared for publication; a key reads what came with it as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final
from urllib.parse import parse_qs

from msgspec import Struct

from api.cors import Cors
from api.errors import RequestError
from api.exchange import ClientGoneError, Exchange, Headers, Receive, Scope, Send, read_body
from api.media import respond
from api.open311_answers import CONTENT_TYPES, XML, encode, refuse
from domain.complaint_publication import PublicComplaint
from domain.open311 import (
    MAX_ROWS,
    ApiKey,
    Form,
    InvalidOpen311Error,
    UnknownEndpointError,
    UnknownJurisdictionError,
    UnknownServiceError,
    UnknownServiceRequestError,
    Wanted,
    one,
    read_comment,
    read_jurisdiction,
    read_new,
    read_page,
    read_request_id,
    read_span,
    read_wanted,
)
from domain.open311_views import (
    Names,
    Row,
    show_definition,
    show_instant,
    show_public,
    show_public_update,
    show_service,
)
from domain.units import lineage
from loaders.catalogue_snapshot import CatalogueSnapshot
from loaders.open311 import DivisionFinder, changes, newest
from loaders.public_complaints import PublicComplaints
from loaders.units import Units
from operations.open311 import (
    Open311,
    admit,
    comment,
    notice,
    post,
    show_by_ids,
    show_newest,
    show_updates,
)
from resolvers.context import Language
from store.units import CLASSES

_SPECIFICATION: Final = "http://wiki.open311.org/GeoReport_v2"
_SHIPPED_AT: Final = datetime(2026, 11, 22, tzinfo=UTC)
"""When the classes were shipped that serve until an operator brings others."""
_MAX_QUERY_BYTES: Final = 8_192
_MAX_BODY_BYTES: Final = 65_536
_MAX_FIELDS: Final = 100
_BODY_S: Final = 20.0
_FORM: Final = "application/x-www-form-urlencoded"
_HOST: Final = re.compile(rb"[A-Za-z0-9.\-]{1,253}(:\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:\d{1,5})?")
_PARTS: Final = re.compile(r"(discovery|v2/[a-z]+)(?:/([^/]{1,64}?))?(?:\.(xml|json))?")
_IDEMPOTENCY_KEY: Final = re.compile(r"[\x21-\x7e]{8,64}")
_LISTS: Final = "public, max-age=300"
_REQUESTS: Final = "public, max-age=30"
_PRIVATE: Final = "no-store"


class Serving(Struct, frozen=True):
    """What answers come from, as a process has it open."""

    open311: Open311
    public: PublicComplaints
    units: Units
    snapshot: CatalogueSnapshot | None


class Discovery(Struct, frozen=True):
    """What discovery says: the endpoint's public address (None: as the client called it), whom to ask."""

    url: str | None
    contact: str
    is_production: bool


class Call(Struct, frozen=True):
    """One call, read: its parameters, whose it is, in which words it is answered."""

    serving: Serving
    form: Form
    headers: Mapping[bytes, bytes]
    scheme: str
    key: ApiKey | None
    names: Names
    now: datetime


class Answer(Struct, frozen=True):
    """Rows, or one row, and the name of XML's root."""

    root: str
    value: Any
    cached: str = _PRIVATE
    status: int = 200


class Open311Api:
    """The ASGI application below `/open311`."""

    def __init__(
        self,
        serving: Callable[[], Serving],
        address_of: Callable[[Scope], str],
        discovery: Discovery,
        *,
        cors: Cors,
    ) -> None:
        self._serving = serving
        self._address_of = address_of
        self._discovery = discovery
        self._cors = cors
        self._finder = DivisionFinder()
        self._gets = {
            "discovery": self._discover,
            "v2/discovery": self._discover,
            "v2/services": self._services,
            "v2/requests": self._requests,
            "v2/tokens": self._token,
            "v2/servicerequestupdates": self._updates,
        }
        self._posts = {"v2/requests": self._post, "v2/servicerequestupdates": self._comment}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        exchange = Exchange(scope["headers"])
        if scope["method"] == "OPTIONS":
            await respond(send, 204, list(self._cors.preflight(scope["headers"])), b"")
            return
        matched = _PARTS.fullmatch(scope["path_params"]["path"])
        format_ = (matched and matched[3]) or XML
        headers: Headers = []
        try:
            answer = await self._answer(scope, receive, exchange, matched)
            status, body = answer.status, encode(answer.root, answer.value, format_)
            headers.append((b"cache-control", answer.cached.encode()))
        except ClientGoneError:
            return
        except Exception as error:  # noqa: BLE001 — worded or masked, and logged, by `refuse`
            status, rows, more = refuse(error, exchange.language, exchange.request_id)
            body = encode("errors", rows, format_)
            headers += [(b"cache-control", _PRIVATE.encode()), *more]
            if isinstance(error, RequestError):
                headers.append((b"connection", b"close"))  # a body may be left unread
        headers += self._common(exchange, format_)
        if scope["method"] == "HEAD":
            headers.append((b"content-length", str(len(body)).encode()))
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
            return
        await respond(send, status, headers, body)

    def _common(self, exchange: Exchange, format_: str) -> Headers:
        headers: Headers = [
            (b"content-type", CONTENT_TYPES[format_]),
            (b"vary", b"accept-language, origin"),
            (b"x-request-id", exchange.request_id.encode("ascii")),
        ]
        if exchange.origin is not None:
            headers += self._cors.headers(exchange.origin)
        return headers

    async def _answer(
        self, scope: Scope, receive: Receive, exchange: Exchange, matched: re.Match[str] | None
    ) -> Answer:
        resource, item = (matched[1], matched[2]) if matched else ("", None)
        if resource not in self._gets or (item and resource not in _WITH_ITEMS):
            raise UnknownEndpointError
        posts = scope["method"] == "POST"
        if not posts and scope["method"] not in ("GET", "HEAD"):
            raise RequestError("METHOD_NOT_ALLOWED", allow="GET, HEAD, POST")
        if posts and (item or resource not in self._posts):
            raise RequestError("METHOD_NOT_ALLOWED", allow="GET, HEAD")
        form = _parse(scope["query_string"], _MAX_QUERY_BYTES)
        if posts:
            form |= _parse(await _read_form(exchange, receive), _MAX_BODY_BYTES)
        serving = self._serving()
        headers = dict(scope["headers"])
        text = one(form, "api_key") or headers.get(b"x-api-key", b"").decode("latin-1") or None
        key = await admit(serving.open311, text, self._address_of(scope), writes=posts)
        call = Call(
            serving=serving,
            form=form,
            headers=headers,
            scheme=scope["scheme"],
            key=key,
            names=_names(serving, exchange.language),
            now=datetime.now(UTC),
        )
        _check_jurisdiction(call)
        return await (self._posts if posts else self._gets)[resource](call, item)

    # --- reading ------------------------------------------------------------------------------------------

    async def _discover(self, call: Call, _: str | None) -> Answer:
        changed = await call.serving.units.store.reference.changed_at(CLASSES) or _SHIPPED_AT
        url, cached = self._discovery.url, _LISTS
        if url is None:  # whatever the client calls this host is for this client alone
            host = call.headers.get(b"host", b"")
            name = host.decode() if _HOST.fullmatch(host) else "localhost"
            url, cached = f"{call.scheme}://{name}/open311/v2", _PRIVATE
        changeset = show_instant(changed)
        endpoint = {
            "specification": _SPECIFICATION,
            "url": url,
            "changeset": changeset,
            "type": "production" if self._discovery.is_production else "test",
            "formats": ["text/xml", "application/json"],
        }
        value = {
            "changeset": changeset,
            "contact": self._discovery.contact,
            "key_service": self._discovery.contact,
            "endpoints": [endpoint],
        }
        return Answer("discovery", value, cached)

    async def _services(self, call: Call, code: str | None) -> Answer:
        classes = call.names.classes
        if code is None:
            rows = [show_service(each, call.names) for each in classes.all if each.parent_code is not None]
            return Answer("services", rows, _LISTS)
        found = classes.find(code)
        if found is None or found.parent_code is None:
            raise UnknownServiceError(code=code[:20])
        return Answer("service_definition", show_definition(found, call.names), _LISTS)

    async def _requests(self, call: Call, request_id: str | None) -> Answer:
        if request_id is not None:
            return Answer("service_requests", [await _one(call, request_id)], _cached(call))
        wanted = read_wanted(call.form, now=call.now)
        if wanted.ids:
            rows = await _by_ids(call, tuple(each for each in wanted.ids if _is_id(each)))
        else:
            rows = await _newest(call, wanted)
        return Answer("service_requests", rows, _cached(call))

    async def _token(self, call: Call, token: str | None) -> Answer:
        """Answer for clients that always ask with a token: every id is its own."""
        row = await _one(call, token or "")
        shown = {"service_request_id": row["service_request_id"], "token": token}
        return Answer("service_requests", [shown], _cached(call))

    async def _updates(self, call: Call, _: str | None) -> Answer:
        start, end = read_span(call.form, now=call.now)
        skip, first = read_page(call.form)
        found: list[tuple[datetime, Row]] = []
        own = set()
        if call.key is not None:
            found += await show_updates(call.serving.open311, call.key, start, end, skip + first, call.names)
        public = await changes(call.serving.public, start, end, skip + first)
        if call.key is not None:
            ids = [change.id for change in public]
            own = set(await call.serving.open311.requests.list_by_ids(call.key.id, ids))
        found += [
            (change.changed_at, show_public_update(change.shown, call.names, at=change.changed_at))
            for change in public
            if change.shown is not None and change.id not in own
        ]
        found.sort(key=lambda pair: (pair[0], pair[1]["update_id"]))
        rows = [row for _, row in found[skip : skip + first]]
        return Answer("service_request_updates", rows, _cached(call))

    # --- writing ------------------------------------------------------------------------------------------

    async def _post(self, call: Call, _: str | None) -> Answer:
        new = read_new(call.form)
        given = call.headers.get(b"idempotency-key", b"").decode("latin-1") or one(
            call.form, "idempotency_key"
        )
        if given is not None and not _IDEMPOTENCY_KEY.fullmatch(given):
            raise InvalidOpen311Error(name="Idempotency-Key", expected="8 to 64 visible ASCII characters")
        division = self._finder.find(call.serving.snapshot, new.address) if new.address else None
        open311 = call.serving.open311
        posted = await post(open311, _key(call), new, division, given, now=call.now)
        row = {
            "service_request_id": posted.id,
            "service_notice": notice(open311, posted, call.names, now=call.now),
            "account_id": None,
        }
        return Answer("service_requests", [row], status=201)

    async def _comment(self, call: Call, _: str | None) -> Answer:
        update_id = await comment(call.serving.open311, _key(call), read_comment(call.form), now=call.now)
        return Answer("service_request_updates", [{"update_id": update_id}], status=201)


_WITH_ITEMS: Final = frozenset({"v2/services", "v2/requests", "v2/tokens"})


def _key(call: Call) -> ApiKey:
    if call.key is None:
        raise RuntimeError("a write was admitted without a key")
    return call.key


def _cached(call: Call) -> str:
    return _REQUESTS if call.key is None else _PRIVATE


def _is_id(text: str) -> bool:
    try:
        read_request_id(text)
    except UnknownServiceRequestError:
        return False
    return True


async def _one(call: Call, request_id: str) -> Row:
    rows = await _by_ids(call, (read_request_id(request_id),))
    if not rows:
        raise UnknownServiceRequestError(id=request_id)
    return rows[0]


async def _by_ids(call: Call, ids: tuple[str, ...]) -> list[Row]:
    """Show requests in the order of their ids; a partner's own as it alone may see them."""
    open311, names = call.serving.open311, call.names
    shown = {each.id: show_public(each, names) for each in await _public(call.serving.public, ids)}
    if call.key is not None:
        shown |= await show_by_ids(open311, call.key, ids, names, now=call.now)
    return [shown[each] for each in ids if each in shown]


async def _public(public: PublicComplaints, ids: tuple[str, ...]) -> list[PublicComplaint]:
    return list((await public.store.list_by_ids(ids)).values())


async def _newest(call: Call, wanted: Wanted) -> list[Row]:
    """Show one page: first what came with the key, then what others brought."""
    rows: list[Row] = []
    passed = 0
    if call.key is not None:
        open311 = call.serving.open311
        passed, rows = await show_newest(open311, call.key, wanted, call.names, now=call.now)
    public = newest(call.serving.public, wanted)
    end, read = wanted.skip + wanted.first, 0
    while passed < end and read < MAX_ROWS:
        some = list(islice(public, 50))
        read += len(some)
        own: set[str] = set()
        if call.key is not None:
            ids = [each.id for each in some]
            own = set(await call.serving.open311.requests.list_by_ids(call.key.id, ids))
        for each in some:
            if each.id in own or passed >= end:
                continue
            if passed >= wanted.skip:
                rows.append(show_public(each, call.names))
            passed += 1
        if len(some) < 50:
            break
    return rows


def _check_jurisdiction(call: Call) -> None:
    """Raises: UnknownJurisdictionError for a division that nobody here serves."""
    division = read_jurisdiction(call.form)
    if division is not None and not call.serving.open311.complaints.is_division(division):
        raise UnknownJurisdictionError(id=division)


def _names(serving: Serving, language: Language) -> Names:
    is_english = language == "en"

    def unit(unit_id: str) -> str | None:
        found = serving.units.tree.find(unit_id)
        return None if found is None else (is_english and found.name_en) or found.name

    def place(code: str) -> str | None:
        if serving.snapshot is None:
            return None
        found = [serving.snapshot.division(each) for each in reversed(lineage(code))]
        return "".join(each.name for each in found if each is not None) or None

    return Names(serving.units.classes, unit, place, is_english)


async def _read_form(exchange: Exchange, receive: Receive) -> bytes:
    media_type = (exchange.content_type or "").partition(";")[0].strip().lower()
    if media_type != _FORM or exchange.content_encoding not in (None, b"identity"):
        raise InvalidOpen311Error(name="Content-Type", expected=_FORM)
    return await read_body(receive, exchange.content_length, _MAX_BODY_BYTES, _BODY_S)


def _parse(raw: bytes, most: int) -> dict[str, list[str]]:
    """Read parameters. Raises: InvalidOpen311Error for what is no UTF-8, too long or too many."""
    if len(raw) > most:
        raise InvalidOpen311Error(name="query", expected=f"at most {most} bytes")
    try:
        text = raw.decode("ascii")
        return parse_qs(text, encoding="utf-8", errors="strict", max_num_fields=_MAX_FIELDS)
    except ValueError:
        expected = f"at most {_MAX_FIELDS} parameters in UTF-8, percent-encoded"
        raise InvalidOpen311Error(name="form", expected=expected) from None
