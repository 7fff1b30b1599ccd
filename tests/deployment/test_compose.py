"""docker-compose.yml, read by the docker-compose of Debian, and what its services are given."""

import json
import re
import shutil
import subprocess
from ipaddress import IPv4Network, ip_address, ip_network
from pathlib import Path

import pytest
import yaml
from sqlalchemy.pool import QueuePool

from cardflow.sql import create_engine
from tests.deployment.files import DEPLOY, ROOT

pytestmark = pytest.mark.openssl
RUN_ONCE = {"tables", "temporal-schema", "temporal-namespace", "bucket"}
BY_HAND = {"tools"}
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
        if name in BY_HAND:
            assert (service["restart"], service["profiles"]) == ("no", ["tools"])
            continue
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


def test_what_is_shipped_for_disks_fits_once_it_is_turned_on(tmp_path):
    text = (DEPLOY / "prometheus/prometheus.yml").read_text()
    on = re.sub(
        r"^  # (- /etc|- job_name: node|  static_configs)", r"  \1", text, flags=re.MULTILINE
    )
    jobs = {job["job_name"]: job for job in yaml.safe_load(on)["scrape_configs"]}
    both = ["-f", ROOT / "docker-compose.yml", "-f", DEPLOY / "node-exporter.yml"]
    done = subprocess.run(
        ["docker-compose", "--env-file", DEPLOY / "env.example", *both, "config"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    service = yaml.safe_load(done.stdout)["services"]["node-exporter"]
    assert service["restart"] == "unless-stopped"
    assert re.search(r":v[\d.]+$", service["image"])
    assert "/etc/prometheus/disks.yml" in yaml.safe_load(on)["rule_files"]
    assert jobs["node"]["static_configs"] == [{"targets": ["node-exporter:9100"]}]
    assert "node" not in {job["job_name"] for job in yaml.safe_load(text)["scrape_configs"]}
    (tmp_path / "prometheus.yml").write_text(on)
    command = ["promtool", "check", "config", "--syntax-only", tmp_path / "prometheus.yml"]
    subprocess.run(command, check=True, capture_output=True)


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


def test_the_key_of_the_root_inside_is_needed_for_a_new_certificate_only(made_secrets, tmp_path):
    here = shutil.copytree(made_secrets, tmp_path / "later")
    (here / "passwords/inside-root-key.pem").unlink()  # offline, as the page says
    (here / "secrets/codec.json").touch(0o644)

    again = subprocess.run([DEPLOY / "make-secrets.sh", here], capture_output=True, check=False)
    (here / "passwords/mail.pem").unlink()
    lacking = subprocess.run(
        [DEPLOY / "make-secrets.sh", here], capture_output=True, text=True, check=False
    )

    assert (again.returncode, again.stderr) == (0, b"")
    assert (here / "secrets/codec.json").stat().st_mode & 0o777 == 0o600
    assert lacking.returncode == 1
    assert "inside-root-key.pem is needed" in lacking.stderr


def test_the_tools_are_given_what_the_processes_are_not(deployment, made_secrets):
    """They alone write keys and own the tables; each account's password is in a file of its own."""
    services = deployment["services"]
    tools = {mount.split(":")[1]: mount for mount in services["tools"]["volumes"]}

    assert {x.name for x in (made_secrets / "owner").iterdir()} == {
        *("pgpass", "temporal-pgpass", "backup-passphrase"),
    }
    assert tools["/state/secrets"].endswith(":rw")
    assert tools["/owner"].endswith("/owner:/owner:ro")
    assert "passfile=/owner/pgpass" in services["tools"]["environment"]["CARDFLOW_DATABASE_URL"]
    for name in ("api-1", "api-2", "worker-1", "worker-2", "tables"):
        assert any(m.endswith(":/state/secrets:ro") for m in services[name]["volumes"])
        assert not [m for m in services[name]["volumes"] if m.endswith((":/owner:ro", ":/backups"))]


def test_the_database_takes_as_many_connections_as_can_be_asked_for(deployment):
    service = deployment["services"]["postgresql"]
    given = dict(word.split("=") for word in service["command"] if "=" in word)
    pool = create_engine("postgresql+psycopg://nobody@nowhere/nothing").sync_engine.pool
    ours = [
        name for name in deployment["services"] if name.startswith(("api-", "worker-", "tools"))
    ]
    temporals = 4 * (20 + 10)  # its services, each with a pool for its database and its list

    assert isinstance(pool, QueuePool)
    assert pool.size() + pool._max_overflow == 15
    assert int(given["max_connections"]) >= temporals + 15 * len(ours) + 50
    # While the first start's script runs, a temporary server answers at the socket only.
    assert "-h 127.0.0.1" in service["healthcheck"]["test"][1]


def test_whoever_holds_many_connections_may(deployment):
    for name in ("api-1", "api-2", "proxy"):
        assert deployment["services"][name]["ulimits"] == {"nofile": 65536}


def test_no_address_that_is_handed_out_is_one_that_is_named(deployment):
    (config,) = deployment["networks"]["outside"]["ipam"]["config"]
    named = {
        ip_address(network["ipv4_address"])
        for service in deployment["services"].values()
        for network in (service.get("networks") or {}).values()
        if network
    }

    assert len(named) == 3
    assert not [x for x in named | {ip_address(config["gateway"])} if x in range_of(config)]
    assert all(x in ip_network(config["subnet"]) for x in named)


def range_of(config: dict) -> IPv4Network:
    found = ip_network(config["ip_range"])
    assert found.subnet_of(ip_network(config["subnet"]))
    return found


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
    assert identity["actions"] == ["Read:documents", "List:documents", "Write:documents"]


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
