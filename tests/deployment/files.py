"""The deployment's files, read."""

import json
import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
RUNBOOKS = ROOT / "docs/operations/alarms"
# What Prometheus itself knows of, and words of its query language.
NOT_OURS = {"up", "ALERTS"}
NODES = "node_"  # what node_exporter tells
_METRIC = re.compile(r"\b((?:cardflow|temporal|process|node)_\w+|up|ALERTS)\b(?=[{\[)\s]|$)")


def alerts() -> dict[str, dict[str, Any]]:
    """Return every alert by its name, those on disks among them."""
    files = [DEPLOY / f"prometheus/{name}.yml" for name in ("alerts", "disks")]
    groups = [group for file in files for group in yaml.safe_load(file.read_text())["groups"]]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def panels() -> list[dict[str, Any]]:
    """Return every panel of the dashboard that asks for something."""
    board = json.loads((DEPLOY / "grafana/dashboards/cardflow.json").read_text())
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def metrics_in(expression: str) -> set[str]:
    """Return the names of metrics in a query, which has some."""
    found = set(_METRIC.findall(expression))
    assert found, expression
    return found - NOT_OURS


def metrics_asked_for() -> dict[str, str]:
    """Return every metric that an alert or a panel names, and one who does."""
    asked = {name: rule["expr"] for name, rule in alerts().items()}
    asked |= {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in panels()
        for target in panel["targets"]
    }
    found = {metric: who for who, text in asked.items() for metric in metrics_in(text)}
    return {metric: who for metric, who in found.items() if not metric.startswith(NODES)}
