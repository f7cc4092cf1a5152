"""Every setting of the system, read from the environment by the entry points only.

Names carry the prefix `MINTONG_`, but for `MONGODB_URI` and `REDIS_URL`, which every platform knows. Units
are in the names.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


class Environment(StrEnum):
    """What the installation is for; production turns off every convenience of development."""

    DEVELOPMENT = "development"
    PRODUCTION = "production"


class HttpProtocol(StrEnum):
    """How requests reach the application; each step leaves out what the one before it does itself."""

    DIRECT = "direct"
    ASGI = "asgi"
    UVICORN = "uvicorn"


def _engine(name: str, help_text: str) -> str | None:
    field: str | None = Field(
        default=None, validation_alias=AliasChoices(name, f"MINTONG_{name}"), description=help_text
    )
    return field


class Settings(BaseSettings):
    """The settings of one installation; each has a help text that `docs/settings.md` repeats."""

    model_config = SettingsConfigDict(env_prefix="MINTONG_", extra="ignore", frozen=True)

    environment: Environment = Field(
        default=Environment.DEVELOPMENT, description="development or production."
    )
    home: Path = Field(
        default=Path(".mintong"), description="Folder for embedded engines, snapshots and logs."
    )
    host: str = Field(default="127.0.0.1", description="Address the API listens on.")
    port: int = Field(default=8000, ge=1, le=65535, description="Port the API listens on.")
    workers: int = Field(default=1, ge=1, le=64, description="Number of API worker processes.")
    drain_s: float = Field(
        default=10, ge=0, le=300, description="Seconds that running requests get to finish after SIGTERM."
    )

    mongodb_uri: str | None = _engine("MONGODB_URI", "MongoDB to use; unset: an embedded engine is started.")
    redis_url: str | None = _engine("REDIS_URL", "Redis to use; unset: an embedded engine is started.")
    database: str = Field(
        default="mintong", pattern=r"^[A-Za-z0-9_-]{1,38}$", description="Name of the MongoDB database."
    )
    engine_timeout_ms: int = Field(
        default=2000, ge=50, le=60_000, description="Longest wait for an answer of MongoDB or Redis."
    )

    log_level: str = Field(
        default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="Lowest level logged."
    )
    log_json: bool | None = Field(
        default=None, description="Log as JSON lines; unset: JSON in production, readable in development."
    )
    log_sample: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="Share of successful requests that are logged; errors always are.",
    )

    max_body_bytes: int = Field(default=262_144, ge=1024, description="Largest request body of /graphql.")
    max_tokens: int = Field(default=2_000, ge=10, description="Most lexical tokens in a document.")
    max_depth: int = Field(default=15, ge=1, le=100, description="Deepest nesting of fields.")
    max_aliases: int = Field(
        default=30, ge=0, description="Most aliases in an operation, fragments expanded."
    )
    max_cost: int = Field(
        default=20_000,
        ge=1,
        description="Highest computed cost: one per field, times the sizes of the lists above it.",
    )
    max_list_variable: int = Field(
        default=200, ge=1, description="Most elements in a list that a client sends."
    )
    max_variable_depth: int = Field(default=10, ge=1, le=100, description="Deepest nesting of variables.")
    execution_timeout_s: float = Field(
        default=10, gt=0, le=120, description="Longest execution of an operation."
    )
    introspection: bool | None = Field(
        default=None, description="Allow introspection; unset: only in development."
    )
    graphiql: bool | None = Field(default=None, description="Serve GraphiQL; unset: only in development.")
    trusted_documents_only: bool = Field(
        default=False, description="Accept only operations registered under api/operations."
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Origins that browsers may call from, separated by commas."
    )

    live_connections: int = Field(
        default=8_000, ge=0, le=100_000, description="Most WebSocket connections of a worker; 0: none."
    )
    live_operations: int = Field(
        default=20, ge=1, le=1000, description="Most operations at a time on a WebSocket connection."
    )
    live_init_s: float = Field(
        default=5, gt=0, le=60, description="Longest wait for a WebSocket client's connection_init."
    )
    live_idle_s: float = Field(
        default=300,
        gt=0,
        le=86_400,
        description="How long a WebSocket connection without operations and messages stays open.",
    )
    live_send_s: float = Field(
        default=10, gt=0, le=300, description="Longest wait for a WebSocket client to read what it is sent."
    )
    live_ping_s: float = Field(
        default=30,
        gt=0,
        le=600,
        description="How often a WebSocket client is pinged, and may take to answer.",
    )

    compiled_execution: bool = Field(
        default=True, description="Compile operations that come again; off: graphql-core runs everything."
    )
    http_protocol: HttpProtocol = Field(
        default=HttpProtocol.DIRECT,
        description="`direct` answers plain POSTs straight from the connection; with `asgi` all requests go "
        "through ASGI; with `uvicorn` they are all read by uvicorn's own HTTP protocol, too.",
    )
    fragment_cache_bytes: int = Field(
        default=64_000_000,
        ge=0,
        description="Most bytes of ready JSON of single objects that a worker keeps; 0: none.",
    )
    response_cache_bytes: int = Field(
        default=64_000_000,
        ge=0,
        description="Most bytes of whole public answers that a worker keeps; 0: none.",
    )

    shared_responses: bool = Field(
        default=False,
        description="Share whole public answers between processes through Redis; for answers that are dear.",
    )

    media_image_bytes: int = Field(
        default=20_000_000, ge=1_000, le=200_000_000, description="Largest image that may be uploaded."
    )
    media_audio_bytes: int = Field(
        default=10_000_000, ge=1_000, le=200_000_000, description="Largest recording that may be uploaded."
    )
    media_video_bytes: int = Field(
        default=50_000_000, ge=1_000, le=200_000_000, description="Largest video that may be uploaded."
    )
    media_image_pixels: int = Field(
        default=40_000_000, ge=1_000, le=60_000_000, description="Most pixels of an uploaded image."
    )
    media_audio_s: float = Field(
        default=300, gt=0, le=1_800, description="Longest recording that may be uploaded."
    )
    media_video_s: float = Field(default=60, gt=0, le=600, description="Longest video that may be uploaded.")
    media_unattached: int = Field(
        default=9, ge=1, le=100, description="Uploads of one owner that may wait for their complaint."
    )
    media_account_limit: str = Field(
        default="60 per 1 hour; 300 per 1 day", description="How often an account may upload."
    )
    media_address_limit: str = Field(
        default="20 per 1 hour; 60 per 1 day",
        description="How often may be uploaded from an address without signing in.",
    )
    media_processes: int = Field(
        default=2, ge=1, le=32, description="Uploads that an API worker cleans at the same time."
    )
    media_waiting: int = Field(
        default=16, ge=0, le=1_000, description="Uploads that may wait for that; further ones get 503."
    )
    media_url: str = Field(
        default="",
        pattern=r"^(https?://[^?#]*)?$",
        description="What stands before links to attachments, such as https://media.example.cn; empty: paths "
        "of this host.",
    )
    upload_timeout_s: float = Field(
        default=600, ge=1, le=3_600, description="Longest time for the body of an upload."
    )

    snapshot_poll_s: float = Field(
        default=5, gt=0, le=60, description="How often versions are polled when Redis says nothing."
    )
    view_flush_s: float = Field(default=5, gt=0, le=300, description="How often counted views are written.")
    popularity_s: float = Field(
        default=60, gt=0, le=3600, description="How often the order of popular items is computed anew."
    )

    token_issuer: str = Field(
        default="mintong", min_length=1, description="Name of this system's own issuer of access tokens."
    )
    token_audience: str = Field(
        default="mintong", min_length=1, description="For whom access tokens are: the claim `aud`."
    )
    oidc_issuer: str | None = Field(
        default=None, description="Issuer whose tokens are accepted as well; unset: only the own."
    )
    oidc_audience: str | None = Field(
        default=None, description="The claim `aud` of that issuer's tokens; needed with it."
    )
    oidc_jwks_url: str | None = Field(
        default=None,
        pattern=r"^https?://",
        description="Where that issuer publishes its keys; needed with it.",
    )
    identity_url: str | None = Field(
        default=None,
        pattern=r"^https?://",
        description="Register that verifies real names, https in production; unset: invented people, none in "
        "production.",
    )
    identity_token: SecretStr = Field(default=SecretStr(""), description="Bearer token for that register.")
    identity_timeout_s: float = Field(
        default=3, gt=0, le=4, description="Longest wait for that register, which is asked twice at most."
    )
    sms_url: str | None = Field(
        default=None,
        pattern=r"^https?://",
        description="Gateway that takes text messages; unset: a development inbox, none in production.",
    )
    sms_token: SecretStr = Field(default=SecretStr(""), description="Bearer token for that gateway.")
    sms_daily: int = Field(
        default=5,
        ge=0,
        le=100,
        description="Messages a day that an account gets as text messages, codes and urgent ones aside.",
    )
    wechat_app_id: str | None = Field(
        default=None, description="App id of the WeChat mini-program; unset: no sign-in by WeChat."
    )
    wechat_secret: SecretStr = Field(default=SecretStr(""), description="Secret of that mini-program.")
    wechat_templates: dict[str, Any] = Field(
        default={},
        description="Its subscribe templates by kind of message, as JSON: "
        '{"": {"id": …, "keywords": {"thing1": "title"}, "page": …}}; the empty kind is for all others.',
    )
    fcm_project: str | None = Field(
        default=None, description="Project at Firebase; unset: no pushes to phones."
    )
    fcm_credentials: Path | None = Field(
        default=None, description="File of that project's service account; needed with it."
    )
    fcm_endpoint: str = Field(
        default="https://fcm.googleapis.com",
        pattern=r"^https?://",
        description="Where FCM answers; another address only for a relay or a server for tests.",
    )
    fcm_max_in_flight: int = Field(
        default=100, ge=1, le=1000, description="Pushes of one worker that FCM is asked for at the same time."
    )
    worker_concurrency: int = Field(
        default=4, ge=1, le=64, description="Batches that a worker sends at the same time, in each lane."
    )
    worker_sweep_s: float = Field(
        default=1, ge=0.1, le=60, description="How often a worker looks for what has not gone on by itself."
    )
    worker_metrics_port: int = Field(
        default=0, ge=0, le=65535, description="Loopback port of a worker's metrics; 0: none."
    )
    inbox_days: int = Field(
        default=365, ge=1, le=3650, description="Days that a message stays in the inbox of a citizen."
    )
    device_days: int = Field(
        default=270, ge=1, le=3650, description="Days after which a device that was not seen is forgotten."
    )
    delivery_days: int = Field(
        default=30,
        ge=8,
        le=3650,
        description="Days that deliveries of messages to devices, and failed ones, are kept.",
    )
    holidays: Path | None = Field(
        default=None,
        description="Folder of calendars of years that are not shipped, as files YYYY.json of the form "
        "holiday-cn: year, days with name, date, isOffDay; unset: only those shipped.",
    )
    complaint_limits: Path | None = Field(
        default=None,
        description="TOML file of working-day limits of complaints by kind, class, division and date, upon "
        "those of the province; unset: only those.",
    )
    complaint_account_limit: str = Field(
        default="5 per 10 minute; 20 per 1 day",
        pattern=r"^\d+ per \d+ (second|minute|hour|day)(; \d+ per \d+ (second|minute|hour|day))*$",
        description="How many complaints an account may submit.",
    )
    open311_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^?#\s]+/open311/v2$",
        description="Public address of Open311, such as https://api.example.cn/open311/v2, for its "
        "discovery; unset: as the client called it.",
    )
    open311_contact: str = Field(
        default="", max_length=200, description="Whom Open311's discovery names for questions and keys."
    )
    open311_address_limit: str = Field(
        default="120 per 1 minute",
        pattern=r"^\d+ per \d+ (second|minute|hour|day)$",
        description="How many Open311 calls without a key an address may make.",
    )
    push_allowed_devices: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Ids of devices that get pushes outside of production, separated by commas; all others "
        "go to the log.",
    )
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Networks whose X-Forwarded-For is believed, such as 10.0.0.0/8, separated by commas.",
    )
    personal_key_file: Path | None = Field(
        default=None,
        description="Master key of personal data, 96 bytes, mode 600; unset: personal.key in the home, made "
        "on first use in development.",
    )
    kms_provider: str = Field(
        default="local",
        pattern="^(local|aws|azure|gcp|kmip)$",
        description="Who keeps the master key of personal data; local: a file.",
    )
    kms_settings: SecretStr = Field(
        default=SecretStr(""), description="The MongoDB driver's settings of that KMS provider, as JSON."
    )
    kms_master_key: dict[str, Any] | None = Field(
        default=None, description="The name of the master key at that KMS provider, as JSON."
    )

    @field_validator("cors_origins", "trusted_proxies", "push_allowed_devices", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return (
            [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value
        )

    @property
    def is_production(self) -> bool:
        """Tell whether conveniences of development must be off."""
        return self.environment is Environment.PRODUCTION

    @property
    def allows_introspection(self) -> bool:
        """Tell whether clients may read the schema."""
        return self.introspection if self.introspection is not None else not self.is_production

    @property
    def serves_graphiql(self) -> bool:
        """Tell whether the page at GET /graphql is served."""
        return self.graphiql if self.graphiql is not None else not self.is_production
