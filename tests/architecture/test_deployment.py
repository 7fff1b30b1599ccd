"""The deployment files say the same as the code."""

import re
from pathlib import Path

from cardflow.settings import PREFIX, Settings
from cardflow.temporal.devserver import ENGINE_FLAGS
from cardflow.temporal.search_attributes import SEARCH_ATTRIBUTES

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = (ROOT / "docker-compose.yml").read_text()
NOT_SETTINGS = {"CARDFLOW_DB_PASSWORD", "CARDFLOW_SECRETS", "CARDFLOW_TLS"}


def test_compose_sets_only_settings_that_exist() -> None:
    named = set(re.findall(rf"\b{PREFIX}[A-Z_]+", COMPOSE)) - NOT_SETTINGS

    assert named <= {PREFIX + field.upper() for field in Settings.model_fields}


def test_every_image_is_pinned() -> None:
    images = re.findall(r"image: (\S+)", COMPOSE)

    assert len(images) >= 6
    assert [image for image in images if not re.search(r":\d+[.\d]*(-\w+)?$", image)] == []


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
    assert "://" not in (ROOT / "requirements.lock").read_text()
    assert "--index" not in (ROOT / "Dockerfile").read_text()
