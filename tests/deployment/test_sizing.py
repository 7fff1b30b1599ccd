"""What docs/operations/sizing.md says of histories, agents and the proxy is what they have."""

import gzip
import re
import subprocess

import pytest
import yaml
from temporalio.client import WorkflowHistory

from agent.connection import REPORT_EVERY_SECONDS, WAIT_SECONDS, poll_path
from api.pulse import PAUSE
from api.web.live import CHECK_EVERY
from tests.deployment.files import DEPLOY, ROOT

HISTORIES = ROOT / "tests/replay/histories"
RECORDED = {
    "none": "without_forms_one_visit_does_it_all-0",
    "R": "a_request_form_goes_to_the_ca_without_precheck-0",
    "F": "a_certificate_form_is_decided_after_the_ca_issued-0",
    "RF": "both_forms_in_their_order_with_both_mails-0",
}
SIZING = (ROOT / "docs/operations/sizing.md").read_text()
DOCUMENTED = {
    mode: (int(events), int(kilobytes))
    for mode, events, kilobytes in re.findall(
        r"^\| (none|R|F|RF) \| (\d+) \| (\d+) \|",
        SIZING,
        re.MULTILINE,
    )
}


@pytest.mark.parametrize("mode", RECORDED)
def test_a_recorded_history_is_as_large_as_is_documented_at_most(mode: str):
    text = gzip.decompress((HISTORIES / f"{RECORDED[mode]}.json.gz").read_bytes()).decode()
    events = WorkflowHistory.from_json(mode, text).events

    assert len(events) <= DOCUMENTED[mode][0]
    assert round(sum(event.ByteSize() for event in events) / 1000) <= DOCUMENTED[mode][1]


def test_agents_ask_as_often_as_is_documented():
    (presence, poll, rate) = re.findall(
        r"a presence every (\d+) s \+ a poll every ([\d.]+) s = ([\d.]+) per second", SIZING
    )[0]
    waits = {int(poll_path().rpartition("=")[2]) for _ in range(1000)}

    assert int(presence) == REPORT_EVERY_SECONDS
    assert waits == set(range(40, WAIT_SECONDS + 1))
    assert float(poll) == (min(waits) + max(waits)) / 2
    assert float(rate) == pytest.approx(1 / float(presence) + 1 / float(poll), rel=0.01)


@pytest.mark.openssl
def test_a_third_of_each_fits_as_documented(tmp_path):
    services, servers = re.findall(r"^   ```\n(.*?)^   ```", SIZING, re.MULTILINE | re.DOTALL)
    here = (ROOT / "docker-compose.yml").read_text()
    there = here.replace("\n  proxy:\n", f"\n{dedent(services, 3)}\n  proxy:\n")
    (tmp_path / "docker-compose.yml").write_text(there)
    told = ["--project-directory", ROOT, "-f", tmp_path / "docker-compose.yml"]
    command = ["docker-compose", *told, "--env-file", DEPLOY / "env.example", "config"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    made = yaml.safe_load(done.stdout)["services"]
    proxy = (DEPLOY / "nginx.conf").read_text()

    for kind in ("api", "worker"):
        two, three = ({**made[f"{kind}-{n}"], "networks": ""} for n in (2, 3))
        assert two == three
    address = made["api-3"]["networks"]["outside"]["ipv4_address"]
    assert address not in here
    assert [line.strip().replace(address, "172.30.70.12") for line in servers.splitlines()] == [
        line.strip() for line in proxy.splitlines() if "172.30.70.12" in line
    ]
    for target in re.findall(r'`"((?:api|worker)-3:\d+)"`', SIZING):
        two = target.replace("-3", "-2")
        assert f'"{two}"' in (DEPLOY / "prometheus/prometheus.yml").read_text()


def dedent(text: str, columns: int) -> str:
    return "\n".join(line[columns:] for line in text.splitlines())


def test_a_live_page_looks_as_often_as_is_documented():
    (every, rate) = re.findall(r"itself every (\d+) s = ([\d.]+) transactions", SIZING)[0]

    assert float(every) == PAUSE * CHECK_EVERY
    assert float(rate) == 2 / float(every)


def test_the_proxy_has_the_limits_that_are_documented():
    proxy = (DEPLOY / "nginx.conf").read_text()
    (connections,) = re.findall(r"worker_connections (\d+);", proxy)
    (files,) = re.findall(r"worker_rlimit_nofile (\d+);", proxy)
    (of_an_address,) = set(re.findall(r"limit_conn connections (\d+);", proxy))
    (rate,) = re.findall(r"rate=(\d+)r/s", proxy)

    assert f"| `worker_connections` {connections}, for each core |" in SIZING
    assert f"| open files, {files} |" in SIZING
    assert f"| {int(of_an_address):,} connections and {rate} requests a second from" in SIZING
