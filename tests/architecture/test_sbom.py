"""The list of what others wrote is whole, true and valid."""

import json
import re
import tomllib

import pytest
from cyclonedx.output.json import JsonV1Dot6

from scripts import sbom

INSTALLED = (".venv", "var")  # by what is listed elsewhere: locks, and the provider of demo-oidc
ENTRIES = tomllib.loads(sbom.VENDORED.read_text())


def test_every_line_of_the_lock_is_listed_with_its_hashes() -> None:
    lock = (sbom.ROOT / "requirements.lock").read_text()
    listed = {part.name: part for part in sbom.python_packages()}

    assert set(listed) == set(re.findall(r"^([\w.-]+)==", lock, re.MULTILINE))
    assert [name for name, part in listed.items() if not part.hashes] == []
    assert sum(len(part.hashes) for part in listed.values()) == lock.count("--hash=sha256:")


def test_every_folder_of_what_others_wrote_is_listed() -> None:
    web, kept = sbom.ROOT / "api/web/static", {sbom.ROOT / folder for folder in ENTRIES}
    ours = (folder for folder in sbom.ROOT.iterdir() if folder.name not in INSTALLED)
    foreign = {path.parent for folder in ours for path in folder.glob("**/LICENSE*")}
    foreign |= {*(web / "vendor").iterdir(), sbom.ROOT / "cardflow/documents/fonts"}

    assert foreign == kept


@pytest.mark.parametrize("folder", ENTRIES)
def test_a_carried_file_says_the_version_that_is_listed(folder: str) -> None:
    name, said = ENTRIES[folder]["says"]
    content = (sbom.ROOT / folder / name).read_bytes()

    assert said.encode() in content or said.encode("utf-16-be") in content
    assert ENTRIES[folder]["version"] in said
    assert ENTRIES[folder]["purl"].endswith(ENTRIES[folder]["version"])


@pytest.mark.slow  # make sbom validates it too
def test_the_list_is_valid_and_names_debian_packages_and_images() -> None:
    made = sbom.bom()

    assert sbom.objections(JsonV1Dot6(made).output_as_string()) == []
    assert {"softhsm2", "postgres", "htmx.org", "cryptography"} <= {p.name for p in made.components}


def test_a_list_that_is_not_valid_is_refused() -> None:
    told = {"bomFormat": "CycloneDX", "specVersion": "1.6"}

    assert sbom.objections(json.dumps(told)) == []
    assert sbom.objections(json.dumps({**told, "specVersion": 7})) != []
    assert sbom.objections(json.dumps({**told, "components": [{"type": "toy", "name": "x"}]})) != []
