"""Whether Cardflow may start with the settings it was given: every objection at once."""

import logging
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from cardflow import failpoints
from cardflow.environment import Environment
from cardflow.outbound import PORTS, Address, outbound
from cardflow.secret_files import is_demo
from cardflow.settings import Settings, setting_name

SECRET_FILES = (
    "codec_key_file",
    "sealing_key_file",
    "qr_key_file",
    "decision_key_file",
    "job_key_file",
    "door_key_file",
    "ca_passphrase_file",
    "smtp_password_file",
    "document_bucket_secret_file",
    "temporal_key_file",
    "oidc_client_secret_file",
    "proxy_secret_file",
    "card_key_file",
)
NEVER_DEMO = (*SECRET_FILES, "decision_root_file", "door_root_file", "ca_dir", "pinentry")

log = logging.getLogger(__name__)


def objections(settings: Settings) -> list[str]:
    """Return every reason, with its remedy, why these settings must not be started with."""
    found = [
        *_about_addresses(settings),
        *_about_the_bucket(settings),
        *_about_open_files(settings),
        *_about_provider(settings),
        *_about_card_sign_in(settings),
    ]
    if settings.environment is Environment.PRODUCTION:
        found += [*_about_production(settings), *_about_demo_secrets(settings)]
        _warn(settings)
    return found


def _about_addresses(settings: Settings) -> list[str]:
    found = []
    url = urlsplit(settings.public_url)
    if url.scheme == "http" and not is_local(url.hostname or ""):
        found.append(
            _objection("public_url", "it is plain HTTP to another machine", "give an https:// URL")
        )
    if settings.environment is Environment.DEMO:
        found += [
            _objection(field, "the demo listens on this machine only", "give 127.0.0.1")
            for field in ("api_host", "door_host", "worker_metrics_host")
            if not is_local(getattr(settings, field))
        ]
    return found


def _about_the_bucket(settings: Settings) -> list[str]:
    found = []
    url = urlsplit(settings.document_bucket_url)
    if url.scheme == "http" and not is_local(url.hostname or ""):
        reason = "documents would travel in clear"
        found.append(_objection("document_bucket_url", reason, "give an https:// URL"))
    if settings.document_bucket and settings.document_bucket_secret_file is None:
        reason = "a bucket is named and no secret access key"
        remedy = "name the file that holds it"
        found.append(_objection("document_bucket_secret_file", reason, remedy))
    return found


def _about_open_files(settings: Settings) -> list[str]:
    return [
        _objection(field, f"{path} is open to other accounts", f"run: chmod 600 {path}")
        for field in SECRET_FILES
        if (path := _path(settings, field)) and path.exists() and path.stat().st_mode & 0o077
    ]


def _about_provider(settings: Settings) -> list[str]:
    found = []
    if not (settings.local_accounts or settings.oidc_issuer or settings.card_sign_in != "off"):
        found.append(
            _objection("local_accounts", "nobody could sign in", "leave it on, or set another way")
        )
    if settings.oidc_roles_claim and not settings.oidc_roles:
        remedy = "say which roles each value of the claim gives"
        found.append(_objection("oidc_roles", "nobody would have a role", remedy))
    if settings.oidc_issuer is None:
        return found
    url = urlsplit(settings.oidc_issuer)
    local = settings.environment is Environment.DEMO and is_local(url.hostname or "")
    if url.scheme == "http" and not local:
        found.append(_objection("oidc_issuer", "it is plain HTTP", "give an https:// address"))
    if not settings.oidc_client_id:
        remedy = "give the client id that the provider knows us by"
        found.append(_objection("oidc_client_id", "it is missing", remedy))
    return found


