"""The composition root of an API process: settings in, an ASGI application out."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Hashable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from types import FrameType
from typing import Final, get_args

import orjson
import strawberry
import structlog
from pymongo.errors import PyMongoError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from api.client_address import client_address, current_scope, networks
from api.compiled import CompiledExecution, versions_of
from api.cors import Cors
from api.direct import DirectAnswers
from api.documents import AutomaticDocuments, TrustedDocuments, document_hash
from api.errors import RequestError, word_refusal
from api.exchange import SECURITY_HEADERS, Message, Receive, Scope, Send, request_id_from
from api.execution import Preparer
from api.graphiql import GraphiQL
from api.graphql_http import GraphQLOverHTTP, HttpLimits
from api.health import Health
from api.identity import keep_identity
from api.limits import Limits
from api.lookup import Lookup
from api.media import MediaUploads
from api.media_body import Pace
from api.media_files import MediaReading
from api.metrics import CONTENT_TYPE, Metrics, render
from api.negotiation import accepts_html
from api.open311 import Discovery, Open311Api, Serving
from api.ready import ReadyAnswers
from api.resources import Resources, open_resources
from api.views import Views
from api.websocket import GraphQLOverWebSocket, LiveLimits
from domain.access import Viewer
from engine.responses import ResponseCache, SharedStore
from loaders.catalogue import Catalogue
from notifications.channels.sms import DevelopmentSms
from notifications.live import LiveHub
from operations.media import Attachments
from resolvers.context import Context, Language
from resolvers.schema import schema as house_schema
from settings import Settings
from store.shared_answers import SharedAnswers

log = structlog.get_logger(__name__)

GRAPHQL_PATH: Final = "/graphql"
_RESTART_S: Final = 5.0
_STOP_S: Final = 2.0
_FLUSH_S: Final = 1.0
# A balancer asks every second or two: that long `/readyz` says no before the listener closes.
_NOTICE_S: Final = 2.0
_WORDS: Final = {language: partial(word_refusal, language=language) for language in get_args(Language)}

OpenResources = Callable[[Settings], AbstractAsyncContextManager[Resources]]


class Application:
    """The ASGI application: `/graphql` at once, everything else through starlette."""

    def __init__(
        self, settings: Settings, schema: strawberry.Schema, trusted: TrustedDocuments, opener: OpenResources
    ) -> None:
        self._settings = settings
        self._open_resources = opener
        self._resources: Resources | None = None
        self._health: Health | None = None
        self._automatic: AutomaticDocuments | None = None
        self._views: Views | None = None
        self._graphiql = GraphiQL() if settings.serves_graphiql else None
        self._metrics = Metrics()
        self._proxies = networks(settings.trusted_proxies)
        self._hub: LiveHub | None = None
        shared = self._shared_answers(schema) if settings.shared_responses else None
        preparer = make_preparer(settings, schema, self._metrics.error, shared)
        only = settings.trusted_documents_only
        lookup = Lookup(preparer, trusted, self._automatic_documents, trusted_only=only)
        self._metrics.register(lookup.prepare_trusted())
        caches = {"responses": preparer.responses, "fragments": preparer.fragments}
        self._caches = {name: cache for name, cache in caches.items() if cache is not None}
        self._graphql = self._build_graphql(lookup, preparer.responses)
        self._websocket = self._build_websocket(lookup)
        self.direct = DirectAnswers(self._graphql)
        """What answers at `/graphql`; also for `api.http_protocol`."""
        self._starlette = Starlette(routes=self._routes(), lifespan=self._lifespan)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection of any protocol."""
        current_scope.set(scope)
        if scope["type"] == "websocket" and scope["path"] == GRAPHQL_PATH:
            await self._websocket(scope, receive, send)
        elif scope["type"] != "http":
            await self._starlette(scope, receive, send)
        elif scope["path"] == GRAPHQL_PATH and not self._wants_page(scope):
            await self.direct(scope, receive, send)
        else:
            await self._starlette(scope, receive, _with_headers(scope, send))

    def _build_graphql(self, lookup: Lookup, responses: ResponseCache | None) -> GraphQLOverHTTP:
        settings = self._settings
        return GraphQLOverHTTP(
            lookup,
            self._make_context,
            self._authenticate,
            limits=HttpLimits(
                max_body_bytes=settings.max_body_bytes,
                body_timeout_s=settings.execution_timeout_s,
                log_sample=settings.log_sample,
                explains=not settings.is_production,
            ),
            metrics=self._metrics,
            cors=Cors(settings.cors_origins),
            responses=responses,
            ready=None if responses is None else ReadyAnswers(responses, self._versions),
        )

    def _versions(self) -> Hashable:
        resources = self._resources
        return None if resources is None else versions_of(resources.catalogue.current)

    def _build_websocket(self, lookup: Lookup) -> GraphQLOverWebSocket:
        settings = self._settings
        return GraphQLOverWebSocket(
            lookup,
            self._live_hub,
            self._make_context,
            self._authenticate,
            limits=LiveLimits(
                max_connections=settings.live_connections,
                max_operations=settings.live_operations,
                init_timeout_s=settings.live_init_s,
                idle_s=settings.live_idle_s,
                send_timeout_s=settings.live_send_s,
                leave_s=settings.execution_timeout_s,
                log_sample=settings.log_sample,
            ),
            metrics=self._metrics,
            cors=Cors(settings.cors_origins),
        )

    def _live_hub(self) -> LiveHub:
        if self._hub is None:
            raise RequestError("NOT_READY")
        return self._hub

    def _shared_answers(self, schema: strawberry.Schema) -> SharedAnswers:
        """Share answers with processes that have the same data and the same schema."""
        namespace = f"{self._settings.database}:{document_hash(schema.as_str())[:16]}"
        return SharedAnswers(lambda: self._resources.redis if self._resources else None, namespace)

    def _automatic_documents(self) -> AutomaticDocuments:
        if self._automatic is None:
            raise RequestError("NOT_READY")
        return self._automatic

    async def _authenticate(self, authorization: bytes) -> Viewer:
        resources = self._resources
        if resources is None:
            raise RequestError("NOT_READY")
        if resources.authenticator is None:
            raise RequestError("INVALID_TOKEN")
        return await resources.authenticator.authenticate(authorization)

    def _make_context(self, language: Language, request_id: str, viewer: Viewer | None) -> Context:
        resources, views = self._resources, self._views
        if resources is None or views is None:
            raise RequestError("NOT_READY")
        catalogue = resources.catalogue
        return Context(
            catalogue=catalogue.current,
            catalogue_freshness=catalogue.freshness,
            views=views,
            language=language,
            request_id=request_id,
            now=datetime.now(UTC),
            viewer=viewer,
            opened=resources.stores,
            hub=self._hub,
            word=_WORDS[language],
            client_address=partial(client_address, current_scope.get(), self._proxies),
        )

    # --- life ---------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        settings = self._settings
        async with self._open_resources(settings) as resources:
            views = Views(resources.write_views)
            health = Health(resources.catalogue, resources.probes, settings.engine_timeout_ms / 1000)
            self._automatic = AutomaticDocuments(resources.redis)
            self._resources, self._views, self._health = resources, views, health
            self._hub = hub = LiveHub(resources.redis, observe=self._metrics.live_hub)
            jobs: dict[str, Callable[[], Awaitable[None]]] = {
                "catalogue": resources.catalogue.run,
                "views": lambda: views.run(settings.view_flush_s),
                "live": hub.run,
                "sessions": self._websocket.run,
                "gauges": lambda: self._observe_snapshot(resources.catalogue),
                "counts": self._flush_counts,
            }
            if resources.ended is not None:
                jobs["ended sessions"] = resources.ended.run
            if resources.follower is not None:
                jobs["reference"] = resources.follower.run
            if (stores := resources.stores) is not None:
                if stores.public_complaints is not None:
                    jobs["public complaints"] = stores.public_complaints.run
                if stores.statistics is not None:
                    jobs["complaint statistics"] = stores.statistics.sums.run
                jobs["identity"] = lambda: keep_identity(stores.identity, stores.personal)
            tasks = [asyncio.create_task(_keep_running(name, run), name=name) for name, run in jobs.items()]
            # What lives now lives for the whole process: the collector need not look at it again.
            gc.collect()
            gc.freeze()
            try:
                with draining_on_sigterm(health, settings.drain_s):
                    yield
            finally:
                await _stop(tasks)
                await views.flush(now=datetime.now(UTC))
                self._metrics.flush()
                self._resources = self._views = self._automatic = self._health = self._hub = None
                gc.unfreeze()

    async def _flush_counts(self) -> None:
        while True:
            self._count()
            await asyncio.sleep(_FLUSH_S)

    def _count(self) -> None:
        self._metrics.flush()
        for name, cache in self._caches.items():
            self._metrics.cache(name, cache)

    async def _observe_snapshot(self, catalogue: Catalogue) -> None:
        while True:
            freshness, snapshot = catalogue.freshness(), catalogue.current
            if freshness is not None and snapshot is not None:
                self._metrics.snapshot(
                    version=freshness.version,
                    age_s=(datetime.now(UTC) - freshness.built_at).total_seconds(),
                    items=sum(category.item_count for category in snapshot.categories),
                )
            await asyncio.sleep(self._settings.snapshot_poll_s)

    # --- everything beside /graphql -----------------------------------------------------------------------

    def _routes(self) -> list[BaseRoute]:
        routes: list[BaseRoute] = [
            Route("/healthz", self._healthz),
            Route("/readyz", self._readyz),
            Route("/metrics", self._metrics_page),
            Route("/.well-known/jwks.json", self._key_set),
            *self._media_routes(),
            self._open311_route(),
        ]
        if self._graphiql is not None:
            routes.append(Route(GRAPHQL_PATH, self._graphiql.page))
            routes.append(Route("/graphiql/{name}", self._graphiql.asset))
            routes.append(Route("/", self._to_page))
        if not self._settings.is_production:
            routes.append(Route("/development/sms", self._development_inbox))
        return routes

    def _media_routes(self) -> list[BaseRoute]:
        cors = Cors(self._settings.cors_origins)
        uploads = MediaUploads(
            self._attachments,
            self._authenticate,
            lambda scope: client_address(scope, self._proxies),
            metrics=self._metrics,
            cors=cors,
            pace=Pace(total_s=self._settings.upload_timeout_s),
        )
        reading = MediaReading(self._attachments, cors=cors)
        return [
            Route("/media", uploads),
            Route("/media/{media_id}", reading),
            Route("/media/{media_id}/{variant}", reading),
        ]

    def _open311_route(self) -> Route:
        settings = self._settings
        served = Open311Api(
            self._serving_open311,
            lambda scope: client_address(scope, self._proxies),
            Discovery(settings.open311_url, settings.open311_contact, settings.is_production),
            cors=Cors(settings.cors_origins),
        )
        return Route("/open311/{path:path}", served)

    def _serving_open311(self) -> Serving:
        resources = self._resources
        stores = None if resources is None else resources.stores
        if resources is None or stores is None or stores.open311 is None:
            raise RequestError("NOT_READY")
        if stores.public_complaints is None or stores.units is None:
            raise RequestError("NOT_READY")
        catalogue = resources.catalogue.current
        return Serving(stores.open311, stores.public_complaints, stores.units, catalogue)

    def _attachments(self) -> Attachments:
        resources = self._resources
        if resources is None or resources.stores is None or resources.stores.media is None:
            raise RequestError("NOT_READY")
        return resources.stores.media

    def _wants_page(self, scope: Scope) -> bool:
        if self._graphiql is None or scope["method"] not in ("GET", "HEAD"):
            return False
        if scope["method"] == "HEAD":
            return True
        accept = next((value for name, value in scope["headers"] if name == b"accept"), b"")
        parameters = scope["query_string"]
        names_operation = any(name in parameters for name in (b"query=", b"documentId=", b"extensions="))
        return accepts_html(accept.decode("latin-1")) and not names_operation

    async def _healthz(self, _: Request) -> Response:
        return _json({"alive": True})

    async def _readyz(self, _: Request) -> Response:
        health = self._health
        if health is None:
            return _json({"ready": False, "missing": ["startup"]}, 503)
        readiness = await health.check()
        return _json(readiness.report, 200 if readiness.is_ready else 503)

    async def _metrics_page(self, _: Request) -> Response:
        self._count()
        return Response(await asyncio.to_thread(render), headers={"content-type": CONTENT_TYPE})

    async def _key_set(self, _: Request) -> Response:
        resources = self._resources
        if resources is None or resources.stores is None:
            return _json({"keys": []}, 503)
        try:
            keys = await resources.stores.identity.ring.key_set(now=datetime.now(UTC))
        except PyMongoError as error:
            log.warning("jwks.engine_unavailable", error=type(error).__name__)
            return _json({"keys": []}, 503)
        headers = {"content-type": "application/json", "cache-control": "public, max-age=300"}
        return Response(orjson.dumps(keys), headers=headers)

    async def _development_inbox(self, _: Request) -> Response:
        resources = self._resources
        if resources is None:
            return _json([], 503)
        sent = await DevelopmentSms(resources.redis, production=self._settings.is_production).list_sent()
        return _json([{"phone": sms.phone, "text": sms.text, "sentAt": sms.sent_at} for sms in sent])

    async def _to_page(self, _: Request) -> Response:
        return RedirectResponse(GRAPHQL_PATH, 307)


