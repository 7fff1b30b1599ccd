"""The deployment files say the same as the code."""

import re
import tomllib
from pathlib import Path

import pytest

from cardflow.settings import PREFIX, Settings
from cardflow.temporal.devserver import ENGINE_FLAGS
from cardflow.temporal.search_attributes import SEARCH_ATTRIBUTES

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = (ROOT / "docker-compose.yml").read_text()
NOT_SETTINGS = {
    *(
        "CARDFLOW_SECRETS",
        "CARDFLOW_OWNER",
        "CARDFLOW_BACKUPS",
        "CARDFLOW_TLS",
        "CARDFLOW_MAIL_RELAY",
        "CARDFLOW_VERSION",
    ),
}
PROXIES = ("nginx.conf", "nginx-card.conf")
NGINX = (ROOT / "deploy/nginx.conf").read_text()


def test_compose_sets_only_settings_that_exist() -> None:
    named = set(re.findall(rf"\b{PREFIX}[A-Z_]+", COMPOSE)) - NOT_SETTINGS

    assert named <= {PREFIX + field.upper() for field in Settings.model_fields}


OUR_VERSION = "${CARDFLOW_VERSION:-0.1.0}"


def test_images_of_ours_are_named_after_their_version() -> None:
    """So that one that is built later does not take an older one's name: people may go back."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    ours = re.findall(r"image: cardflow\S*?:(\S+)", COMPOSE)

    assert len(ours) == 3
    assert set(ours) == {f"${{CARDFLOW_VERSION:-{version}}}"} == {OUR_VERSION}


def test_every_image_is_pinned() -> None:
    images = re.findall(r"image: (\S+)", COMPOSE.replace(OUR_VERSION, "0.1.0"))

    assert len(images) >= 6
    assert [image for image in images if not re.search(r":v?\d+[.\d]*(-\w+)?$", image)] == []


def test_production_knows_the_same_search_attributes_as_the_demo() -> None:
    script = (ROOT / "deploy/temporal-namespace.sh").read_text()

    assert set(re.findall(r"\b(\w+:(?:Keyword|Datetime))\b", script)) == {
        f"{key.name}:{key.indexed_value_type.name.title()}" for key in SEARCH_ATTRIBUTES
    }


def test_production_sets_the_same_rates_as_the_demo() -> None:
    rates = (ROOT / "deploy/temporal-dynamic.yaml").read_text()

    assert {f"{name}={value}" for name, value in re.findall(r"(\S+): \[\{value: (\d+)", rates)} == {
        flag for flag in ENGINE_FLAGS if "=" in flag
    }


def test_no_committed_list_of_packages_names_where_to_fetch_them() -> None:
    for lock in ("requirements.lock", "requirements-dev.lock"):
        assert "://" not in (ROOT / lock).read_text()
    assert "--index" not in (ROOT / "Dockerfile").read_text()


def test_tests_run_on_the_versions_that_are_installed_in_production() -> None:
    pins = [
        set(re.findall(r"^\S+==\S+", (ROOT / lock).read_text(), re.MULTILINE))
        for lock in ("requirements.lock", "requirements-dev.lock")
    ]
    assert pins[0] < pins[1]


def test_the_image_holds_what_runs_and_nothing_else() -> None:
    kept = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line != "*"]
    copied = re.findall(r"^COPY (?!--)(\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)

    assert (ROOT / ".dockerignore").read_text().startswith("*\n")
    assert {line[1:] for line in kept if line.startswith("!")} == set(copied)
    assert not {"tests", "benchmarks", "agent", "docs", "."} & set(copied)


def test_the_processes_run_with_no_more_than_they_need() -> None:
    for word in ("read_only: true", "cap_drop: [ALL]", "no-new-privileges:true", "internal: true"):
        assert word in COMPOSE
    assert re.search(r"^USER cardflow$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    published = " ".join(re.findall(r"^    ports: \[(.*)\]", COMPOSE, re.MULTILINE))
    assert set(re.findall(r'"([^"]+)"', published)) == {
        *("80:80", "443:443", "8443:8443"),
        *("127.0.0.1:8233:8080", "127.0.0.1:3000:3000"),
    }


def test_no_secret_is_in_an_environment_or_an_example() -> None:
    example = (ROOT / "deploy/env.example").read_text()

    assert re.findall(r"(?i)password|secret|key", example) == []
    given = set(re.findall(r"^ +(\w*(?:PASSWORD|PWD|SECRET)\w*): (.*)", COMPOSE, re.MULTILINE))
    assert {
        name for name, value in given if not value.startswith(("/run/secrets/", "secrets/"))
    } == {
        "TEMPORAL_AUTH_CLIENT_SECRET"  # Temporal's pages take it in no other way; empty at first
    }


@pytest.mark.parametrize("name", PROXIES)
def test_the_proxy_speaks_no_old_tls_and_only_ciphers_with_forward_secrecy(name: str) -> None:
    text = (ROOT / "deploy" / name).read_text()
    (versions,) = re.findall(r"ssl_protocols ([^;]+);", text)
    (ciphers,) = re.findall(r"ssl_ciphers ([^;]+);", text)

    assert versions.split() == ["TLSv1.2", "TLSv1.3"]
    for cipher in ciphers.split(":"):
        assert cipher.startswith("ECDHE-")
        assert "GCM" in cipher or "POLY1305" in cipher
    assert "max-age=63072000; includeSubDomains" in text


def test_plain_http_is_sent_on_for_pages_and_serves_only_what_must_be_plain() -> None:
    plain = NGINX[NGINX.index("listen 80;") : NGINX.index("listen 443")]

    assert re.findall(r"location (\S+) \{(?: #.*)?\s+(\w+)", plain) == [
        ("/pki/", "proxy_pass"),
        ("/", "return"),
    ]


def passed_on(text: str) -> list[str]:
    """Return what stands in each block that passes requests on to the API."""
    return [block for block in re.findall(r"\{([^{}]*)\}", text) if "proxy_pass http:" in block]


def servers(text: str) -> list[str]:
    """Return each server from its first port on that passes requests on to the API."""
    return [server for server in text.split("server {")[1:] if "proxy_pass http:" in server]


def test_wherever_the_proxy_passes_on_it_overwrites_what_a_client_says_of_itself() -> None:
    blocks = {name: passed_on((ROOT / "deploy" / name).read_text()) for name in PROXIES}

    assert {name: len(found) for name, found in blocks.items()} == {
        "nginx.conf": 2,
        "nginx-card.conf": 1,
    }
    for block in [one for found in blocks.values() for one in found]:
        said = dict(re.findall(r'proxy_set_header (\S+) "?([^";]*)"?;', block))
        assert said["X-Forwarded-For"] == "$remote_addr"
        assert said["X-Forwarded-Proto"] in ("http", "https")
        assert said["Client-Cert"] == ""
        assert said["X-SSL-Client-Cert"] in ("", "$ssl_client_escaped_cert")


def test_what_is_served_encrypted_shows_no_metrics() -> None:
    encrypted = NGINX[NGINX.index("listen 443") : NGINX.index("stream {")]

    for text in (encrypted, (ROOT / "deploy/nginx-card.conf").read_text()):
        assert "location = /metrics { return 404; }" in text


def test_the_doors_have_hostnames_of_their_own() -> None:
    example = (ROOT / "deploy/env.example").read_text()
    hosts = re.findall(r"^CARDFLOW_(?:PUBLIC|DOOR)_URL=https://([^:\n]+)", example, re.MULTILINE)

    assert len(set(hosts)) == 2


def test_the_proxy_carries_twenty_thousand_agents_on_two_cores() -> None:
    (files,) = re.findall(r"worker_rlimit_nofile (\d+);", NGINX)
    (connections,) = re.findall(r"worker_connections (\d+);", NGINX)
    (of_an_address,) = set(re.findall(r"limit_conn connections (\d+);", NGINX))
    of_an_agent, of_a_page = 4, 2

    assert int(connections) < int(files)
    assert 20_000 * of_an_agent + int(of_an_address) * of_a_page <= 2 * int(connections)


def test_the_proxy_bounds_how_often_and_how_slowly_one_address_may_ask() -> None:
    cards = (ROOT / "deploy/nginx-card.conf").read_text()
    asked = [*servers(NGINX[: NGINX.index("stream {")]), *servers(cards)]

    assert len(asked) == 3
    assert re.search(r"limit_req_zone \$binary_remote_addr zone=people:\w+ rate=\d+r/s;", NGINX)
    for server in asked:
        assert re.search(r"limit_req zone=people burst=\d+ nodelay;", server)
        assert re.search(r"limit_conn connections \d+;", server)
    assert NGINX.count("_status 429;") == 2
    assert NGINX.count("client_body_timeout") == 1
