"""What an installation decides: one frozen object, read once, every setting described.

A setting comes from the environment (``CARDFLOW_`` and its name in capitals), else from
``cardflow.toml`` in the state directory, else from the default. Secrets are never settings:
settings name the files that hold them. Relative paths start at the state directory.
"""

from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import available_timezones

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, ValidationInfo
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from cardflow.environment import BY_DEFAULT, PREFIX, SETTINGS_FILE, Environment
from cardflow.errors import Refused
from cardflow.model import Role


def _absolute(path: object) -> Path:
    return Path(str(path)).expanduser().absolute()


def _under_state(path: object, info: ValidationInfo) -> Path:
    return Path(info.data.get("state_dir", ".")) / Path(str(path)).expanduser()


def _or_sqlite(url: object, info: ValidationInfo) -> object:
    return url or f"sqlite+aiosqlite:///{info.data.get('state_dir', '.')}/cardflow.db"


def _or_local_ui(url: object, info: ValidationInfo) -> object:
    if not url and info.data.get("environment") is Environment.DEMO:
        return f"http://localhost:{info.data.get('temporal_ui_port')}"
    return url or None


def known_zone(name: str) -> str:
    """Return the name of a time zone, if there is such a zone."""
    if name != "UTC" and name not in available_timezones():  # the list walks over the disk
        msg = "no such time zone; use an IANA name such as Europe/Berlin"
        raise ValueError(msg)
    return name


StatePath = Annotated[Path, BeforeValidator(_under_state)]
Port = Annotated[int, Field(ge=1, le=65535)]