def create_app(
    settings: Settings,
    *,
    schema: strawberry.Schema | None = None,
    trusted: TrustedDocuments | None = None,
    opener: OpenResources = open_resources,
) -> Application:
    """Build the application of one process; nothing is opened before its lifespan starts.

    `schema` and `trusted` default to the house's own.
    """
    return Application(
        settings,
        schema if schema is not None else house_schema,
        trusted if trusted is not None else TrustedDocuments.load(),
        opener,
    )


def make_preparer(
    settings: Settings,
    schema: strawberry.Schema,
    observe_error: Callable[[str], None],
    shared: SharedStore | None = None,
) -> Preparer:
    """Make what prepares documents, with the limits, the engine and the caches that the settings ask for."""
    front: CompiledExecution | None = None
    if settings.compiled_execution:
        front = CompiledExecution(
            schema,
            fragment_bytes=settings.fragment_cache_bytes,
            response_bytes=settings.response_cache_bytes,
            shared=shared,
        )
    return Preparer(
        schema,
        Limits(
            max_tokens=settings.max_tokens,
            max_depth=settings.max_depth,
            max_aliases=settings.max_aliases,
            max_cost=settings.max_cost,
            max_list=settings.max_list_variable,
            max_variable_depth=settings.max_variable_depth,
        ),
        timeout_s=settings.execution_timeout_s,
        introspection=settings.allows_introspection,
        observe_error=observe_error,
        front=front,
    )