def _about_card_sign_in(settings: Settings) -> list[str]:
    found = []
    proxies = {one.strip() for one in settings.proxy_addresses.split(",")}
    if settings.card_sign_in == "proxy":
        if not settings.proxy_addresses:
            reason, remedy = "no proxy may pass certificates on", "name the proxy's address"
            found.append(_objection("proxy_addresses", reason, remedy))
        if "*" in proxies and settings.proxy_secret_file is None:
            reason = "anybody could pass certificates on"
            remedy = "name the proxy's address, or give the proxy a secret"
            found.append(_objection("proxy_addresses", reason, remedy))
    if settings.card_sign_in == "direct":
        if not settings.card_sign_in_url:
            remedy = "give the https:// address of card_port"
            found.append(_objection("card_sign_in_url", "it is missing", remedy))
        found += [
            _objection(field, f"{path} is missing", "make it, or correct the setting")
            for field in ("card_certificate_file", "card_key_file")
            if (path := _path(settings, field)) and not path.exists()
        ]
    return found


def _about_production(settings: Settings) -> list[str]:
    found = []
    if failpoints.are_armed():
        found.append(f"{failpoints.VARIABLE}: tests could stop this process; take it away")
    if settings.public_url.startswith("http:"):
        found.append(_objection("public_url", "it is plain HTTP", "give an https:// URL"))
    if (settings.temporal_ui_url or "https:").startswith("http:"):
        reason = "decoded histories would be shown on a page that travels in clear"
        found.append(_objection("temporal_ui_url", reason, "give an https:// URL, or none"))
    if not settings.codec_key_file.exists():
        reason = f"{settings.codec_key_file} is missing, so history would be readable"
        found.append(_objection("codec_key_file", reason, "make a key ring (see docs/production)"))
    if urlsplit(settings.database_url).password:
        found.append(
            _objection("database_url", "it holds a password", "move it to a file for ?passfile=")
        )
    if not settings.smtp_starttls and not is_local(settings.smtp_host):
        found.append(
            _objection(
                "smtp_starttls", "mail would travel in clear", "set it, or use a local relay"
            )
        )
    return found + _about_local_services(settings)


def _about_local_services(settings: Settings) -> list[str]:
    reach, found = outbound(settings), []
    for field, host, port in _connected_to(settings):
        # A name's addresses are looked at whenever it is connected to; this one says it itself.
        address = _address("127.0.0.1" if host == "localhost" else host)
        if address and (why := reach.objection(host, port, address)):
            remedy = f"if that is meant, name {host}:{port} in {setting_name('local_services')}"
            found.append(_objection(field, f"it is {why}", remedy))
    return found


def _connected_to(settings: Settings) -> list[tuple[str, str, int]]:
    """Return every service that we connect to by address alone: setting, host and port."""
    found = [("smtp_host", settings.smtp_host, settings.smtp_port)]
    if settings.clamd_address and not settings.clamd_address.startswith("/"):
        host, _, port = settings.clamd_address.rpartition(":")
        found.append(("clamd_address", host.strip("[]"), int(port)))
    for field in ("tsa_url", "oidc_issuer", "document_bucket_url"):
        if given := getattr(settings, field):
            url = urlsplit(given)
            found.append((field, url.hostname or "", url.port or PORTS[url.scheme]))
    return found


def _about_demo_secrets(settings: Settings) -> list[str]:
    return [
        _objection(field, f"{path} was made for trying out", "make one for this installation")
        for field in NEVER_DEMO
        if (path := _path(settings, field)) and is_demo(path)
    ]


def _warn(settings: Settings) -> None:
    if settings.database_url.startswith("sqlite"):
        log.warning(
            "%s: SQLite serves one machine only; use PostgreSQL for more than one API or worker",
            setting_name("database_url"),
        )


def secret_files(settings: Settings) -> list[Path]:
    """Return the files of secrets that these settings use."""
    unused = set() if settings.card_sign_in == "direct" else {"card_key_file"}
    paths = (_path(settings, field) for field in SECRET_FILES if field not in unused)
    return [path for path in paths if path]


def _path(settings: Settings, field: str) -> Path | None:
    path: Path | None = getattr(settings, field)
    return path


def is_local(host: str) -> bool:
    """Tell whether a host is this machine."""
    address = _address(host)
    return address.is_loopback if address else host == "localhost"


def _address(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _objection(field: str, reason: str, remedy: str) -> str:
    return f"{setting_name(field)}: {reason}; {remedy}"
