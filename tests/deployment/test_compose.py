"""docker-compose.yml, read by the docker-compose of Debian, and what its services are given."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.deployment.files import DEPLOY, ROOT

pytestmark = pytest.mark.openssl
RUN_ONCE = {"tables", "temporal-schema", "temporal-namespace", "bucket"}
INSIDE = Path("/run/secrets")


@pytest.fixture(scope="module")
def deployment() -> dict:
    """Return docker-compose.yml as docker-compose 1.29 understands it; it has no complaint."""
    done = subprocess.run(
        ["docker-compose", "--env-file", DEPLOY / "env.example", "config"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return yaml.safe_load(done.stdout)


def test_every_service_that_stays_is_looked_after(deployment):
    for name, service in deployment["services"].items():
        assert service["restart"] == ("on-failure" if name in RUN_ONCE else "unless-stopped"), name
        looked_after = "healthcheck" in service or name == "temporal-ui"
        assert looked_after is (name not in RUN_ONCE), name


def test_there_are_two_of_what_must_not_be_missed(deployment):
    services = deployment["services"]
    addresses = [services[f"api-{n}"]["networks"]["outside"]["ipv4_address"] for n in (1, 2)]

    proxy = (DEPLOY / "nginx.conf").read_text()
    for address in addresses:
        assert f"server {address}:8000 " in proxy
        assert f"server {address}:8443 " in proxy
    assert proxy.count("    server 172.") == 4
    trusted = {services[f"api-{n}"]["environment"]["CARDFLOW_PROXY_ADDRESSES"] for n in (1, 2)}
    assert trusted == {services["proxy"]["networks"]["outside"]["ipv4_address"]}
    for kind in ("api", "worker"):
        one, two = ({**services[f"{kind}-{n}"], "networks": ""} for n in (1, 2))
        assert one == two


def test_prometheus_looks_at_every_process_under_the_name_that_it_has(deployment):
    scraped = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())["scrape_configs"]
    hosts = {
        target.partition(":")[0]
        for job in scraped
        for listed in job["static_configs"]
        for target in listed["targets"]
    }

    assert hosts == {"api-1", "api-2", "worker-1", "worker-2", "temporal"}
    assert hosts < set(deployment["services"])


def test_every_secret_is_made_and_given_to_somebody(deployment, made_secrets):
    made = {path.name for path in (made_secrets / "passwords").iterdir()}
    named = {name: Path(x["file"]).name for name, x in deployment["secrets"].items()}
    given = {
        secret["source"]
        for service in deployment["services"].values()
        for secret in service.get("secrets", ())
    }

    assert set(named.values()) == made - {"inside-root-key.pem"}
    assert given == set(named)
    # A container's own account reads its files; what root reads there stays closed.
    closed = {"inside-root-key.pem", "mail-key.pem", "mail-account"}
    for path in (made_secrets / "passwords").iterdir():
        assert path.stat().st_mode & 0o777 == (0o400 if path.name in closed else 0o444)
    assert (made_secrets / "passwords").stat().st_mode & 0o777 == 0o700


def test_secrets_that_are_there_stay(made_secrets):
    before = {x: x.read_bytes() for x in made_secrets.rglob("*") if x.is_file()}

    subprocess.run([DEPLOY / "make-secrets.sh", made_secrets], check=True, capture_output=True)

    assert {x: x.read_bytes() for x in made_secrets.rglob("*") if x.is_file()} == before


@pytest.mark.parametrize("service", ["documents", "mail"])
def test_the_services_inside_prove_who_they_are(service, made_secrets):
    files = made_secrets / "passwords"

    told = subprocess.run(
        [
            *("openssl", "verify", "-purpose", "sslserver", "-verify_hostname", service),
            *("-CAfile", files / "inside-root.pem", files / f"{service}.pem"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )

    assert told.stdout.strip().endswith("OK"), told.stderr


def test_the_stores_key_is_the_one_that_cardflow_has(made_secrets):
    (identity,) = json.loads((made_secrets / "passwords/documents.json").read_text())["identities"]
    key = (made_secrets / "secrets/documents-key").read_text().strip()

    assert identity["credentials"] == [{"accessKey": "cardflow", "secretKey": key}]
    assert identity["actions"] == ["Read:documents", "Write:documents"]


def test_the_mail_relay_takes_its_configuration(made_secrets, tmp_path):
    text, secrets = (DEPLOY / "mail/smtpd.conf").read_text(), made_secrets / "passwords"
    for inside, file in (
        ("mail_certificate", "mail.pem"),
        ("mail_tls_key", "mail-key.pem"),
        ("mail_account", "mail-account"),
    ):
        assert text.count(str(INSIDE / inside)) == 1
        text = text.replace(str(INSIDE / inside), str(secrets / file))
    (tmp_path / "smtpd.conf").write_text(text)

    told = subprocess.run(
        [
            *("/usr/sbin/smtpd", "-n", "-f", tmp_path / "smtpd.conf"),
            *("-D", "relay=smtp+tls://account@relay.example.org:587"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (told.returncode, told.stderr) == (0, "configuration OK\n")