@contextlib.contextmanager
def draining_on_sigterm(health: Health, drain_s: float) -> Iterator[None]:
    """On SIGTERM let `/readyz` say no for a moment, then pass the signal on to the server.

    A second SIGTERM is passed on at once. Outside the main thread, where no signal can be caught, this does
    nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    server = signal.getsignal(signal.SIGTERM)

    def pass_on(number: int, frame: FrameType | None) -> None:
        if callable(server):
            server(number, frame)
        else:
            signal.signal(number, server)
            signal.raise_signal(number)

    def handle(number: int, frame: FrameType | None) -> None:
        if health.is_draining:
            pass_on(number, frame)
            return
        health.is_draining = True
        log.info("draining", drain_s=drain_s)
        loop.call_soon_threadsafe(loop.call_later, notice_s(drain_s), pass_on, number, None)

    signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, server)


def notice_s(drain_s: float) -> float:
    """Give how many of the seconds for draining `/readyz` says no before the listener closes."""
    return min(_NOTICE_S, drain_s / 5)


async def _keep_running(name: str, run: Callable[[], Awaitable[None]]) -> None:
    """Run a background job for ever: one that crashes is logged and started again."""
    while True:
        try:
            await run()
        except Exception as error:
            log.error("background.crashed", job=name, exc_info=error)
        await asyncio.sleep(_RESTART_S)


async def _stop(tasks: Collection[asyncio.Task[None]]) -> None:
    """Cancel background jobs and wait for them, but not for ever.

    `asyncio.wait_for` of Python 3.11, which redis-py uses, can lose a cancellation; what is left over then
    ends with the loop.
    """
    for task in tasks:
        task.cancel()
    _, pending = await asyncio.wait(tasks, timeout=_STOP_S)
    if pending:
        log.warning("background.not_stopped", jobs=sorted(task.get_name() for task in pending))


def _json(value: object, status: int = 200) -> Response:
    headers = {"content-type": "application/json", "cache-control": "no-store"}
    return Response(orjson.dumps(value), status, headers)


def _with_headers(scope: Scope, send: Send) -> Send:
    """Add the security headers and the request id to what starlette sends."""
    given = next((value for name, value in scope["headers"] if name == b"x-request-id"), None)
    request_id = request_id_from(given.decode("latin-1") if given is not None else None)

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            present = {name for name, _ in message["headers"]}
            added = [(b"x-request-id", request_id.encode()), *SECURITY_HEADERS]
            message["headers"] = [*message["headers"], *(pair for pair in added if pair[0] not in present)]
        await send(message)

    return send_with_headers