class Settings(BaseSettings):
    """Every setting of Cardflow."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="forbid", validate_default=True
    )

    state_dir: Annotated[Path, BeforeValidator(_absolute)] = Field(
        Path("var"), description="Where everything that must last is kept."
    )
    environment: Environment = Field(
        BY_DEFAULT, description="`production` refuses everything made for trying out."
    )
    organisation: str = Field("Example Organisation", description="Shown on pages and forms.")
    default_language: Literal["en", "de"] = Field(
        "en", description="Used where a person has chosen no language."
    )
    default_time_zone: Annotated[str, AfterValidator(known_zone)] = Field(
        "UTC", description="IANA name of the zone in which pages show times, for who chose none."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The least severe log line that is written."
    )

    database_url: Annotated[str, BeforeValidator(_or_sqlite)] = Field(
        "",
        repr=False,
        description="SQLAlchemy URL, `sqlite+aiosqlite:` or `postgresql+psycopg:`; default: SQLite "
        "in the state directory. A password goes into libpq's `?passfile=`.",
    )
    document_dir: StatePath = Field(Path("documents"), description="The write-once document store.")
    document_bucket: str = Field(
        "", description="An S3 bucket that keeps the documents instead of `document_dir`."
    )
    document_bucket_url: str = Field(
        "",
        pattern=r"^(https?://[^/]+/?)?$",
        description="The S3 server of the bucket; empty: Amazon's, in the region named.",
    )
    document_bucket_region: str = Field("us-east-1", description="The region of the bucket.")
    document_bucket_access_key: str = Field("", description="Who Cardflow is at the S3 server.")
    document_bucket_secret_file: StatePath | None = Field(
        None, description="The secret access key at the S3 server."
    )
    upload_limit_bytes: int = Field(
        20 * 1024 * 1024, ge=1024, description="The largest upload that is accepted."
    )
    audit_checkpoint_dir: StatePath = Field(
        Path("checkpoints"),
        description="Where signed checkpoints of the audit trail are written, a file each; name a "
        "place that this machine cannot change afterwards.",
    )
    audit_checkpoint_minutes: int = Field(
        10, ge=1, description="New audit entries are under a checkpoint after this time."
    )
    audit_checkpoint_entries: int = Field(
        1_000, ge=1, description="So many new audit entries are put under a checkpoint at once."
    )
    tsa_url: str | None = Field(
        None,
        pattern=r"^https?://.+$",
        description="A time-stamping authority (RFC 3161); what cards sign becomes PAdES B-LT.",
    )
    tsa_root_file: StatePath | None = Field(
        None, description="Roots of time-stamping authorities that are believed, PEM."
    )
    claim_hours: int = Field(
        8, ge=1, le=168, description="A piece of work that somebody took is free again after this."
    )
    clamd_address: str | None = Field(
        None,
        pattern=r"^(/.+|[^/]+:\d+)$",
        description="clamd, which looks at uploads before they are kept: host:port, or the path of "
        "its socket. While it does not answer, nothing is taken.",
    )

    local_services: str = Field(
        "",
        pattern=r"^$|^[^\s,]+:\d{1,5}( *, *[^\s,]+:\d{1,5})*$",
        description="Services on this machine or its link that we may connect to all the same, "
        "`host:port` with commas: a mail relay on `127.0.0.1:25`, say. The demo needs none.",
    )

    public_url: str = Field(
        "http://localhost:8000",
        pattern=r"^https?://[^/]+$",
        description="Where people reach the API; links, CRL and OCSP addresses start with it.",
    )
    api_host: str = Field("127.0.0.1", description="Address the API listens on.")
    api_port: Port = Field(8000, description="Port the API listens on.")
    proxy_addresses: str = Field(
        "",
        description="Reverse proxies whose X-Forwarded-For is believed: addresses, with commas.",
    )
    session_idle_hours: int = Field(1, ge=1, description="A session unused this long ends.")
    session_absolute_hours: int = Field(12, ge=1, description="A session this old ends.")
    fresh_minutes: int = Field(
        5,
        ge=1,
        le=60,
        description="Decisions and other acts of weight need a sign-in, or a password given again, "
        "that is no older.",
    )
    second_factor_roles: frozenset[Role] = Field(
        frozenset(), description="Roles whose people must use one-time codes, as JSON list."
    )

    code_drift_steps: int = Field(
        1,
        ge=0,
        le=1,
        description="How many steps of 30 seconds a one-time code counts early and late, for "
        "clocks and fingers that differ (RFC 6238 5.2); 0: for its own 30 seconds only.",
    )

    local_accounts: bool = Field(
        default=True, description="Whether people may sign in with a login and a password."
    )
    oidc_issuer: str | None = Field(
        None,
        pattern=r"^https?://[^\s?#]+$",
        description="The OpenID provider that signs people in, written exactly as it calls itself.",
    )
    oidc_name: str = Field(
        "", max_length=60, description="What the sign-in page calls the OpenID provider."
    )
    oidc_client_id: str = Field("", description="Our name at the OpenID provider.")
    oidc_client_secret_file: StatePath | None = Field(
        None, description="Our secret at the OpenID provider; none: we are a public client."
    )
    oidc_scopes: str = Field(
        "openid", pattern=r"^(\S+ )*openid( \S+)*$", description="The scopes that are asked for."
    )
    oidc_match_claim: str = Field(
        "",
        description="The claim that finds the person at their first sign-in; none: administrators "
        "tie people to their accounts. Only a claim that people cannot change themselves is safe.",
    )
    oidc_match_field: Literal["login", "email", "upn"] = Field(
        "login", description="What of a person that claim must be equal to."
    )
    oidc_roles_claim: str = Field(
        "", description="The claim that gives roles, dots leading inwards; none: we give them all."
    )
    oidc_roles: dict[str, list[Role]] = Field(
        {}, description="The roles that each value of that claim gives; no other claim gives them."
    )
    oidc_step_up_acr: str = Field(
        "", description="The `acr` that a fresh sign-in at the provider must reach, if any."
    )

    card_sign_in: Literal["off", "proxy", "direct"] = Field(
        "off",
        description="Signing in with the card's certificate: `proxy` ends TLS before us, `direct` "
        "has a port of our own for it.",
    )
    card_sign_in_url: str = Field(
        "",
        pattern=r"^(https://[^/]+)?$",
        description="Where TLS asks for the card's certificate; default: `public_url`.",
    )
    card_header: Literal["client-cert", "x-ssl-client-cert"] = Field(
        "client-cert",
        description="The one header in which the proxy passes certificates on: RFC 9440's, or "
        "nginx's escaped PEM.",
    )
    proxy_secret_file: StatePath | None = Field(
        None,
        description="What the proxy proves itself with in `X-Cardflow-Proxy`, besides its address.",
    )
    card_ca_file: StatePath | None = Field(
        None,
        description="The CAs whose certificates sign people in, PEM; default: the embedded CA.",
    )
    card_port: Port = Field(8444, description="Port of `direct`, TLS only.")
    card_certificate_file: StatePath = Field(
        Path("secrets/card-door.pem"), description="TLS certificate chain of `direct`, PEM."
    )
    card_key_file: StatePath = Field(
        Path("secrets/card-door-key.pem"), description="TLS key of `direct`, PEM."
    )

    door_url: str = Field(
        "https://localhost:8443",
        pattern=r"^https://[^/]+$",
        description="Where agents reach the agent door.",
    )
    door_host: str = Field("127.0.0.1", description="Address the agent door listens on.")
    door_port: Port = Field(8443, description="Port the agent door listens on, TLS only.")
    door_certificate_file: StatePath = Field(
        Path("secrets/door.pem"), description="The agent door's TLS certificate chain, PEM."
    )
    door_key_file: StatePath = Field(
        Path("secrets/door-key.pem"), description="The agent door's TLS key, PEM."
    )
    door_root_file: StatePath = Field(
        Path("secrets/door-root.pem"),
        description="The TLS root that agents pin at enrolment, PEM.",
    )
    agent_confirmation: Literal["holder", "holder and admin"] = Field(
        "holder",
        description="Who confirms a new workstation: its holder, or an administrator after them.",
    )
    agent_oldest_version: str = Field(
        "0.1",
        pattern=r"^\d{1,5}\.\d{1,5}$",
        description="Agents older than this get no work.",
    )
    agent_download_url: str = Field(
        "",
        pattern=r"^(https://.+)?$",
        description="Where people get the agent; told to those whose agent is too old.",
    )
    agent_key_days: int = Field(
        180, ge=1, le=3650, description="After this time a workstation makes a new device key."
    )
    agent_visit_seconds: int = Field(
        300, ge=30, le=3600, description="A visit without a PIN ends after this time."
    )
    agent_hold_seconds: int = Field(
        30, ge=0, le=300, description="How long an agent keeps a visit's login for its next job."
    )
    pinentry: Path | None = Field(
        None, description="PIN prompt given to the agent that `cardflow up` starts."
    )

    temporal_address: str = Field(
        "127.0.0.1:7233", pattern=r"^.+:\d+$", description="host:port of Temporal."
    )
    temporal_namespace: str = Field("cardflow", description="Cardflow's namespace in Temporal.")
    temporal_task_queue: str = Field("cardflow", description="The worker's task queue.")
    temporal_ui_port: Port = Field(
        8233, description="Port of Temporal's pages, for the server that `cardflow up` starts."
    )
    temporal_ui_url: Annotated[str | None, BeforeValidator(_or_local_ui)] = Field(
        None,
        pattern=r"^https?://[^/]+$",
        description="Where people reach Temporal's pages: the only other site whose pages may ask "
        "`/codec/decode` in the name of who is signed in; default: here, in the demo.",
    )
    temporal_root_file: StatePath | None = Field(
        None, description="Root certificate of Temporal's TLS, PEM; turns TLS on."
    )
    temporal_certificate_file: StatePath | None = Field(
        None, description="Our TLS certificate for Temporal, PEM."
    )
    temporal_key_file: StatePath | None = Field(
        None, description="The key of our TLS certificate for Temporal, PEM."
    )
    worker_metrics_host: str = Field(
        "127.0.0.1", description="Address of the worker's Prometheus metrics."
    )
    worker_metrics_port: Port = Field(9300, description="Port of the worker's metrics.")

    codec_key_file: StatePath = Field(
        Path("secrets/codec.json"),
        description="Key ring that encrypts what workflows store in Temporal.",
    )
    sealing_key_file: StatePath = Field(
        Path("secrets/sealing.json"),
        description="Key ring that seals Temporal's task tokens for agents.",
    )
    qr_key_file: StatePath = Field(
        Path("secrets/qr.json"), description="Key ring of the codes printed on forms."
    )
    decision_root_file: StatePath = Field(
        Path("secrets/decision-root.pem"),
        description="Public key, Ed25519 PEM, that open updates trust for decisions.",
    )
    decision_key_file: StatePath = Field(
        Path("secrets/decision-key.pem"), description="Key, Ed25519 PEM, that signs decisions."
    )
    decision_certificate_file: StatePath = Field(
        Path("secrets/decision.pem"),
        description="Certificate of the decision key, signed by the decision root, PEM.",
    )
    job_key_file: StatePath = Field(
        Path("secrets/job-key.pem"),
        description="Key, Ed25519 PEM, that signs jobs; agents pin it at enrolment.",
    )
    job_key_history_file: StatePath = Field(
        Path("secrets/job-key-history.json"),
        description="How job keys followed one another, each named by the one before; not secret.",
    )
    profiles_file: StatePath | None = Field(
        None, description="The kinds of certificates, TOML; default: the samples that come along."
    )
    ca_dir: StatePath = Field(Path("ca"), description="The embedded CA's directory.")
    ca_passphrase_file: StatePath = Field(
        Path("secrets/ca-passphrase"), description="Opens the embedded CA's issuing key."
    )

    smtp_host: str = Field("127.0.0.1", description="Mail relay.")
    smtp_port: Port = Field(1025, description="The mail relay's port.")
    smtp_starttls: bool = Field(
        default=False, description="Whether the connection to the mail relay must be encrypted."
    )
    smtp_user: str = Field("", description="Account at the mail relay; empty: none is needed.")
    smtp_password_file: StatePath | None = Field(
        None, description="The password at the mail relay."
    )
    mail_sender: str = Field(
        "Cardflow <cardflow@localhost>", description="The sender's address of every mail."
    )
    mail_attachment_bytes: int = Field(
        10 * 1024 * 1024,
        ge=0,
        description="The largest document that a mail carries; larger ones are linked only.",
    )
    digest_above: int = Field(
        10, ge=0, description="With more documents waiting, operators get digests instead of mails."
    )
    digest_hours: int = Field(
        4, ge=1, le=168, description="How much time lies between an operator's digests at least."
    )
    digest_daily_hour: int = Field(
        6,
        ge=0,
        le=23,
        description="The hour, where they are, of the digest of people who chose one a day.",
    )
    catcher_port: Port = Field(
        8025, description="Port of the mail catcher's page that `cardflow up` starts."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 the caller passes it
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 the caller passes it
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources, the strongest first."""
        given = init_settings().get("state_dir") or env_settings().get("state_dir") or "var"
        file = Path(str(given)) / SETTINGS_FILE
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, file)


def load_settings(state_dir: Path | None = None) -> Settings:
    """Return the settings, or refuse with every reason at once why Cardflow must not start."""
    from cardflow.startup import objections  # it imports this module

    settings = read_settings(state_dir)
    if found := objections(settings):
        raise Refused(*found)
    return settings


def read_settings(state_dir: Path | None = None) -> Settings:
    """Return the settings as they are given; only values that make no sense are refused."""
    chosen = {} if state_dir is None else {"state_dir": state_dir}
    try:
        return Settings(**chosen)  # type: ignore[arg-type]
    except ValidationError as error:
        raise Refused(*_readable(error)) from None
    except (ValueError, RecursionError) as error:
        raise Refused(f"{SETTINGS_FILE} is not TOML in UTF-8: {error}") from None


def _readable(error: ValidationError) -> list[str]:
    # The value stays out of the message: somebody may have put a password where none belongs.
    return [
        f"{setting_name(str(problem['loc'][0]))}: {problem['msg'].lower()}"
        for problem in error.errors(include_input=False, include_url=False)
    ]


def setting_name(field: str) -> str:
    """Return the name under which a setting is given in the environment."""
    return PREFIX + field.upper()
