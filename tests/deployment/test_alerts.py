"""Alerts and panels: they are valid, each fires, and each alert has a page that says what to do."""

import re
import subprocess

import pytest
import yaml

from api.app import create_agent_app
from cardflow.settings import Settings
from tests.deployment.files import DEPLOY, ROOT, RUNBOOKS, alerts, metrics_in, panels

RULES = DEPLOY / "prometheus/alerts.yml"
PROBES = {"show_liveness", "show_metrics", "show_readiness"}
SECTIONS = ["## What it means", "## How to see it", "## What to do", "## When to call whom"]


@pytest.mark.openssl
@pytest.mark.parametrize(
    "command",
    [
        ["promtool", "check", "rules", "alerts.yml", "disks.yml"],
        ["promtool", "check", "config", "--syntax-only", "prometheus.yml"],
        ["promtool", "test", "rules", "alerts.test.yml"],
        ["amtool", "check-config", "../alertmanager.yml"],
    ],
    ids=" ".join,
)
def test_prometheus_own_tools_agree(command):
    done = subprocess.run(command, cwd=RULES.parent, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout + done.stderr


@pytest.mark.openssl
@pytest.mark.parametrize(
    ("labels", "receivers"),
    [
        (["alertname=NoApi", "severity=page"], "on-call"),
        (["alertname=ApiDown", "severity=ticket"], "operations"),
        (["alertname=Watchdog", "severity=ticket"], "outside,operations"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_each_alarm_reaches_whom_it_is_for(labels, receivers, tmp_path):
    text = (DEPLOY / "alertmanager.yml").read_text()
    assert text.count("# webhook_configs:") == 2
    second_ways = tmp_path / "alertmanager.yml"
    second_ways.write_text(text.replace("# webhook_configs:", "webhook_configs:"))

    for configuration in (DEPLOY / "alertmanager.yml", second_ways):
        told = subprocess.run(
            ["amtool", "config", "routes", "test", f"--config.file={configuration}", *labels],
            capture_output=True,
            text=True,
            check=False,
        )

        assert told.stdout.strip() == receivers, told.stderr


def test_each_alert_fires_in_a_test_and_all_but_watchdog_are_silent_where_all_is_well():
    well, *fires = yaml.safe_load((DEPLOY / "prometheus/alerts.test.yml").read_text())["tests"]

    assert {test["name"] for test in fires} == set(alerts())
    for test in fires:
        first, *later = test["alert_rule_test"]
        assert {told["alertname"] for told in (first, *later)} == {test["name"]}
        assert len(first["exp_alerts"]) == 1
    assert {(t["alertname"], len(t["exp_alerts"])) for t in well["alert_rule_test"]} == {
        (name, int(name == "Watchdog")) for name in alerts()
    }


def test_all_is_well_with_every_metric_that_an_alert_names():
    well = yaml.safe_load((DEPLOY / "prometheus/alerts.test.yml").read_text())["tests"][0]
    told = {re.match(r"\w+", series["series"])[0] for series in well["input_series"]}

    assert set().union(*(metrics_in(rule["expr"]) for rule in alerts().values())) <= told


def test_each_alert_links_to_its_page_and_each_page_to_an_alert():
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == set(alerts())
    for name, rule in alerts().items():
        assert rule["annotations"]["runbook"] == f"docs/operations/alarms/{name}.md"
        assert rule["labels"]["severity"] in ("page", "ticket")
        page = (ROOT / rule["annotations"]["runbook"]).read_text()
        assert page.startswith(f"# {name}\n")
        assert re.findall(r"^## .*", page, re.MULTILINE) == SECTIONS, name


def test_the_index_of_operations_names_every_alarm():
    index = (RUNBOOKS.parent / "README.md").read_text()

    assert set(re.findall(r"\]\(alarms/(\w+)\.md\)", index)) == set(alerts())


def test_what_agents_and_probes_ask_hides_nothing_that_people_see():
    paths = create_agent_app(Settings()).openapi()["paths"].values()
    agents = {operation["operationId"] for path in paths for operation in path.values()}
    (board,) = (panel for panel in panels() if panel["title"] == "Answers per second, by status")
    people, workstations = (target["expr"] for target in board["targets"])

    for expression in (alerts()["ServerErrors"]["expr"], alerts()["SlowAnswers"]["expr"], people):
        assert left_out(expression) == [agents | PROBES] * expression.count("cardflow_http")
    for expression in (alerts()["AgentErrors"]["expr"], workstations):
        assert asked_of(expression) == [agents] * expression.count("cardflow_http")


def left_out(expression: str) -> list[set[str]]:
    return [set(names.split("|")) for names in re.findall(r'operation!~"([^"]+)"', expression)]


def asked_of(expression: str) -> list[set[str]]:
    return [set(names.split("|")) for names in re.findall(r'operation=~"([^"]+)"', expression)]


def test_every_panel_asks_the_one_source_and_none_lies_over_another():
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        assert panel["datasource"]["uid"] == "prometheus"
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
