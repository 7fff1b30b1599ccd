"""The CA's files come back as they were; what relying parties have seen since is not taken back."""

from pathlib import Path

import pytest

from cardflow.ca.embedded import renew_root_crl
from cardflow.settings import Settings
from cli.backups.files import copy_ca, put_ca_back
from tests.ca.making import Home

CRL = "public/root.crl"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """An installation with a CA, whose root's key is at hand."""
    return Settings(state_dir=Home(tmp_path / "state").make().path)


def renewed(settings: Settings) -> bytes:
    """Return the CRL that the root signs now."""
    secrets = Home(settings.state_dir).secrets
    root = settings.ca_dir / "root/key.pem"
    renew_root_crl(settings.ca_dir, root_key_file=root, root_secret_file=secrets.root)
    return (settings.ca_dir / CRL).read_bytes()


def test_the_roots_newest_list_stays_and_other_files_are_moved_aside(
    settings: Settings, tmp_path: Path
) -> None:
    issuing = settings.ca_dir / "issuing/key.pem"
    before = issuing.read_bytes()
    copy_ca(settings, tmp_path / "backup")
    newest = renewed(settings)
    issuing.write_bytes(b"of a later CA")

    put_ca_back(tmp_path / "backup", settings, tmp_path / "aside")

    assert issuing.read_bytes() == before
    assert (settings.ca_dir / CRL).read_bytes() == newest
    moved = [path for path in (tmp_path / "aside").rglob("*") if path.is_file()]
    assert moved == [tmp_path / "aside/ca/issuing/key.pem"]
    assert moved[0].read_bytes() == b"of a later CA"


@pytest.mark.parametrize("there", ["an older one", "one of another root", "none"])
def test_a_list_that_is_not_the_roots_newest_gives_way(
    settings: Settings, tmp_path: Path, there: str
) -> None:
    crl = settings.ca_dir / CRL
    lists = {"an older one": crl.read_bytes(), "none": b"nothing"}
    other = Settings(state_dir=Home(tmp_path / "other").make().path)
    renewed(other)  # so that its next one has the highest number of all
    lists["one of another root"] = renewed(other)
    newest = renewed(settings)
    copy_ca(settings, tmp_path / "backup")
    crl.write_bytes(lists[there])

    put_ca_back(tmp_path / "backup", settings, tmp_path / "aside")

    assert crl.read_bytes() == newest
    assert (tmp_path / "aside/ca" / CRL).read_bytes() == lists[there]
