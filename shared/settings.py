"""All settings with their defaults and units. No other module reads the environment.

An unset or empty variable means the default. `.env` in the working directory is read too. One
error lists all faults. `.env.example` lists the same names; a test compares them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import SettingsConfigDict

from shared.domain.callback_url import find_callback_url_fault
from shared.domain.outbound_proxies import OutboundRules
from shared.errors import SettingsRefused
from shared.field_faults import format_value
from shared.kie_accounts import (
    DEFAULT_ACCOUNT,
    KieKey,
    find_account_key_faults,
    find_account_name_faults,
    parse_account_keys,
    parse_account_names,
)
from shared.postgres_url import find_schema_fault, require_usable
from shared.setting_checks.outbound_settings import (
    check_callback_base,
    check_fallback_proxy,
    check_proxy,
    check_receivers,
    read_outbound,
)
from shared.setting_checks.proxy_settings import Network, read_networks, read_root_path
from shared.setting_checks.redis_settings import check_redis_prefix, check_redis_url
from shared.setting_checks.results_settings import NO_RESULTS, check_results_url
from shared.setting_checks.retention_settings import KeptDays, RetentionSettings

OPENAI_WAIT_SECONDS_MAX = 3_600.0
ChargeBasis = Literal["current", "quoted", "lower_of"]
CrashPoint = Literal[
    "after_choose",
    "before_claim",
    "after_claim",
    "after_post",
    "after_submitted",
    "after_poll",
    "after_settle",
]


def _require_scheme(value: SecretStr, name: str, schemes: tuple[str, ...]) -> SecretStr:
    # Pydantic's DSN types refuse socket URLs.
    if urlsplit(value.get_secret_value()).scheme not in schemes:
        allowed = ", ".join(f"{scheme}://" for scheme in schemes)
        raise ValueError(f"{name} must begin with one of {allowed}")
    return value


def _postgres_url(value: SecretStr) -> SecretStr:
    require_usable(value.get_secret_value())
    return value


def _schema(value: str) -> str:
    fault = find_schema_fault(value)
    if fault is not None:
        raise ValueError(fault)
    return value


def _http_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an http:// or https:// URL with a host")
    return value.rstrip("/")


def _image_hosts(value: str) -> str:
    for host in parse_image_hosts(value):
        if not _IMAGE_HOST.fullmatch(host):
            raise ValueError(
                f"{host!r:.80} must be a host name, with a port if needed, or `none`: such as"
                " tempfile.aiquickdraw.com or 127.0.0.1:8090"
            )
    return value


def _networks(value: str) -> str:
    read_networks(value)
    return value


def parse_image_hosts(value: str) -> tuple[str, ...]:
    """Return the hosts of `CONSOLE_IMAGE_HOSTS`, in lower case."""
    names = [name.strip().lower() for name in value.split(",")]
    return tuple(name for name in names if name and name != "none")


_IMAGE_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?(:[0-9]{1,5})?")

KIE_BASE_URL = "https://api.kie.ai"
KIE_UPLOAD_URL = "https://kieai.redpandaai.co"

HttpUrl = Annotated[str, AfterValidator(_http_url)]
Port = Annotated[int, Field(ge=0, le=65535)]


class Settings(RetentionSettings):
    """The settings of one Darkroom process. Immutable."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    database_url: Annotated[SecretStr, AfterValidator(_postgres_url)] | None = None
    """PostgreSQL 15 or newer. Default: an embedded Postgres."""
    database_schema: Annotated[str, AfterValidator(_schema)] | None = None
    """The schema of Darkroom's tables. Default: where `search_path` of the login leads."""
    database_direct_url: Annotated[SecretStr, AfterValidator(_postgres_url)] | None = None
    """The same database without a pooler, for workers to LISTEN. Default: `DATABASE_URL`."""
    database_statement_cache: Literal["auto", "on", "off"] = "auto"
    """Whether statements stay prepared. `auto` means not behind a pooler."""
    worker_database_connections: int = Field(default=10, ge=2, le=100)
    """The most Postgres connections of a worker, beside the one that listens."""
    api_database_connections: int = Field(default=14, ge=3, le=200)
    """The most Postgres connections of an API."""
    redis_prefix: Annotated[str, AfterValidator(check_redis_prefix)] | None = None
    """What all keys and channels in Redis begin with, so that several Darkrooms share a server."""
    redis_url: Annotated[SecretStr, AfterValidator(check_redis_url)] | None = None
    """Redis or Valkey 7.0 or newer. Default: an embedded Valkey."""
    darkroom_home: Path = Path(".darkroom")
    """State of the embedded servers. Processes with the same directory share the servers."""

    kie_api_key: SecretStr | None = None
    """Kie's Bearer token. Default: the bundled simulator, which needs embedded servers."""
    kie_api_keys: SecretStr | None = None
    """Several Kie accounts instead: `name=key` pairs separated by commas."""
    kie_accounts: str | None = None
    """The names of the Kie accounts, for processes without keys, such as the API."""
    kie_base_url: HttpUrl = KIE_BASE_URL
    """Without `/api/v1`."""
    kie_upload_url: HttpUrl | None = None
    """Kie's file upload host. Default: Kie's own, or `KIE_BASE_URL` if that is not Kie's."""
    kie_upload_key: SecretStr | None = None
    """The Bearer token of uploads, for processes without `KIE_API_KEY`. Default: the first key."""
    kie_callback_url: Annotated[str, AfterValidator(check_callback_base)] | None = None
    """Public base URL of the worker's callback receiver. Default: poll only."""
    kie_webhook_hmac_key: SecretStr | None = None
    """If set, callbacks without a valid signature are refused."""
    kie_submits_per_10_seconds: int = Field(default=20, ge=0, le=10_000)
    """Per Kie account, for all workers together. 0 means no limit."""
    kie_polls_per_second_per_task: int = Field(default=3, ge=1, le=3)
    """In any sliding second. Kie's own limit is 3."""
    kie_request_timeout_seconds: float = Field(default=30, gt=0, le=300)
    kie_drift_alert_credits: float = Field(default=50, gt=0, le=1_000_000)
    """How far Kie's balance may differ from our attempts before an alert, in credits."""

    charge_basis: ChargeBasis = "current"
    """The price of a success: in force at success, quoted at enqueue, or the lower one."""
    job_deadline_seconds: float = Field(default=1800, gt=0, le=86_400)
    """From submission to `failed`/`deadline_exceeded`, after a final poll."""
    unknown_limit_seconds: float = Field(default=900, gt=0, le=86_400)
    """How long an `unknown` submission waits for evidence."""

    api_host: str = "127.0.0.1"
    api_port: Port = 8080
    """The API's HTTP port. 0 means a free port."""
    worker_http_host: str = "127.0.0.1"
    worker_http_port: Port = 8081
    """The worker's port for callbacks, health and metrics. 0 means a free port."""
    callback_http_host: str | None = None
    """The listen address of `CALLBACK_HTTP_PORT`. Default: `WORKER_HTTP_HOST`."""
    callback_http_port: Port | None = None
    """A separate port for callbacks. Default: none; callbacks use `WORKER_HTTP_PORT`."""

    api_public_url: HttpUrl | None = None
    """The URL by which callers reach the API. Default: `API_HOST` and `API_PORT`."""
    api_root_path: Annotated[str, AfterValidator(read_root_path)] | None = None
    """The path below which a proxy serves the API. Default: the path of `API_PUBLIC_URL`."""
    api_trusted_proxies: Annotated[str, AfterValidator(_networks)] | None = None
    """Addresses and ranges whose `X-Forwarded-For` and `-Proto` are read. Default: none."""

    results_url: Annotated[str, AfterValidator(check_results_url)] | None = None
    """Where images are copied to. Default: no copies; `darkroom up` uses a local folder."""
    results_deadline_seconds: float = Field(default=60, ge=0, le=3600)
    """How long the end of a job waits for copies of its images."""

    shutdown_delay_seconds: float = Field(default=0, ge=0, le=300)
    """How long a process that was told to stop is not ready and still serves, before its drain."""

    retention_events_days: KeptDays = 90
    """Days after the end of a job until its events are deleted. `forever` keeps them."""
    retention_callbacks_days: KeptDays = 90
    """The same for callbacks of Kie that were handled."""
    retention_webhooks_days: KeptDays = 90
    """The same for webhook messages that were delivered or given up."""
    retention_prompts_days: KeptDays = 400
    """The same for the request, the metadata and Kie's messages of a job."""
    retention_jobs_days: KeptDays = 400
    """The same for everything of a job but its state, times, money and idempotency key."""

    metrics_key: SecretStr | None = None
    """The key that `/metrics` of the API and of workers requires. Default: no key."""

    viewers_see_prompts: bool = False
    """Whether keys of the role viewer see prompts, images and metadata."""
    console_image_hosts: Annotated[str, AfterValidator(_image_hosts)] = "tempfile.aiquickdraw.com"
    """Hosts whose images the console shows, separated by commas. `none` shows links alone."""

    openai_wait_seconds: float = Field(default=540, gt=0, le=OPENAI_WAIT_SECONDS_MAX)
    """How long an image request of OpenAI's API waits for its job. Its SDKs give up after 600 s."""

    webhooks_allow_loopback: bool = False
    """For development: allows webhooks to this machine (127.0.0.0/8 and ::1)."""
    webhooks_allow: Annotated[str, AfterValidator(check_receivers)] | None = None
    """Receivers in one's own network: hosts, suffixes, addresses and networks, with commas."""

    https_proxy: Annotated[SecretStr, AfterValidator(check_proxy)] | None = None
    """The proxy for `https://` requests to Kie, to receivers of webhooks and for images."""
    http_proxy: Annotated[SecretStr, AfterValidator(check_proxy)] | None = None
    """The same for `http://`. Receivers of webhooks and images are not reached through it."""
    all_proxy: Annotated[SecretStr, AfterValidator(check_fallback_proxy)] | None = None
    """The proxy for the one of the two that is not set."""
    no_proxy: str | None = None
    """Hosts, domains, addresses and networks that are reached directly. `*` is all."""

    darkroom_crash_at: CrashPoint | None = None
    """For tests of recovery: the worker kills itself at this point. Default: never."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"
    log_format: Literal["console", "json"] | None = None
    """Default: `console` on a terminal, else `json`."""

    @field_validator("kie_api_keys")
    @classmethod
    def _check_keys(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        faults = [] if value is None else find_account_key_faults(value.get_secret_value())
        if value is not None and info.data.get("kie_api_key") is not None:
            faults.append("KIE_API_KEY is set as well: unset one of the two")
        if faults:
            faults.append("allowed are name=key pairs separated by commas")
            raise ValueError("; ".join(faults))
        return value

    @field_validator("api_root_path")
    @classmethod
    def _check_root_path(cls, value: str | None, info: ValidationInfo) -> str | None:
        public_url = info.data.get("api_public_url")
        if value is not None and public_url is not None and urlsplit(public_url).path != value:
            raise ValueError(
                f"{value!r} is not the path of API_PUBLIC_URL ({public_url}), by which links to"
                " images begin: set both to the same path, or API_PUBLIC_URL alone"
            )
        return value

    @field_validator("api_public_url")
    @classmethod
    def _check_public_path(cls, value: str | None) -> str | None:
        if value is not None:
            read_root_path(urlsplit(value).path)
        return value

    @field_validator("kie_accounts")
    @classmethod
    def _check_names(cls, value: str | None) -> str | None:
        faults = [] if value is None else find_account_name_faults(value)
        if faults:
            raise ValueError("; ".join(faults))
        return value

    @field_validator("kie_callback_url")
    @classmethod
    def _check_callback_url(cls, value: str | None, info: ValidationInfo) -> str | None:
        has_key = info.data.get("kie_api_key") or info.data.get("kie_api_keys")
        if value is not None and has_key:
            fault = find_callback_url_fault(value, info.data.get("kie_base_url", KIE_BASE_URL))
            if fault is not None:
                raise ValueError(fault)
        return value

    @property
    def kie_keys(self) -> tuple[KieKey, ...]:
        """The Kie accounts with their keys. Empty means the bundled simulator."""
        if self.kie_api_keys is not None:
            return parse_account_keys(self.kie_api_keys.get_secret_value())
        return () if self.kie_api_key is None else (KieKey(DEFAULT_ACCOUNT, self.kie_api_key),)

    @property
    def kie_upload_base_url(self) -> str:
        """Kie's file upload host. A `KIE_BASE_URL` other than Kie's serves the uploads too."""
        if self.kie_upload_url is not None:
            return self.kie_upload_url
        return KIE_UPLOAD_URL if self.kie_base_url == KIE_BASE_URL else self.kie_base_url

    @property
    def results_store_url(self) -> str | None:
        """Where images are copied to; None where no copies are made."""
        return None if self.results_url == NO_RESULTS else self.results_url

    @property
    def copies_within_seconds(self) -> float | None:
        """How long the end of a job waits for copies; None where no copies are made."""
        return None if self.results_store_url is None else self.results_deadline_seconds

    @property
    def outbound(self) -> OutboundRules:
        """The receivers in one's own network, and the proxies of requests of ours."""
        return read_outbound(
            self.webhooks_allow,
            https=self.https_proxy,
            http=self.http_proxy,
            fallback=self.all_proxy,
            direct=self.no_proxy,
        )

    @property
    def public_url(self) -> str:
        """The URL by which callers reach the API."""
        if self.api_public_url is not None:
            return self.api_public_url
        host = "127.0.0.1" if self.api_host in {"0.0.0.0", "::", ""} else self.api_host  # noqa: S104
        return f"http://{f'[{host}]' if ':' in host else host}:{self.api_port}{self.root_path}"

    @property
    def root_path(self) -> str:
        """The path below which a proxy serves the API. Empty means none."""
        if self.api_root_path is not None or self.api_public_url is None:
            return self.api_root_path or ""
        return read_root_path(urlsplit(self.api_public_url).path)

    @property
    def trusted_proxies(self) -> tuple[Network, ...]:
        """The networks of the proxies that are trusted."""
        return () if self.api_trusted_proxies is None else read_networks(self.api_trusted_proxies)

    @property
    def kie_account_names(self) -> tuple[str, ...]:
        """The names of the Kie accounts, including the simulator's."""
        if self.kie_keys:
            return tuple(one.name for one in self.kie_keys)
        return (
            (DEFAULT_ACCOUNT,)
            if self.kie_accounts is None
            else parse_account_names(self.kie_accounts)
        )


def load_settings() -> Settings:
    """Read the environment and `.env`. Raises one `SettingsRefused` that lists all faults."""
    try:
        return Settings()
    except ValidationError as error:
        raise SettingsRefused(_list_faults(error)) from None


def _list_faults(error: ValidationError) -> str:
    lines = ["the environment is not usable:"]
    for fault in error.errors(include_url=False):
        field = str(fault["loc"][0])
        # Our validators raise ValueError with the whole sentence.
        text = fault["msg"].removeprefix("Value error, ")
        if fault["type"] != "value_error":
            text = text.replace("Input should be", "must be").partition(", unable to")[0]
            if "Secret" not in str(Settings.model_fields[field].annotation):
                text += f", not {format_value(fault['input'])}"
        lines.append(f"  {field.upper()}: {text}")
    return "\n".join(lines)
